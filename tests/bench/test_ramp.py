"""A rate that rises until it is too much: what was carried is the last good interval's."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import ramp as ramps
from bench import sipp
from bench.ramp import Carried, Ramp, judge
from lab.debian import LabError
from lab.stage import free_port

CORES = tuple(os.sched_getaffinity(0))
RAMP = Ramp(first=100, more=10, interval=2, intervals=8)


def of(ramp: Ramp, intervals: dict[int, float], waited: float = 0.01) -> list[tuple[float, float]]:
    """Answers of calls that began evenly: of each interval that share, in so many seconds."""
    found = []
    for one, share in intervals.items():
        calls = ramp.rate(one) * ramp.interval
        found += [
            ((one + each / calls) * ramp.interval, waited) for each in range(int(share * calls))
        ]
    return found


def test_last_interval_before_two_bad_ones_counts() -> None:
    """Nearly all answered in three intervals, half of them in the next two: the third's rate."""
    answers = of(RAMP, {0: 1, 1: 1, 2: 0.98, 3: 0.5, 4: 0.5, 5: 1})
    assert judge(answers, RAMP, 100) == Carried(117.5, ended=True)


def test_calls_that_begin_in_the_next_interval_are_not_missed() -> None:
    """Of few calls one or two are much: SIPp begins them when the interval is just over."""
    ramp = Ramp(first=17, more=1, interval=1, intervals=8)
    answers = of(ramp, {0: 16 / 17, 1: 16 / 18, 2: 18 / 19, 3: 17 / 20, 4: 18 / 21})
    assert judge(answers, ramp, 100) == Carried(18.0, ended=True)


def test_one_bad_interval_is_forgiven() -> None:
    """A moment in which the machine stood still does not end it."""
    answers = of(RAMP, {0: 1, 1: 0.2, 2: 1, 3: 0.2, 4: 0.2})
    assert judge(answers, RAMP, 100) == Carried(120.0, ended=True)


def test_answers_that_come_late_do_not_count() -> None:
    """A call answered after half a second is not carried."""
    answers = of(RAMP, {0: 1}) + of(RAMP, {1: 1, 2: 1}, waited=0.6)
    assert judge(answers, RAMP, 100) == Carried(100.0, ended=True)


def test_calls_that_may_still_be_answered_are_waited_for() -> None:
    """An interval counts half a second after its end, not before."""
    answers = of(RAMP, {0: 1, 1: 0.5, 2: 0.5})
    assert judge(answers, RAMP, 6.4) == Carried(100.0, ended=False)
    assert judge(answers, RAMP, 6.6) == Carried(100.0, ended=True)


def test_end_of_the_ramp_is_not_the_most_that_is_carried() -> None:
    """All was carried, so nothing is known of what would be too much."""
    answers = of(RAMP, dict.fromkeys(range(8), 1))
    assert judge(answers, RAMP, 100) == Carried(170.0, ended=False)


@given(st.floats(1, 2000), st.integers(1, 10))
def test_ramp_goes_from_below_to_above_what_is_expected(expected: float, interval: int) -> None:
    """It begins below and ends above, by steps that are small beside it."""
    ramp = Ramp.around(expected, interval)
    assert ramp.first <= max(1, 0.7 * expected + 0.5)
    assert ramp.rate(ramp.intervals - 1) >= 2.2 * expected
    assert ramp.more <= max(1, expected / 15)
    assert ramp.calls > ramp.first


def test_another_ramp_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A higher one where all was carried, a lower one where nothing was; then it is an error."""
    seen: list[int] = []
    found = [Carried(170.0, ended=False), Carried(0.0, ended=True), Carried(140.0, ended=True)]

    def raised(*of: object, **more: object) -> Carried:
        ramp = of[1]
        assert isinstance(ramp, Ramp)
        seen.append(ramp.first)
        return found[min(len(seen), len(found)) - 1]

    monkeypatch.setattr(ramps, "_raised", raised)
    start = partial(sipp.start, Path(), ("127.0.0.1", 1), "127.0.0.1", (), processors=CORES)
    assert ramps.carried(start, RAMP) == 140.0
    assert seen == [100, 200, 100]
    found[:] = [Carried(0.0, ended=True)]
    with pytest.raises(LabError, match="no rate was found"):
        ramps.carried(start, RAMP)


@pytest.mark.skipif(sipp.binary() is None, reason="no sipp: install Debian's package sip-tester")
def test_a_ramp_that_is_too_low_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone that answers all of them: no figure, and SIPp has ended."""
    monkeypatch.setattr(ramps, "_TRIES", 1)
    port = free_port()
    start = partial(
        sipp.start, tmp_path, ("127.0.0.1", port), "127.0.0.1", [("13105550001", "12125550001")],
        processors=CORES,
    )  # fmt: skip
    with (
        sipp.phone("127.0.0.1", port, tmp_path, CORES),
        pytest.raises(LabError, match="no rate was found"),
    ):
        ramps.carried(start, Ramp(first=1, more=1, interval=1, intervals=1))
