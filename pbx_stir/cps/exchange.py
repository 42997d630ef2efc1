"""HTTP exchanges with CPSs for one purpose: connections that no other purpose uses.

Takes CPS URLs and requests, gives ``Reply`` values that were read whole. What is sent under a name
(token requests, retrievals of our own numbers) and what is sent without one (stores, look-ups) go
through exchanges of their own, so that no connection, TLS session, cookie or proxy ties the one to
the other. What a CPS answers is taken for hostile: bounded in size, not decompressed, not
redirected, no cookies, no proxy from the environment.
Source: RFC 8816 sections 7.5 ("connects to the CPS anonymously") and 13.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp

from pbx_stir.cps import wire
from pbx_stir.cps.connector import BoundedConnector
from pbx_stir.cps.origin import CpsUrl, parse_cps_url
from pbx_stir.cps.proxy import Proxy, SocksConnector
from pbx_stir.cps.resolver import BoundedResolver
from pbx_stir.errors import CpsRefused, CpsUnavailable, PbxStirError
from pbx_stir.stir.x5u import EgressRule, is_global_address

MAX_ANSWER_OCTETS: Final = 1024 * 1024
# Below what servers keep (ours 75 s): a store on a connection just closed would be lost.
KEEP_ALIVE_SECONDS: Final = 15.0
# A clock of ours that is wrong is a mark, and so is a Date that a CPS invents: it may move ours in
# few and large steps only, half of which a CPS's window for proofs still forgives.
CLOCK_STEP_SECONDS: Final = 30.0
MOST_CLOCK_SECONDS: Final = 600.0
_MOST_RETRY_SECONDS = 86_400
_MOST_OFFSETS = 1024
_CONNECTIONS_OF_A_CPS = 512
_DNS_SECONDS = 60
_MAX_HEADERS = 64
_log = logging.getLogger(__name__)
_GONE = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that has been read whole.

    ``resent``: the request was sent a second time, because its connection had been closed: what was
    signed may have been read, and refused the second time.
    ``clock_offset`` is the CPS's clock minus ours in seconds, None where it did not say;
    ``retry_after`` is in seconds, 0 where it did not say.
    """

    status: int
    body: bytes
    content_type: str
    clock_offset: float | None
    retry_after: int = 0
    resent: bool = False


@dataclass(slots=True)
class _Attempt:
    """Whether a request went over a connection that was there before, and over how many."""

    reused: bool = False
    connections: int = 0


