"""Sessions: who has the token gets one, and nobody else makes one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.board import sessions
from pbx_stir.board.sessions import Sessions

TOKEN = "a-token-of-some-length"
NOW = 1_795_311_330.0
HOUR = 3_600.0


def test_the_token_admits() -> None:
    """Exactly the token, in whole."""
    made = Sessions(TOKEN, HOUR)
    assert made.admits(TOKEN)
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ä"):
        assert not made.admits(wrong)


def test_a_session_holds_for_its_time() -> None:
    """To the second, and not longer than it was made for."""
    made = Sessions(TOKEN, HOUR)
    cookie = made.new(NOW)
    assert made.left(cookie, NOW) == HOUR
    assert made.left(cookie, NOW + HOUR - 1) == 1
    assert made.left(cookie, NOW + HOUR) == 0
    # a clock that was set back lengthens none
    assert made.left(cookie, NOW - HOUR) == HOUR


def test_a_restart_logs_nobody_out() -> None:
    """Another process with the same token knows its sessions; a new token ends them."""
    cookie = Sessions(TOKEN, HOUR).new(NOW)
    assert Sessions(TOKEN, HOUR).left(cookie, NOW) == HOUR
    assert Sessions(TOKEN + "2", HOUR).left(cookie, NOW) == 0


def test_logging_out_ends_a_session() -> None:
    """That one alone, and what is remembered of it has an end."""
    made = Sessions(TOKEN, HOUR)
    first, second = made.new(NOW), made.new(NOW)
    made.end(first, NOW)
    made.end("made up", NOW)
    assert made.left(first, NOW) == 0
    assert made.left(second, NOW) == HOUR
    made.end(second, NOW + 2 * HOUR)
    for _ in range(sessions.MOST_ENDED + 5):
        made.end(made.new(NOW), NOW)
    assert len(made._ended) == sessions.MOST_ENDED


def test_who_has_logged_out_stays_out() -> None:
    """Also at a board with other settings that is told, however long its sessions are."""
    ended: dict[str, float] = {}
    first = Sessions(TOKEN, 2 * HOUR, ended)
    out, other = first.new(NOW), first.new(NOW)
    Sessions(TOKEN, HOUR, ended).end(out, NOW)
    last = Sessions(TOKEN, 9 * HOUR, ended)
    last.end(last.new(NOW), NOW + HOUR + 1)
    assert last.left(out, NOW + HOUR + 1) == 0
    assert last.left(other, NOW) == 2 * HOUR


def test_cookies_differ_and_tell_nothing() -> None:
    """Two sessions of one moment are two, and no token stands in them."""
    made = Sessions(TOKEN, HOUR)
    assert made.new(NOW) != made.new(NOW)
    assert TOKEN not in made.new(NOW)


@given(st.text() | st.text(alphabet="0123456789.abcdef"))
def test_no_other_cookie_holds(cookie: str) -> None:
    """Whatever a browser sends."""
    assert Sessions(TOKEN, HOUR).left(cookie, NOW) == 0


@given(st.integers(0, 99), st.characters(codec="ascii"))
def test_no_changed_cookie_holds(at: int, char: str) -> None:
    """One character that is another ends it."""
    made = Sessions(TOKEN, HOUR)
    cookie = made.new(NOW)
    at %= len(cookie)
    changed = cookie[:at] + char + cookie[at + 1 :]
    assert (made.left(changed, NOW) == 0) == (changed != cookie)
