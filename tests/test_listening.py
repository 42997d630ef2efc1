"""The socket of a board, or of metrics."""

from __future__ import annotations

import socket

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.listening import Listener


def test_a_taken_port_is_said() -> None:
    """With the address, and what may be wrong."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}") as told:
            Listener("127.0.0.1", port, "the board")
        assert told.value.hint


def test_the_service_that_follows_has_it_at_once() -> None:
    """During an upgrade two services have the port, for a moment."""
    first = Listener("127.0.0.1", 0, "the board")
    port = first.socket.getsockname()[1]
    second = Listener("127.0.0.1", port, "the board")
    assert second.socket.getsockname()[1] == port
    first.close()
    second.close()


def test_no_host_is_said() -> None:
    """A name that leads nowhere is a mistake of the configuration."""
    with pytest.raises(ConfigurationError, match="metrics cannot listen"):
        Listener("no-such-host.invalid", 0, "metrics")


def test_its_url() -> None:
    """As a browser writes it."""
    listener = Listener("127.0.0.1", 0, "metrics")
    try:
        port = listener.socket.getsockname()[1]
        assert listener.url(tls=False) == f"http://127.0.0.1:{port}"
        assert listener.url(tls=True) == f"https://127.0.0.1:{port}"
    finally:
        listener.close()
