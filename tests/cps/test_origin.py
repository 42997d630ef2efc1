"""Tests of pbx_stir.cps.origin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.origin import is_loopback, parse_cps_url
from pbx_stir.errors import UrlRefused
from pbx_stir.stir.x5u import EgressRule


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://cps.example.com", "https://cps.example.com/cps/1/ppts"),
        ("https://cps.example.com/", "https://cps.example.com/cps/1/ppts"),
        ("https://CPS.example.com:8443", "https://cps.example.com:8443/cps/1/ppts"),
        ("https://cps.example.com/a/b/", "https://cps.example.com/a/b/cps/1/ppts"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/cps/1/ppts"),
    ],
)
def test_paths_are_below_the_base(text: str, url: str) -> None:
    """A CPS may live below a path, on any port; its host is written one way."""
    assert str(parse_cps_url(text).url("/cps/1/ppts")) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cps.example.com",
        "http://cps.example.com",
        "ftp://cps.example.com",
        "https://",
        "https://user@cps.example.com",
        "https://user:pass@cps.example.com",
        "https://cps.example.com?x",
        "https://cps.example.com#x",
        "https://cps.example.com//x",
        "https://cps.example.com\\x",
        "https://cps.example.com\n",
        "https://cps example.com",
        "https://cps.example.com:99999",
        "https://cps.example.com:x",
        "https://[::1",
        "https://c\u00e9.example.com",
        "https://cps.example.com/" + "a" * 3000,
    ],
)
def test_other_urls_are_refused(text: str) -> None:
    """Nothing but https with a host, without userinfo, query or fragment."""
    with pytest.raises(UrlRefused):
        parse_cps_url(text, allow_plain=True)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    """No text raises anything but UrlRefused."""
    for each in (text, f"https://{text}", f"https://cps.example.com/{text}"):
        try:
            parse_cps_url(each, allow_plain=True, egress=EgressRule())
        except UrlRefused:
            continue


def test_plain_http_is_for_loopback_by_choice() -> None:
    """http is taken where it is allowed, and to this machine only."""
    for host in ("127.0.0.1:8480", "localhost", "[::1]:8480"):
        assert parse_cps_url(f"http://{host}", allow_plain=True).origin == f"http://{host}"
        with pytest.raises(UrlRefused, match="https"):
            parse_cps_url(f"http://{host}")
    with pytest.raises(UrlRefused, match="https"):
        parse_cps_url("http://192.0.2.1", allow_plain=True)


def test_a_strangers_url_is_guarded() -> None:
    """With a rule, a URL is a stranger's unless its origin is named."""
    rule = EgressRule(origins=frozenset({("cps.local", 9999)}))
    assert parse_cps_url("https://cps.example.com", egress=rule).guarded
    assert not parse_cps_url("https://cps.local:9999", egress=rule).guarded
    assert not parse_cps_url("https://cps.example.com").guarded
    for text in ("https://127.0.0.1", "https://cps.example.com:25", "https://cps.local"):
        with pytest.raises(UrlRefused):
            parse_cps_url(text, egress=rule)


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("/cps/1/ppts/x", "https://a.example/cps/1/ppts/x"),
        ("https://a.example/cps/1/ppts/x", "https://a.example/cps/1/ppts/x"),
        ("//evil.example/x", None),
        ("https://a.example.evil.example/x", None),
        ("http://a.example/x", None),
    ],
)
def test_hrefs_stay_at_home(href: str, url: str | None) -> None:
    """A list's href is followed on the same origin only."""
    base = parse_cps_url("https://a.example/base")
    if url is None:
        with pytest.raises(UrlRefused):
            base.path_of(href)
    else:
        assert str(base.url(base.path_of(href))) == url


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Loopback is this machine only."""
    assert is_loopback(host) is loopback
