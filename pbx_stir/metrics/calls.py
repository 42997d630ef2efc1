"""Counts calls from the lines of the call log, as they are queued.

Takes lines (``CallCounts.told``), gives counters and a histogram. A line costs a few microseconds
and never raises. The label values are closed lists: what a line has besides is "other", and a trunk
is named only where the configuration names it, since the dialplan may say anything. No number of a
line is kept. Calls of which the listener never heard (``listener-down``, trunks that are off) are
not among them: they are in the PBX's own records.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pbx_stir.metrics.building import counter
from pbx_stir.services.call import Direction, Mode, Reason, Status, Verstat

if TYPE_CHECKING:
    from prometheus_client.core import Metric

OTHER: Final = "other"
# around what services cost (milliseconds), and around the default budgets: the service gives up
# 0.2 s before the hold ends, which is at 1.5 s outbound and 2 s inbound
BOUNDS: Final = (
    *(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 1.3, 1.5, 1.8, 2.0, 3.0, 5.0),
)
_DIRECTIONS: Final = frozenset(one.value for one in Direction)
_MODES: Final = frozenset(one.value for one in Mode)
_VERDICTS: Final = frozenset(one.value for one in (*Verstat, *Status))
_REASONS: Final = frozenset(one.value for one in Reason)
# there with 0 for each trunk: the first of a series that begins with 1 is no increase to Prometheus
_FROM_THE_START: Final = (
    (Direction.INBOUND.value, Verstat.PASSED.value, Reason.VERIFIED.value),
    (Direction.INBOUND.value, Verstat.NONE.value, Reason.INTERNAL_ERROR.value),
    (Direction.OUTBOUND.value, Status.STORED.value, Reason.STORED.value),
    (Direction.OUTBOUND.value, Status.ERROR.value, Reason.INTERNAL_ERROR.value),
)


class CallCounts:
    """What happened to calls since the start; it outlives a reload of the configuration."""

    def __init__(self, trunks: Callable[[], Collection[str]]) -> None:
        """``trunks`` gives the names that the configuration has now."""
        self._trunks = trunks
        self._calls: Counter[tuple[str, ...]] = Counter()
        self._held: dict[tuple[str, ...], _Held] = {}
        self._contested = 0

    def told(self, line: Mapping[str, object]) -> None:
        """Count one line of the call log."""
        event = line.get("event")
        if event == "contested":
            self._contested += 1
        if event != "call":
            return
        direction = _known(line.get("direction"), _DIRECTIONS)
        verdict = _known(line.get("verstat") or line.get("status"), _VERDICTS)
        trunk = _known(line.get("trunk"), self._trunks())
        reason = _known(line.get("reason"), _REASONS)
        self._calls[direction, trunk, verdict, reason] += 1
        milliseconds = line.get("ms")
        if isinstance(milliseconds, int | float):
            key = direction, _known(line.get("mode"), _MODES)
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = _Held()
            held.add(milliseconds / 1000)

    def families(self) -> Sequence[Metric]:
        """Give what was counted."""
        for trunk in self._trunks():
            for direction, verdict, reason in _FROM_THE_START:
                self._calls[direction, trunk, verdict, reason] += 0
        return [
            counter(
                "pbx_stir_calls",
                "Calls in the call log.",
                ("direction", "trunk", "verdict", "reason"),
                self._calls,
            ),
            counter(
                "pbx_stir_contested",
                "Calls that passed, and whose signature another call claimed too.",
                (),
                {(): self._contested},
            ),
            self._hold_times(),
        ]

    def _hold_times(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(
            "pbx_stir_hold_seconds",
            "From a call's announcement to its answer; in mode monitor nothing was held so long.",
            labels=("direction", "mode"),
        )
        for given, held in sorted(self._held.items()):
            family.add_metric(given, held.buckets(), held.seconds)
        return family


class _Held:
    """One histogram."""

    __slots__ = ("_counts", "seconds")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one; a call at a bound is within it."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """How many were within each bound, the last of which is +Inf."""
        found: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], self._counts, strict=True):
            total += count
            found.append((bound, total))
        return found


def _known(value: object, known: Container[str]) -> str:
    return value if isinstance(value, str) and value in known else OTHER
