"""An x5u is fetched only from where the rule allows, in bounded time and size."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from lab.companies import tls_certificate
from pbx_stir.certificates.fetch import (
    MAX_OCTETS,
    X5uFetcher,
    _GlobalConnector,
    _max_age,
    system_lookup,
)
from pbx_stir.errors import CertificateUnavailable, UrlRefused
from pbx_stir.stir.x5u import EgressRule

CHAIN = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


def ok(body: bytes = CHAIN, *headers: bytes) -> bytes:
    """A 200 answer."""
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def configured(raw_server: Any, tls: Any, **options: Any) -> X5uFetcher:
    """A fetcher for which the loopback server is a configured origin."""
    origin = ("127.0.0.1", raw_server.port)
    rule = EgressRule(origins=frozenset({origin}))
    return X5uFetcher(rule=rule, origin_tls={origin: tls.client}, **options)


def url_of(raw_server: Any) -> str:
    """The server's x5u."""
    return f"https://127.0.0.1:{raw_server.port}/alice.pem"


async def failing(raw_server: Any, tls: Any, answer: bytes) -> str:
    """Fetch an answer that is no certificate; gives the reason."""
    raw_server.answer = answer
    fetcher = configured(raw_server, tls)
    with pytest.raises(CertificateUnavailable) as refusal:
        await fetcher.fetch(url_of(raw_server))
    await fetcher.close()
    return str(refusal.value)


async def test_a_configured_origin_is_fetched_from(raw_server: Any, tls: Any) -> None:
    """The octets come as they are, with the seconds they may be kept, over checked TLS."""
    raw_server.answer = ok(CHAIN, b"Cache-Control: public, max-age=600")
    fetcher = configured(raw_server, tls)
    fetched = await fetcher.fetch(url_of(raw_server))
    await fetcher.close()
    assert (fetched.body, fetched.max_age_seconds) == (CHAIN, 600.0)


async def test_what_is_sent_says_nothing_of_us(raw_server: Any, tls: Any) -> None:
    """The request asks for a PEM chain, uncompressed; a cookie set before does not come back."""
    raw_server.answer = ok(CHAIN, b"Set-Cookie: id=1; Path=/")
    fetcher = configured(raw_server, tls)
    for _ in range(2):
        await fetcher.fetch(url_of(raw_server))
    await fetcher.close()
    for request in raw_server.requests:
        head = request.lower()
        assert b"\r\naccept: application/pem-certificate-chain\r\n" in head
        assert b"\r\naccept-encoding: identity\r\n" in head
        assert b"cookie" not in head
        assert b"aiohttp" not in head


async def test_a_redirect_is_not_followed(raw_server: Any, tls: Any) -> None:
    """A 302, also to ourselves, is no certificate; nothing else is asked."""
    target = url_of(raw_server).encode()
    answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % target
    assert "302" in await failing(raw_server, tls, answer)
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize("status", [201, 204, 206, 304, 401, 404, 500])
async def test_only_200_will_do(raw_server: Any, tls: Any, status: int) -> None:
    """Any other status is no certificate."""
    answer = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    assert str(status) in await failing(raw_server, tls, answer)


async def test_a_compressed_answer_is_refused(raw_server: Any, tls: Any) -> None:
    """Nothing is expanded, so nothing can explode."""
    for coding in (b"gzip", b"DEFLATE", b"br", b"identity, gzip"):
        answer = ok(b"\x1f\x8b", b"Content-Encoding: " + coding)
        assert "compressed" in await failing(raw_server, tls, answer)


async def test_a_large_answer_is_cut(raw_server: Any, tls: Any) -> None:
    """64 KiB are the most, whether the length is told, or chunks or the connection never end."""
    told = ok(b"", b"X: y").replace(b"Content-Length: 0", b"Content-Length: 10000000")
    assert "more than" in await failing(raw_server, tls, told)
    raw_server.endless = b"2000\r\n" + b"a" * 0x2000 + b"\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert "more than" in await failing(raw_server, tls, chunked)
    raw_server.endless = b"a" * 8192
    assert "more than" in await failing(raw_server, tls, b"HTTP/1.0 200 OK\r\n\r\n")


