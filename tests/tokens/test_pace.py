"""Tests of pbx_stir.tokens.pace: how fast calls take tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.tokens.pace import CALM_SECONDS, MEAN_SECONDS, Pace


def steady(a_second: float, seconds: float = 60.0) -> tuple[Pace, float]:
    """A pace after so many seconds of calls, and what time it is then."""
    pace, at = Pace(), 1000.0
    for _ in range(int(a_second * seconds)):
        at += 1 / a_second
        pace.took(1, at)
    return pace, at


@pytest.mark.parametrize("a_second", [1.0, 6.0, 50.0, 300.0])
def test_a_steady_pace_is_found(a_second: float) -> None:
    """After a minute it is known within a few per cent; after a pause it is forgotten."""
    pace, at = steady(a_second)
    # one call's own weight is in it
    assert pace.a_second(at) == pytest.approx(a_second + 0.5 / MEAN_SECONDS, rel=0.05)
    assert pace.a_second(at + 10 * MEAN_SECONDS) < a_second / 1000


def test_one_call_is_no_hurry() -> None:
    """Nor are two at once, with nothing left: a request would follow from them."""
    pace = Pace()
    assert pace.share(0, 5.0) == 1.0
    pace.took(1, 5.0)
    pace.took(1, 5.0)
    assert pace.share(0, 5.0) == 1.0


def test_calm_pauses_are_enough_for_two_minutes() -> None:
    """Below that the share falls with what is left, down to that of one batch."""
    pace, at = steady(50.0)
    rate = pace.a_second(at)
    assert pace.share(int(rate * CALM_SECONDS), at) == 1.0
    assert pace.share(int(rate * CALM_SECONDS / 10), at) == pytest.approx(0.1, rel=0.1)
    assert pace.share(0, at) == pytest.approx(32 / rate / CALM_SECONDS)


def test_a_token_for_several_calls_is_a_part_each() -> None:
    """Tokens are counted, not calls."""
    pace = Pace()
    for _ in range(40):
        pace.took(0.25, 7.0)
    assert pace.a_second(7.0) == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.floats(0.01, 16), st.floats(0, 1e6)), max_size=30),
    st.integers(0, 20_000),
    st.floats(-10, 1e6),
)
def test_a_share_is_one(taken: list[tuple[float, float]], left: int, later: float) -> None:
    """Above 0, at most 1, and none the smaller for more tokens, whatever the clock does."""
    pace = Pace()
    for tokens, at in taken:
        pace.took(tokens, at)
    less, more = pace.share(left, later), pace.share(left + 1, later)
    assert 0 < less <= more <= 1
    assert pace.a_second(later) >= 0
