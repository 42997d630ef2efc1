"""What a soak has seen is judged: growth, leaks of descriptors, and lines that nobody explains."""

from __future__ import annotations

import pytest

from bench.soak_report import (
    Allowed,
    Flatness,
    Said,
    Sample,
    Step,
    explained,
    flatness,
    is_disturbed,
    slope,
)

STEPS = [Step(100.0, "restart of cps")]
ALLOWED = [
    Allowed("gone", "restart of cps", "it was restarted"),
    Allowed("always", "", "it is so"),
]


def samples(mb_an_hour: float, descriptors: float = 0.0, pid: int = 7) -> list[Sample]:
    """A process in half an hour, each ten seconds; ``descriptors`` are so many more a minute."""
    return [
        Sample(at, "cps", pid, 60 + mb_an_hour * at / 3600, int(20 + descriptors * at / 60), 4)
        for at in map(float, range(0, 1800, 10))
    ]


def judged(seen: list[Sample], tokens: float = 0.0) -> Flatness:
    """After a warm-up of ten minutes."""
    found = flatness(seen, "cps", tokens, 1800, 600)
    assert found is not None
    return found


def test_slope_is_that_of_the_line() -> None:
    """Exact on a line; 0 where there is none."""
    assert slope([(x, 3 * x + 1) for x in range(9)]) == pytest.approx(3)
    assert slope([(1, 5)]) == slope([]) == slope([(1, 1), (1, 2)]) == 0


def test_growth_is_found() -> None:
    """A little is noise; more is not, unless each token has to be remembered."""
    assert judged(samples(0)).is_flat
    assert judged(samples(5)).is_flat
    assert judged(samples(20)).mb_an_hour == pytest.approx(20)
    assert not judged(samples(20)).is_flat
    assert judged(samples(20), tokens=15).is_flat


def test_a_leak_of_descriptors_is_found() -> None:
    """One a minute is enough."""
    assert not judged(samples(0, descriptors=1)).is_flat


def test_only_the_last_life_counts_and_only_after_its_warm_up() -> None:
    """What a process had before it was restarted is over; a life that is too short says nothing."""
    before = [one for one in samples(500, pid=6) if one.at < 300]
    after = [one for one in samples(0) if one.at >= 300]
    assert judged(before + after).is_flat
    assert flatness(after[:60], "cps", 0, 1800, 600) is None
    assert flatness([], "cps", 0, 1800, 600) is None


def test_lines_are_explained_by_what_was_done_before() -> None:
    """Of one kind whatever their numbers are; within a minute of their step, and of no other."""
    said = [
        Said(101.0, "cps", "WARNING gone 1.2"),
        Said(102.0, "cps", "WARNING gone 33"),
        Said(170.0, "cps", "WARNING gone 4"),
        Said(1.0, "cps", "WARNING always"),
        Said(1.0, "cps", "ERROR strange"),
    ]
    found = {(one.line, one.why): one.count for one in explained(said, STEPS, ALLOWED)}
    assert found == {
        ("WARNING gone #", "it was restarted"): 2,
        ("WARNING gone #", ""): 1,
        ("WARNING always", "it is so"): 1,
        ("ERROR strange", ""): 1,
    }


def test_a_moment_is_disturbed_for_a_minute() -> None:
    """Not before the step, and not longer."""
    assert [is_disturbed(at, STEPS) for at in (99.0, 100.0, 160.0, 161.0)] == [
        False, True, True, False,
    ]  # fmt: skip
