"""Fetches what an x5u URL names, under the egress rule (the part with I/O; stir.x5u has the rest).

Takes a URL that a stranger may have chosen, gives the octets of the answer and how long the server
lets them be kept. It does not look into the octets, keeps nothing, and never learns for which call
it fetches. Source: RFC 8224 section 7.1, RFC 8225 section 4.3, RFC 7515 section 4.1.5.

A stranger's URL must not reach our own network. So names are looked up here, only globally routable
addresses are connected to, and the address at the other end of the socket is checked once more
before the request is sent. There are no redirects, proxies, cookies or compressed answers.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pbx_stir.certificates.single_flight import SingleFlight
from pbx_stir.cps.resolver import BoundedResolver
from pbx_stir.errors import CertificateUnavailable, Unavailable, UrlRefused
from pbx_stir.stir.x5u import CheckedUrl, EgressRule, check_url, is_global_address

MAX_OCTETS: Final = 64 * 1024
FETCH_SECONDS: Final = 3.0
MOST_FETCHES: Final = 32

MEDIA_TYPE: Final = "application/pem-certificate-chain"
_HEADERS = {
    hdrs.ACCEPT_ENCODING: "identity",
    hdrs.USER_AGENT: "pbx-stir",
}
_MOST_ADDRESSES = 8
_MAX_AGE = re.compile(r"max-age=\"?([0-9]{1,10})\"?", re.ASCII | re.IGNORECASE)
_CHUNK_OCTETS = 8 * 1024
# a fetch, and TLS's own patience with the end of a connection
_LONGEST_CONNECTION_SECONDS: Final = 60.0

Lookup = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The octets of an answer, and the seconds its Cache-Control gives it (None: it says none)."""

    body: bytes
    max_age_seconds: float | None = None