class Exchange:
    """Speaks to any number of CPSs at the same time.

    ``tls`` is the context for https, None the system's trust. ``allow_plain`` allows http to
    loopback, which no proxy is used for. With an ``egress`` rule each URL is a stranger's unless
    the rule names its origin: then its address must be global. Through a ``proxy`` names are
    resolved there, and so that is for the proxy to see to. ``keep`` is whether connections are kept
    for a next request. ``clock`` is what ``give_up_at`` is a moment of, ``now`` the wall clock.
    Belongs to the event loop that uses it first; ``close`` it there.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        allow_plain: bool = False,
        max_answer_octets: int = MAX_ANSWER_OCTETS,
        egress: EgressRule | None = None,
        proxy: Proxy | None = None,
        keep: bool = True,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tls = tls
        self._allow_plain = allow_plain
        self._max_answer_octets = max_answer_octets
        self._egress = egress
        self._proxy = proxy
        self._keep = keep
        self._clock = clock
        self._now = now
        self._sessions: dict[tuple[bool, bool], aiohttp.ClientSession] = {}
        self._offsets: dict[str, float] = {}
        # of those with an offset
        self._told_of_clock: set[str] = set()

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def origin(self, cps: str) -> CpsUrl:
        """Parse and judge a CPS's URL. Raises ``UrlRefused``."""
        return parse_cps_url(cps, allow_plain=self._allow_plain, egress=self._egress)

    def time_at(self, origin: CpsUrl) -> float:
        """What time it is (epoch seconds) for this CPS, in a request that names us.

        As the last Date that came over these connections had it: a clock of ours that is wrong must
        neither spoil every request nor be a mark that is found again where we are not named. A Date
        more than ``MOST_CLOCK_SECONDS`` away is not believed: then it is ours.
        """
        offset = self._offsets.get(origin.base, 0.0)
        return self._now() + (offset if abs(offset) <= MOST_CLOCK_SECONDS else 0.0)

    def unnamed_time_at(self, origin: CpsUrl) -> float:
        """What time it is in a request that names nobody: moved by whole ``CLOCK_STEP_SECONDS``.

        A CPS that invents a Date knows again what it is sent next. Of a few steps it learns little.
        """
        steps = round((self.time_at(origin) - self._now()) / CLOCK_STEP_SECONDS)
        return self._now() + steps * CLOCK_STEP_SECONDS

    @asynccontextmanager
    async def deadline(self, give_up_at: float) -> AsyncIterator[None]:
        """Turn whatever goes wrong on the way into ``CpsUnavailable``, the deadline too."""
        with failures_mapped():
            async with asyncio.timeout(max(0.0, give_up_at - self._clock())):
                yield

    async def send(
        self,
        origin: CpsUrl,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "",
        *,
        limit: int = 0,
        more: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request and read its answer; once more if its kept connection was just closed.

        A server may close a connection while a request is under way to it; most likely it has not
        read that request then, and where it has the second one is answered 409 or does no harm.
        aiohttp does the same for GET and PUT. ``more`` are further header fields.
        """
        attempt = _Attempt()
        headers = {"Accept": wire.JSON_TYPE, "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = content_type
        headers.update(more or {})
        arguments: dict[str, Any] = {
            "data": body,
            "headers": headers,
            "allow_redirects": False,
            "trace_request_ctx": attempt,
        }
        url = origin.url(path)
        session, way = self._way(origin)
        arguments.update(way)
        try:
            async with session.request(method, url, **arguments) as response:
                reply = await self._read(origin, response, limit)
                return replace(reply, resent=True) if attempt.connections > 1 else reply
        except _GONE as error:
            refused = isinstance(error, aiohttp.ClientConnectorError)
            if not attempt.reused or refused or method != "POST":
                raise
        async with session.request(method, url, **arguments) as response:
            return replace(await self._read(origin, response, limit), resent=True)

    @asynccontextmanager
    async def stream(
        self, origin: CpsUrl, path: str, more: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a GET whose answer is read as it comes; ``more`` are its header fields.

        What it raises is for the caller to map (``failures_mapped``).
        """
        session, way = self._way(origin)
        headers = {"Accept-Encoding": "identity", **more}
        url = origin.url(path)
        async with session.get(
            url, headers=headers, allow_redirects=False, trace_request_ctx=_Attempt(), **way
        ) as response:
            self._note_offset(origin, response)
            yield response

    async def _read(self, origin: CpsUrl, response: aiohttp.ClientResponse, limit: int) -> Reply:
        """Read an answer up to the limit. Raises ``CpsUnavailable`` for more, or for a coding."""
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise CpsUnavailable("the answer has a content coding that was not asked for")
        most = limit or self._max_answer_octets
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                raise CpsUnavailable(f"the answer has more than {most} octets")
        offset = self._note_offset(origin, response)
        return Reply(
            response.status,
            bytes(body),
            response.headers.get("Content-Type", ""),
            offset,
            _seconds(response.headers.get("Retry-After", "")),
        )

    def _note_offset(self, origin: CpsUrl, response: aiohttp.ClientResponse) -> float | None:
        """Remember how far the CPS's clock is ahead of ours, and give it; None: it does not say."""
        said = wire.parse_date(response.headers.get("Date", ""))
        # A Date is cut to whole seconds: on average it is half a second late.
        offset = None if said is None else said + 0.5 - self._now()
        if offset is not None and (origin.base in self._offsets or self._has_room()):
            self._offsets[origin.base] = offset
            self._tell_of_clock(origin, offset)
        return offset

    def _tell_of_clock(self, origin: CpsUrl, offset: float) -> None:
        """Say once of a CPS that its clock is not believed: perhaps it is ours that is wrong."""
        if abs(offset) > MOST_CLOCK_SECONDS and origin.base not in self._told_of_clock:
            self._told_of_clock.add(origin.base)
            _log.warning(
                "the clock of %s is %.0f s %s ours and is not believed: if ours is wrong, the CPS "
                "refuses what we send",
                origin.base,
                abs(offset),
                "ahead of" if offset > 0 else "behind",
            )

    def _has_room(self) -> bool:
        return len(self._offsets) < _MOST_OFFSETS

    def _way(self, origin: CpsUrl) -> tuple[aiohttp.ClientSession, dict[str, Any]]:
        """The session for a CPS, and what a request takes to go through the proxy."""
        proxied = self._proxy is not None and origin.origin.startswith("https:")
        session = self._session(guarded=origin.guarded, proxied=proxied)
        return session, self._proxy.arguments() if self._proxy is not None and proxied else {}

    def _session(self, *, guarded: bool, proxied: bool = False) -> aiohttp.ClientSession:
        """Give the session for configured CPSs, or the one whose addresses must be global."""
        session = self._sessions.get((guarded, proxied))
        if session is None:
            arguments: dict[str, Any] = {
                "ssl": self._tls if self._tls is not None else True,
                "ttl_dns_cache": _DNS_SECONDS,
                "limit": 0,
                "limit_per_host": _CONNECTIONS_OF_A_CPS,
            }
            if self._keep:
                arguments["keepalive_timeout"] = KEEP_ALIVE_SECONDS
            else:
                arguments["force_close"] = True
            connector: BoundedConnector
            if proxied and self._proxy is not None and self._proxy.is_socks:
                connector = SocksConnector(self._proxy, **arguments)
            else:
                # With a proxy it is the proxy's own name that is looked up here.
                is_allowed = is_global_address if guarded and not proxied else None
                resolver = BoundedResolver(is_allowed=is_allowed)
                connector = BoundedConnector(resolver=resolver, **arguments)
            session = self._sessions[guarded, proxied] = aiohttp.ClientSession(
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
def failures_mapped() -> Iterator[None]:
    """Turn what aiohttp, ssl, sockets, proxies and URLs raise into ``CpsUnavailable``."""
    try:
        yield
    except PbxStirError:
        raise
    except TimeoutError:
        raise CpsUnavailable("no answer in time") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise CpsUnavailable(f"tls: {_first_line(error.certificate_error)}") from error
    except aiohttp.ClientHttpProxyError as error:
        # not the error's own text, which has the request's header fields in it
        raise CpsUnavailable(f"the proxy answered with status {error.status}") from None
    except aiohttp.ClientConnectorSSLError as error:
        if "WRONG_VERSION_NUMBER" in str(error):
            said = f"{error.host}:{error.port} speaks no TLS, as if it were http, not https"
            raise CpsUnavailable(said) from error
        raise CpsUnavailable(f"tls: {_first_line(error.os_error)}") from error
    except aiohttp.ClientConnectorError as error:
        # its own text speaks of "ssl:default" where there is none
        why = error.os_error.strerror or _first_line(error.os_error)
        said = f"cannot connect to {error.host}:{error.port}: {why}"
        raise CpsUnavailable(said) from error
    except Exception as error:
        # In the call path nothing may raise, whatever it was.
        raise CpsUnavailable(f"{type(error).__name__}: {_first_line(error)}") from error


def expect(reply: Reply, *statuses: int) -> Reply:
    """Give a reply that has one of these statuses; raise for any other what it stands for.

    Raises ``CpsRefused`` for 4xx, ``CpsUnavailable`` for all else.
    """
    if reply.status in statuses:
        return reply
    said = wire.parse_problem(reply.body)
    message = f"status {reply.status}: {said}" if said else f"status {reply.status}"
    if 400 <= reply.status < 500:
        raise CpsRefused(message, status=reply.status, retry_after=reply.retry_after)
    raise CpsUnavailable(message)


def _tracing() -> aiohttp.TraceConfig:
    """Note on each attempt what connections it had."""
    config = aiohttp.TraceConfig()

    async def reused(
        _session: aiohttp.ClientSession,
        context: Any,
        _parameters: aiohttp.TraceConnectionReuseconnParams,
    ) -> None:
        context.trace_request_ctx.reused = True
        context.trace_request_ctx.connections += 1

    async def created(
        _session: aiohttp.ClientSession,
        context: Any,
        _parameters: aiohttp.TraceConnectionCreateEndParams,
    ) -> None:
        context.trace_request_ctx.connections += 1

    config.on_connection_reuseconn.append(reused)
    config.on_connection_create_end.append(created)
    return config


def _seconds(retry_after: str) -> int:
    """A Retry-After in seconds; as a date it is taken for not said."""
    if not (retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 9):
        return 0
    return min(int(retry_after), _MOST_RETRY_SECONDS)


def _first_line(error: BaseException) -> str:
    """Give the beginning of what an exception says, on one line."""
    return " ".join(str(error).split())[:160]
