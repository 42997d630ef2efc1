"""Tests of pbx_stir.cps.listening: real sockets, real TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.cps import accepting, answers
from pbx_stir.cps.listening import listening
from pbx_stir.cps.server_tls import tls_context
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import ConfigurationError

from .conftest import Run, TlsFiles, private_pem, sealed

PLAIN = CpsSettings(port=0, tls=False, tokens=False)


def secured(files: TlsFiles) -> CpsSettings:
    """Settings with TLS on a free port."""
    return CpsSettings(port=0, certificate=files.certificate, key=files.key, tokens=False)


async def test_over_tls(tls_files: TlsFiles) -> None:
    """A store and a retrieval over real TLS, its version 1.2 or later."""
    async with listening(secured(tls_files)) as url, aiohttp.ClientSession() as session:
        assert url.startswith("https://127.0.0.1:")
        path = f"{url}/cps/12125551234/ppts"
        headers = {"Content-Type": "application/passport"}
        async with session.post(
            path, data=sealed(), headers=headers, ssl=tls_files.trusting
        ) as response:
            assert response.status == 201
            location = response.headers["Location"]
        async with session.get(path, ssl=tls_files.trusting) as response:
            assert location in (await response.json())["ppts"]


async def test_old_tls_is_refused(tls_files: TlsFiles) -> None:
    """Nothing below TLS 1.2 is spoken."""
    assert tls_context(tls_files.certificate, tls_files.key).minimum_version >= (
        ssl.TLSVersion.TLSv1_2
    )
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with listening(secured(tls_files)) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)


async def test_a_handshake_is_not_waited_for(
    tls_files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects and says nothing is hung up on."""
    monkeypatch.setattr(accepting, "HANDSHAKE_SECONDS", 0.01)
    async with listening(secured(tls_files)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_headers_are_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends half a request and no more is hung up on."""
    monkeypatch.setattr(accepting, "KEEP_ALIVE_SECONDS", 0.01)
    async with run() as cps:
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        writer.write(b"GET /health HTTP/1.1\r\nX: ")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_peer_that_takes_no_answer_is_cut_off(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for much and reads nothing loses the connection."""
    monkeypatch.setattr(answers, "WRITE_SECONDS", 0.05)
    async with run(max_connections=1) as cps:
        wire = sealed()
        for _ in range(61):
            await cps.store.add("12125551234", wire, cps.clock.moment)
        # 40 answers of 350 kB are more than all buffers on the way hold.
        ask = b"GET /cps/12125551234/ppts?expand=1 HTTP/1.1\r\nHost: x\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        writer.write(ask)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ask * 40)
        assert (await _until_answered(cps.port)).startswith(b"HTTP/1.1 200 ")
        assert len(await _all_of(reader)) < 12_000_000
        writer.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_connections_are_bounded(run: Run, loop: str) -> None:
    """One connection too many is hung up on; when another goes there is room again."""
    factory = None
    if loop == "uvloop":
        why = "uvloop is not installed: pip install '.[test]'"
        factory = pytest.importorskip("uvloop", reason=why).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_one_too_many(run))


async def _one_too_many(run: Run) -> None:
    """Two are held, a third comes, the two go."""
    async with run(max_connections=2) as cps:
        ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        held = [await asyncio.open_connection("127.0.0.1", cps.port) for _ in range(2)]
        for reader, writer in held:
            writer.write(ask)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        with_no_answer = await asyncio.wait_for(_all_of(reader), 5)
        assert with_no_answer == b""
        writer.close()
        for _, writer in held:
            writer.close()
        assert (await _until_answered(cps.port)).startswith(b"HTTP/1.1 200 ")


