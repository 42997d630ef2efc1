"""The client of call placement services: stores, retrieves, publishes and looks up records.

Takes CPS URLs, canonical numbers and sealed octets; gives results. In the call path nothing raises
and nothing waits beyond the caller's deadline. What a CPS answers is taken for hostile: bounded in
size, not decompressed, not redirected, no cookies, no proxy from the environment.
Source: RFC 8816 section 9 (interface), RFC 9888 sections 5 and 6.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from pbx_stir.cps import wire
from pbx_stir.cps.connector import BoundedConnector
from pbx_stir.cps.origin import CpsUrl, parse_cps_url
from pbx_stir.cps.resolver import BoundedResolver
from pbx_stir.errors import CpsRefused, CpsUnavailable, Malformed, PbxStirError
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import Answer, StoreResult
from pbx_stir.stir import sealing
from pbx_stir.stir.x5u import EgressRule, is_global_address

MAX_ANSWER_OCTETS = 1024 * 1024
# Below what servers keep (ours 75 s): a store on a connection just closed would be lost.
KEEP_ALIVE_SECONDS = 15.0
_CONNECTIONS_OF_A_CPS = 512
_ITEMS_AT_A_TIME = 16
_DNS_SECONDS = 60
_MAX_HEADERS = 64
_GONE = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer that has been read whole."""

    status: int
    body: bytes
    content_type: str
    clock_offset: float | None


@dataclass(slots=True)
class _Attempt:
    """Whether a request went over a connection that was there before."""

    reused: bool = False


