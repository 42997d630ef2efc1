"""Tests of pbx_stir.metrics.calls: calls are counted from the lines of the call log."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric

from pbx_stir.metrics.calls import BOUNDS, OTHER, CallCounts
from pbx_stir.services.call import Direction, Mode, Reason, Status, Verstat

NUMBER = "12125551234"
LINE: dict[str, object] = {
    "event": "call",
    "direction": "in",
    "mode": "on",
    "trunk": "carrier",
    "orig": NUMBER,
    "dest": NUMBER,
    "reason": "verified",
    "verstat": "TN-Validation-Passed",
    "ms": 3.0,
}
TRUNKS = frozenset({"carrier"})
CLOSED = {
    "direction": {one.value for one in Direction},
    "mode": {one.value for one in Mode},
    "trunk": TRUNKS,
    "verdict": {one.value for one in (*Verstat, *Status)},
    "reason": {one.value for one in Reason},
}


def counted(*lines: dict[str, object]) -> dict[str, Metric]:
    """The families after these lines, by name."""
    counts = CallCounts(lambda: TRUNKS)
    for line in lines:
        counts.told(line)
    return {family.name: family for family in counts.families()}


def samples(family: Metric, name: str = "") -> dict[tuple[str, ...], float]:
    """A family's values that are not 0 by those of their labels, in the order of their names."""
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for sample in family.samples
        if sample.name.endswith(name) and sample.value
    }


def test_what_alerts_look_for_is_there_from_the_start() -> None:
    """With 0, for each trunk: Prometheus sees no increase in a series that begins with 1."""
    found = counted()["pbx_stir_calls"]
    assert {sample.value for sample in found.samples} == {0}
    labels = [(one.labels["direction"], one.labels["reason"]) for one in found.samples]
    assert sorted(labels) == [
        ("in", "internal-error"),
        ("in", "verified"),
        ("out", "internal-error"),
        ("out", "stored"),
    ]
    assert {sample.labels["trunk"] for sample in found.samples} == TRUNKS


def test_calls_are_counted_by_what_became_of_them() -> None:
    """Direction, trunk, verdict or status, and reason; alike ones together."""
    out = {"direction": "out", "status": "stored", "verstat": None, "reason": "stored"}
    found = counted(LINE, LINE, LINE | out)["pbx_stir_calls"]
    assert samples(found) == {
        ("in", "verified", "carrier", "TN-Validation-Passed"): 2,
        ("out", "stored", "carrier", "stored"): 1,
    }


def test_a_trunk_is_named_only_by_the_configuration() -> None:
    """What a dialplan calls a trunk does not make a time series of its own."""
    found = counted(*({**LINE, "trunk": f"t{n}"} for n in range(100)))["pbx_stir_calls"]
    assert samples(found) == {("in", "verified", OTHER, "TN-Validation-Passed"): 100}


def test_contested_calls_are_counted() -> None:
    """The line of a contested call is no call of its own."""
    found = counted(LINE, {"event": "contested"})
    assert samples(found["pbx_stir_contested"]) == {(): 1}
    assert sum(samples(found["pbx_stir_calls"]).values()) == 1


def test_holds_are_in_seconds() -> None:
    """A hold at a bound is within it; the sum and the count are those of all."""
    held = counted(LINE | {"ms": 2.0}, LINE | {"ms": 2.1}, LINE | {"ms": 60_000})
    family = held["pbx_stir_hold_seconds"]
    buckets = {
        sample.labels["le"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_bucket")
    }
    assert (buckets["0.002"], buckets["0.005"], buckets["5.0"], buckets["+Inf"]) == (1, 2, 2, 3)
    assert samples(family, "_count") == {("in", "on"): 3}
    assert samples(family, "_sum")[("in", "on")] == pytest.approx(60.0041)


def test_bounds_tell_whether_the_default_budgets_were_kept() -> None:
    """The moments at which the service gives up, and at which the hold ends, are bounds."""
    assert {1.3, 1.5, 1.8, 2.0} <= set(BOUNDS)
    assert list(BOUNDS) == sorted(BOUNDS)


ANYTHING = st.none() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())


@given(
    st.dictionaries(
        st.sampled_from([*LINE, "status"]), ANYTHING | st.sampled_from(["call", "in", NUMBER])
    ),
    st.booleans(),
)
def test_any_line_is_taken(line: dict[str, Any], is_call: bool) -> None:
    """Nothing that could stand in a line raises, and every label is of a closed list."""
    if is_call:
        line["event"] = "call"
    for family in counted(line).values():
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert label == "le" or value in CLOSED[label] | {OTHER}
