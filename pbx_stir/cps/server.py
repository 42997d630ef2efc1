"""The call placement service as an HTTP application (RFC 8816 section 9).

Takes requests; gives answers and problems (RFC 9457). It sees only sealed octets, keeps nothing on
a retrieval, and logs no number and no peer. What it holds is in ``store``, what it makes up in
``dummies``, how often one may ask in ``limits``; each resource has a module of its own; sockets and
TLS are in ``listening``.

The checks of a store, cheap ones first: peer's rate, path and number, method, rate of all, token,
content type, announced size, body, form.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, admit, answer, failures_as_problems
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.issuing import Issuing
from pbx_stir.cps.keeping import Keeping
from pbx_stir.cps.limits import PeerBuckets, TokenBucket, peer_name
from pbx_stir.cps.retrievals import Retrievals
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import EntryStore, MemoryStore
from pbx_stir.cps.storing import Storing
from pbx_stir.cps.tally import Tally
from pbx_stir.cps.wire import Resource, Target
from pbx_stir.errors import MalformedNumber, StoreUnavailable

SWEEP_SECONDS = 1.0
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
}
# What to await for the requests under way to end, before their connections are closed.
DRAINED: web.AppKey[Callable[[], Awaitable[bool]]] = web.AppKey("DRAINED")
_log = logging.getLogger(__name__)
_peer_name = functools.lru_cache(maxsize=1024)(peer_name)


def build_application(
    settings: CpsSettings,
    store: EntryStore,
    now: Callable[[], float] = time.time,
    *,
    clock: Callable[[], float] = time.monotonic,
    tally: Tally | None = None,
) -> web.Application:
    """Build the application.

    ``now`` is the wall clock, by which records expire; ``clock`` is one that never steps, by which
    rates are kept, and entries live and dummies come where the store has no clock of its own.
    ``tally`` counts what is answered.
    """
    service = _Service(settings, store, now, clock)
    if tally is not None:
        tally.gauges["streams"] = service.streams
        if isinstance(store, MemoryStore):
            tally.gauges["entries"] = store.__len__
            tally.gauges["store_octets"] = lambda: store.octets
    counted = _counting(tally) if tally is not None else []
    application = web.Application(middlewares=[*counted, failures_as_problems])
    # One route: paths are told apart before they are decoded, see wire.parse_target.
    application.router.add_route("*", "/{path:.*}", service.answer, expect_handler=_continue_later)
    application.cleanup_ctx.append(service.sweeping)
    application[DRAINED] = service.drained
    return application


def _counting(tally: Tally) -> list[Middleware]:
    @web.middleware
    async def counting(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        try:
            target = wire.parse_target(request.rel_url.raw_path)
        except MalformedNumber:
            target = None
        resource = target.resource.value if target else ""
        tally.answered(resource, request.method, response.status)
        return response

    return [counting]


async def _continue_later(request: web.Request) -> None:
    """Do not ask for a body yet: the checks that need none come first (RFC 9110 section 10.1.1)."""


class _Service:
    """One CPS: what it answers to each resource and method."""

    def __init__(
        self,
        settings: CpsSettings,
        store: EntryStore,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._clock = clock
        self._store_clock = store.clock or clock
        self._dummies = Dummies(store.lifetime_seconds, epoch_secrets=settings.secrets)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._retrievals = TokenBucket(settings.retrieval_rate, settings.retrieval_rate)
        self._stores = TokenBucket(settings.store_rate, settings.store_rate)
        self._puts = TokenBucket(settings.record_rate, settings.record_rate)
        self._peers = PeerBuckets(settings.peer_rate, settings.peer_rate)
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

    async def sweeping(self, _application: web.Application) -> AsyncIterator[None]:
        """Free what has expired every second, as long as the application runs."""
        try:
            await self._dummies.prepare(self._store_clock())
        except StoreUnavailable as error:
            # Retrievals are answered 503 until the store is there; nobody has to start us again.
            _log.warning("not prepared: %s", error)
        if self._issuing is not None:
            await self._issuing.begin()
        self._retrieving.begin()
        task = asyncio.create_task(self._sweep_for_ever())
        yield
        self._retrieving.end()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._issuing is not None:
            self._issuing.end()

    def streams(self) -> int:
        """Count the streams of events."""
        return self._retrieving.subscribers

    async def drained(self) -> bool:
        """End the streams, and wait until no request is under way."""
        self._retrieving.end()
        return await self._idle.wait()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._answer(request)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Check, in the order above, and hand on."""
        peer = _peer_name(request.remote or "")
        if peer:
            admit(self._peers.take(peer, self._clock()))
        try:
            target = wire.parse_target(request.rel_url.raw_path)
        except MalformedNumber:
            raise Failure(400, "the path does not name a telephone number") from None
        if target is None:
            raise Failure(404, "there is no such resource")
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
                admit(self._puts.take(self._clock()))
                return await self._keeping.put(target.number, request)
            case Resource.TOKEN_KEYS | Resource.TOKENS, "GET" | "HEAD" | "POST":
                return await self._tokens(target, request, peer)
            case Resource.HEALTH, "GET" | "HEAD":
                return answer(200, b'{"status":200,"message":"OK"}', wire.JSON_TYPE)
        raise Failure(405, "the resource has no such method", Allow=_ALLOW[target.resource])

    async def _tokens(self, target: Target, request: web.Request, peer: str) -> web.StreamResponse:
        """Answer for storage tokens."""
        if self._issuing is None:
            raise Failure(404, "stores need no token here")
        match target.resource, request.method:
            case Resource.TOKENS, "POST":
                if peer:
                    # one that asks for nothing useful leaves the rate of all to others
                    admit(self._issues_of_peers.take(peer, self._clock()))
                admit(self._issues.take(self._clock()))
                return await self._issuing.issue(request)
            case Resource.TOKENS, _:
                admit(self._retrievals.take(self._clock()))
                return self._issuing.nonce()
            case Resource.TOKEN_KEYS, "GET" | "HEAD":
                admit(self._retrievals.take(self._clock()))
                return self._issuing.keys()
        raise Failure(405, "the resource has no such method", Allow=_ALLOW[target.resource])

    async def _retrieve(
        self, target: Target, request: web.Request, peer: str
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

    async def _sweep_for_ever(self) -> None:
        """Keep promises of lifetime also where nobody asks."""
        failing = False
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self._sweep()
                failing = False
            except StoreUnavailable as error:
                if not failing:
                    _log.warning("not swept: %s", error)
                failing = True

    async def _sweep(self) -> None:
        self._peers.sweep(self._clock())
        self._issues_of_peers.sweep(self._clock())
        self._retrieving.sweep()
        now = self._store_clock()
        self._dummies.sweep(now)
        await self._dummies.prepare(now)
        await self._store.sweep(now)
        await self._keeping.sweep()
        if self._issuing is not None:
            await self._issuing.refresh()
