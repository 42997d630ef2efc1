"""The longest prefix wins, and what cannot be a route is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.directory.routes import Route, Routes, Sealing, Served
from pbx_stir.errors import ConfigurationError
from pbx_stir.stir import sealing

A = ("https://a.example.net",)
B = ("https://b.example.net", "https://c.example.net:8443")
C = ("https://d.example.net",)
DIGITS = st.text("0123456789", max_size=15)


def test_the_longest_prefix_wins() -> None:
    """Of the routes whose prefix a number has, the longest is taken, the empty one last."""
    routes = Routes([Route("", A), Route("1646", B), Route("1", B)])
    assert routes.route("16465551234") == Route("1646", B)
    assert routes.route("12125551234") == Route("1", B)
    assert routes.route("33155512345") == Route("", A)


def test_a_number_without_a_route_has_none() -> None:
    """No prefix fits: no route, and no CPS to ask."""
    routes = Routes([Route("1646", A)])
    assert routes.route("164") is None
    assert routes.route("") is None
    assert routes.own_cps("12125551234") == ()
    assert Routes().route("12125551234") is None


@given(st.sets(DIGITS, max_size=8), DIGITS)
def test_routing_is_what_a_search_of_all_routes_gives(prefixes: set[str], number: str) -> None:
    """Whatever the prefixes, the route is the longest one that the number starts with."""
    found = Routes([Route(prefix, A) for prefix in prefixes]).route(number)
    fitting = [prefix for prefix in prefixes if number.startswith(prefix)]
    assert (found.prefix if found else None) == max(fitting, key=len, default=None)


def test_two_routes_of_one_prefix_are_refused() -> None:
    """Which of the two wins must not depend on their order."""
    with pytest.raises(ConfigurationError, match="1646"):
        Routes([Route("1646", A), Route("1646", B)])


def test_our_own_numbers_are_fetched_where_they_are_served() -> None:
    """What serves our numbers comes before the routes, which are for everybody's."""
    routes = Routes([Route("1", A)], [Served(frozenset({"12125551234"}), B)])
    assert routes.own_cps("12125551234") == B
    assert routes.own_cps("12125559999") == A


@pytest.mark.parametrize("prefix", ["+1", "1x", "\u0661", "1" * 16, "1*", " 1"])
def test_a_prefix_is_digits(prefix: str) -> None:
    """Anything but up to 15 ASCII digits is refused by name."""
    with pytest.raises(ConfigurationError, match="prefix"):
        Route(prefix, A)


@pytest.mark.parametrize(
    "url",
    [
        "http://cps.example.net",
        "https://",
        "https://user@cps.example.net",
        "https://cps.example.net?x=1",
        "https://cps.example.net#x",
        "https://cps.example.net:0",
        "https://cps.example.net:99999",
        "https://cps.example.net\\evil",
        "https://cps.example.net/a b",
        "https://cps.example.net\n",
        "https://cps.éxample.net",
        "https://[::1",
        "ftp://cps.example.net",
        "cps.example.net",
        "https://cps.example.net/" + "a" * 2048,
    ],
)
def test_a_cps_is_an_https_url(url: str) -> None:
    """http beyond loopback, credentials, queries and odd characters are refused by name."""
    with pytest.raises(ConfigurationError, match="no URL of a call placement service"):
        Route("1", (url,))


@given(st.text())
def test_no_text_breaks_the_check(text: str) -> None:
    """Any text is a usable URL or a ConfigurationError."""
    try:
        Route("1", ("https://" + text,))
    except ConfigurationError:
        pass


def test_plain_http_is_for_loopback() -> None:
    """A CPS on the same machine needs no TLS."""
    for url in ("http://127.0.0.1:8480", "http://[::1]:8480", "http://localhost:8480"):
        assert Route("1", (url,)).cps == (url,)


def test_the_number_of_cps_is_bounded() -> None:
    """One to four, each once."""
    for cps in ((), A * 2, tuple(f"https://{n}.example.net" for n in range(5))):
        with pytest.raises(ConfigurationError, match="1 to 4"):
            Route("1", cps)


def test_pinned_keys_are_checked() -> None:
    """A key to which nobody can seal, twice the same, or beside sealing = none: refused."""
    key = sealing.public_octets(sealing.new_private_key())
    assert Route("1", A, keys=(key,)).keys == (key,)
    for keys in ((b"short",), (bytes(32),), (key, key)):
        with pytest.raises(ConfigurationError):
            Route("1", A, keys=keys)
    with pytest.raises(ConfigurationError, match="sealing"):
        Route("1", A, Sealing.NONE, (key,))


def test_one_url_is_of_one_kind() -> None:
    """A CPS that takes sealed PASSporTs takes no others: nothing would tell them apart there."""
    with pytest.raises(ConfigurationError):
        Routes([Route("1", A), Route("2", A, Sealing.NONE)])
    with pytest.raises(ConfigurationError):
        Routes([Route("1", A, Sealing.NONE)], [Served(("15",), A)])
    with pytest.raises(ConfigurationError):
        Routes([], [Served(("15",), A, A)])


def test_our_numbers_may_be_served_both_ways() -> None:
    """Both kinds of CPS are asked for a number of ours, and the routes know which is which."""
    routes = Routes([Route("2", C, Sealing.NONE, signed=False)], [Served(("15",), (), A)])
    assert routes.own_cps("15") == A
    assert routes.own_cps("25") == C
    assert routes.bare_cps == {*A, *C}
    assert routes.sealed_cps == frozenset()
    assert routes.unsigned_cps() == set(C)
    assert Routes([], [Served(("15",), A, C)]).own_cps("15") == A + C
    with pytest.raises(ConfigurationError):
        Served(("15",), ())
