"""Where a service listens, as people write it: HOST:PORT. Takes text, gives host and port."""

from __future__ import annotations

from pbx_stir.errors import UsageError


def parse_listen(text: str) -> tuple[str, int]:
    """Read HOST:PORT, an IPv6 address in brackets; port 0 takes a free one. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(
            f"cannot listen on {text!r}", hint="write HOST:PORT, such as 127.0.0.1:8480"
        )
    return host, int(port)
