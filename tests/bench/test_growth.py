"""Each axis of growth can be measured, and the table names it."""

from __future__ import annotations

import pytest

from bench import growth
from bench.growth import AXES, Report, measure_point, render
from bench.latency import Latency
from bench.machine import Interference, Machine


@pytest.mark.parametrize("axis", sorted(AXES))
def test_point_is_measured(axis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its smallest value, every operation timed."""
    monkeypatch.setattr(growth, "SAMPLES", 20)
    value = min(AXES[axis][1])
    point = measure_point(axis, value)
    assert (point.axis, point.value) == (axis, value)
    assert point.latency.samples >= 5
    assert point.mb >= 0


def test_table_says_what_grew() -> None:
    """One line a point."""
    point = growth.Point("keys", 4, 1.5, 0.1, Latency.of([0.002]))
    report = Report("bench", Machine.this(), Interference(0.0, 0.0), (point,))
    line = render(report).splitlines()[-1]
    assert line.startswith(AXES["keys"][2])
    assert line.split()[-5:] == ["4", "1.5", "0.10", "2.000", "2.000"]
    assert b'"axis": "keys"' in report.as_json()