class CpsClient:
    """Speaks to any number of CPSs at the same time, over connections that are kept.

    ``tls`` is the context for https, None the system's trust. ``allow_plain`` allows http to
    loopback. With an ``egress`` rule each URL is a stranger's unless the rule names its origin:
    then its address must be global. ``clock`` is what ``give_up_at`` is a moment of, ``now`` the
    wall clock. Belongs to the event loop that uses it first; ``close`` it there.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        allow_plain: bool = False,
        max_answer_octets: int = MAX_ANSWER_OCTETS,
        egress: EgressRule | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tls = tls
        self._allow_plain = allow_plain
        self._max_answer_octets = max_answer_octets
        self._egress = egress
        self._clock = clock
        self._now = now
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store every blob at every CPS at the same time; see ``CallPlacement``. Never raises."""
        return await asyncio.gather(
            *(self._store_at(each, number, blobs, give_up_at) for each in cps)
        )

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        """Give one answer a (CPS, number) as they arrive, at ``give_up_at`` what is known.

        Never raises. Close the generator (``contextlib.aclosing``) to cancel what has not answered.
        """
        tasks = [
            asyncio.create_task(self._retrieve_from(cps, number, give_up_at))
            for cps, number in wanted
        ]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def get_records(self, cps: str, number: str, give_up_at: float) -> tuple[str, ...]:
        """Fetch a number's signed records, not checked in any way.

        Raises ``CpsUnavailable``, ``CpsRefused``, ``MalformedAnswer``, ``UrlRefused``.
        """
        origin = self._origin(cps)
        async with self._deadline(give_up_at):
            reply = await self._send(origin, "GET", wire.keys_path(number))
        return wire.parse_records(_expect(reply, 200).body)

    async def put_record(self, cps: str, number: str, token: str, give_up_at: float) -> None:
        """Publish a signed record under a number.

        Raises ``CpsUnavailable``, ``CpsRefused`` (409: the CPS has a newer one), ``UrlRefused``.
        """
        origin = self._origin(cps)
        async with self._deadline(give_up_at):
            reply = await self._send(
                origin, "PUT", wire.keys_path(number), token.encode("ascii"), wire.RECORD_TYPE
            )
        _expect(reply, 200, 201, 204)

    async def clock_offset(self, cps: str, give_up_at: float) -> float | None:
        """Ask how far a CPS's clock is ahead of ours, in seconds; None where it does not say.

        Raises ``CpsUnavailable``, ``CpsRefused``, ``UrlRefused``.
        """
        origin = self._origin(cps)
        async with self._deadline(give_up_at):
            reply = await self._send(origin, "GET", "/health")
        return _expect(reply, 200).clock_offset

    async def _store_at(
        self, cps: str, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> StoreResult:
        """Store all blobs at one CPS; the worst of what it says is the result."""
        results = await asyncio.gather(
            *(self._store_one(cps, number, b, give_up_at) for b in blobs)
        )
        failed = [each for each in results if each.reason is not Reason.STORED]
        return (failed or results or [StoreResult(cps, Reason.STORED, "nothing to store")])[0]

    async def _store_one(
        self, cps: str, number: str, blob: bytes, give_up_at: float
    ) -> StoreResult:
        """Store one blob at one CPS."""
        path = wire.collection_path(number)
        try:
            origin = self._origin(cps)
            async with self._deadline(give_up_at):
                reply = await self._send(
                    origin, "POST", path, sealing.to_wire(blob), wire.PASSPORT_TYPE
                )
        except PbxStirError as error:
            return StoreResult(cps, Reason.CPS_UNAVAILABLE, error.message)
        try:
            _expect(reply, 201)
        except CpsRefused as error:
            reason = Reason.NO_TOKENS if error.status == 401 else Reason.CPS_REFUSED
            return StoreResult(cps, reason, error.message, reply.clock_offset)
        except CpsUnavailable as error:
            return StoreResult(cps, Reason.CPS_UNAVAILABLE, error.message, reply.clock_offset)
        return StoreResult(cps, Reason.STORED, "", reply.clock_offset)

    async def _retrieve_from(self, cps: str, number: str, give_up_at: float) -> Answer:
        """Retrieve all that one CPS has for a number, in one request where it knows how."""
        wires: list[bytes] = []
        reply: _Reply | None = None
        reason: Reason | None = None
        detail = ""
        try:
            origin = self._origin(cps)
            async with self._deadline(give_up_at):
                reply = await self._send(origin, "GET", f"{wire.collection_path(number)}?expand=1")
                listed = wire.parse_list(_expect(reply, 200).body, reply.content_type)
                wires += [each.wire for each in listed if each.wire is not None]
                hrefs = [each.href for each in listed if each.wire is None]
                if hrefs:
                    await self._fetch_items(origin, hrefs, wires)
        except CpsRefused as error:
            reason, detail = Reason.CPS_REFUSED, error.message
        except PbxStirError as error:
            # What came before the deadline may be what the call waits for.
            reason, detail = None if wires else Reason.CPS_UNAVAILABLE, error.message
        blobs = _decode(wires)
        skipped = len(wires) - len(blobs)
        if skipped and not detail:
            detail = f"{skipped} entries cannot be decoded"
        return Answer(cps, number, blobs, reason, detail, reply.clock_offset if reply else None)

    async def _fetch_items(self, origin: CpsUrl, hrefs: list[str], wires: list[bytes]) -> None:
        """Fetch entries one by one where only paths are listed; those that fail are left out."""
        room = asyncio.Semaphore(_ITEMS_AT_A_TIME)

        async def fetch(href: str) -> None:
            async with room:
                try:
                    with _failures_mapped():
                        # One answer must not become larger because it comes in pieces.
                        reply = await self._send(
                            origin, "GET", origin.path_of(href), limit=sealing.MAX_WIRE_OCTETS
                        )
                except PbxStirError:
                    return
            if reply.status == 200:
                wires.append(reply.body)

        async with asyncio.TaskGroup() as group:
            for href in hrefs:
                group.create_task(fetch(href))

    def _origin(self, cps: str) -> CpsUrl:
        """Parse and judge a CPS's URL. Raises ``UrlRefused``."""
        return parse_cps_url(cps, allow_plain=self._allow_plain, egress=self._egress)

    @asynccontextmanager
    async def _deadline(self, give_up_at: float) -> AsyncIterator[None]:
        """Turn whatever goes wrong on the way into ``CpsUnavailable``, the deadline too."""
        with _failures_mapped():
            async with asyncio.timeout(max(0.0, give_up_at - self._clock())):
                yield

    async def _send(
        self,
        origin: CpsUrl,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "",
        *,
        limit: int = 0,
    ) -> _Reply:
        """Send one request and read its answer; once more if its kept connection was just closed.

        A server may close a connection while a request is under way to it; it has not read that
        request then, and storing it twice would do no harm. aiohttp does the same for GET and PUT.
        """
        attempt = _Attempt()
        headers = {"Accept": wire.JSON_TYPE, "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = content_type
        arguments: dict[str, Any] = {
            "data": body,
            "headers": headers,
            "allow_redirects": False,
            "trace_request_ctx": attempt,
        }
        session = self._session(guarded=origin.guarded)
        url = origin.url(path)
        try:
            async with session.request(method, url, **arguments) as response:
                return await self._read(response, limit or self._max_answer_octets)
        except _GONE as error:
            refused = isinstance(error, aiohttp.ClientConnectorError)
            if not attempt.reused or refused or method != "POST":
                raise
        async with session.request(method, url, **arguments) as response:
            return await self._read(response, limit or self._max_answer_octets)

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> _Reply:
        """Read an answer up to the limit. Raises ``CpsUnavailable`` for more, or for a coding."""
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise CpsUnavailable("the answer has a content coding that was not asked for")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise CpsUnavailable(f"the answer has more than {limit} octets")
        said = wire.parse_date(response.headers.get("Date", ""))
        # A Date is cut to whole seconds: on average it is half a second late.
        offset = None if said is None else said + 0.5 - self._now()
        content_type = response.headers.get("Content-Type", "")
        return _Reply(response.status, bytes(body), content_type, offset)

    def _session(self, *, guarded: bool) -> aiohttp.ClientSession:
        """Give the session for configured CPSs, or the one whose addresses must be global."""
        session = self._sessions.get(guarded)
        if session is None:
            connector = BoundedConnector(
                ssl=self._tls if self._tls is not None else True,
                resolver=BoundedResolver(is_allowed=is_global_address if guarded else None),
                ttl_dns_cache=_DNS_SECONDS,
                limit=0,
                limit_per_host=_CONNECTIONS_OF_A_CPS,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
            )
            session = self._sessions[guarded] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trust_env=False,
                auto_decompress=False,
                max_headers=_MAX_HEADERS,
                raise_for_status=False,
                trace_configs=[_tracing()],
                skip_auto_headers=("User-Agent",),
            )
        return session


@contextmanager
def _failures_mapped() -> Iterator[None]:
    """Turn what aiohttp, ssl, sockets and URLs raise into ``CpsUnavailable``."""
    try:
        yield
    except PbxStirError:
        raise
    except TimeoutError:
        raise CpsUnavailable("no answer in time") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise CpsUnavailable(f"tls: {_first_line(error.certificate_error)}") from error
    except Exception as error:
        # In the call path nothing may raise, whatever it was.
        raise CpsUnavailable(f"{type(error).__name__}: {_first_line(error)}") from error


def _tracing() -> aiohttp.TraceConfig:
    """Note on each attempt whether its connection had been used before."""
    config = aiohttp.TraceConfig()

    async def reused(
        _session: aiohttp.ClientSession,
        context: Any,
        _parameters: aiohttp.TraceConnectionReuseconnParams,
    ) -> None:
        context.trace_request_ctx.reused = True

    config.on_connection_reuseconn.append(reused)
    return config


def _expect(reply: _Reply, *statuses: int) -> _Reply:
    """Give a reply that has one of these statuses; raise for any other what it stands for."""
    if reply.status in statuses:
        return reply
    said = wire.parse_problem(reply.body)
    message = f"status {reply.status}: {said}" if said else f"status {reply.status}"
    if 400 <= reply.status < 500:
        raise CpsRefused(message, status=reply.status)
    raise CpsUnavailable(message)


def _decode(wires: Sequence[bytes]) -> tuple[bytes, ...]:
    """Decode what is base64url, and leave out what is not: anybody may have stored it."""
    blobs = []
    for each in wires:
        try:
            blobs.append(sealing.from_wire(each))
        except Malformed:
            continue
    return tuple(blobs)


def _first_line(error: BaseException) -> str:
    """Give the beginning of what an exception says, on one line."""
    return " ".join(str(error).split())[:160]
