"""Two small real proxies for tests: HTTP with CONNECT, and SOCKS version 5 (RFC 1928, RFC 1929).

They look names up in a table of their own, so that a name which only they know shows who looked.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Passed:
    """What a proxy was asked, and on which of its ports it passed that on."""

    asked: list[tuple[str, int]] = field(default_factory=list)
    refused: int = 0
    ports: list[int] = field(default_factory=list)


@dataclass
class RunningProxy:
    """A proxy: its URL, its table of names, its secret (``USER:PASSWORD``), what it passed on."""

    scheme: str
    names: dict[str, str]
    secret: str = ""
    passed: Passed = field(default_factory=Passed)
    port: int = 0

    @property
    def url(self) -> str:
        """For the configuration."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def proxy(scheme: str, secret: str = "", **names: str) -> AsyncIterator[RunningProxy]:
    """Run one; ``names`` has "_" for "."."""
    table = {name.replace("_", "."): address for name, address in names.items()}
    running = RunningProxy(scheme, table, secret)
    open_: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()
    greet = _connect if scheme == "http" else _socks

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        open_.add(writer)
        try:
            await _serve(running, greet, (reader, writer), open_)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        for writer in open_:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Greeting = Callable[[RunningProxy, Streams], Awaitable[tuple[str, int] | None]]


async def _serve(
    running: RunningProxy, greet: Greeting, near: Streams, open_: set[asyncio.StreamWriter]
) -> None:
    wanted = await greet(running, near)
    if wanted is None:
        running.passed.refused += 1
        return
    running.passed.asked.append(wanted)
    host, port = wanted
    far = await asyncio.open_connection(running.names.get(host, host), port)
    open_.add(far[1])
    running.passed.ports.append(far[1].get_extra_info("sockname")[1])
    near[1].write(
        b"HTTP/1.1 200 Connection established\r\n\r\n"
        if running.scheme == "http"
        else b"\x05\x00\x00\x01" + bytes(6)
    )
    await asyncio.gather(_pump(near[0], far[1]), _pump(far[0], near[1]))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while octets := await source.read(65_536):
            sink.write(octets)
            await sink.drain()
    sink.close()


async def _connect(running: RunningProxy, near: Streams) -> tuple[str, int] | None:
    """Read a CONNECT request (RFC 9110 section 9.3.6)."""
    head = (await near[0].readuntil(b"\r\n\r\n")).decode("latin-1")
    method, target, _ = head.split("\r\n")[0].split(" ")
    assert method == "CONNECT", head
    expected = "Basic " + base64.b64encode(running.secret.encode()).decode()
    if running.secret and f"Proxy-Authorization: {expected}\r\n" not in head:
        near[1].write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        return None
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


async def _socks(running: RunningProxy, near: Streams) -> tuple[str, int] | None:
    """Read the greeting, the secret where one is wanted, and the request."""
    reader, writer = near
    version, count = await reader.readexactly(2)
    assert version == 5
    methods = await reader.readexactly(count)
    method = 2 if running.secret else 0
    if method not in methods:
        writer.write(b"\x05\xff")
        return None
    writer.write(bytes((5, method)))
    if running.secret:
        await reader.readexactly(1)
        user = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        right = b"%s:%s" % (user, password) == running.secret.encode()
        writer.write(b"\x01\x00" if right else b"\x01\x01")
        if not right:
            return None
    version, command, _, kind = await reader.readexactly(4)
    assert (version, command) == (5, 1)
    if kind == 3:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    elif kind == 1:
        host = ".".join(map(str, await reader.readexactly(4)))
    else:
        raise AssertionError(f"address type {kind}")
    return host, int.from_bytes(await reader.readexactly(2), "big")
