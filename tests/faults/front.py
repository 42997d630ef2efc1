"""What stands between two processes of ours, and does to their connections what networks do.

A ``Front`` listens on a port of 127.0.0.1 and relays to a target, both of which may change: later,
not at all, or not any more. A ``StandIn`` is a TLS server in a CPS's place that answers anything
but what a CPS would. All of them live in one ``Side``, an event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

Target = tuple[str, int]


class Side:
    """An event loop beside the test, for what must answer while the test waits."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Carry out ``work`` there, and give what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def call(self, work: Callable[[], None]) -> None:
        """Call there, and return when that is done."""

        async def called() -> None:
            work()

        self.do(called())

    def close(self) -> None:
        """End the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class _Half(asyncio.Protocol):
    """One end of a relayed connection; what arrives leaves by the other end, in order."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self.other: _Half = self
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._front.halves.add(self)
        self.other.pass_on()

    def data_received(self, data: bytes) -> None:
        self._put(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.halves.discard(self)
        self._put(None)

    def _put(self, data: bytes | None) -> None:
        at = self._front.side.loop.time() + self._front.delay
        self._waiting.append((at, data))
        self._front.side.loop.call_at(at, self.pass_on)

    def pass_on(self) -> None:
        """Send what is due, None being the end."""
        now = self._front.side.loop.time()
        far = self.other.transport
        while self._waiting and far is not None and not self._front.stalled:
            at, data = self._waiting[0]
            if at > now:
                return
            self._waiting.popleft()
            if data is None:
                far.close()
            elif not far.is_closing():
                far.write(data)

    def abort(self) -> None:
        """Break the connection off."""
        if self.transport is not None:
            self.transport.abort()


class Front:
    """Relays to ``target`` until told otherwise; ``delay`` is in seconds, for each direction."""

    def __init__(self, side: Side, target: Target, port: int = 0) -> None:
        self.side = side
        self.target = target
        self.delay = 0.0
        self.stalled = False
        self.halves: set[_Half] = set()
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self.port = port
        self.open()

    def open(self) -> None:
        """Listen, on the same port as before."""

        async def listen() -> None:
            loop = self.side.loop
            self._server = await loop.create_server(self._accepted, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

        self.side.do(listen())

    def refuse(self) -> None:
        """Listen no more, and break off what there is: the kernel refuses connections."""

        def end() -> None:
            if self._server is not None:
                self._server.close()
            self._abort()

        self.side.call(end)

    def cut(self) -> None:
        """Break off every connection; new ones may come."""
        self.side.call(self._abort)

    def stall(self) -> None:
        """Pass on nothing, and keep what comes."""
        self.stalled = True

    def go_on(self) -> None:
        """Pass on all that was kept."""
        self.stalled = False
        self.side.call(self._pass_on)

    def _pass_on(self) -> None:
        for half in list(self.halves):
            half.pass_on()

    def _abort(self) -> None:
        for half in list(self.halves):
            half.abort()

    def _accepted(self) -> _Half:
        near, far = _Half(self), _Half(self)
        near.other, far.other = far, near

        async def connect() -> None:
            try:
                await self.side.loop.create_connection(lambda: far, *self.target)
            except OSError:
                near.abort()

        task = self.side.loop.create_task(connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return near


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class StandIn:
    """A TLS server that reads requests and answers each with what ``answer`` gives."""

    def __init__(
        self, side: Side, certificate: Path, key: Path, answer: Callable[[], bytes]
    ) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate, key)
        self._side = side
        self._answer = answer
        self.answered = 0

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)

        self._server: asyncio.Server = side.do(listen())
        self.target: Target = ("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        self._side.call(self._server.close)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                await reader.readexactly(length)
                self.answered += 1
                writer.write(self._answer())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def http(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    """An answer of HTTP/1.1."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def garbage() -> bytes:
    """Now an answer whose body means nothing, now octets that are no HTTP."""
    octets = os.urandom(2_000)
    return http("200 OK", octets) if octets[0] % 2 else octets
