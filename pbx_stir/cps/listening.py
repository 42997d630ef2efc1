"""Sockets of a CPS: TLS, bounds on connections, graceful end.

Takes ``CpsSettings``; gives a URL while it listens. It knows nothing of what is asked and answered.
Slow peers are bounded on every side: the handshake, the head of a request, the pause between two,
the body and the answer (``server``), the end of TLS, and in the kernel what a dead peer does not
acknowledge.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from aiohttp import web

from pbx_stir.cps.answers import WRITE_SECONDS, problem
from pbx_stir.cps.limits import Places, peer_name
from pbx_stir.cps.origin import is_loopback
from pbx_stir.cps.server import DRAINED, build_application
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import EntryStore
from pbx_stir.errors import ConfigurationError

KEEP_ALIVE_SECONDS = 75.0
HEAD_SECONDS = 10.0
HANDSHAKE_SECONDS = 5.0
# For the peer's close_notify: Python would wait half a minute for it.
SHUTDOWN_SECONDS = 2.0
DRAIN_SECONDS = 5.0
LINGER_SECONDS = 2.0
MAX_LINE_OCTETS = 2048
MAX_HEADERS = 64
_BACKLOG = 1024
_log = logging.getLogger(__name__)
# aiohttp's own messages name peers and quote what they sent.
_SILENT = logging.getLogger(f"{__name__}.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_SILENT.setLevel(logging.CRITICAL + 1)


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Make a server's TLS context from PEM files: TLS 1.2 or later, HTTP/1.1, no client asked.

    Python's ssl offers no early data. Raises ``ConfigurationError`` naming the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])

    def no_password() -> str:
        raise ConfigurationError(f"cps key {key} is encrypted", hint="store it unencrypted")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except OSError as error:
        # ssl.SSLError is an OSError too.
        raise ConfigurationError(
            f"cannot use certificate {certificate} with key {key}: {error.strerror or error}",
            hint="both are PEM files, readable by this user, and the key is the certificate's",
        ) from error
    return context


@contextlib.asynccontextmanager
async def listening(
    settings: CpsSettings,
    store: EntryStore | None = None,
    now: Callable[[], float] = time.time,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[str]:
    """Run a CPS as long as the context lasts; give its URL. Port 0 takes a free one.

    At the end no connection is accepted any more, and requests under way have ``DRAIN_SECONDS``.
    Raises ``ConfigurationError`` for settings that cannot be carried out.
    """
    context = _check_tls(settings)
    try:
        # A settings object may come from anywhere: the store's own limits are checked here.
        held = store if store is not None else settings.new_store()
        places = Places(settings.max_connections, settings.max_connections_of_a_peer)
    except ValueError as error:
        raise ConfigurationError(f"cps: {error}") from error
    listener = _bind(settings)
    try:
        application = build_application(settings, held, now, clock=clock)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=DRAIN_SECONDS)
        await runner.setup()
        try:
            server = await _accept(runner, listener, context, places)
            try:
                yield _url(listener, tls=context is not None)
            finally:
                server.close()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(application[DRAINED](), DRAIN_SECONDS)
        finally:
            await runner.cleanup()
    finally:
        listener.close()


class _Connection(web.RequestHandler):
    """A connection that has a place; its unreadable requests end in a problem, unlogged."""

    __slots__ = ("_head_due", "_peer", "_places")

    def __init__(self, manager: web.Server, places: Places, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._places = places
        self._peer: str | None = None
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or hang up where it is one too many."""
        address = transport.get_extra_info("peername")
        peer = peer_name(str(address[0])) if isinstance(address, tuple) else ""
        if not self._places.take(peer):
            # Not by isinstance: uvloop's transports are of no asyncio class.
            cast(asyncio.WriteTransport, transport).abort()
            return
        self._peer = peer
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        self._head_came()
        if self._peer is not None:
            self._places.give_back(self._peer)
            self._peer = None

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that has begun must be whole in time."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._head_came()
        elif self._head_due is None and self._is_idle():
            self._expect_head()

    def _is_idle(self) -> bool:
        """Say whether no request is under way."""
        return self._waiter is not None and not self._waiter.done()

    def _expect_head(self) -> None:
        self._head_due = self._loop.call_later(HEAD_SECONDS, self._give_up)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _give_up(self) -> None:
        """Hang up on who has not sent a whole head."""
        self._head_due = None
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the HTTP parser refused (400), or what nobody foresaw (503)."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun")
        if status != 400:
            _log.error("a request failed: %s", type(exc).__name__)
        response = (
            problem(400, "the request is not HTTP/1.1")
            if status == 400
            else problem(503, "the service failed to answer", Retry_After="1")
        )
        response.force_close()
        return response


async def _accept(
    runner: web.AppRunner,
    listener: socket.socket,
    context: ssl.SSLContext | None,
    places: Places,
) -> asyncio.Server:
    """Accept connections, as long as they find a place."""
    manager = runner.server
    if manager is None:
        raise RuntimeError("the runner is not set up")
    loop = asyncio.get_running_loop()

    def connection() -> asyncio.Protocol:
        return _Connection(
            manager,
            places,
            loop=loop,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            # Nothing is enabled on it: no access log.
            access_log=_SILENT,
            logger=_SILENT,
            max_line_size=MAX_LINE_OCTETS,
            max_field_size=MAX_LINE_OCTETS,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )

    return await loop.create_server(
        connection,
        sock=listener,
        ssl=context,
        backlog=_BACKLOG,
        ssl_handshake_timeout=None if context is None else HANDSHAKE_SECONDS,
        ssl_shutdown_timeout=None if context is None else SHUTDOWN_SECONDS,
    )


def _check_tls(settings: CpsSettings) -> ssl.SSLContext | None:
    """Make the TLS context, or allow to do without: RFC 8816 section 7.3 recommends it."""
    if not settings.tls:
        if not is_loopback(settings.host):
            raise ConfigurationError(
                f"cps cannot listen on {settings.host} without tls",
                hint="give --certificate and --key, or listen on 127.0.0.1",
            )
        return None
    if not (settings.certificate and settings.key):
        raise ConfigurationError(
            "cps needs a certificate and its key",
            hint="give --certificate and --key, or --no-tls on loopback",
        )
    return tls_context(settings.certificate, settings.key)


def _bind(settings: CpsSettings) -> socket.socket:
    """Open the listening socket."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, address = found[0][0], found[0][4]
        listener = socket.create_server(
            (str(address[0]), int(address[1])), family=family, backlog=_BACKLOG
        )
    except OSError as error:
        raise ConfigurationError(
            f"cps cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
            hint="another process may have the port",
        ) from error
    listener.setblocking(False)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Inherited by every connection: a peer that closes its window for ever is cut off.
        milliseconds = int(2 * WRITE_SECONDS * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listener


def _url(listener: socket.socket, *, tls: bool) -> str:
    """Write where a socket listens."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
