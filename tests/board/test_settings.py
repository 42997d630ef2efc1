"""What a board is told, and what it refuses to be told."""

from __future__ import annotations

import ssl

import pytest

from pbx_stir.board.settings import BoardSettings
from pbx_stir.errors import ConfigurationError

TOKEN = "sixteen letters."


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "board.example.com"])
def test_nobody_reads_it_on_the_way(host: str) -> None:
    """Off loopback it needs TLS, its own or a proxy's."""
    with pytest.raises(ConfigurationError, match="without TLS"):
        BoardSettings(host, 8490, TOKEN)
    assert BoardSettings(host, 8490, TOKEN, behind_proxy=True).is_secure
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert BoardSettings(host, 8490, TOKEN, tls=tls).is_secure


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_on_loopback_it_needs_none(host: str) -> None:
    """What stays on the machine may be plain."""
    assert not BoardSettings(host, 8490, TOKEN).is_secure


def test_a_token_has_a_length() -> None:
    """One that can be guessed is refused; none is ever shown."""
    with pytest.raises(ConfigurationError, match="fewer than 16"):
        BoardSettings("127.0.0.1", 8490, TOKEN[1:])
    assert TOKEN not in repr(BoardSettings("127.0.0.1", 8490, TOKEN))


def test_its_names() -> None:
    """Those of loopback, where it listens, and what is named; as Host headers write them."""
    hosts = BoardSettings("::1", 8490, TOKEN, names=frozenset({"Board.example"})).hosts
    assert hosts == {"localhost", "127.0.0.1", "[::1]", "board.example"}
    assert "192.0.2.1" in BoardSettings("192.0.2.1", 1, TOKEN, behind_proxy=True).hosts
