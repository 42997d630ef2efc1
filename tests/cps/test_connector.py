"""Tests of pbx_stir.cps.connector: servers that never come to their answer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.connector import MAX_ANSWERS_OF_A_REQUEST
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.services.call import Reason
from pbx_stir.stir import sealing

from .conftest import TlsFiles

NUMBER = "12125551234"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
BUDGET = 0.4
Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def hostile(
    answer: Answering, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that does ``answer`` after each request's head; gives its URL and the paths."""
    asked: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked.append(head.split(b" ")[1])
                lengths = [one for one in head.lower().split(b"\r\n") if b"content-length" in one]
                await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
                await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        scheme = "https" if context else "http"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def without_end(writer: asyncio.StreamWriter) -> None:
    """Interim answers as fast as they are taken."""
    while True:
        writer.write(CONTINUE * 1000)
        await writer.drain()


async def dripping(writer: asyncio.StreamWriter) -> None:
    """Interim answers, few of them, until the client gives up."""
    while True:
        writer.write(CONTINUE)
        await writer.drain()
        await asyncio.sleep(0.1)


async def store(placement: GuardedPlacement, url: str) -> tuple[Reason | None, str]:
    """Store one blob within the budget."""
    blob = sealing.dummy(bytes(32))
    [result] = await placement.store([url], NUMBER, [blob], time.monotonic() + BUDGET)
    return result.reason, result.detail


async def retrieve(placement: GuardedPlacement, url: str) -> tuple[Reason | None, str]:
    """Retrieve within the budget."""
    answers = placement.retrieve([(url, NUMBER)], time.monotonic() + BUDGET)
    [answer] = [each async for each in answers]
    return answer.reason, answer.detail


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """A task that ticks beside; afterwards the longest pause between two ticks is the last."""
    pauses: list[float] = [0.0]

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            pauses.append(time.monotonic() - before)

    task = asyncio.create_task(tick())
    try:
        yield pauses
        await asyncio.sleep(0.01)
    finally:
        task.cancel()
    pauses.append(max(pauses))


async def _endless(way: Callable[..., Awaitable[tuple[Reason | None, str]]], tls: TlsFiles) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    client = CpsClient(tls=tls.trusting)
    placement = GuardedPlacement(client)
    async with hostile(without_end, context) as (url, _), ticking() as pauses:
        for _ in range(5):
            began = time.monotonic()
            assert await way(placement, url) == (
                Reason.CPS_UNAVAILABLE,
                "ClientPayloadError: answers without end",
            )
            assert time.monotonic() - began < BUDGET
        await placement.close()
        await client.close()
    assert pauses[-1] < 1.0


@pytest.mark.parametrize("way", [store, retrieve])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_interim_answers_without_end(
    way: Callable[..., Awaitable[tuple[Reason | None, str]]],
    run: Callable[..., None],
    tls_files: TlsFiles,
) -> None:
    """A CPS that answers 100 for ever is hung up on at once, and nothing beside it stands still."""
    run(_endless(way, tls_files))


@pytest.mark.parametrize("way", [store, retrieve])
async def test_interim_answers_that_drip(
    way: Callable[..., Awaitable[tuple[Reason | None, str]]],
) -> None:
    """A CPS that holds calls with an interim answer now and then is silent: two calls pay."""
    client = CpsClient(allow_plain=True)
    placement = GuardedPlacement(client)
    async with hostile(dripping) as (url, asked):
        reasons = [await way(placement, url) for _ in range(3)]
        assert {reason for reason, _ in reasons} == {Reason.CPS_UNAVAILABLE}
        assert "not asked" in reasons[2][1]
        assert sum(path.startswith(b"/cps/") for path in asked) == 2
        await placement.close()
        await client.close()


async def test_a_few_interim_answers_are_taken() -> None:
    """One that says 100 or 103 first is a server like others, and its connection is kept."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        interim = CONTINUE + early * (MAX_ANSWERS_OF_A_REQUEST - 2)
        writer.write(interim + CREATED)
        opened.add(writer)

    opened: set[asyncio.StreamWriter] = set()
    client = CpsClient(allow_plain=True)
    placement = GuardedPlacement(client)
    async with hostile(answer) as (url, _):
        for _ in range(3):
            assert await store(placement, url) == (Reason.STORED, "")
        assert len(opened) == 1
        await client.close()


async def test_answers_to_nothing_are_not_kept() -> None:
    """Final answers beyond the one asked for end the connection, and the next call has its own."""
    gone = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(FINAL)
        await asyncio.sleep(0.02)
        try:
            while True:
                writer.write(FINAL * 100)
                await writer.drain()
        finally:
            gone.set()

    client = CpsClient(allow_plain=True)
    placement = GuardedPlacement(client)
    async with hostile(answer) as (url, _):
        reason, _ = await retrieve(placement, url)
        assert reason in (None, Reason.CPS_UNAVAILABLE)
        await asyncio.wait_for(gone.wait(), 5)
        await client.close()
