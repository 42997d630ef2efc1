"""Tests of pbx_stir.cps.proxy: stores through real small proxies, and through hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from lab.companies import tls_certificate
from pbx_stir.cps import proxy as proxies_of
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.proxy import Proxy, parse_proxy
from pbx_stir.errors import ConfigurationError
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import StoreResult
from pbx_stir.stir import sealing
from pbx_stir.stir.x5u import EgressRule

from .proxies import RunningProxy, proxy

NUMBER = "12125551234"
SECRET = "alice:correct horse"
# a name that no resolver outside the proxy knows (RFC 6761)
NAME = "cps.invalid"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
SCHEMES = pytest.mark.parametrize("scheme", ["http", "socks5"])


class Server:
    """A CPS over TLS that answers each request with ``answer``; counts its connections."""

    def __init__(self, folder: Path) -> None:
        certificate, key, ca = tls_certificate(folder, "cps", [NAME])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.trusting = ssl.create_default_context(cafile=ca)
        self.answer = CREATED
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        """By the name that only the proxy knows."""
        return f"https://{NAME}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                writer.write(self.answer)
                await writer.drain()
        writer.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A CPS."""
    made = Server(tmp_path)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=made.context)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    await asyncio.sleep(0)


async def stored(
    server: Server, through: Proxy, *, seconds: float = 5.0, count: int = 1, url: str = ""
) -> list[StoreResult]:
    """What stores through a proxy come to, one after the other."""
    client = CpsClient(tls=server.trusting, proxy=through)
    blob = sealing.dummy(os.urandom(32))
    results = []
    for _ in range(count):
        give_up_at = time.monotonic() + seconds
        results += await client.store([url or server.url], NUMBER, [blob], give_up_at)
    await client.close()
    return results


def running_at(running: RunningProxy, secret: str = "") -> Proxy:
    """What the configuration makes of a proxy."""
    return parse_proxy(running.url, secret)


@SCHEMES
@pytest.mark.parametrize("secret", ["", SECRET])
async def test_stores_go_through_it(server: Server, scheme: str, secret: str) -> None:
    """With and without a secret; the name is looked up by the proxy, the tunnel is kept."""
    async with proxy(scheme, secret, cps_invalid="127.0.0.1") as running:
        results = await stored(server, running_at(running, secret), count=5)
    assert [each.reason for each in results] == [Reason.STORED] * 5
    assert running.passed.asked == [(NAME, server.port)]
    assert server.connections == 1
    assert not any(b"proxy" in head.lower() for head in server.heads)


@SCHEMES
async def test_a_wrong_secret_is_no_answer(server: Server, scheme: str) -> None:
    """The call is told that the CPS cannot be reached, and never the secret."""
    async with proxy(scheme, SECRET, cps_invalid="127.0.0.1") as running:
        for secret in ("", "alice:wrong horse"):
            [result] = await stored(server, running_at(running, secret))
            assert result.reason is Reason.CPS_UNAVAILABLE
            assert "horse" not in result.detail
            assert result.detail
    assert running.passed.asked == []
    assert running.passed.refused == 2


@SCHEMES
async def test_a_dead_proxy_is_not_gone_around(server: Server, scheme: str) -> None:
    """Where the proxy is gone, nothing is stored by another way."""
    through = Proxy(scheme, "127.0.0.1", 1)
    local = f"https://127.0.0.1:{server.port}"
    for url in (server.url, local):
        [result] = await stored(server, through, url=url)
        assert result.reason is Reason.CPS_UNAVAILABLE
    assert server.connections == 0


@contextlib.asynccontextmanager
async def hostile(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """Something that is no proxy, on a port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
            await answer(writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def silence(_: asyncio.StreamWriter) -> None:
    """Nothing, for ever."""


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Nothing, at once."""
    writer.close()


async def garbage(writer: asyncio.StreamWriter) -> None:
    """Octets."""
    writer.write(b"\x00\xff" * 500)
    await writer.drain()


async def without_end(writer: asyncio.StreamWriter) -> None:
    """Interim answers, as many as are taken."""
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        await writer.drain()


@SCHEMES
@pytest.mark.parametrize("answer", [silence, hang_up, garbage, without_end])
async def test_a_hostile_proxy_costs_no_more_than_the_budget(
    server: Server, scheme: str, answer: Callable[[asyncio.StreamWriter], Awaitable[None]]
) -> None:
    """Whatever it says or does not say, the call is told in time, and others go on meanwhile."""
    async with hostile(answer) as port:
        began = time.monotonic()
        [result] = await stored(server, Proxy(scheme, "127.0.0.1", port), seconds=0.4)
        assert result.reason is Reason.CPS_UNAVAILABLE
        assert time.monotonic() - began < 2
    assert server.connections == 0


@SCHEMES
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + CREATED,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000),
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_the_bounds_hold_behind_it(server: Server, scheme: str, answer: bytes) -> None:
    """Answers without end, too large or leading elsewhere are no better for having been proxied."""
    server.answer = answer
    async with proxy(scheme, cps_invalid="127.0.0.1") as running:
        [result] = await stored(server, running_at(running))
        assert result.reason is Reason.CPS_UNAVAILABLE
        assert len(server.heads) == 1