async def test_one_peer_does_not_have_them_all(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """Who has its connections gets no other, and a second peer is served meanwhile."""
    monkeypatch.setattr(accepting, "peer_name", str)
    async with run(max_connections_of_a_peer=2) as cps:
        held = [await asyncio.open_connection("127.0.0.1", cps.port) for _ in range(2)]
        for _, writer in held:
            writer.write(b"GET /health HTTP/1.1\r\nX")
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        assert await asyncio.wait_for(_all_of(reader), 5) == b""
        writer.close()
        other = ("127.0.0.2", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port, local_addr=other)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await asyncio.wait_for(_all_of(reader), 5)).startswith(b"HTTP/1.1 200 ")
        writer.close()
        for _, writer in held:
            writer.close()
        assert (await _until_answered(cps.port)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("octets", [b"", b"GET /health HTTP/1.1\r\nX-A"])
async def test_a_head_must_come_in_time(
    monkeypatch: pytest.MonkeyPatch, tls_files: TlsFiles, octets: bytes, tls: bool
) -> None:
    """A connection without a whole head is ended, long before an idle one would be."""
    monkeypatch.setattr(accepting, "HEAD_SECONDS", 0.05)
    async with listening(secured(tls_files) if tls else PLAIN) as url:
        port, context = int(url.rpartition(":")[2]), tls_files.trusting if tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(octets)
        assert await asyncio.wait_for(_all_of(reader), 5) == b""
        writer.close()


async def test_a_later_head_must_come_in_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept connection may be idle for longer than a head may take, and then begin one once."""
    monkeypatch.setattr(accepting, "HEAD_SECONDS", 0.05)
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    async with listening(PLAIN) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(ask)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.15)
        writer.write(ask[:10])
        assert await asyncio.wait_for(_all_of(reader), 5) == b""
        writer.close()


async def test_a_peer_that_does_not_end_tls_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tls_files: TlsFiles
) -> None:
    """A connection that the service ends gives its place back without the peer's close_notify."""
    monkeypatch.setattr(accepting, "SHUTDOWN_SECONDS", 0.05)
    settings = replace(secured(tls_files), max_connections=1)
    async with listening(settings) as url:
        port = int(url.rpartition(":")[2])
        loop = asyncio.get_running_loop()
        deaf = socket.create_connection(("127.0.0.1", port))
        mute = tls_files.trusting.wrap_bio(
            incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), server_hostname="127.0.0.1"
        )
        deaf.setblocking(False)
        while True:
            try:
                mute.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(deaf, outgoing.read())
                incoming.write(await loop.sock_recv(deaf, 65536))
        mute.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await loop.sock_sendall(deaf, outgoing.read())
        async with asyncio.timeout(5):
            while True:
                try:
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", port, ssl=tls_files.trusting
                    )
                except (ConnectionError, ssl.SSLError):
                    continue
                writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if await _all_of(reader):
                    break
                writer.close()
        writer.close()
        deaf.close()


async def _until_answered(port: int) -> bytes:
    """Ask over new connections until there is room for one."""
    async with asyncio.timeout(10):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await _all_of(reader)
            writer.close()
            if answer:
                return answer


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    """Read until the end, whatever it is."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "cps.example.com", "::"])
async def test_without_tls_only_on_loopback(host: str) -> None:
    """Plain HTTP on anything but loopback is a mistake that is said."""
    with pytest.raises(ConfigurationError, match="without tls") as error:
        async with listening(replace(PLAIN, host=host)):
            pass
    assert error.value.hint


async def test_ipv6_loopback() -> None:
    """[::1] is loopback, and its URL has brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with listening(replace(PLAIN, host="::1")) as url:
        assert url.startswith("http://[::1]:")
        async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as response:
            assert response.status == 200


async def test_a_taken_port_is_said(run: Run) -> None:
    """A port that another has names itself in the error."""
    async with run() as cps:
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{cps.port}"):
            async with listening(replace(PLAIN, port=cps.port)):
                pass


@pytest.mark.parametrize("seconds", [4, 61])
async def test_an_impossible_lifetime_is_said(seconds: int) -> None:
    """A lifetime outside 5 to 60 seconds does not start."""
    with pytest.raises(ConfigurationError, match="lifetime"):
        async with listening(replace(PLAIN, lifetime_seconds=seconds)):
            pass


async def test_tls_needs_its_files() -> None:
    """TLS is the default, and without a certificate nothing starts."""
    with pytest.raises(ConfigurationError, match="certificate"):
        async with listening(CpsSettings(port=0)):
            pass


def test_wrong_tls_files_are_said(tls_files: TlsFiles, tmp_path: Path) -> None:
    """Missing, foreign, encrypted and unreadable keys name the file, and never prompt."""
    key = ec.generate_private_key(ec.SECP256R1())
    wrong = {
        "foreign": private_pem(key),
        "encrypted": private_pem(key, b"secret"),
        "garbage": b"no pem",
        "public": key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    }
    for name, octets in wrong.items():
        path = tmp_path / f"{name}.key"
        path.write_bytes(octets)
        with pytest.raises(ConfigurationError, match=f"{name}.key"):
            tls_context(tls_files.certificate, str(path))
    with pytest.raises(ConfigurationError, match=r"missing\.key"):
        tls_context(tls_files.certificate, str(tmp_path / "missing.key"))


async def test_the_end_lets_a_request_finish(run: Run) -> None:
    """A request under way when the CPS ends is answered, and idle connections are closed."""
    async with run() as cps:
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", cps.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        body = sealed()
        writer.write(
            b"POST /cps/12125551234/ppts HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/passport\r\nContent-Length: 5526\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
        asyncio.get_running_loop().call_later(0.02, writer.write, body)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert await asyncio.wait_for(idle.read(), 5) == b""
    writer.close()
    idle_writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", cps.port)
