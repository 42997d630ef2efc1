"""What a board is told: where it listens, who may look, and how browsers reach it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Final

from pbx_stir.cps.origin import is_loopback
from pbx_stir.errors import ConfigurationError

SHORTEST_TOKEN: Final = 16
SESSION_SECONDS: Final = 12 * 3_600.0
HEARTBEAT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """Where the board listens. Port 0 takes a free one.

    ``token`` is what people log in with. ``names`` are host names by which browsers reach the board
    besides ``host`` and those of loopback. ``behind_proxy``: a proxy in front of it speaks TLS.

    Raises ``ConfigurationError`` for a board that strangers could read on the way.
    """

    host: str
    port: int
    token: str = field(repr=False)
    names: frozenset[str] = frozenset()
    tls: ssl.SSLContext | None = None
    behind_proxy: bool = False
    session_seconds: float = SESSION_SECONDS
    heartbeat_seconds: float = HEARTBEAT_SECONDS

    def __post_init__(self) -> None:
        if len(self.token) < SHORTEST_TOKEN:
            raise ConfigurationError(
                f"the board's token has fewer than {SHORTEST_TOKEN} characters",
                hint="make one with: openssl rand -hex 24",
            )
        if self.tls is None and not self.behind_proxy and not is_loopback(self.host):
            raise ConfigurationError(
                f"the board cannot listen on {self.host} without TLS",
                hint="give certificate and key, or behind_proxy = true where a proxy has TLS",
            )

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it over TLS, as far as is known here."""
        return self.tls is not None or self.behind_proxy

    @property
    def hosts(self) -> frozenset[str]:
        """The names, in lower case, under which it answers."""
        own = {"localhost", "127.0.0.1", "[::1]"}
        own.add(f"[{self.host}]" if ":" in self.host else self.host)
        return frozenset(one.lower() for one in (*own, *self.names))