@SCHEMES
async def test_tls_is_checked_behind_it(server: Server, tmp_path: Path, scheme: str) -> None:
    """A proxy that leads to another server gets no store."""
    (tmp_path / "other").mkdir()
    server.trusting = ssl.create_default_context()
    async with proxy(scheme, cps_invalid="127.0.0.1") as running:
        [result] = await stored(server, running_at(running))
    assert result.reason is Reason.CPS_UNAVAILABLE
    assert "certificate" in result.detail
    assert server.heads == []


@SCHEMES
async def test_a_strangers_url_is_judged_all_the_same(server: Server, scheme: str) -> None:
    """Private addresses in a stranger's URL are refused here; names are for the proxy to judge."""
    async with proxy(scheme, cps_invalid="127.0.0.1") as running:
        rule = EgressRule(ports=frozenset({server.port}))
        client = CpsClient(tls=server.trusting, egress=rule, proxy=running_at(running))
        blob = sealing.dummy(os.urandom(32))
        urls = [f"https://127.0.0.1:{server.port}", server.url]
        results = await client.store(urls, NUMBER, [blob], time.monotonic() + 5)
        await client.close()
    assert [each.reason for each in results] == [Reason.CPS_UNAVAILABLE, Reason.STORED]
    assert running.passed.asked == [(NAME, server.port)]


@SCHEMES
async def test_a_cps_on_this_machine_needs_no_proxy(scheme: str) -> None:
    """Plain http is for loopback alone: it never leaves, and no proxy is asked."""
    paths = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        paths.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
        writer.write(CREATED)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with proxy(scheme) as running, listening:
        client = CpsClient(allow_plain=True, proxy=running_at(running))
        blob = sealing.dummy(os.urandom(32))
        [result] = await client.store([url], NUMBER, [blob], time.monotonic() + 5)
        await client.close()
    assert (result.reason, len(paths), running.passed.asked) == (Reason.STORED, 1, [])


@SCHEMES
def test_on_uvloop_too(tmp_path: Path, scheme: str) -> None:
    """The loop that the service runs on where it is installed."""

    async def scene() -> None:
        server = Server(tmp_path)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=server.context)
        server.port = listening.sockets[0].getsockname()[1]
        async with proxy(scheme, SECRET, cps_invalid="127.0.0.1") as running:
            results = await stored(server, running_at(running, SECRET), count=2)
        listening.close()
        assert [each.reason for each in results] == [Reason.STORED] * 2

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy.example:3128",
        "https://proxy.example:3128",
        "socks4://proxy.example:1080",
        "http://proxy.example",
        "http://:3128",
        "http://proxy.example:99999",
        "http://proxy.example:3128/path",
        "http://proxy.example:3128?query",
        "http://[::1",
    ],
)
def test_what_is_no_proxy_is_refused(text: str) -> None:
    """The message quotes it, and says what it should look like."""
    with pytest.raises(ConfigurationError, match="no URL of a proxy") as refused:
        parse_proxy(text)
    assert "socks5://127.0.0.1:9050" in refused.value.hint


def test_a_secret_is_never_shown() -> None:
    """Neither one in the URL, where it does not belong, nor one from the file."""
    with pytest.raises(ConfigurationError) as refused:
        parse_proxy("http://alice:horse@proxy.example:3128")
    assert "horse" not in str(refused.value)
    made = parse_proxy("socks5://proxy.example:1080", SECRET)
    assert (made.user, made.password) == ("alice", "correct horse")
    assert "horse" not in repr(made)
    for secret in ("alice", ":horse", "a" * 256 + ":horse", "alice:" + "horse" * 60):
        with pytest.raises(ConfigurationError) as refused:
            parse_proxy("http://proxy.example:3128", secret)
        assert "horse" not in str(refused.value)


def test_socks_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the configuration is refused, not the first call."""
    monkeypatch.setattr(proxies_of.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="python-socks") as refused:
        parse_proxy("socks5://127.0.0.1:9050")
    assert "pbx-stir[proxy]" in refused.value.hint
    assert not parse_proxy("http://127.0.0.1:3128").is_socks


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_a_proxy_or_refused(text: str, secret: str) -> None:
    """Nothing else is raised."""
    for url in (text, f"http://{text}", f"socks5://{text}:1"):
        with contextlib.suppress(ConfigurationError):
            assert parse_proxy(url, secret).port > 0
