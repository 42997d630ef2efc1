"""Publishes our encryption keys at our CPSs, in records signed with our STIR credentials.

Takes what to publish (``Publication``), gives one ``Published`` a record and CPS. A record names a
credential's numbers, the CPSs, the current key and, while others may still seal to it, the one
before; it is put under the first of its numbers, and the CPS returns it for every number that it
names. It never sees a call.

What must survive a crash is on disk before the record leaves: the key, its record's expiry (or the
private half could be erased while somebody still seals to it), and the serial, which only grows. A
record is replaced about half-way through its life, so a CPS that is down for hours loses nothing;
and each CPS is asked now and then whether it still has it, since one may keep records in memory.
Source: RFC 8816 sections 10 and 11.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cryptography import x509

from pbx_stir.directory.holdings import first_number, nameable
from pbx_stir.directory.key_files import KeyFiles, OwnKey
from pbx_stir.directory.routes import check_cps
from pbx_stir.errors import ConfigurationError, CpsRefused, Malformed, PbxStirError
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number_set import NumberSet
from pbx_stir.stir.record import EncryptionKey, Record, parse_record, sign_record
from pbx_stir.stir.sealing import SUITE

RECORD_LIFETIME_SECONDS: Final = 86_400.0
LONGEST_RECORD_SECONDS: Final = 7 * 86_400.0
MOST_NAMED: Final = 64
PUT_SECONDS: Final = 10.0
FIRST_RETRY_SECONDS: Final = 5.0
LONGEST_RETRY_SECONDS: Final = 900.0
CHECK_SECONDS: Final = 60.0
MOST_LOOKED_AT: Final = 32

_CONFLICT: Final = 409

# where a record is: the CPS, and the number under which it was put
Spot = tuple[str, str]

_log = logging.getLogger(__name__)


class RecordPlace(Protocol):
    """Puts records at a CPS, and gets them (cps.client.CpsClient)."""

    async def put_record(self, cps: str, number: str, token: str, give_up_at: float) -> None:
        """Put under ``number``. Raises CpsUnavailable or CpsRefused."""
        ...

    async def get_records(self, cps: str, number: str, give_up_at: float) -> Sequence[str]:
        """Get the tokens for ``number``. Raises CpsUnavailable, CpsRefused or MalformedAnswer."""
        ...


@dataclass(frozen=True, slots=True)
class Publication:
    """Numbers and ranges as records write them, who signs for them, and where others store."""

    credential: Credential
    named: tuple[str, ...]
    cps: tuple[str, ...]

    def __post_init__(self) -> None:
        check_cps(self.cps, "publish")


@dataclass(frozen=True, slots=True)
class Published:
    """What came of one record at one CPS; ``error`` is empty where the CPS took it.

    ``conflict`` is where it answered that it has a newer one, or as many keys as it takes.
    """

    cps: str
    named: tuple[str, ...]
    serial: int
    error: str = ""
    conflict: bool = False


def publications(
    credentials: Sequence[Credential], numbers: NumberSet, cps: Sequence[str]
) -> tuple[Publication, ...]:
    """What is to be published of ``numbers``, by each credential that covers some of them.

    Raises ``ConfigurationError`` where none does, or the CPS list cannot be used.
    """
    found = []
    for credential in credentials:
        named = nameable(numbers, credential.tn_auth_list)
        for upper in credential.above:
            # an issuer that delegates bounds its delegates (RFC 9060 section 4.1)
            named = nameable(NumberSet.parse(named), upper)
        found += [
            Publication(credential, named[start : start + MOST_NAMED], tuple(cps))
            for start in range(0, len(named), MOST_NAMED)
        ]
    if not found:
        raise ConfigurationError(
            "no credential covers a number that is to be published",
            hint="numbers = [...] takes numbers and ranges that your certificates name",
        )
    return tuple(found)


class Publisher:
    """Publishes once, or for as long as it runs."""

    def __init__(
        self,
        *,
        publications: Sequence[Publication],
        keys: KeyFiles,
        sink: RecordPlace,
        lifetime_seconds: float = RECORD_LIFETIME_SECONDS,
        epoch: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``lifetime_seconds`` is that of a record, a week at most; ``draw`` gives a random number
        between two others. Raises ``ConfigurationError``."""
        if not 60 <= lifetime_seconds <= LONGEST_RECORD_SECONDS:
            raise ConfigurationError("a record lives at least a minute and at most seven days")
        self._publications = tuple(publications)
        self._keys = keys
        self._sink = sink
        self._lifetime_seconds = lifetime_seconds
        self._epoch = epoch
        self._monotonic = monotonic
        self._draw = draw
        self._serials: dict[Spot, tuple[int, x509.Certificate]] = {}

    async def publish(self, only: frozenset[Spot] | None = None) -> list[Published]:
        """Publish the current key everywhere, or at the (CPS, first number) pairs in ``only``.

        A key past its lifetime is replaced first. Raises ``ConfigurationError`` where the keys on
        disk cannot be used; a CPS that does not take a record is a result.
        """
        now = self._epoch()
        keys = await asyncio.to_thread(self._keys.to_publish, now, self._lifetime_seconds)
        results = []
        for publication in self._publications:
            cps = self._wanted(publication, only)
            if not cps:
                continue
            taken = await self._publish_at(publication, cps, keys, now)
            full = tuple(each.cps for each in taken if each.conflict)
            if full and len(keys) > 1:
                # where other holders have the places, one key is better than none
                taken = [each for each in taken if not each.conflict]
                taken += await self._publish_at(publication, full, keys[:1], now)
            results += taken
        return results

    async def _publish_at(
        self, publication: Publication, cps: Sequence[str], keys: Sequence[OwnKey], now: float
    ) -> list[Published]:
        """Note what a record says, then put it."""
        serial = await asyncio.to_thread(self._keys.next_serial, now)
        public = tuple(EncryptionKey(public=key.public, suite=SUITE) for key in keys)
        record = self._record(publication, serial, now, public)
        for key in keys:
            until = float(record.exp)
            await asyncio.to_thread(self._keys.published, key.name, serial, until)
        return await self._put(record, publication.credential, cps)

    async def revoke(self, only: frozenset[Spot] | None = None) -> list[Published]:
        """Put tombstones in the place of our records: nobody is to seal to our keys any more.

        They last as long as any record of ours, so that none comes back when they expire, and
        ``run`` publishes nothing more, in whichever process, until ``KeyFiles.resume``.
        """
        now = self._epoch()
        await asyncio.to_thread(self._keys.suspend)
        results = []
        last = self._last_record()
        for publication in self._publications:
            cps = self._wanted(publication, only)
            if not cps:
                continue
            serial = await asyncio.to_thread(self._keys.next_serial, now)
            record = self._record(publication, serial, now, ())
            latest = min(max(record.exp, int(last)), int(now) + int(LONGEST_RECORD_SECONDS))
            tombstone = replace(record, exp=latest)
            results += await self._put(tombstone, publication.credential, cps)
        return results

    def _last_record(self) -> float:
        """When the last record ends that names a key of ours."""
        return max((key.published_until for key in self._keys.load()), default=0.0)

    async def run(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Publish now and ahead of every expiry, for ever; what failed is tried again sooner."""
        retry_seconds = FIRST_RETRY_SECONDS
        failed: frozenset[Spot] = frozenset()
        renew_at = 0.0
        while True:
            everything = self._monotonic() >= renew_at
            results, broken = await self._attempt(None if everything else failed)
            if everything and not broken:
                # half-way, and never at the same time as others that started together
                renew_at = self._monotonic() + self._draw(0.4, 0.6) * self._lifetime_seconds
            if not broken:
                failed = frozenset(
                    (each.cps, _number(each.named)) for each in results if each.error
                )
            if failed or broken:
                await pause(self._draw(retry_seconds / 2, retry_seconds))
                retry_seconds = min(2 * retry_seconds, LONGEST_RETRY_SECONDS)
                continue
            retry_seconds = FIRST_RETRY_SECONDS
            while not failed and self._monotonic() < renew_at:
                await pause(self._draw(CHECK_SECONDS / 2, CHECK_SECONDS))
                failed = await self.lost()

    async def lost(self) -> frozenset[Spot]:
        """The spots that do not have our record any more, as far as their CPSs answer.

        A later one of the same certificate will do: another process of ours may have put it.
        """
        spots = list(self._serials) if not self._keys.suspended() else []
        have = await asyncio.gather(*(self._has(*spot) for spot in spots))
        return frozenset(spot for spot, has in zip(spots, have, strict=True) if not has)

    async def _has(self, cps: str, number: str) -> bool:
        serial, certificate = self._serials[cps, number]
        try:
            give_up_at = self._monotonic() + PUT_SECONDS
            tokens = await self._sink.get_records(cps, number, give_up_at)
        except PbxStirError:
            return True
        for token in tokens[:MOST_LOOKED_AT]:
            try:
                signed = parse_record(token)
            except Malformed:
                continue
            if signed.chain[0] == certificate and signed.record.serial >= serial:
                return True
        _log.warning("%s has lost our keys", cps)
        return False

    async def _attempt(self, only: frozenset[Spot] | None) -> tuple[list[Published], bool]:
        """Publish and clean up, once; whether our own files made it impossible."""
        try:
            if self._keys.suspended():
                _log.warning("our keys were revoked: none is published before keys rotate")
                # a CPS that was down then must learn of it while it has a record of ours
                wanted = self._last_record() > self._epoch()
                results = await self.revoke(only) if wanted else []
            else:
                results = await self.publish(only)
            # a clock that is ahead must not erase what is in use: no CPS takes its records
            if any(not result.error for result in results):
                for name in await asyncio.to_thread(self._keys.erase_expired, self._epoch()):
                    _log.info("encryption key %s erased: no record names it any more", name)
        except PbxStirError as error:
            _log.error("our keys cannot be published: %s", error)
            return [], True
        for result in results:
            if result.error:
                _log.warning("%s did not take our keys: %s", result.cps, result.error)
            else:
                _log.info("%s took our keys, serial %d", result.cps, result.serial)
        return results, False

    def _wanted(self, publication: Publication, only: frozenset[Spot] | None) -> tuple[str, ...]:
        if only is None:
            return publication.cps
        number = _number(publication.named)
        return tuple(cps for cps in publication.cps if (cps, number) in only)

    def _record(
        self, publication: Publication, serial: int, now: float, keys: tuple[EncryptionKey, ...]
    ) -> Record:
        return Record(
            numbers=publication.named,
            cps=publication.cps,
            keys=keys,
            serial=serial,
            iat=int(now),
            exp=int(now) + int(self._lifetime_seconds),
            revoked=not keys,
        )

    async def _put(
        self, record: Record, credential: Credential, cps: Sequence[str]
    ) -> list[Published]:
        if not credential.valid_at(record.iat):
            why = f"the credential of {credential.signer!r} has expired"
            return [Published(one, record.numbers, record.serial, why) for one in cps]
        token = sign_record(record, credential)
        number = _number(record.numbers)
        give_up_at = self._monotonic() + PUT_SECONDS

        async def put(one: str) -> Published:
            try:
                await self._sink.put_record(one, number, token, give_up_at)
            except PbxStirError as refusal:
                conflict = isinstance(refusal, CpsRefused) and refusal.status == _CONFLICT
                return Published(one, record.numbers, record.serial, str(refusal), conflict)
            self._serials[one, number] = record.serial, credential.certificate
            return Published(one, record.numbers, record.serial)

        return list(await asyncio.gather(*(put(one) for one in cps)))


def _number(named: Sequence[str]) -> str:
    """The number under which a record is put."""
    return first_number(named[0])
