"""Tests of pbx_stir.cps.subscriber: what a stream's reader is told, and when it is given up."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from pbx_stir.cps import subscriber as subscriber_module
from pbx_stir.stir.credential import Credential

from .conftest import Authority, Run
from .signing import Asker, authorization
from .streaming import BULK, NUMBER, PATH, SECOND, add, running


async def test_heartbeats(run: Run, authority: Authority, company: Credential) -> None:
    """A stream without arrivals is kept alive by comments."""
    async with (
        running(run, authority, push_heartbeat_seconds=0.02) as cps,
        Asker(cps.url, company) as asker,
        asker.stream(PATH) as stream,
    ):
        await stream.read_until(b"\n\n:\n\n:\n\n:\n\n")
        entry = await add(cps)
        await stream.until(entry)


@pytest.mark.parametrize("path", [PATH, BULK])
async def test_a_heartbeat_is_behind_what_was_there(
    run: Run, authority: Authority, company: Credential, path: str
) -> None:
    """The first comment comes as soon as all that was alive has, and nothing of it comes later."""
    async with running(run, authority, push_heartbeat_seconds=3600) as cps:
        stored = [await add(cps, number) for number in (NUMBER, NUMBER)]
        async with Asker(cps.url, company) as asker, asker.stream(path) as stream:
            await stream.read_until(b"\n\n:\n\n")
            backlog, _, rest = stream.octets.partition(b"\n\n:\n\n")
            assert all(f"id: {each}\n".encode() in backlog for each in stored)
            assert rest == b""
            await stream.until(await add(cps))


async def test_a_reader_that_takes_nothing_is_cut_off(
    run: Run, authority: Authority, company: Credential
) -> None:
    """When half a mebibyte waits for it; nobody else waits, and a quick reader gets it all."""
    numbers = {NUMBER: 0, SECOND: 0}
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", cps.port))
        request = (
            f"GET {BULK} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
            f"Authorization: {authorization(company, BULK)}\r\n\r\n"
        )
        await loop.sock_sendall(slow, request.encode())
        assert await loop.sock_recv(slow, 12) == b"HTTP/1.1 200"
        async with asker.stream(BULK) as quick:
            stored = []
            for each in range(1500):
                number = NUMBER if each % 2 else SECOND
                numbers[number] += 1
                stored.append(await add(cps, number))
                if each % 50 == 0:
                    await quick.until(stored[-1])
            await quick.until(*stored)
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(20):
                while await loop.sock_recv(slow, 65536):
                    pass
        slow.close()


async def test_a_reader_that_never_catches_up_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has waited too long for a reader ends its stream; one that empties the buffer stays.

    While a stream begins there is always something that waits.
    """
    monkeypatch.setattr(subscriber_module, "WRITE_SECONDS", 10.0)

    class Transport:
        size = 0
        aborted = False

        def is_closing(self) -> bool:
            return self.aborted

        def get_write_buffer_size(self) -> int:
            return self.size

        def abort(self) -> None:
            self.aborted = True

    transport = Transport()
    subscriber = subscriber_module.Subscriber(None, "x", transport, True)  # type: ignore[arg-type]
    transport.size = 5
    for moment in (0, 1000):
        subscriber.watch(moment)
    subscriber.waiting = None
    for moment, size in ((1000, 5), (1009, 5), (1010, 0), (1011, 7), (1021, 7)):
        transport.size = size
        subscriber.watch(moment)
        assert not transport.aborted
    subscriber.watch(1021.1)
    assert transport.aborted
    assert subscriber.ended.is_set()


async def test_http_1_0_gets_a_stream_without_chunks(
    run: Run, authority: Authority, company: Credential
) -> None:
    """A client that knows no chunks reads events until the connection ends."""
    async with running(run, authority) as cps:
        entry = await add(cps)
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        writer.write(
            f"GET {PATH} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n"
            f"Authorization: {authorization(company, PATH)}\r\n\r\n".encode()
        )
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"chunked" not in head.lower()
            assert await reader.readuntil(b"\n\n") == b"retry: 2000\n\n"
            await reader.readuntil(f"id: {entry}\ndata: ".encode())
            later = await add(cps)
            await reader.readuntil(f"\n\nid: {later}\ndata: ".encode())
        writer.close()
