"""Tests of pbx_stir.listen_address: HOST:PORT, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import UsageError
from pbx_stir.listen_address import parse_listen


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:8480", ("127.0.0.1", 8480)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_listen_is_host_and_port(text: str, place: tuple[str, int]) -> None:
    """An IPv6 address stands in brackets."""
    assert parse_listen(text) == place


@pytest.mark.parametrize(
    "text",
    ["", "8480", ":8480", "127.0.0.1", "127.0.0.1:", "::1:80", "a:99999", "a:-1", "a:\u0661"],
)
def test_a_wrong_listen_is_a_usage_error(text: str) -> None:
    """What is not HOST:PORT is said with what to write."""
    with pytest.raises(UsageError, match="listen"):
        parse_listen(text)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    """Whatever is written: a host and a port that exists, or UsageError."""
    try:
        host, port = parse_listen(text)
    except UsageError:
        return
    assert host
    assert 0 <= port <= 65535
