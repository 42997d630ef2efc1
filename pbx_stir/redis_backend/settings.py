"""Where Redis is and how long it may take: frozen values, checked when made.

Takes URLs as an administrator writes them; gives addresses. It connects to nothing. A password
never stands in a URL: command lines, process lists and error messages show URLs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pbx_stir.errors import ConfigurationError

DEFAULT_PORT: Final = 6379
COMMAND_SECONDS: Final = 0.25
MOST_CONNECTIONS: Final = 32
# host: a name, an IPv4 address, or an IPv6 address in brackets
_URL = re.compile(
    r"(?P<scheme>rediss?)://(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/(?P<database>[0-9]{1,2})?)?"
)


def check_extra() -> None:
    """Raise ``ConfigurationError`` where Redis' client is missing."""
    try:
        import redis  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "Redis needs the package redis", hint="pip install 'pbx-stir[redis]'"
        ) from error


class Address(NamedTuple):
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How to reach one Redis server, or (``is_cluster``) some nodes of a Redis Cluster.

    ``tls_ca`` is a PEM file, empty for the system's authorities. ``command_seconds`` bounds every
    command, the wait for a free connection included; ``most_connections`` are to one server.
    ``replicas`` must have taken each count of the ledger before it holds.
    """

    addresses: tuple[Address, ...]
    is_cluster: bool = False
    tls: bool = False
    tls_ca: str = ""
    database: int = 0
    username: str = ""
    password: str = ""
    replicas: int = 0
    command_seconds: float = COMMAND_SECONDS
    most_connections: int = MOST_CONNECTIONS

    def __repr__(self) -> str:
        """Show where, never the password."""
        return f"RedisSettings({', '.join(map(str, self.addresses))})"


def settings(
    url: str | Sequence[str],
    *,
    username: str = "",
    password: str = "",
    tls_ca: str = "",
    replicas: int = 0,
) -> RedisSettings:
    """Read ``url``: one ``redis://HOST:PORT/DATABASE`` or ``rediss://…``, or nodes of a cluster.

    Raises:
        ConfigurationError: it is none, holds a password, or its nodes differ in their scheme
    """
    urls = [url] if isinstance(url, str) else list(url)
    if not urls:
        raise ConfigurationError("no redis url", hint='such as "redis://127.0.0.1:6379"')
    found = [_parsed(one) for one in urls]
    schemes = {scheme for scheme, _, _ in found}
    databases = {database for _, _, database in found}
    is_cluster = not isinstance(url, str)
    if len(schemes) > 1:
        raise ConfigurationError("some nodes with tls and some without", hint="write one scheme")
    if is_cluster and databases != {0}:
        raise ConfigurationError("a redis cluster has database 0 alone", hint="leave out the /N")
    return RedisSettings(
        addresses=tuple(address for _, address, _ in found),
        is_cluster=is_cluster,
        tls=schemes == {"rediss"},
        tls_ca=tls_ca,
        database=databases.pop(),
        username=username,
        password=password,
        replicas=replicas,
    )


def _parsed(url: str) -> tuple[str, Address, int]:
    if "@" in url:
        # not the URL itself, which may hold the password
        raise ConfigurationError(
            "a redis url names a user or a password", hint="username, and password_file"
        )
    match = _URL.fullmatch(url)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise ConfigurationError(
            f"{url[:200]!r} is no redis url", hint="redis://HOST:PORT, or rediss://HOST:PORT"
        )
    address = Address(match["host"].strip("[]"), port)
    return match["scheme"], address, int(match["database"] or 0)
