"""Sockets of a CPS: TLS, what listens, graceful end. Connections are taken in ``accepting``.

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
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from pbx_stir.cps.accepting import Acceptor, Doors
from pbx_stir.cps.answers import WRITE_SECONDS
from pbx_stir.cps.bare import BareSettings, build_bare_service
from pbx_stir.cps.limits import PeerBuckets, Places
from pbx_stir.cps.server import build_service
from pbx_stir.cps.server_tls import ServerTls
from pbx_stir.cps.serving import Serving
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import EntryStore
from pbx_stir.cps.tally import Tally
from pbx_stir.errors import ConfigurationError

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
_BACKLOG = 1024


@contextlib.asynccontextmanager
async def listening(
    settings: CpsSettings,
    store: EntryStore | None = None,
    now: Callable[[], float] = time.time,
    *,
    clock: Callable[[], float] = time.monotonic,
    tally: Tally | None = None,
    tls: ServerTls | None = None,
    alive: list[Callable[[], bool]] | None = None,
) -> AsyncIterator[str]:
    """Run a CPS as long as the context lasts; give its URL. Port 0 takes a free one.

    ``tls`` is given by who will have it read again; to ``alive`` is added what tells whether it
    still accepts connections.
    At the end no connection is accepted any more, and requests under way have ``DRAIN_SECONDS``.
    Raises ``ConfigurationError`` for settings that cannot be carried out.
    """

    def build() -> Serving:
        # A settings object may come from anywhere: the store's own limits are checked here.
        held = store if store is not None else settings.new_store()
        return build_service(settings, held, now, clock=clock, tally=tally)

    async with _serving(settings, build, clock, tally, tls, alive) as url:
        yield url


@contextlib.asynccontextmanager
async def listening_bare(
    settings: BareSettings,
    store: EntryStore | None = None,
    now: Callable[[], float] = time.time,
    *,
    clock: Callable[[], float] = time.monotonic,
    tally: Tally | None = None,
    tls: ServerTls | None = None,
    alive: list[Callable[[], bool]] | None = None,
) -> AsyncIterator[str]:
    """Run the listener for unsealed PASSporTs (RFC 9888) the same way; give its URL."""

    def build() -> Serving:
        held = store if store is not None else settings.new_store()
        return build_bare_service(settings, held, now, clock=clock, tally=tally)

    async with _serving(settings.common, build, clock, None, tls, alive) as url:
        yield url


@contextlib.asynccontextmanager
async def _serving(
    settings: CpsSettings,
    build: Callable[[], Serving],
    clock: Callable[[], float],
    tally: Tally | None,
    tls: ServerTls | None,
    alive: list[Callable[[], bool]] | None,
) -> AsyncIterator[str]:
    """Serve as long as the context lasts."""
    secured = ServerTls(settings) if tls is None else tls
    try:
        doors = _doors(settings, clock)
    except ValueError as error:
        raise ConfigurationError(f"cps: {error}") from error
    listener = _bind(settings)
    try:
        try:
            service = build()
        except ValueError as error:
            raise ConfigurationError(f"cps: {error}") from error
        if tally is not None:
            doors.count_in(tally)
        # the bare server: an application's routes, signals and middlewares have nothing to do here
        server = web.Server(service.answer, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=DRAIN_SECONDS)
        async with service.running():
            await runner.setup()
            acceptor = Acceptor(server, listener, secured.current, doors)
            acceptor.start()
            if alive is not None:
                alive.append(acceptor.is_alive)
            try:
                yield _url(listener, tls=secured.current() is not None)
            finally:
                await acceptor.close()
                listener.close()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(service.drained(), DRAIN_SECONDS)
                await runner.cleanup()
    finally:
        listener.close()


def _doors(settings: CpsSettings, clock: Callable[[], float]) -> Doors:
    """Make the doors; raises ``ValueError`` for settings without room."""
    places = Places(settings.max_connections, settings.max_connections_of_a_peer)
    rate = settings.handshakes_of_a_peer
    handshakes = PeerBuckets(rate, max(1.0, 2 * rate)) if settings.tls else None
    return Doors(places, handshakes, clock)


def _bind(settings: CpsSettings) -> socket.socket:
    """Open the listening socket."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, address = found[0][0], found[0][4]
        listener = socket.create_server(
            (str(address[0]), int(address[1])),
            family=family,
            backlog=_BACKLOG,
            reuse_port=settings.shared_port,
        )
    except OSError as error:
        raise ConfigurationError(
            f"cps cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
            hint="another process may have the port",
        ) from error
    others = {str(one[4][0]) for one in found} - {str(address[0])}
    if others:
        log.warning(
            "cps: %s is %s, and also %s, where it does not listen",
            settings.host,
            address[0],
            ", ".join(sorted(others)),
        )
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
