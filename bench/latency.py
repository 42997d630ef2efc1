"""Times as people compare them: percentiles, and medians of rounds. All in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec


class Latency(msgspec.Struct, frozen=True):
    """How long something took, ``samples`` times; of several rounds the median of each figure.

    ``rounds`` are those rounds, empty for a single one.
    """

    p50: float
    p99: float
    worst: float
    samples: int
    rounds: tuple[Latency, ...] = ()

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Sum up one round of at least one sample."""
        ordered = sorted(seconds)
        return cls(
            p50=milliseconds(percentile(ordered, 50)),
            p99=milliseconds(percentile(ordered, 99)),
            worst=milliseconds(ordered[-1]),
            samples=len(ordered),
        )

    @classmethod
    def of_rounds(cls, rounds: Sequence[Latency]) -> Latency:
        """The median round, figure by figure: a machine that others load has bad moments."""
        return cls(
            p50=median(one.p50 for one in rounds),
            p99=median(one.p99 for one in rounds),
            worst=median(one.worst for one in rounds),
            samples=sum(one.samples for one in rounds),
            rounds=tuple(rounds),
        )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of ``ordered`` values that at least ``percent`` of them do not exceed."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def milliseconds(seconds: float) -> float:
    """Seconds as milliseconds, to the microsecond."""
    return round(seconds * 1000, 3)
