"""The call placement service as an HTTP application (RFC 8816 section 9).

Takes requests; gives answers and problems (RFC 9457). It sees only sealed octets, keeps nothing on
a retrieval, and logs no number and no peer. What it holds is in ``store``, what it makes up in
``dummies``, how often one may ask in ``limits``; each resource has a module of its own; sockets and
TLS are in ``listening``.

The checks of a store, cheap ones first: peer's rate, path and number, method, rate of all, token,
content type, announced size, body, form.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from aiohttp import web

from pbx_stir.cps.answers import Failure, admit
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.issuing import Issuing
from pbx_stir.cps.keeping import Keeping
from pbx_stir.cps.limits import PeerBuckets, TokenBucket
from pbx_stir.cps.reporting import Reporting
from pbx_stir.cps.retrievals import Retrievals
from pbx_stir.cps.serving import Serving, Step
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import EntryStore, MemoryStore
from pbx_stir.cps.storing import Storing
from pbx_stir.cps.tally import Tally
from pbx_stir.cps.wire import Resource, Target
from pbx_stir.errors import StoreUnavailable

_ALLOW = {
    Resource.HEALTH: "GET, HEAD",
    Resource.COLLECTION: "GET, HEAD, POST",
    Resource.ITEM: "GET, HEAD",
    Resource.BULK: "GET, HEAD",
    Resource.BULK_ITEM: "GET, HEAD",
    Resource.KEYS: "GET, HEAD, PUT",
    Resource.BULK_KEYS: "GET, HEAD",
    Resource.TOKEN_KEYS: "GET, HEAD",
    Resource.TOKENS: "GET, HEAD, POST",
    Resource.REPORTS: "POST",
}
_log = logging.getLogger(__name__)


def build_service(
    settings: CpsSettings,
    store: EntryStore,
    now: Callable[[], float] = time.time,
    *,
    clock: Callable[[], float] = time.monotonic,
    tally: Tally | None = None,
) -> Serving:
    """Build the service.

    ``now`` is the wall clock, by which records expire; ``clock`` is one that never steps, by which
    rates are kept, and entries live and dummies come where the store has no clock of its own.
    ``tally`` counts what is answered.
    """
    service = _Service(settings, store, now, clock)
    if tally is not None:
        service.count_in(tally)
        tally.gauges["streams"] = service.streams
        if isinstance(store, MemoryStore):
            tally.gauges["entries"] = store.__len__
            tally.gauges["store_octets"] = lambda: store.octets
    return service


class _Service(Serving):
    """One CPS: what it answers to each resource and method."""

    def __init__(
        self,
        settings: CpsSettings,
        store: EntryStore,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(_ALLOW, settings.peer_rate, clock)
        self._store = store
        self._store_clock = store.clock or clock
        self._dummies = Dummies(store.lifetime_seconds, epoch_secrets=settings.secrets)
        self._retrievals = TokenBucket(settings.retrieval_rate, settings.retrieval_rate)
        self._stores = TokenBucket(settings.store_rate, settings.store_rate)
        self._puts = TokenBucket(settings.record_rate, settings.record_rate)
        self._puts_of_peers = PeerBuckets(
            settings.record_rate_of_a_peer, 2 * settings.record_rate_of_a_peer
        )
        self._keeping = Keeping.of(settings, now)
        self._retrieving = Retrievals(
            settings, store, self._dummies, clock=self._store_clock, now=now
        )
        self._issues = TokenBucket(settings.issue_rate, settings.issue_rate)
        self._issues_of_peers = PeerBuckets(
            settings.issue_rate_of_a_peer, 2 * settings.issue_rate_of_a_peer
        )
        self._issuing = Issuing.of(settings, now)
        self._storing = Storing(
            store,
            self._store_clock,
            now=now,
            checker=self._issuing.checker if self._issuing else None,
        )

        self._reporting = Reporting(
            store,
            self._store_clock,
            checker=self._issuing.checker if self._issuing else None,
            who=self._retrieving.who_reports,
            clock=clock,
        )

    async def _begin(self) -> None:
        try:
            await self._dummies.prepare(self._store_clock())
        except StoreUnavailable as error:
            # Retrievals are answered 503 until the store is there; nobody has to start us again.
            _log.warning("not prepared: %s", error)
        if self._issuing is not None:
            await self._issuing.begin()
        self._retrieving.begin()

    def _end(self) -> None:
        self._retrieving.end()

    def _close(self) -> None:
        if self._issuing is not None:
            self._issuing.end()

    def streams(self) -> int:
        """Count the streams of events."""
        return self._retrieving.subscribers

    async def _serve(
        self, target: Target, request: web.BaseRequest, peer: str
    ) -> web.StreamResponse:
        match target.resource, request.method:
            case (
                Resource.COLLECTION | Resource.ITEM | Resource.BULK | Resource.BULK_ITEM,
                "GET" | "HEAD",
            ):
                admit(self._retrievals.take(self._clock()))
                return await self._retrieve(target, request, peer)
            case Resource.COLLECTION, "POST":
                admit(self._stores.take(self._clock()))
                return await self._storing.add(target.number, request)
            case Resource.KEYS, "GET" | "HEAD":
                admit(self._retrievals.take(self._clock()))
                return await self._keeping.records(target.number)
            case Resource.BULK_KEYS, "GET" | "HEAD":
                admit(self._retrievals.take(self._clock()))
                return await self._keeping.under(target.number, request)
            case Resource.KEYS, "PUT":
                self._admit_alone(self._puts_of_peers, peer)
                admit(self._puts.take(self._clock()))
                return await self._keeping.put(target.number, request)
            case Resource.TOKEN_KEYS | Resource.TOKENS, "GET" | "HEAD" | "POST":
                return await self._tokens(target, request, peer)
            case Resource.REPORTS, "POST":
                admit(self._retrievals.take(self._clock()))
                return await self._reporting.take(target.number, request, peer)
        raise self.no_such_method(target)

    async def _tokens(
        self, target: Target, request: web.BaseRequest, peer: str
    ) -> web.StreamResponse:
        """Answer for storage tokens."""
        if self._issuing is None:
            raise Failure(404, "stores need no token here")
        match target.resource, request.method:
            case Resource.TOKENS, "POST":
                self._admit_alone(self._issues_of_peers, peer)
                admit(self._issues.take(self._clock()))
                return await self._issuing.issue(request)
            case Resource.TOKENS, _:
                admit(self._retrievals.take(self._clock()))
                return self._issuing.nonce()
            case Resource.TOKEN_KEYS, "GET" | "HEAD":
                admit(self._retrievals.take(self._clock()))
                return self._issuing.keys()
        raise self.no_such_method(target)

    def _admit_alone(self, buckets: PeerBuckets, peer: str) -> None:
        """Admit a peer before the rate of all: one that sends junk leaves that to others."""
        if peer:
            admit(buckets.take(peer, self._clock()))

    async def _retrieve(
        self, target: Target, request: web.BaseRequest, peer: str
    ) -> web.StreamResponse:
        """Answer a retrieval."""
        match target.resource:
            case Resource.ITEM:
                return await self._retrieving.item(target, request, peer)
            case Resource.BULK:
                return await self._retrieving.bulk(target, request, peer)
            case Resource.BULK_ITEM:
                return await self._retrieving.bulk_item(target, request, peer)
        return await self._retrieving.collection(target, request, peer)

    def _sweep(self) -> Sequence[Step]:
        now = self._store_clock()
        return [
            # first: what follows may need a secret that came while the store was lost
            lambda: self._dummies.prepare(now),
            lambda: self._dummies.sweep(now),
            lambda: self._issues_of_peers.sweep(self._clock()),
            lambda: self._puts_of_peers.sweep(self._clock()),
            self._retrieving.sweep,
            self._reporting.sweep,
            lambda: self._store.sweep(now),
            self._keeping.sweep,
            *([self._issuing.refresh] if self._issuing is not None else []),
        ]
