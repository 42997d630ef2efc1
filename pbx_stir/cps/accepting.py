"""Accepting connections to a CPS: each has a place, and a peer only so many handshakes a second.

Takes a listening socket and aiohttp's server; gives nothing but what that answers. A place is taken
before the TLS handshake, whose cost is the server's: whoever opens connections and leaves them, or
begins handshakes without end, uses up its own share. Peers on loopback have no rate.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aiohttp import web

from pbx_stir.cps.answers import COMPLAINT_SECONDS, problem
from pbx_stir.cps.limits import PeerBuckets, Places, peer_name
from pbx_stir.cps.tally import Tally

KEEP_ALIVE_SECONDS: Final = 75.0
HEAD_SECONDS: Final = 10.0
HANDSHAKE_SECONDS: Final = 5.0
# For the peer's close_notify: Python would wait half a minute for it.
SHUTDOWN_SECONDS: Final = 2.0
LINGER_SECONDS: Final = 2.0
MAX_LINE_OCTETS: Final = 2_048
# A signed request is one field.
MAX_FIELD_OCTETS: Final = 8_190
MAX_HEADERS: Final = 64
MAX_HEAD_OCTETS: Final = 24 * 1024
# Out of descriptors or memory: connections that end make room.
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_SECONDS: Final = 0.2
_log = logging.getLogger(__name__)
# aiohttp's own messages name peers and quote what they sent.
_SILENT = logging.getLogger(f"{__name__}.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_SILENT.setLevel(logging.CRITICAL + 1)


class Doors:
    """Who may come in: places for connections, and handshakes a second for each peer."""

    def __init__(
        self,
        places: Places,
        handshakes: PeerBuckets | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without ``handshakes`` (no TLS) connections have no rate."""
        self._places = places
        self._handshakes = handshakes
        self._clock = clock
        self.turned_away = 0
        self._without_place = 0
        self._next_complaint = float("-inf")

    def count_in(self, tally: Tally) -> None:
        """Let a tally show how many are in, and how many were turned away."""
        tally.gauges["connections"] = lambda: len(self._places)
        tally.gauges["connections_turned_away"] = lambda: self.turned_away

    def enter(self, address: object) -> Place | None:
        """Give a place to who connects from a socket's address, or None."""
        peer = peer_name(str(address[0])) if isinstance(address, tuple) else ""
        if peer and self._handshakes is not None:
            now = self._clock()
            self._handshakes.sweep(now)
            if self._handshakes.take(peer, now) > 0:
                self.turned_away += 1
                return None
        if not self._places.take(peer):
            self.turned_away += 1
            if self._places.is_full(peer):
                self._complain()
            return None
        return Place(self._places, peer)

    def _complain(self) -> None:
        """Say that there is no room, but not each time."""
        self._without_place += 1
        now = self._clock()
        if now < self._next_complaint:
            return
        self._next_complaint = now + COMPLAINT_SECONDS
        _log.warning(
            "no place for another connection, %d are open: %d turned away since this was last said",
            len(self._places),
            self._without_place,
        )
        self._without_place = 0


class Place:
    """One connection's place, given back once."""

    __slots__ = ("_peer", "_places")

    def __init__(self, places: Places, peer: str) -> None:
        self._places: Places | None = places
        self._peer = peer

    def give_back(self) -> None:
        """Give the place back; a second time changes nothing."""
        places, self._places = self._places, None
        if places is not None:
            places.give_back(self._peer)


class _Connection(web.RequestHandler):
    """A connection that has a place; its unreadable requests end in a problem, unlogged."""

    __slots__ = ("_head_due", "_head_octets", "_place")

    def __init__(self, manager: web.Server, place: Place, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._place = place
        self._head_due: asyncio.TimerHandle | None = None
        self._head_octets = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection; its first head must come in time."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        self._head_came()
        self._place.give_back()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that has begun must be whole in time, and not too large."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._head_came()
        elif self._is_idle():
            self._head_octets += len(data)
            if self._head_octets > MAX_HEAD_OCTETS:
                self._give_up()
            elif self._head_due is None:
                self._expect_head()

    def _is_idle(self) -> bool:
        """Say whether no request is under way."""
        return self._waiter is not None and not self._waiter.done()

    def _expect_head(self) -> None:
        self._head_due = self._loop.call_later(HEAD_SECONDS, self._give_up)

    def _head_came(self) -> None:
        self._head_octets = 0
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _give_up(self) -> None:
        """Hang up on who does not send a head as it should be."""
        self._head_came()
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
            problem(400, "the request is not HTTP, or a field of it is too long")
            if status == 400
            else problem(503, "the service failed to answer", Retry_After="1")
        )
        response.force_close()
        return response


class Acceptor:
    """Accepts connections from ``start`` to ``close``."""

    def __init__(
        self,
        manager: web.Server,
        listener: socket.socket,
        context: Callable[[], ssl.SSLContext | None],
        doors: Doors,
    ) -> None:
        """``listener`` does not block; ``context`` is asked for each connection, None is plain."""
        self._manager = manager
        self._listener = listener
        self._context = context
        self._doors = doors
        self._task: asyncio.Task[None] | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to accept, in the event loop that runs."""
        self._task = asyncio.create_task(self._accept_for_ever())

    def is_alive(self) -> bool:
        """Tell whether connections are accepted, or will be when there is room again."""
        return self._task is not None and not self._task.done()

    async def close(self) -> None:
        """Accept no more, and break off the handshakes under way; connections stay."""
        tasks = [*self._connecting, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, address = await loop.sock_accept(self._listener)
            except OSError as error:
                # Nothing to be done about a peer that left before it was let in.
                if error.errno in _EXHAUSTED:
                    _log.error("cannot accept connections: %s", error.strerror)
                    await asyncio.sleep(_PAUSE_SECONDS)
                continue
            place = self._doors.enter(address)
            if place is None:
                _hang_up(connected)
                continue
            task = loop.create_task(self._connect(connected, place))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, connected: socket.socket, place: Place) -> None:
        """Shake hands, and hand over to aiohttp."""
        loop = asyncio.get_running_loop()
        context = self._context()
        secure = context is not None
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                partial(_Connection, self._manager, place, loop=loop, **_settings()),
                connected,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if secure else None,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS if secure else None,
            )
        except (OSError, EOFError) as error:
            # ssl.SSLError and TimeoutError are OSErrors: garbage, or silence.
            place.give_back()
            connected.close()
            _log.debug("a connection did not come about: %s", type(error).__name__)
        except BaseException:
            place.give_back()
            connected.close()
            raise


def _settings() -> dict[str, Any]:
    """What aiohttp is told of each connection."""
    return {
        "keepalive_timeout": KEEP_ALIVE_SECONDS,
        # Nothing is enabled on it: no access log.
        "access_log": _SILENT,
        "logger": _SILENT,
        "max_line_size": MAX_LINE_OCTETS,
        "max_field_size": MAX_FIELD_OCTETS,
        "max_headers": MAX_HEADERS,
        "lingering_time": LINGER_SECONDS,
        "auto_decompress": False,
    }


def _hang_up(connected: socket.socket) -> None:
    """Reset a connection: nothing of it stays with us, and its peer knows at once."""
    try:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError:
        pass
    connected.close()
