"""Knows which certificates are revoked, without ever letting a call wait for it.

Takes a path that holds and the time; answers from memory, and takes note of what it lacks. ``run``
fetches that in the background, a little later, and renews what it has at random times well before
it is over, so that neither is a sign of one call. What cannot be renewed is used until it is over;
a failure is remembered briefly. It does not know for which call it is asked.

What unknown means is the administrator's policy: ``soft`` goes on, ``hard`` takes the certificate
for unavailable. One that is known to be revoked is refused under both; ``off`` asks for nothing.

Whoever can change what plain http brings can keep us from learning news, no more: a list or answer
that has proved to be of its signer gives way only to a newer one of such a signer, or to its end.

Times are seconds since the epoch, by the clock that is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol

from cryptography import x509

from pbx_stir.certificates.revocation_files import Read, RevocationFiles
from pbx_stir.certificates.single_flight import SingleFlight
from pbx_stir.errors import (
    CertificateRevoked,
    CertificateUnavailable,
    Malformed,
    MalformedCertificate,
    Refused,
    Unavailable,
    UrlRefused,
)
from pbx_stir.stir.certificate import Anchors, Path
from pbx_stir.stir.ocsp import OcspAnswer, Said, parse_answer, said_of
from pbx_stir.stir.revocation import (
    Evidence,
    Finding,
    Kind,
    Place,
    Status,
    Trust,
    assess,
    is_authentic,
    places,
)
from pbx_stir.stir.revocation_list import RevocationList, parse_lists
from pbx_stir.stir.x5u import CheckedUrl

if TYPE_CHECKING:
    # a command that takes all from files does without what fetches
    from pbx_stir.certificates.fetch import Fetched

log = logging.getLogger(__name__)

Policy = Literal["off", "soft", "hard"]

MOST_FETCHES: Final = 8
MOST_KEPT: Final = 200
MOST_KEPT_OCTETS: Final = 4 << 20
MOST_WANTED: Final = 100
MOST_REMEMBERED: Final = 1_000
# a missing list is fetched within so many seconds of the call that missed it
SPREAD_SECONDS: Final = 2.0
SHORTEST_SECONDS: Final = 60.0
LONGEST_SECONDS: Final = 43_200.0
FAILURE_SECONDS: Final = 60.0
# what nobody asked for in this time is not renewed
UNUSED_SECONDS: Final = 86_400.0
# a finding is given again for so long while nothing new is learnt
REMEMBERED_SECONDS: Final = 5.0


class Fetcher(Protocol):
    """Fetches under the egress rule (certificates.revocation_fetch.RevocationFetcher)."""

    def check(self, url: str) -> CheckedUrl:
        """Normalise, or refuse by the text of the URL alone. Raises ``UrlRefused``."""
        ...

    async def fetch(self, url: str) -> Fetched:
        """Fetch in bounded time. Raises ``UrlRefused`` or ``CertificateUnavailable``."""
        ...


@dataclass(slots=True)
class _Kept:
    """What a place gave. ``path`` is the one that it was first asked for, None if configured."""

    lists: tuple[RevocationList, ...]
    answers: tuple[OcspAnswer, ...]
    octets: int
    over_at: float
    path: Path | None
    used_at: float
    renew_at: float = 0.0

    def speaks(self, trust: Trust, now: float) -> bool:
        """Whether it proves to be of somebody who may speak of its path."""
        if self.path is None:
            return True
        pairs = list(zip(self.path.certificates, self.path.certificates[1:], strict=False))
        return any(is_authentic(one, self.path, trust, now) for one in self.lists) or any(
            said_of(one, *pair, now) is not Said.NOTHING for one in self.answers for pair in pairs
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    path: Path | None
    not_before: float


@dataclass(frozen=True, slots=True)
class _Remembered:
    finding: Finding
    places: tuple[Place, ...]
    state: tuple[int, bytes]
    at: float


class RevocationWatch:
    """Revocation lists and OCSP answers in memory. Implements services' RevocationSource."""

    def __init__(
        self,
        *,
        anchors: Callable[[], Anchors],
        policy: Policy = "soft",
        fetcher: Fetcher | None = None,
        files: RevocationFiles | None = None,
        urls: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Read the files; ``urls`` are lists that the configuration names, fetched by ``run``.

        Without ``fetcher`` nothing is fetched. ``chance`` gives a number from 0 to 1.

        Raises ``ConfigurationError`` as ``RevocationFiles.read`` does, ``UrlRefused`` for a URL.
        """
        self._anchors = anchors
        self._policy = policy
        self._fetcher = fetcher
        self._files = files or RevocationFiles()
        self._read = self._files.read() if policy != "off" else Read()
        self._clock = clock
        self._chance = chance
        self._configured: tuple[Place, ...] = ()
        if fetcher is not None and policy != "off":
            self._configured = tuple(Place(Kind.LIST, fetcher.check(url).url) for url in urls)
        self._kept: OrderedDict[Place, _Kept] = OrderedDict()
        self._wanted: dict[Place, _Wanted] = {}
        self._failed: OrderedDict[Place, float] = OrderedDict()
        self._remembered: OrderedDict[tuple[x509.Certificate, ...], _Remembered] = OrderedDict()
        self._flights: SingleFlight[Place, None] = SingleFlight(most=MOST_FETCHES)
        self._generation = 0
        self._news = asyncio.Event()

    def check(self, path: Path, now: float) -> None:
        """Refuse a path with a revoked certificate, from memory; never waits.

        Raises ``CertificateRevoked``; under ``hard`` ``CertificateUnavailable`` where it is not
        known that none is.
        """
        if self._policy == "off":
            return
        finding = self.status(path, now)
        if finding.status is Status.REVOKED:
            raise CertificateRevoked(finding.detail)
        if finding.status is Status.UNKNOWN and self._policy == "hard":
            raise CertificateUnavailable(
                finding.detail, hint='revocation = "soft" takes such certificates'
            )

    def status(self, path: Path, now: float) -> Finding:
        """Tell from memory what is known, and note what is lacking for ``run`` to fetch."""
        # equal where their octets are; a digest of each would take as long as all else here
        key = path.certificates
        anchors = self._anchors()
        state = (self._generation, anchors.digest)
        held = self._remembered.get(key)
        if held is None or held.state != state or not 0 <= now - held.at < REMEMBERED_SECONDS:
            where = self._fetchable(places(path))
            evidence = self._evidence(where)
            finding = assess(path, evidence, Trust(anchors, self._read.signers), now)
            held = _Remembered(finding, where, state, now)
            self._remembered[key] = held
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        self._note(path, held.places)
        return held.finding

    async def run(self) -> None:
        """Fetch what is lacking and renew what is used, until it is cancelled."""
        while True:
            self._news.clear()
            now = self._clock()
            for place, path in self._due(now):
                self._launch(place, path)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause(now)):
                    await self._news.wait()

    async def settle(self, give_up_at: float) -> bool:
        """Fetch at once what is lacking, for a command that may wait; True where it helped.

        ``give_up_at`` is monotonic.
        """
        before = self._generation
        lacking = [(place, one.path) for place, one in self._wanted.items()]
        lacking += [(place, None) for place in self._configured if place not in self._kept]
        while lacking:
            batch, lacking = lacking[:MOST_FETCHES], lacking[MOST_FETCHES:]
            seconds = give_up_at - time.monotonic()
            flights = [self._launch(place, path) for place, path in batch]
            under_way = [one for one in flights if one is not None]
            if seconds <= 0 or not under_way:
                break
            await asyncio.wait(under_way, timeout=seconds)
        return self._generation != before

    async def reload(self) -> None:
        """Read the files again, off the event loop.

        Raises ``ConfigurationError``; what was read before is then still in use.
        """
        if self._policy != "off":
            self._read = await asyncio.to_thread(self._files.read)
            self._generation += 1

    async def close(self) -> None:
        """Break off the fetches under way; the fetcher is its maker's to close."""
        await self._flights.close()

    def _fetchable(self, wanted: Iterable[Place]) -> tuple[Place, ...]:
        """Give the places that the egress rule allows, each under one form of its URL."""
        if self._fetcher is None:
            return ()
        found: dict[Place, None] = {}
        for place in wanted:
            with contextlib.suppress(UrlRefused):
                found[replace(place, url=self._fetcher.check(place.url).url)] = None
        return tuple(found)

    def _evidence(self, where: Sequence[Place]) -> Evidence:
        lists, answers = list(self._read.lists), list[OcspAnswer]()
        for place in dict.fromkeys((*self._configured, *where)):
            kept = self._kept.get(place)
            if kept is not None:
                lists += kept.lists
                answers += kept.answers
        return Evidence(lists, answers)

    def _note(self, path: Path, where: Sequence[Place]) -> None:
        """Mark what is used, and want what is lacking."""
        now = self._clock()
        for place in where:
            kept = self._kept.get(place)
            if kept is not None:
                kept.used_at = now
                self._kept.move_to_end(place)
            elif (
                place not in self._wanted
                and self._failed.get(place, 0.0) <= now
                and len(self._wanted) < MOST_WANTED
            ):
                self._wanted[place] = _Wanted(path, now + SPREAD_SECONDS * self._chance())
                self._news.set()

    def _due(self, now: float) -> list[tuple[Place, Path | None]]:
        """Give what is to be fetched now."""
        due = [(place, one.path) for place, one in self._wanted.items() if one.not_before <= now]
        due += [
            (place, None)
            for place in self._configured
            if place not in self._kept and self._failed.get(place, 0.0) <= now
        ]
        due += [
            (place, kept.path)
            for place, kept in self._kept.items()
            if kept.renew_at <= now and self._is_used(place, kept, now)
        ]
        return due

    def _is_used(self, place: Place, kept: _Kept, now: float) -> bool:
        return place in self._configured or now - kept.used_at < UNUSED_SECONDS

    def _pause(self, now: float) -> float:
        """Give the seconds until something may be due, at most a minute."""
        moments = [one.not_before for one in self._wanted.values()]
        moments += [kept.renew_at for kept in self._kept.values()]
        ahead = [moment - now for moment in moments if moment > now]
        return min([SHORTEST_SECONDS, *ahead])

    def _launch(self, place: Place, path: Path | None) -> asyncio.Task[None] | None:
        return self._flights.launch(place, lambda: self._fill(place, path))

    async def _fill(self, place: Place, path: Path | None) -> None:
        """Fetch and remember, or remember that it failed. Never raises of what came."""
        if self._fetcher is None:
            return
        # whatever happens, it is not begun again at once
        self._put_off(place)
        try:
            fetched = await self._fetcher.fetch(place.url)
            # a list has thousands of entries to index, and the calls go on meanwhile
            new = await asyncio.to_thread(_parsed, place, fetched.body, path)
        except (Malformed, Refused, Unavailable) as error:
            self._fail(place, error.message)
        else:
            self._keep(place, new)
        finally:
            self._wanted.pop(place, None)
            self._news.set()

    def _fail(self, place: Place, why: str) -> None:
        self._put_off(place)
        level = logging.WARNING if place in self._configured else logging.DEBUG
        log.log(level, "no revocation from %s: %s", place.url[:200], ascii(why))

    def _put_off(self, place: Place) -> None:
        """Do not fetch it again for a while."""
        soon = self._clock() + FAILURE_SECONDS * (1 + self._chance())
        kept = self._kept.get(place)
        if kept is not None:
            kept.renew_at = soon
            return
        self._failed[place] = soon
        self._failed.move_to_end(place)
        while len(self._failed) > MOST_REMEMBERED:
            self._failed.popitem(last=False)

    def _keep(self, place: Place, new: _Kept) -> None:
        """Remember what came, unless what is kept is better."""
        now = self._clock()
        trust = Trust(self._anchors(), self._read.signers)
        old = self._kept.get(place)
        if old is not None:
            new.path, new.used_at = old.path, old.used_at
        speaks = new.speaks(trust, now)
        if old is not None and now <= old.over_at and old.speaks(trust, now):
            if not speaks:
                self._fail(place, "it is not signed as the one before")
                return
            if _issued_at(new) < _issued_at(old):
                self._fail(place, "it is older than the one before")
                return
        part = 0.5 + 0.4 * self._chance()
        seconds = min(new.over_at - now, LONGEST_SECONDS) * part if speaks else 0.0
        new.used_at = max(new.used_at, now)
        new.renew_at = now + max(seconds, SHORTEST_SECONDS)
        self._kept[place] = new
        self._kept.move_to_end(place)
        self._failed.pop(place, None)
        self._generation += 1
        self._forget_beyond_bounds()

    def _forget_beyond_bounds(self) -> None:
        """Forget what was not used for longest, but nothing that the configuration names."""
        octets = sum(kept.octets for kept in self._kept.values())
        for place in [place for place in self._kept if place not in self._configured]:
            if len(self._kept) <= MOST_KEPT and octets <= MOST_KEPT_OCTETS:
                return
            octets -= self._kept.pop(place).octets


def _parsed(place: Place, body: bytes, path: Path | None) -> _Kept:
    """Parse what came. Raises ``MalformedCertificate`` or ``CertificateUnavailable``."""
    if place.kind is Kind.ANSWER:
        answer = parse_answer(body)
        return _Kept((), (answer,), answer.octets, answer.next_update, path, 0.0)
    lists = parse_lists(body)
    if len(lists) != 1:
        raise MalformedCertificate(f"{len(lists)} revocation lists at one place")
    return _Kept(lists, (), lists[0].octets, lists[0].next_update, path, 0.0)


def _issued_at(kept: _Kept) -> float:
    times = [one.this_update for one in kept.lists]
    return max([*times, *(single.this_update for one in kept.answers for single in one.singles)])
