"""Which CPS a number's PASSporTs belong at, as its provider advertises it (RFC 9888 section 4).

Takes sources that the configuration names, files and https URLs; gives the CPSs of a number from
memory alone. What a source says is believed for who signed it: with STIR credentials (several
tokens, a line each, every one for what its signer has), with a key that the configuration pins, or
unsigned where the configuration says so, which is then what the file's owner or server vouches for.

Sources are loaded off the call path, at once and then at random times, so that a directory never
learns of a call. What was good stays in force until it ends (``exp``, or that of its signer's
certificates; a week for an unsigned one), whatever the source says or does not say later; and of
one signer a lower serial changes nothing. That a URL may be connected to is for the client to see:
whoever advertises is a stranger.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.certificates.fetch import Fetched
from pbx_stir.directory.routes import MOST_CPS
from pbx_stir.errors import (
    AdvertisementRefused,
    ConfigurationError,
    Malformed,
    MalformedAdvertisement,
    PbxStirError,
    Refused,
)
from pbx_stir.stir.advertisement import (
    MAX_OCTETS,
    Advertisement,
    Signed,
    check_signed,
    check_time,
    parse_advertisement,
    parse_pinned,
    parse_signed,
)
from pbx_stir.stir.certificate import Anchors, SpcPolicy

REFRESH_SECONDS: Final = 3_600.0
RETRY_SECONDS: Final = 120.0
UNSIGNED_SECONDS: Final = 7 * 86_400.0
MOST_SIGNERS: Final = 64
MEDIA_TYPE: Final = "application/json, application/jose"

_PAUSE_SECONDS = (1.0, 5.0)
_MOST_LINES: Final = 256
_log = logging.getLogger(__name__)


class SignedBy(Enum):
    """Whose signature a source's advertisements carry, where it is not a pinned key's."""

    STIR = "stir"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class AdvertisementSource:
    """Where advertisements come from, and who must have signed them.

    ``place`` is a file, or an https URL as text. Raises ``ConfigurationError`` for a key that is
    not on P-256.
    """

    place: Path | str
    signed_by: SignedBy | ec.EllipticCurvePublicKey
    refresh_seconds: float = REFRESH_SECONDS

    def __post_init__(self) -> None:
        key = self.signed_by
        if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, ec.SECP256R1):
            raise ConfigurationError(
                f"the key that signs {self.place} is on curve {key.curve.name}, not P-256"
            )


class AdvertisementFetcher(Protocol):
    """Fetches what an https URL names, bounded (certificates.fetch.X5uFetcher)."""

    async def fetch(self, url: str) -> Fetched:
        """Get the octets. Raises UrlRefused or CertificateUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    """One signer's advertisement, good before ``expires`` (epoch seconds)."""

    advertisement: Advertisement
    serial: int
    expires: float


@dataclass(slots=True)
class _Loaded:
    """What is known of one source; ``next_load`` is of the monotonic clock."""

    source: AdvertisementSource
    held: dict[bytes, _Held] = field(default_factory=dict)
    next_load: float = float("-inf")
    failure: str = ""