def system_lookup(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for the addresses of ``host``; blocks. Raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class X5uFetcher:
    """Fetches certificate chains; one fetch at a time per URL."""

    def __init__(
        self,
        *,
        rule: EgressRule,
        hosts: frozenset[str] | None = frozenset(),
        origin_tls: Mapping[tuple[str, int], ssl.SSLContext] | None = None,
        lookup: Lookup = system_lookup,
        seconds: float = FETCH_SECONDS,
        accept: str = MEDIA_TYPE,
        max_octets: int = MAX_OCTETS,
    ) -> None:
        """``hosts`` are those whose URLs are fetched, in lower case; None is any.

        Origins that ``rule`` names are fetched whatever ``hosts`` says, with the TLS settings of
        ``origin_tls`` where it has some. ``lookup`` blocks and is run in threads of our own;
        ``seconds`` bound a whole fetch, names and TLS among it; ``max_octets`` what is read.
        ``accept`` is the media type asked for.
        """
        self._seconds = seconds
        self._headers = {**_HEADERS, hdrs.ACCEPT: accept}
        self._max_octets = max_octets
        self._rule = rule
        self._hosts = hosts
        self._origin_tls = dict(origin_tls or {})
        self._resolver = _GlobalResolver(lookup)
        self._flights: SingleFlight[str, Fetched] = SingleFlight(most=MOST_FETCHES)
        self._strangers: aiohttp.ClientSession | None = None
        self._configured: aiohttp.ClientSession | None = None

    def check(self, url: str) -> CheckedUrl:
        """Refuse what will not be fetched, by its text alone. Raises ``UrlRefused``."""
        checked = check_url(url, self._rule)
        if not (checked.is_configured or self._hosts is None or checked.host in self._hosts):
            raise UrlRefused(
                f"x5u host {checked.host!r} is not one that is fetched from",
                hint="name it in x5u_hosts if you trust it not to learn of your calls",
            )
        return checked

    async def fetch(self, url: str) -> Fetched:
        """Fetch ``url`` in bounded time, together with whoever else asks for it now.

        Raises ``UrlRefused`` where the rule forbids it, ``CertificateUnavailable`` for all else.
        """
        checked = self.check(url)
        give_up_at = time.monotonic() + self._seconds
        try:
            return await self._flights.join(checked.url, lambda: self._fetch(checked), give_up_at)
        except CertificateUnavailable:
            raise
        except Unavailable as error:
            raise CertificateUnavailable(f"cannot fetch {checked.url}: {error}") from error

    async def close(self) -> None:
        """Break off what is under way and close the connections."""
        await self._flights.close()
        for session in (self._strangers, self._configured):
            if session is not None:
                await session.close()
        self._strangers = self._configured = None
        await self._resolver.close()

    async def _fetch(self, checked: CheckedUrl) -> Fetched:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._get(checked)
        except TimeoutError as error:
            raise CertificateUnavailable(
                f"cannot fetch {checked.url}: no answer in {self._seconds:g} s"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # a name error and a lost connection are the same to the call: no certificate
            if _is_private(error):
                raise UrlRefused(f"{checked.host} is at no public address") from error
            why = f"{type(error).__name__}: {error}"[:200]
            raise CertificateUnavailable(f"cannot fetch {checked.url}: {why}") from error

    async def _get(self, checked: CheckedUrl) -> Fetched:
        tls = self._origin_tls.get((checked.host, checked.port), True)
        async with self._session(checked).get(
            URL(checked.url, encoded=True), headers=self._headers, allow_redirects=False, ssl=tls
        ) as response:
            if response.status != 200:
                raise CertificateUnavailable(f"{checked.url} answered {response.status}")
            coding = response.headers.get(hdrs.CONTENT_ENCODING, "identity")
            if coding.strip().lower() not in ("", "identity"):
                raise CertificateUnavailable(f"{checked.url} answered with a compressed body")
            body = await _read_bounded(response, checked.url, self._max_octets)
            return Fetched(body, _max_age(response.headers.getall(hdrs.CACHE_CONTROL, [])))

    def _session(self, checked: CheckedUrl) -> aiohttp.ClientSession:
        if checked.is_configured:
            if self._configured is None:
                self._configured = _new_session(_EndingConnector(resolver=BoundedResolver()))
            return self._configured
        if self._strangers is None:
            self._strangers = _new_session(_GlobalConnector(self._resolver))
        return self._strangers


class _PrivateAddress(OSError):
    """A name, or the other end of a socket, is not at a globally routable address."""


class _GlobalResolver(AbstractResolver):
    """Looks names up and leaves out every address that is not globally routable."""

    def __init__(self, lookup: Lookup) -> None:
        # its threads hold up nobody: neither other look-ups, nor the end of the process
        self._names = BoundedResolver(look_up=lambda host, port, _: list(lookup(host, port)))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give the globally routable addresses of ``host``. Raises ``OSError`` for none."""
        found = await self._names.resolve(host, port, family)
        usable = [one for one in found if is_global_address(one["host"])]
        if not usable:
            raise _PrivateAddress(f"{host} has no globally routable address")
        return usable[:_MOST_ADDRESSES]

    async def close(self) -> None:
        """Wait for nothing."""
        await self._names.close()


class _EndingConnector(aiohttp.TCPConnector):
    """Leaves no socket open at its end.

    A connection that is closed says so within TLS and waits for the other side to say it, too: up
    to 30 s after the loop that it waits in may be gone. What has not ended with this is broken off.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(force_close=True, **options)
        # with the moment of each; uvloop's cannot be referred to weakly
        self._given_out: deque[tuple[float, asyncio.Transport]] = deque()

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Connect, and remember it."""
        connection = await super().connect(*args, **kwargs)
        now = time.monotonic()
        while self._given_out and self._given_out[0][0] < now - _LONGEST_CONNECTION_SECONDS:
            self._given_out.popleft()
        if connection.transport is not None:
            self._given_out.append((now, connection.transport))
        return connection

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all connections, at once."""
        await super().close(abort_ssl=abort_ssl)
        for _, transport in self._given_out:
            transport.abort()
        self._given_out.clear()


class _GlobalConnector(_EndingConnector):
    """Gives out only connections whose other end is at a globally routable address."""

    def __init__(self, resolver: AbstractResolver) -> None:
        # one connection a fetch, no remembered names: each fetch is checked from the beginning
        super().__init__(resolver=resolver, use_dns_cache=False)

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Connect, and check the socket before anything is asked over it."""
        connection = await super().connect(*args, **kwargs)
        transport = connection.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        if not peer or not is_global_address(str(peer[0])):
            connection.close()
            raise _PrivateAddress("connected to an address that is not globally routable")
        return connection


def _new_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS),
    )


async def _read_bounded(response: aiohttp.ClientResponse, url: str, most: int) -> bytes:
    """Read the body while it comes; a server may lie about its length, or give none."""
    body = bytearray()
    if (response.content_length or 0) <= most:
        async for chunk in response.content.iter_chunked(_CHUNK_OCTETS):
            body += chunk
            if len(body) > most:
                break
        else:
            return bytes(body)
    response.close()
    raise CertificateUnavailable(f"{url} answered more than {most} octets")


def _max_age(values: Sequence[str]) -> float | None:
    """Read max-age from Cache-Control headers; 0 where keeping is forbidden (RFC 9111 5.2.2)."""
    directives = [part.strip().lower() for value in values for part in value.split(",")]
    if any(part.split("=")[0] in ("no-store", "no-cache") for part in directives):
        return 0.0
    for part in directives:
        if (match := _MAX_AGE.fullmatch(part)) is not None:
            return float(match[1])
    return None


def _is_private(error: BaseException) -> bool:
    """Whether the connection failed because the address was ours to refuse."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return False
        if isinstance(seen, _PrivateAddress):
            return True
        seen = getattr(seen, "os_error", None) or seen.__cause__
    return False
