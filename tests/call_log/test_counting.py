"""Counts by hour and by reason."""

from __future__ import annotations

import time

import pytest

from pbx_stir.call_log import counting
from pbx_stir.call_log.counting import Counts, share
from tests.call_log.written import line

NONE = {"verstat": "No-TN-Validation", "reason": "no-passport"}
FAILED = {"verstat": "TN-Validation-Failed", "reason": "revoked"}
OUT = {"direction": "out", "verstat": "", "status": "stored", "reason": "stored"}


def counted() -> Counts:
    """Two hours of calls."""
    counts = Counts()
    for changes in ({}, {}, NONE, FAILED, OUT, OUT | {"status": "error", "reason": "no-tokens"}):
        counts.add(line(**changes))
    counts.add(line(time="2026-11-22T09:59:59Z", **NONE))
    counts.add(line(event="contested", claimed_by="x"))
    return counts


def test_each_hour_has_its_shares() -> None:
    """Of inbound calls those that passed, of outbound ones those that left signed."""
    told = counted().as_json()
    assert isinstance(told["hours"], list)
    assert len(told["hours"]) == 2
    first = told["hours"][0]
    assert (first["inbound"], first["passed"], first["failed"]) == (4, 2, 1)
    assert (first["outbound"], first["stored"]) == (2, 1)
    assert told["total"] == {
        "inbound": 5,
        "passed": 2,
        "failed": 1,
        "outbound": 2,
        "stored": 1,
        "contested": 1,
    }
    assert {"direction": "in", "reason": "no-passport", "calls": 2} in told["reasons"]  # type: ignore[operator]


def test_the_table_fits_80_columns() -> None:
    """Also of millions of calls."""
    counts = counted()
    for hour in counts.hours.values():
        hour.inbound = hour.passed = hour.outbound = hour.stored = 99_999_999
    assert max(map(len, counts.table(colours=False))) <= 80
    assert "contested" in "\n".join(counts.table(colours=False))


def test_a_sheet_has_the_hours() -> None:
    """One row an hour."""
    heads, *rows = counted().csv()
    assert heads == "hour,inbound,passed,failed,outbound,stored"
    assert [row.split(",")[1:] for row in rows] == [list("42121"), list("10000")]


def test_nothing_is_no_share() -> None:
    """Of no calls there is no percentage."""
    assert share(0, 0) == ""
    assert share(1, 3) == "33.3 %"
    assert list(Counts().table(colours=False))


def test_hours_are_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the clock is half an hour off from everybody else's."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        counts = Counts()
        for at in ("08:29:59", "08:30:00", "09:29:59"):
            counts.add(line(time=f"2026-11-22T{at}Z"))
        hours = [row.split(",")[:2] for row in list(counts.csv())[1:]]
        assert hours == [["2026-11-22T13:00+05:30", "1"], ["2026-11-22T14:00+05:30", "2"]]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasons and hours that somebody has made up."""
    monkeypatch.setattr(counting, "MOST_HOURS", 3)
    monkeypatch.setattr(counting, "MOST_REASONS", 3)
    counts = Counts()
    for number in range(20):
        counts.add(line(time=f"2026-11-22T{number:02}:00:00Z", reason=f"r{number}"))
    assert len(counts.hours) == 3
    assert len(counts.reasons) == 4
    assert counts.total().inbound == 20