class Advertisements:
    """What all sources say, together: the most specific key counts, wherever it stands."""

    def __init__(
        self,
        sources: Iterable[AdvertisementSource],
        *,
        fetcher: AdvertisementFetcher,
        anchors: Callable[[], Anchors],
        spc_policy: SpcPolicy,
        epoch: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``anchors`` gives those in force now; ``spc_policy`` has the table of providers' codes;
        ``draw`` gives a random number between two others."""
        self._loaded = [_Loaded(source) for source in sources]
        self._fetcher = fetcher
        self._anchors = anchors
        self._policy = spc_policy
        self._epoch = epoch
        self._monotonic = monotonic
        self._draw = draw

    def cps(self, number: str) -> tuple[str, ...]:
        """Give the CPSs that ``number`` (canonical) is advertised at, none where it is not.

        There is more than one only where several advertisements are as specific as each other.
        """
        now = self._epoch()
        codes = self._policy.owners(number)
        matches = [
            match
            for one in self._loaded
            for held in one.held.values()
            if now < held.expires and (match := held.advertisement.match(number, codes)) is not None
        ]
        if not matches:
            return ()
        best = min(matches)
        urls = [match.cps for match in matches if not best < match]
        return tuple(dict.fromkeys(urls))[:MOST_CPS]

    def failures(self) -> list[str]:
        """Say of each source that could not be loaded last time why, for an administrator."""
        return [f"{one.source.place}: {one.failure}" for one in self._loaded if one.failure]

    async def run(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Load what is due, at once and then for ever, at random times."""
        while True:
            await self.load_due()
            await pause(self._draw(*_PAUSE_SECONDS))

    async def load_due(self) -> None:
        """Load each source whose time has come. Never raises."""
        for one in self._loaded:
            if self._monotonic() >= one.next_load:
                await self._load(one)

    async def load_all(self) -> None:
        """Load every source now, as after a change of the anchors. Never raises."""
        for one in self._loaded:
            await self._load(one)

    async def _load(self, one: _Loaded) -> None:
        failure = ""
        try:
            octets = await self._octets(one.source)
            # a signature takes a fraction of a millisecond, four thousand numbers a few more
            failure = await asyncio.to_thread(self._take, one, octets)
        except PbxStirError as error:
            failure = str(error)
        if failure and failure != one.failure:
            _log.warning("advertisements of %s: %s", one.source.place, failure)
        if one.failure and not failure:
            _log.warning("advertisements of %s are there again", one.source.place)
        one.failure = failure
        longest = min(RETRY_SECONDS, one.source.refresh_seconds)
        longest = longest if failure else one.source.refresh_seconds
        one.next_load = self._monotonic() + self._draw(longest / 2, longest)

    async def _octets(self, source: AdvertisementSource) -> bytes:
        if isinstance(source.place, str):
            return (await self._fetcher.fetch(source.place)).body
        return await asyncio.to_thread(_read, source.place)

    def _take(self, one: _Loaded, octets: bytes) -> str:
        """Put what a source says in force, as far as it may; gives why some of it may not."""
        now = self._epoch()
        found, failure = self._judged(one.source, octets, now)
        held = {signer: kept for signer, kept in one.held.items() if now < kept.expires}
        for signer, new in found.items():
            known = held.get(signer)
            if known is not None and new.serial < known.serial:
                failure = failure or f"serial {new.serial} is older than {known.serial}"
                continue
            held[signer] = new
        if len(held) > MOST_SIGNERS:
            latest = sorted(held.items(), key=lambda item: item[1].serial, reverse=True)
            held = dict(latest[:MOST_SIGNERS])
        one.held = held
        return failure

    def _judged(
        self, source: AdvertisementSource, octets: bytes, now: float
    ) -> tuple[dict[bytes, _Held], str]:
        """Give what may be believed, by signer, and why the first of the rest may not."""
        if source.signed_by is SignedBy.NOBODY:
            # read anew each time, it has no serial to compare
            unsigned = parse_advertisement(octets)
            return {b"": _Held(unsigned, 0, now + UNSIGNED_SECONDS)}, ""
        lines = _lines(octets)
        if not isinstance(source.signed_by, SignedBy):
            if len(lines) != 1:
                raise MalformedAdvertisement("a pinned key signs one token, alone in its file")
            signed = parse_pinned(lines[0], source.signed_by)
            check_time(signed, now)
            return {b"": _Held(signed.advertisement, signed.serial, float(signed.exp))}, ""
        found: dict[bytes, _Held] = {}
        failure = ""
        for line in lines:
            try:
                signer, held = self._judged_signed(parse_signed(line), now)
            except (Malformed, Refused) as error:
                failure = failure or str(error)
                continue
            if signer not in found or held.serial > found[signer].serial:
                found[signer] = held
        return found, failure

    def _judged_signed(self, signed: Signed, now: float) -> tuple[bytes, _Held]:
        path = check_signed(signed, self._anchors(), now, self._policy)
        # two authorities may certify one name
        anchor = path.certificates[-1].fingerprint(hashes.SHA256())
        expires = min(float(signed.exp), path.not_after)
        return anchor + path.signer.encode(), _Held(signed.advertisement, signed.serial, expires)


def _lines(octets: bytes) -> Sequence[str]:
    try:
        lines = octets.decode("ascii").split()
    except UnicodeDecodeError as error:
        raise MalformedAdvertisement("signed advertisements are ASCII") from error
    if not 1 <= len(lines) <= _MOST_LINES:
        raise MalformedAdvertisement(f"{len(lines)} signed advertisements, not 1 to {_MOST_LINES}")
    return lines


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise AdvertisementRefused(f"cannot be read: {why}") from error
    if len(octets) > MAX_OCTETS:
        raise MalformedAdvertisement(f"more than {MAX_OCTETS} octets")
    return octets
