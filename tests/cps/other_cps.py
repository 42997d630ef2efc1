"""Call placement services of other make: they answer whatever a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

Reply = Callable[[bytes], bytes | None]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def answering(reply: Reply) -> AsyncIterator[str]:
    """A server that answers a request's octets with whatever ``reply`` says; None hangs up."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                length = 0
                for line in request.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                octets = reply(request + await reader.readexactly(length))
                if octets is None:
                    break
                writer.write(octets)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        for writer in connections:
            writer.close()
        await asyncio.sleep(0)


def http(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextlib.asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """A server on loopback, over http."""
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def answering_all(answer: Answer) -> AsyncIterator[str]:
    """A server that answers requests of every method and path in one way."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with serving(application) as url:
        yield url