async def test_the_largest_answer_is_taken(raw_server: Any, tls: Any) -> None:
    """Exactly 64 KiB are fetched."""
    raw_server.answer = ok(b"a" * MAX_OCTETS)
    fetcher = configured(raw_server, tls)
    assert len((await fetcher.fetch(url_of(raw_server))).body) == MAX_OCTETS
    await fetcher.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\x00garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_broken_answer_is_no_certificate(raw_server: Any, tls: Any, answer: bytes) -> None:
    """Whatever octets come instead of HTTP, the error is CertificateUnavailable."""
    await failing(raw_server, tls, answer)


async def test_a_server_that_does_not_answer_is_left(raw_server: Any, tls: Any) -> None:
    """The whole fetch has one bound in time, trickled answers among it."""
    raw_server.gate.clear()
    fetcher = configured(raw_server, tls, seconds=0.1)
    with pytest.raises(CertificateUnavailable):
        await fetcher.fetch(url_of(raw_server))
    await fetcher.close()


async def test_a_server_without_the_right_certificate_is_not_asked(
    raw_server: Any, tls: Any
) -> None:
    """TLS by the system's authorities, or for another name, fails before a request is sent."""
    rule = EgressRule(
        origins=frozenset({("127.0.0.1", raw_server.port), ("127.0.0.2", raw_server.port)})
    )
    fetcher = X5uFetcher(rule=rule, origin_tls={("127.0.0.2", raw_server.port): tls.client})
    with pytest.raises(CertificateUnavailable):
        await fetcher.fetch(url_of(raw_server))
    with pytest.raises(CertificateUnavailable):
        await fetcher.fetch(url_of(raw_server).replace("127.0.0.1", "127.0.0.2"))
    await fetcher.close()
    assert raw_server.requests == []


async def test_those_who_ask_together_are_answered_by_one_fetch(raw_server: Any, tls: Any) -> None:
    """Ten calls with one x5u are one request."""
    raw_server.answer = ok()
    raw_server.gate.clear()
    fetcher = configured(raw_server, tls)
    asking = [asyncio.create_task(fetcher.fetch(url_of(raw_server))) for _ in range(10)]
    await asyncio.sleep(0)
    raw_server.gate.set()
    assert {each.body for each in await asyncio.gather(*asking)} == {CHAIN}
    await fetcher.close()
    assert raw_server.connections == 1


async def test_the_environment_names_no_proxy(
    raw_server: Any, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is not used."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    raw_server.answer = ok()
    fetcher = configured(raw_server, tls)
    assert (await fetcher.fetch(url_of(raw_server))).body == CHAIN
    await fetcher.close()


class Names:
    """A resolver that gives the same addresses for every name, and counts."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """Resolve."""
        self.asked.append(host)
        if not self.addresses:
            raise socket.gaierror("no such name")
        return self.addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "fe80::1%lo",
        "fd00::1",
        "fec0::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
async def test_a_name_at_a_private_address_is_not_connected_to(
    raw_server: Any, address: str
) -> None:
    """A stranger's name that resolves to our own network is refused, and nobody is connected to."""
    names = Names(address)
    rule = EgressRule(ports=frozenset({raw_server.port}))
    fetcher = X5uFetcher(rule=rule, hosts=None, lookup=names)
    with pytest.raises(UrlRefused):
        await fetcher.fetch(f"https://evil.example.com:{raw_server.port}/a.pem")
    await fetcher.close()
    assert names.asked == ["evil.example.com"]
    assert raw_server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.1", "localhost", "127.1"])
async def test_a_private_address_in_the_url_is_refused(raw_server: Any, host: str) -> None:
    """Without a name there is nothing to resolve, and nothing is connected to."""
    rule = EgressRule(ports=frozenset({raw_server.port}))
    fetcher = X5uFetcher(rule=rule, hosts=None, lookup=Names("127.0.0.1"))
    with pytest.raises(UrlRefused):
        await fetcher.fetch(f"https://{host}:{raw_server.port}/a.pem")
    await fetcher.close()
    assert raw_server.connections == 0


async def test_a_name_that_does_not_resolve_is_no_certificate() -> None:
    """A DNS failure is CertificateUnavailable."""
    fetcher = X5uFetcher(rule=EgressRule(), hosts=None, lookup=Names())
    with pytest.raises(CertificateUnavailable):
        await fetcher.fetch("https://gone.example.com/a.pem")
    await fetcher.close()


class Lying(AbstractResolver):
    """Resolves to loopback past the check, as a resolver that is rebound would."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give 127.0.0.1."""
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self.port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def test_the_socket_is_checked_before_anything_is_asked(raw_server: Any, tls: Any) -> None:
    """Even past the resolver, a connection to a private address carries no request."""
    raw_server.answer = ok()
    connector = _GlobalConnector(Lying(raw_server.port))
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientOSError, match="not globally routable"):
            await session.get(f"https://localhost:{raw_server.port}/", ssl=tls.client)
    assert raw_server.requests == []


