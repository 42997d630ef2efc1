"""Percentiles and medians are those that people expect."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.latency import Latency, percentile

SECONDS = st.lists(st.floats(0, 100), min_size=1)


@given(SECONDS, st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    seconds: list[float], percent: int
) -> None:
    """Of the values themselves, none is made up between two of them."""
    ordered = sorted(seconds)
    found = percentile(ordered, percent)
    assert sum(one <= found for one in ordered) * 100 >= percent * len(ordered)
    smaller = [one for one in ordered if one < found]
    assert len(smaller) * 100 < percent * len(ordered)


def test_a_round_in_milliseconds() -> None:
    """Of one to a hundred milliseconds the median is 50, p99 is 99."""
    latency = Latency.of([each / 1000 for each in range(100, 0, -1)])
    assert (latency.p50, latency.p99, latency.worst, latency.samples) == (50, 99, 100, 100)


def test_rounds_give_the_median_of_each_figure() -> None:
    """One bad round does not decide."""
    rounds = [Latency.of([each / 1000]) for each in (1, 900, 2)]
    latency = Latency.of_rounds(rounds)
    assert (latency.p50, latency.p99, latency.worst, latency.samples) == (2, 2, 2, 3)
    assert latency.rounds == tuple(rounds)
