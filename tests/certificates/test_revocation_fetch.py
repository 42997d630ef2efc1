"""Lists are fetched by https, or by http on its own port, and never from our own network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pbx_stir.certificates.revocation_fetch import RevocationFetcher
from pbx_stir.errors import CertificateUnavailable, UrlRefused

BODY = b"\x30\x00"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + BODY


def at_loopback(host: str, port: int) -> Sequence[str]:
    """Every name is at our own machine."""
    return ["127.0.0.1"]


@pytest.mark.parametrize(
    "url",
    ["http://a.example.com/x", "HTTP://a.example.com:80/x", "https://a.example.com:8443/x"],
)
async def test_plain_and_secure_urls_are_allowed(url: str) -> None:
    """Lists are signed themselves, so http will do for them."""
    fetcher = RevocationFetcher()
    fetcher.check(url)
    await fetcher.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example.com:443/x",
        "http://a.example.com:8080/x",
        "https://a.example.com:80/x",
        "ldap://a.example.com/x",
        "file:///etc/passwd",
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://printer.local/x",
        "http://a.example.com/x?y",
        "http://user@a.example.com/x",
        "",
    ],
)
async def test_other_urls_are_refused(url: str) -> None:
    """Each scheme on its own ports, and the egress rule for all else."""
    fetcher = RevocationFetcher()
    with pytest.raises(UrlRefused):
        await fetcher.fetch(url)
    await fetcher.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_name_at_a_private_address_is_refused(scheme: str) -> None:
    """Whatever a name resolves to, our own network is not connected to."""
    fetcher = RevocationFetcher(lookup=at_loopback)
    with pytest.raises(UrlRefused):
        await fetcher.fetch(f"{scheme}://evil.example.com/all.crl")
    await fetcher.close()


async def test_a_configured_origin_is_fetched_from_by_https(raw_server: Any, tls: Any) -> None:
    """With the authorities that go with it."""
    raw_server.answer = ANSWER
    origin = ("127.0.0.1", raw_server.port)
    fetcher = RevocationFetcher(origins=frozenset({origin}), origin_tls={origin: tls.client})
    url = f"https://127.0.0.1:{raw_server.port}/all.crl"
    assert (await fetcher.fetch(url)).body == BODY
    await fetcher.close()


async def test_a_configured_origin_is_fetched_from_by_http() -> None:
    """On any port; a redirect is an error as for an x5u."""
    answers = [ANSWER, b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fetcher = RevocationFetcher(origins=frozenset({("127.0.0.1", port)}))
    url = f"http://127.0.0.1:{port}/all.crl"
    assert (await fetcher.fetch(url)).body == BODY
    with pytest.raises(CertificateUnavailable, match="302"):
        await fetcher.fetch(url)
    await fetcher.close()
    server.close()