async def test_only_allowed_hosts_are_fetched_from() -> None:
    """By default no stranger's host is fetched from, and no name is looked up."""
    names = Names("127.0.0.1")
    nobody = X5uFetcher(rule=EgressRule(), lookup=names)
    some = X5uFetcher(rule=EgressRule(), hosts=frozenset({"cert.example.com"}), lookup=names)
    for fetcher, url in (
        (nobody, "https://cert.example.com/a.pem"),
        (some, "https://other.example.com/a.pem"),
        (some, "https://a.cert.example.com/a.pem"),
        (some, "http://cert.example.com/a.pem"),
        (some, "https://cert.example.com:22/a.pem"),
    ):
        with pytest.raises(UrlRefused):
            await fetcher.fetch(url)
    some.check("https://CERT.example.com/a.pem")
    assert names.asked == []
    await nobody.close()
    await some.close()


@given(st.lists(st.text(max_size=40), max_size=4))
def test_no_header_breaks_the_reading_of_cache_control(values: list[str]) -> None:
    """Whatever a server sends, there are seconds or none."""
    seconds = _max_age(values)
    assert seconds is None or 0 <= seconds < 1e10


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None),
        (["public"], None),
        (["max-age=60"], 60.0),
        (['private, MAX-AGE="60"'], 60.0),
        (["public", "max-age=60"], 60.0),
        (["no-store, max-age=60"], 0.0),
        (['no-cache="x", max-age=60'], 0.0),
        (["max-age=-1"], None),
        (["s-maxage=5"], None),
        (["max-age=\u0661"], None),
    ],
)
def test_cache_control_is_read(values: list[str], seconds: float | None) -> None:
    """RFC 9111 section 5.2.2: max-age counts where keeping is not forbidden."""
    assert _max_age(values) == seconds


def stalled(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Take one connection, shake hands, and never say anything again, not even the end."""
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as secured:
            while secured.recv(1000):
                pass


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_left_open_when_the_loop_ends(tmp_path: Path, loop: str) -> None:
    """Also to a server that never agrees to the end of a connection."""
    factory = None
    if loop == "uvloop":
        why = "uvloop is not installed: the extra speed has it"
        factory = pytest.importorskip("uvloop", reason=why).new_event_loop
    certificate, key, ca = tls_certificate(tmp_path, "x5u", ["127.0.0.1"])
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=stalled, args=(listener, server_tls))
        thread.start()
        origin = ("127.0.0.1", listener.getsockname()[1])

        async def fetch() -> None:
            client = ssl.create_default_context(cafile=ca)
            rule = EgressRule(origins=frozenset({origin}))
            fetcher = X5uFetcher(rule=rule, origin_tls={origin: client}, seconds=0.5)
            with pytest.raises(CertificateUnavailable):
                await fetcher.fetch(f"https://127.0.0.1:{origin[1]}/alice.pem")
            await fetcher.close()

        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(fetch())
            gc.collect()
        # the other side sees the end of the connection
        thread.join(10)
        assert not thread.is_alive()
    assert [str(one.message) for one in said if one.category is ResourceWarning] == []


def test_the_system_resolves_loopback() -> None:
    """The blocking look-up gives addresses as text."""
    assert "127.0.0.1" in system_lookup("127.0.0.1", 443)
