"""The call placement service as an HTTP application (RFC 8816 section 9).

Takes requests; gives answers and problems (RFC 9457). It sees only sealed octets, keeps nothing on
a retrieval, and logs no number and no peer. What it holds is in ``store``, what it makes up in
``dummies``, how often one may ask in ``limits``; sockets and TLS are in ``listening``.

The checks of a store, cheap ones first: peer's rate, path and number, method, rate of all, token,
content type, announced size, body, form.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from pbx_stir.cps import wire
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.limits import PeerBuckets, TokenBucket, peer_name
from pbx_stir.cps.records import RecordShelf, Shelved
from pbx_stir.cps.store import (
    DEFAULT_LIFETIME_SECONDS,
    DEFAULT_MAX_OCTETS,
    MAX_ENTRIES_OF_A_NUMBER,
    Entry,
    MemoryStore,
)
from pbx_stir.cps.wire import Resource, Target
from pbx_stir.errors import Malformed, MalformedNumber, Refused
from pbx_stir.stir import sealing
from pbx_stir.stir.certificate import Anchors, SpcPolicy

MAX_RECORD_OCTETS = 32 * 1024
BODY_SECONDS = 5.0
WRITE_SECONDS = 10.0
SWEEP_SECONDS = 1.0
SERVER_NAME = "pbx-stir"
_ALLOW = {
    Resource.HEALTH: "GET, HEAD",
    Resource.COLLECTION: "GET, HEAD, POST",
    Resource.ITEM: "GET, HEAD",
    Resource.KEYS: "GET, HEAD, PUT",
}
# What to await for the requests under way to end, before their connections are closed.
DRAINED: web.AppKey[Callable[[], Awaitable[bool]]] = web.AppKey("DRAINED")
_log = logging.getLogger(__name__)
_peer_name = functools.lru_cache(maxsize=1024)(peer_name)


@dataclass(frozen=True, slots=True)
class CpsSettings:
    """How a CPS runs. Rates are requests a second, bursts are one second's worth.

    ``tokens`` demands storage tokens (RFC 8816 section 7.5); ``anchors`` are whose records are
    kept, None keeps none. ``certificate`` and ``key`` are PEM files. Peers on loopback have no
    rate and no limit of connections of their own. Checked where it is used: ``listening``.
    """

    host: str = "127.0.0.1"
    port: int = 8480
    tls: bool = True
    certificate: str = ""
    key: str = ""
    tokens: bool = True
    lifetime_seconds: int = DEFAULT_LIFETIME_SECONDS
    max_entries_of_a_number: int = MAX_ENTRIES_OF_A_NUMBER
    max_octets: int = DEFAULT_MAX_OCTETS
    retrieval_rate: float = 10_000.0
    store_rate: float = 10_000.0
    record_rate: float = 100.0
    peer_rate: float = 1_000.0
    max_connections: int = 4_096
    max_connections_of_a_peer: int = 256
    anchors: Anchors | None = None
    spc_policy: SpcPolicy = field(default_factory=SpcPolicy)

    def new_store(self) -> MemoryStore:
        """Make the store that these settings describe."""
        return MemoryStore(
            self.lifetime_seconds,
            max_entries_of_a_number=self.max_entries_of_a_number,
            max_octets=self.max_octets,
        )


def build_application(
    settings: CpsSettings,
    store: MemoryStore,
    now: Callable[[], float] = time.time,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> web.Application:
    """Build the application.

    ``now`` is the wall clock, by which records expire; ``clock`` is one that never steps, by which
    entries live, dummies come and rates are kept.
    """
    service = _Service(settings, store, now, clock)
    application = web.Application(middlewares=[_failures_as_problems])
    # One route: paths are told apart before they are decoded, see wire.parse_target.
    application.router.add_route("*", "/{path:.*}", service.answer, expect_handler=_continue_later)
    application.cleanup_ctx.append(service.sweeping)
    application[DRAINED] = service.drained
    return application


class _Failure(Exception):
    """A request that ends in a problem; it never leaves this module."""

    def __init__(self, status: int, detail: str, *, close: bool = False, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.close = close
        self.headers = headers


class _Answer(web.Response):
    """An answer that a peer has to take within ``WRITE_SECONDS``."""

    _transport: asyncio.Transport | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Remember what to give up, and go on."""
        self._transport = request.transport
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the rest, or give the connection up."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await super().write_eof(data)
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()
            raise ConnectionResetError("a peer does not take its answer") from None


