"""Tests of pbx_stir.cps.accepting: who is let in, and who is turned away before it costs much."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest

from pbx_stir.cps import accepting
from pbx_stir.cps.accepting import Doors
from pbx_stir.cps.limits import PeerBuckets, Places
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import ConfigurationError

from .conftest import Run, TlsFiles

ASK = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_a_place_is_given_back_once() -> None:
    """However often it is given back, only one place comes free."""
    places = Places(4, 4)
    doors = Doors(places, None)
    held = [doors.enter(("192.0.2.1", 1)) for _ in range(3)]
    assert held[0] is not None
    held[0].give_back()
    held[0].give_back()
    assert len(places) == 2


def test_handshakes_have_a_rate_by_peer() -> None:
    """A peer's handshakes beyond its rate take no place; others' and loopback's do not count."""
    doors = Doors(Places(99, 99), PeerBuckets(1.0, 2.0), lambda: 100.0)
    assert [doors.enter(("192.0.2.1", 1)) is not None for _ in range(3)] == [True, True, False]
    assert doors.enter(("192.0.2.2", 1)) is not None
    assert all(doors.enter(("127.0.0.1", 1)) for _ in range(9))
    assert doors.turned_away == 1


@pytest.mark.parametrize("address", ["192.0.2.1", "127.0.0.1"])
def test_a_full_house_is_said(caplog: pytest.LogCaptureFixture, address: str) -> None:
    """Once a minute, with how many were turned away since, and without saying who."""
    moment = 5.0
    doors = Doors(Places(16, 99), None, lambda: moment)
    held = [doors.enter((address, 1)) for _ in range(15)]
    if address == "192.0.2.1":
        held.append(doors.enter((address, 1)))
    assert all(held)
    assert caplog.messages == []
    for later in (0, 1, 58.9, 0.2, 1, 70):
        moment += later
        assert doors.enter((address, 1)) is None
    told = [message.partition(": ") for message in caplog.messages]
    assert [int(rest.split()[0]) for _, _, rest in told] == [1, 3, 2]
    assert {int(before.split()[-3]) for before, _, _ in told} == {len(held)}
    assert address not in caplog.text
    assert doors.turned_away == 6


def test_what_one_peer_has_too_much_of_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    """Neither its connections nor its handshakes: others are served, and it could fill the log."""
    doors = Doors(Places(16, 1), PeerBuckets(1.0, 2.0), lambda: 100.0)
    assert [doors.enter(("192.0.2.1", 1)) is not None for _ in range(9)] == [True] + [False] * 8
    assert doors.turned_away == 8
    assert caplog.messages == []


async def _ask(port: int, context: ssl.SSLContext | None, address: str) -> bytes:
    """What a peer of this address is answered; nothing where it is hung up on."""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, local_addr=(address, 0)
        )
        writer.write(ASK)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    except (ConnectionError, ssl.SSLError):
        return b""
    return answer


async def test_who_shakes_hands_too_often_is_turned_away(
    tls_files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One peer uses its handshakes up; another is served meanwhile."""
    monkeypatch.setattr(accepting, "peer_name", str)
    settings = CpsSettings(
        port=0,
        certificate=tls_files.certificate,
        key=tls_files.key,
        tokens=False,
        handshakes_of_a_peer=1.0,
    )
    async with listening(settings, clock=lambda: 50.0) as url:
        port = int(url.rpartition(":")[2])
        answers = [await _ask(port, tls_files.trusting, "127.0.0.1") for _ in range(4)]
        assert [answer[:12] for answer in answers[:2]] == [b"HTTP/1.1 200"] * 2
        assert answers[2:] == [b"", b""]
        assert (await _ask(port, tls_files.trusting, "127.0.0.3")).startswith(b"HTTP/1.1 200")


async def test_a_handshake_takes_a_place(
    tls_files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who begins handshakes and does not go on has no more of them than connections."""
    monkeypatch.setattr(accepting, "peer_name", str)
    settings = CpsSettings(
        port=0,
        certificate=tls_files.certificate,
        key=tls_files.key,
        tokens=False,
        max_connections_of_a_peer=2,
    )
    async with listening(settings) as url:
        port = int(url.rpartition(":")[2])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert await _ask(port, tls_files.trusting, "127.0.0.1") == b""
        assert (await _ask(port, tls_files.trusting, "127.0.0.4")).startswith(b"HTTP/1.1 200")
        for _, writer in silent:
            writer.close()
        for _ in range(500):
            if await _ask(port, tls_files.trusting, "127.0.0.1"):
                return
            await asyncio.sleep(0.01)
        pytest.fail("its places did not come back")


async def test_garbage_for_a_handshake(tls_files: TlsFiles) -> None:
    """What is no TLS is hung up on, and nobody else notices."""
    settings = CpsSettings(
        port=0, certificate=tls_files.certificate, key=tls_files.key, tokens=False
    )
    async with listening(settings) as url:
        port = int(url.rpartition(":")[2])
        for garbage in (ASK, b"\x16\x03\x01\xff\xff" + bytes(999), bytes(64), b"\x80"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            writer.write_eof()
            rest = await asyncio.wait_for(reader.read(), 10)
            assert b"HTTP" not in rest
            writer.close()
        assert (await _ask(port, tls_files.trusting, "127.0.0.1")).startswith(b"HTTP/1.1 200")


async def test_a_head_has_a_size(run: Run) -> None:
    """Fields without end are cut off before they fill the memory."""
    async with run() as cps:
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        field = b"X: " + b"y" * 1000 + b"\r\n"
        for _ in range(30):
            writer.write(field)
        with contextlib.suppress(ConnectionError):
            rest = await asyncio.wait_for(reader.read(), 5)
            assert not rest or b" 400 " in rest
        writer.close()


async def test_out_of_descriptors(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits a little and goes on: descriptors come back as connections end."""
    monkeypatch.setattr(accepting, "_PAUSE_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    failures = iter([OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNABORTED, "")])
    accept = loop.sock_accept

    async def failing(listener: socket.socket) -> object:
        for failure in failures:
            raise failure
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", failing)
    async with run() as cps:
        assert (await _ask(cps.port, None, "127.0.0.1")).startswith(b"HTTP/1.1 200")


async def test_who_accepts_no_more_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that goes on without taking connections can be told from one that serves."""
    alive: list[Callable[[], bool]] = []
    settings = CpsSettings(port=0, tls=False, tokens=False)
    failed = asyncio.Event()

    async def failing(_: socket.socket) -> object:
        failed.set()
        raise RuntimeError("oops")

    async with listening(settings, alive=alive) as url:
        port = int(url.rpartition(":")[2])
        assert (await _ask(port, None, "127.0.0.1")).startswith(b"HTTP/1.1 200")
        assert [one() for one in alive] == [True]
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_accept", failing)
        assert (await _ask(port, None, "127.0.0.1")).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(5):
            await failed.wait()
        await asyncio.sleep(0)
        assert [one() for one in alive] == [False]


async def test_settings_without_room(tls_files: TlsFiles) -> None:
    """A rate of nothing is a mistake that is named."""
    settings = CpsSettings(port=0, certificate=tls_files.certificate, key=tls_files.key)
    with pytest.raises(ConfigurationError):
        async with listening(replace(settings, handshakes_of_a_peer=0.0)):
            pass
