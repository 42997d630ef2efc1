"""Calls that wait for a CPS, and when no other one is to join them."""

from __future__ import annotations

import pytest

from pbx_stir.cps.waits import FEWEST, LONG_SECONDS, MANY, MOST_CPS, TIMES, Waits

CPS, OTHER = "https://one.example", "https://two.example"


class Clock:
    """Set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock."""
    return Clock()


def known(waits: Waits, clock: Clock, seconds: float = 0.01) -> None:
    """Its last answers have taken so long."""
    for _ in range(FEWEST):
        one = waits.begin(CPS)
        clock.now += seconds
        one.end(heard=True)


def test_few_or_short_waits_are_no_reason(clock: Clock) -> None:
    """So many, for so long, at one CPS: then nobody is to join them; another CPS is as ever."""
    waits = Waits(clock)
    known(waits, clock)
    for _ in range(MANY - 1):
        waits.begin(CPS)
    clock.now += LONG_SECONDS
    assert not waits.are_long(CPS)
    last = waits.begin(CPS)
    assert not waits.are_long(CPS)
    clock.now += LONG_SECONDS
    assert waits.are_long(CPS)
    assert not waits.are_long(OTHER)
    last.end()
    assert not waits.are_long(CPS)


def test_a_cps_that_answers_somebody_is_slow_and_not_silent(clock: Clock) -> None:
    """An answer to one counts for all, for as long as their waits would have to last."""
    waits = Waits(clock)
    known(waits, clock)
    begun = [waits.begin(CPS) for _ in range(MANY + 1)]
    clock.now += 2 * LONG_SECONDS
    assert waits.are_long(CPS)
    begun[0].end(heard=True)
    assert not waits.are_long(CPS)
    # that answer took two of them
    clock.now += TIMES * 2 * LONG_SECONDS
    assert waits.are_long(CPS)


def test_a_wait_ends_once_and_nothing_is_left(clock: Clock) -> None:
    """Whoever ends it first; a CPS that nobody waits for is forgotten."""
    waits = Waits(clock)
    one, two = waits.begin(CPS), waits.begin(CPS)
    for wait in (one, one, two, two):
        wait.end(heard=True)
        wait.end()
    assert len(waits) == 0


def test_a_slow_cps_is_waited_for(clock: Clock) -> None:
    """What is long is measured by its own last answers, and before there are some, by nothing."""
    waits = Waits(clock)
    unknown = [waits.begin(CPS) for _ in range(MANY)]
    clock.now += 100 * LONG_SECONDS
    assert not waits.are_long(CPS)
    for one in unknown:
        one.end()
    known(waits, clock, seconds=1.0)
    for _ in range(MANY):
        waits.begin(CPS)
    clock.now += TIMES - 0.5
    assert not waits.are_long(CPS)
    clock.now += 1.0
    assert waits.are_long(CPS)


def test_what_is_remembered_has_an_end(clock: Clock) -> None:
    """However many CPSs there are."""
    waits = Waits(clock)
    for number in range(MOST_CPS + 10):
        waits.begin(f"https://{number}.example").end(heard=True)
    assert len(waits._took) == MOST_CPS
