"""A relay that makes a way longer: each octet arrives so many milliseconds after it was sent.

``python -m bench.relay HOST PORT MILLISECONDS`` listens on a free port of 127.0.0.1, writes that
port on a line of standard output, and relays to HOST:PORT until it is terminated, with the delay
in each direction. What it adds beside is measured by whoever uses it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast


class _Half(asyncio.Protocol):
    """One end of a relayed connection; what arrives leaves by the other end, later."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self.other: _Half | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        for data in self._early:
            self.transport.write(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._end)

    def write(self, data: bytes) -> None:
        """Send what the other end has received."""
        if self.transport is None:
            self._early.append(data)
        else:
            self.transport.write(data)

    def _pass_on(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def _end(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def serve(host: str, port: int, delay: float) -> None:
    """Relay until this is cancelled; ``delay`` in seconds."""
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[object]] = set()

    def accepted() -> _Half:
        near, far = _Half(delay), _Half(delay)
        near.other, far.other = far, near
        task: asyncio.Task[object] = loop.create_task(
            loop.create_connection(lambda: far, host, port)
        )
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return near

    server = await loop.create_server(accepted, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run by the command line."""
    host, port, milliseconds = sys.argv[1:]
    work = serve(host, int(port), float(milliseconds) / 1000)
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
