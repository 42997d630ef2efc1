"""The socket that a board or metrics listen on.

By itself, so that a board with new settings can take it over from the one before.
"""

from __future__ import annotations

import socket
from typing import Final

from pbx_stir.errors import ConfigurationError

_BACKLOG: Final = 128


class Listener:
    """A listening socket that does not block; ``socket`` is open until ``close``."""

    def __init__(self, host: str, port: int, what: str) -> None:
        """Bind; port 0 takes a free one. ``what`` listens: "the board".

        Raises ConfigurationError where that cannot be.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, address = found[0][0], found[0][4]
            self.socket = socket.create_server(
                (str(address[0]), int(address[1])),
                family=family,
                backlog=_BACKLOG,
                # during an upgrade the service that follows begins before this one ends
                reuse_port=True,
            )
        except OSError as error:
            raise ConfigurationError(
                f"{what} cannot listen on {host}:{port}: {error.strerror or error}",
                hint="another process may have the port",
            ) from error
        self.socket.setblocking(False)

    def url(self, *, tls: bool) -> str:
        """Where it listens, as a browser writes it."""
        host, port = self.socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if tls else 'http'}://{shown}:{port}"

    def close(self) -> None:
        """Listen no more."""
        self.socket.close()
