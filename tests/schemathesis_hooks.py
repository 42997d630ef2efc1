"""Tells schemathesis how bodies of this interface's media types are written: as they are."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/passport", "application/jose")
def as_text(_context: Any, value: Any) -> bytes:
    """Give a text's octets."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
