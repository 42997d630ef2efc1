"""What stays on this machine."""

from __future__ import annotations

import pytest

from pbx_stir.checks.hosts import is_loopback


@pytest.mark.parametrize(
    ("host", "stays"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback(host: str, stays: bool) -> None:
    """By name or address; a name that begins so is another one."""
    assert is_loopback(host) is stays
