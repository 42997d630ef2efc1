"""Proxies between us and CPSs: HTTP with CONNECT, and SOCKS version 5.

Takes a URL and a secret, gives a ``Proxy`` and, for SOCKS, connections through it. TLS runs through
the proxy to the CPS, so that the proxy sees the CPS's name and how much is said, and the CPS sees
the proxy's address. A CPS's name is resolved by the proxy, never by us (a DNS query just before a
store would tell the resolver what the proxy hides).
Source: RFC 8816 section 13 ("Proxying the storage of the CPS through some third party"), RFC 9110
section 9.3.6 (CONNECT), RFC 1928 and RFC 1929 (SOCKS).
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import socket
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from pbx_stir.cps.connector import BoundedConnector
from pbx_stir.errors import ConfigurationError

_SCHEMES: Final = ("http", "socks5")
# RFC 1929 counts each of both in one octet.
_MOST_SECRET = 255


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy is, and as whom to use it; ``user`` is empty where it asks nobody."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS, not HTTP."""
        return self.scheme == "socks5"

    def arguments(self) -> dict[str, Any]:
        """What aiohttp's request takes to go through it; nothing for SOCKS."""
        if self.is_socks:
            return {}
        host = f"[{self.host}]" if ":" in self.host else self.host
        arguments: dict[str, Any] = {"proxy": f"http://{host}:{self.port}"}
        if self.user:
            secret = base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
            arguments["proxy_headers"] = {"Proxy-Authorization": f"Basic {secret}"}
        return arguments


def parse_proxy(text: str, secret: str = "") -> Proxy:
    """Read ``http://HOST:PORT`` or ``socks5://HOST:PORT``; ``secret`` is ``USER:PASSWORD``.

    Raises ``ConfigurationError``, which never quotes the secret.
    """
    hint = 'such as "http://127.0.0.1:3128" or "socks5://127.0.0.1:9050"'
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(f"{text[:200]!r} is no URL of a proxy", hint=hint) from error
    if "@" in parts.netloc:
        # not quoted: there may be a password in it
        raise ConfigurationError(
            "a proxy's URL names no user", hint="user and password go into the password file"
        )
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in _SCHEMES or not host or not port or not plain:
        raise ConfigurationError(f"{text[:200]!r} is no URL of a proxy", hint=hint)
    if parts.scheme == "socks5" and importlib.util.find_spec("python_socks") is None:
        raise ConfigurationError(
            "a SOCKS proxy needs the package python-socks", hint="pip install 'pbx-stir[proxy]'"
        )
    if not secret:
        return Proxy(parts.scheme, host, port)
    user, colon, password = secret.partition(":")
    if not colon or not user or max(len(user), len(password)) > _MOST_SECRET:
        raise ConfigurationError("the file holds no USER:PASSWORD on its line")
    return Proxy(parts.scheme, host, port, user, password)


class SocksConnector(BoundedConnector):
    """Connects through a SOCKS 5 proxy, which is given the CPS's name as it stands."""

    def __init__(self, proxy: Proxy, **arguments: Any) -> None:
        super().__init__(resolver=_Unresolved(), **arguments)
        self._proxy = proxy

    async def _wrap_create_connection(
        self, *args: Any, addr_infos: Any, req: Any, timeout: Any, **arguments: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """Do TLS and HTTP over a connection that the proxy made."""
        sock = await self._through(*addr_infos[0][4][:2])
        try:
            # A failure of TLS is told as for any other connection.
            arguments.pop("client_error", None)
            return await super()._wrap_existing_connection(
                *args, sock=sock, req=req, timeout=timeout, **arguments
            )
        except BaseException:
            sock.close()
            raise

    async def _through(self, host: str, port: int) -> socket.socket:
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.asyncio import Proxy as Socks

        proxy = self._proxy
        socks = Socks(
            ProxyType.SOCKS5,
            proxy.host,
            proxy.port,
            proxy.user or None,
            proxy.password if proxy.user else None,
            rdns=True,
        )
        try:
            return await socks.connect(host, port)
        except ProxyError as error:
            raise aiohttp.ClientConnectionError(f"the proxy refused: {error}") from error


class _Unresolved(AbstractResolver):
    """Gives a name in the place of its address."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give the name itself, which only the proxy will look up."""
        return [
            ResolveResult(
                hostname=host, host=host, port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""