def answer(status: int, body: bytes = b"", content_type: str = "", **headers: str) -> web.Response:
    """Make an answer: the same headers in the same order for all of one status and resource."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        named["Content-Type"] = content_type
    named["Cache-Control"] = "no-store"
    named["Server"] = SERVER_NAME
    return _Answer(status=status, body=body, headers=named)


def problem(status: int, detail: str, **headers: str) -> web.Response:
    """Make an answer that says what is wrong. Source: RFC 9457."""
    return answer(status, wire.format_problem(status, detail), wire.PROBLEM_TYPE, **headers)


@web.middleware
async def _failures_as_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn whatever goes wrong into a problem, and say nothing of the request in the log."""
    try:
        return await handler(request)
    except _Failure as failure:
        response = problem(failure.status, failure.detail, **failure.headers)
        if failure.close:
            response.force_close()
        return response
    except web.HTTPException as error:
        return problem(405 if error.status == 405 else 404, "there is no such resource")
    except Exception as error:
        # Neither message nor traceback: both may quote a number.
        _log.error("a request failed: %s", type(error).__name__)
        return problem(503, "the service failed to answer", Retry_After="1")


async def _continue_later(request: web.Request) -> None:
    """Do not ask for a body yet: the checks that need none come first (RFC 9110 section 10.1.1)."""


