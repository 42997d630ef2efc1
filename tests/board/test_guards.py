"""What every request passes: the Host header, and where a form came from."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.board.guards import POLICY, host_of, is_our_own


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost:8490", "localhost"),
        ("LocalHost", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:8490", "[::1]"),
        ("[::1]", "[::1]"),
        ("board.example.com", "board.example.com"),
        ("", ""),
        ("localhost:port", ""),
        ("localhost:99999", ""),
        ("localhost/evil.example", ""),
        ("evil.example@localhost", ""),
        ("localhost?evil.example", ""),
        ("localhost#evil.example", ""),
        ("[::1", ""),
    ],
)
def test_a_host_is_read_strictly(header: str, host: str) -> None:
    """The name without its port; what is no host and port is no name of ours."""
    assert host_of(header) == host


@given(st.text())
def test_no_host_header_breaks_it(header: str) -> None:
    """Whatever is sent, a name or nothing comes of it."""
    assert isinstance(host_of(header), str)


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),
        ({"Origin": "http://board:8490"}, True),
        ({"Origin": "https://board:8490"}, True),
        ({"Origin": "https://BOARD:8490", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "https://board"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://board:8490.evil.example"}, False),
        ({"Origin": "http://[board"}, False),
        ({"Origin": "file://board:8490"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://board:8490", "Sec-Fetch-Site": "same-site"}, False),
    ],
)
def test_forms_come_from_our_own_page(headers: dict[str, str], ours: bool) -> None:
    """Another site's form is told by what every browser says of it."""
    request = make_mocked_request("POST", "/login", headers={"Host": "board:8490", **headers})
    assert is_our_own(request) == ours


def test_nothing_foreign_runs() -> None:
    """The policy allows files of ours, and neither inline scripts nor anything from elsewhere."""
    assert POLICY.startswith("default-src 'none';")
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert "*" not in POLICY
