"""What time it is at least: never later than the clock, and no step forward at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.tokens.passed import BELIEVED_SECONDS, Passed

NOW = 1_800_000_000.0


class Clock:
    """A clock that goes when told."""

    moment = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.moment


def test_a_clock_that_goes_right_is_followed() -> None:
    """To the millisecond, however seldom it is looked at."""
    clock = Clock()
    passed = Passed(clock)
    for seconds in (0.0, 1.0, 60.0, 86_400.0):
        clock.moment = seconds
        assert passed(NOW + seconds) == NOW + seconds


def test_a_step_forward_is_believed_after_some_minutes() -> None:
    """When the clock has kept to it, at two looks or more; not when it was set back meanwhile."""
    clock = Clock()
    passed = Passed(clock)
    passed(NOW)
    assert passed(NOW + 1000) == NOW
    clock.moment = BELIEVED_SECONDS - 1
    assert passed(NOW + clock.moment + 1000) == NOW + clock.moment
    assert passed(NOW + clock.moment) == NOW + clock.moment
    clock.moment = BELIEVED_SECONDS + 1
    assert passed(NOW + clock.moment + 1000) == NOW + clock.moment
    clock.moment += BELIEVED_SECONDS
    assert passed(NOW + clock.moment + 2000) == NOW + clock.moment + 1000


def test_of_several_steps_the_least_is_believed() -> None:
    """As far as the clock has been ahead all the while, and no further."""
    clock = Clock()
    passed = Passed(clock)
    passed(NOW)
    for clock.moment, ahead in ((1.0, 1000.0), (100.0, 100.0), (200.0, 1000.0)):
        assert passed(NOW + clock.moment + ahead) == NOW + clock.moment
    clock.moment = BELIEVED_SECONDS + 2
    assert passed(NOW + clock.moment + 1000) == NOW + clock.moment + 100


def test_a_step_backward_is_followed_at_once() -> None:
    """And the way forward again is a step like any other."""
    clock = Clock()
    passed = Passed(clock)
    passed(NOW)
    assert passed(NOW - 500) == NOW - 500
    assert passed(NOW) == NOW - 500


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(-1e6, 1e6)), max_size=14))
def test_no_look_of_some_minutes_gains_anything(looks: list[tuple[float, float]]) -> None:
    """However wrong the clock, it is no later than any look and what went by since."""
    clock = Clock()
    passed = Passed(clock)
    least = float("inf")
    for seconds, wrong in looks:
        clock.moment += seconds
        least = min(least, wrong)
        told = passed(NOW + clock.moment + wrong)
        assert abs(told - (NOW + clock.moment + least)) < 1e-3
