"""Remembers fetched certificate chains by their x5u URL.

Takes a URL and a moment to give up at, gives the whole chain as it was fetched and parsed. A hit is
given the same objects as the miss that filled it, so that it is judged in the same way: nothing
of a verdict is kept here. It does not know for which call it is asked.

How long a chain is kept is what its server says, within bounds. Once that time is over, the old
chain is still given for a while, and a new one is fetched in the background: certificates outlive
their Cache-Control, and a call does not wait for one that it may not need. A failure is remembered
briefly, so that a dead server costs one call and not each. All is bounded, the least used goes
first. Times are of the monotonic clock that is given.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from cryptography import x509

from pbx_stir.certificates.fetch import MOST_FETCHES, Fetched
from pbx_stir.certificates.single_flight import SingleFlight
from pbx_stir.errors import (
    CertificateUnavailable,
    MalformedCertificate,
    PbxStirError,
    Unavailable,
    UrlRefused,
)
from pbx_stir.stir.certificate import parse_pem_chain
from pbx_stir.stir.x5u import CheckedUrl

SHORTEST_SECONDS: Final = 60.0
LONGEST_SECONDS: Final = 86_400.0
DEFAULT_SECONDS: Final = 3_600.0
STALE_SECONDS: Final = 3_600.0
FAILURE_SECONDS: Final = 30.0
MOST_CHAINS: Final = 1_000
MOST_FAILURES: Final = 1_000

Chain = tuple[x509.Certificate, ...]
Value = TypeVar("Value")


class Fetcher(Protocol):
    """Fetches under the egress rule (certificates.fetch.X5uFetcher)."""

    def check(self, url: str) -> CheckedUrl:
        """Normalise, or refuse by the text of the URL alone. Raises ``UrlRefused``."""
        ...

    async def fetch(self, url: str) -> Fetched:
        """Fetch in bounded time. Raises ``UrlRefused`` or ``CertificateUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    chain: Chain
    fresh_until: float
    usable_until: float


@dataclass(frozen=True, slots=True)
class _Failure:
    kind: type[PbxStirError]
    message: str
    hint: str
    until: float


class CertificateCache:
    """Chains by URL, fetched when they are missing."""

    def __init__(self, fetcher: Fetcher, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds, on the same scale as every ``give_up_at``."""
        self._fetcher = fetcher
        self._clock = clock
        self._flights: SingleFlight[str, Chain] = SingleFlight(most=MOST_FETCHES, clock=clock)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._failures: OrderedDict[str, _Failure] = OrderedDict()

    def cached(self, x5u: str) -> bool:
        """Whether ``chain`` would answer at once, with a chain or with a failure it remembers."""
        try:
            url = self._fetcher.check(x5u).url
        except UrlRefused:
            return True
        now = self._clock()
        return self._find(url, now) is not None or self._failed(url, now) is not None

    async def chain(self, x5u: str, give_up_at: float) -> Chain:
        """Give the certificates that ``x5u`` names, as served; the path through them is not judged.

        Raises ``UrlRefused``, ``CertificateUnavailable`` (also at ``give_up_at``; the fetch goes on
        for the next call) and ``MalformedCertificate``.
        """
        url = self._fetcher.check(x5u).url
        now = self._clock()
        kept = self._find(url, now)
        failure = self._failed(url, now)
        if kept is not None:
            if now >= kept.fresh_until and failure is None:
                self._flights.launch(url, lambda: self._fill(url))
            return kept.chain
        if failure is not None:
            raise failure.kind(failure.message, hint=failure.hint)
        try:
            return await self._flights.join(url, lambda: self._fill(url), give_up_at)
        except CertificateUnavailable:
            raise
        except Unavailable as error:
            raise CertificateUnavailable(f"cannot get {url}: {error}") from error

    async def close(self) -> None:
        """Break off the fetches under way; the fetcher is its maker's to close."""
        await self._flights.close()

    async def _fill(self, url: str) -> Chain:
        """Fetch, parse and remember, or remember why not."""
        try:
            fetched = await self._fetcher.fetch(url)
            chain = parse_pem_chain(fetched.body)
        except (UrlRefused, CertificateUnavailable, MalformedCertificate) as error:
            until = self._clock() + FAILURE_SECONDS
            failure = _Failure(type(error), error.message, error.hint, until)
            _put(self._failures, url, failure, MOST_FAILURES)
            raise
        now = self._clock()
        seconds = DEFAULT_SECONDS if fetched.max_age_seconds is None else fetched.max_age_seconds
        fresh_until = now + min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
        _put(self._kept, url, _Kept(chain, fresh_until, fresh_until + STALE_SECONDS), MOST_CHAINS)
        self._failures.pop(url, None)
        return chain

    def _find(self, url: str, now: float) -> _Kept | None:
        kept = self._kept.get(url)
        if kept is None:
            return None
        if now >= kept.usable_until:
            del self._kept[url]
            return None
        self._kept.move_to_end(url)
        return kept

    def _failed(self, url: str, now: float) -> _Failure | None:
        failure = self._failures.get(url)
        if failure is None or now < failure.until:
            return failure
        del self._failures[url]
        return None


def _put(memory: OrderedDict[str, Value], key: str, value: Value, most: int) -> None:
    """Remember one more, and forget the least used beyond ``most``."""
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)