class _Service:
    """One CPS: what it answers to each resource and method."""

    def __init__(
        self,
        settings: CpsSettings,
        store: MemoryStore,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._tokens = settings.tokens
        self._store = store
        self._now = now
        self._clock = clock
        self._dummies = Dummies(store.lifetime_seconds)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._retrievals = TokenBucket(settings.retrieval_rate, settings.retrieval_rate)
        self._stores = TokenBucket(settings.store_rate, settings.store_rate)
        self._puts = TokenBucket(settings.record_rate, settings.record_rate)
        self._peers = PeerBuckets(settings.peer_rate, settings.peer_rate)
        self._records = (
            RecordShelf(settings.anchors, settings.spc_policy, allow_plain=not settings.tls)
            if settings.anchors
            else None
        )

    async def sweeping(self, _application: web.Application) -> AsyncIterator[None]:
        """Free what has expired every second, as long as the application runs."""
        task = asyncio.create_task(self._sweep_for_ever())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def drained(self) -> bool:
        """Wait until no request is under way."""
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
            _admit(self._peers.take(peer, self._clock()))
        try:
            target = wire.parse_target(request.rel_url.raw_path)
        except MalformedNumber:
            raise _Failure(400, "the path does not name a telephone number") from None
        if target is None:
            raise _Failure(404, "there is no such resource")
        match target.resource, request.method:
            case Resource.COLLECTION, "GET" | "HEAD":
                return self._list(target.number, request)
            case Resource.ITEM, "GET" | "HEAD":
                return self._item(target)
            case Resource.COLLECTION, "POST":
                return await self._add(target.number, request)
            case Resource.KEYS, "GET" | "HEAD":
                return self._list_records(target.number)
            case Resource.KEYS, "PUT":
                return await self._put_record(target.number, request)
            case Resource.HEALTH, "GET" | "HEAD":
                return answer(200, b'{"status":200,"message":"OK"}', wire.JSON_TYPE)
        raise _Failure(405, "the resource has no such method", Allow=_ALLOW[target.resource])

    def _list(self, number: str, request: web.Request) -> web.Response:
        """List a collection, newest first; it is never empty (RFC 8816 section 6.2)."""
        now = self._clock()
        _admit(self._retrievals.take(now))
        if request.rel_url.raw_query_string and request.query.get("expand") == "1":
            entries = self._entries(number, now)
            body = wire.format_expanded(number, ((each.id, each.wire) for each in entries))
            return answer(200, body, wire.JSON_TYPE)
        ids = self._ids(number, now)
        if wire.prefers_uri_list(request.headers.get("Accept", "")):
            return answer(200, wire.format_uri_list(number, ids), wire.URI_LIST_TYPE)
        return answer(200, wire.format_list(number, ids), wire.JSON_TYPE)

    def _item(self, target: Target) -> web.Response:
        """Give one entry; the whole collection is made for any, so that all cost the same."""
        now = self._clock()
        _admit(self._retrievals.take(now))
        entries = {entry.id: entry for entry in self._entries(target.number, now)}
        entry = entries.get(target.id)
        if entry is None:
            raise _Failure(404, "there is no such passport, or no longer")
        link = f'<{wire.collection_path(target.number)}>; rel="collection"'
        return answer(200, entry.wire, wire.PASSPORT_TYPE, Link=link)

    async def _add(self, number: str, request: web.Request) -> web.Response:
        """Store one sealed PASSporT."""
        _admit(self._stores.take(self._clock()))
        if self._tokens:
            raise _Failure(
                401,
                "this service stores only with a storage token, and issues none yet",
                WWW_Authenticate="StorageToken",
            )
        _require_type(request, wire.PASSPORT_TYPE)
        body = await _read(request, sealing.MAX_WIRE_OCTETS)
        try:
            blob = sealing.from_wire(body)
        except Malformed:
            raise _Failure(400, "the body is not base64url") from None
        if not sealing.looks_sealed(blob):
            detail = f"a sealed passport has {sealing.SEALED_OCTETS} octets"
            raise _Failure(413 if len(blob) > sealing.SEALED_OCTETS else 400, detail)
        # Written anew: folded lines would tell a real entry from a dummy.
        entry_id = self._store.add(number, sealing.to_wire(blob), self._clock())
        return answer(201, Location=wire.item_path(number, entry_id))

    def _list_records(self, number: str) -> web.Response:
        """Give the signed records of a number."""
        _admit(self._retrievals.take(self._clock()))
        tokens = self._records.tokens(number, self._now()) if self._records else ()
        return answer(200, wire.format_records(tokens), wire.JSON_TYPE)

    async def _put_record(self, number: str, request: web.Request) -> web.Response:
        """Take a signed record, which is its own authorisation."""
        _admit(self._puts.take(self._clock()))
        if self._records is None:
            raise _Failure(503, "no anchors are configured, so no record can be checked")
        _require_type(request, wire.RECORD_TYPE)
        body = await _read(request, MAX_RECORD_OCTETS)
        try:
            shelved = self._records.put(number, body.decode("ascii").strip(), self._now())
        except (Malformed, UnicodeDecodeError):
            raise _Failure(400, "the body is not a signed record") from None
        except Refused as error:
            raise _Failure(400, f"the record is refused: {error.message}") from None
        match shelved:
            case Shelved.KEPT:
                return answer(204)
            case Shelved.NOT_NEWER | Shelved.TOO_MANY:
                raise _Failure(409, shelved.value)
            case Shelved.FULL:
                raise _Failure(503, shelved.value, Retry_After="60")
            case Shelved.NOT_THIS_NUMBER:
                raise _Failure(400, shelved.value)

    def _entries(self, number: str, now: float) -> list[Entry]:
        """Give real entries and dummies alike, newest first."""
        entries = [*self._store.entries(number, now), *self._dummies.entries(number, now)]
        entries.sort(key=lambda entry: (-entry.arrival, entry.id))
        return entries[: wire.MAX_LISTED]

    def _ids(self, number: str, now: float) -> list[str]:
        """Give the ids of the same, without the work that the dummies' octets cost."""
        real = [(entry.arrival, entry.id) for entry in self._store.entries(number, now)]
        both = sorted(real + self._dummies.ids(number, now), key=lambda each: (-each[0], each[1]))
        return [entry_id for _, entry_id in both[: wire.MAX_LISTED]]

    async def _sweep_for_ever(self) -> None:
        """Keep promises of lifetime also where nobody asks."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._clock()
            self._store.sweep(now)
            self._dummies.sweep(now)
            self._peers.sweep(now)
            if self._records is not None:
                self._records.sweep(self._now())


def _admit(wait_seconds: float) -> None:
    """Let a request pass, or tell it when to come again. Source: RFC 6585 section 4."""
    if wait_seconds > 0:
        raise _Failure(429, "too many requests", Retry_After=str(int(wait_seconds) + 1))


def _require_type(request: web.Request, wanted: str) -> None:
    """Refuse a body of another type, or one in a coding that would have to be undone."""
    types = request.headers.getall("Content-Type", [])
    if len(types) != 1 or wire.media_type(types[0]) != wanted:
        raise _Failure(415, f"the content type is not {wanted}", Accept=wanted)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _Failure(415, "the body must have no content coding", Accept_Encoding="identity")


async def _read(request: web.Request, limit: int) -> bytes:
    """Read a body of at most ``limit`` octets, within ``BODY_SECONDS``."""
    if (request.content_length or 0) > limit:
        raise _Failure(413, f"at most {limit} octets", close=True)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise _Failure(413, f"at most {limit} octets", close=True)
    except TimeoutError:
        raise _Failure(400, "the body did not arrive in time", close=True) from None
    except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, ConnectionError, EOFError):
        raise _Failure(400, "the body cannot be read", close=True) from None
    return bytes(body)
