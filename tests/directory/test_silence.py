"""CPSs that do not answer look-ups, and when they are asked again."""

from __future__ import annotations

import pytest

from pbx_stir.directory import silence
from pbx_stir.directory.routes import Route
from pbx_stir.directory.silence import FAILURE_SECONDS, SILENT_TIMES, Silences

ONE, TWO = "https://one.example.net", "https://two.example.net"
ROUTE = Route("1212", (ONE, TWO))


def test_once_is_no_reason() -> None:
    """So many failures in a row, and it is left in peace for a while."""
    silences = Silences()
    for times in range(1, SILENT_TIMES + 1):
        assert silences.times(ONE, 0.0) == 0
        silences.failed(ONE, "12125550001", ROUTE, 0.0)
        assert bool(silences.last(9)) == (times >= SILENT_TIMES)
    assert silences.times(ONE, FAILURE_SECONDS - 0.1) == SILENT_TIMES
    assert silences.times(ONE, FAILURE_SECONDS) == 0
    assert silences.times(TWO, 0.0) == 0


def test_an_answer_ends_it() -> None:
    """Whoever answers is asked for calls at once, and is known to have been silent."""
    silences = Silences()
    for _ in range(SILENT_TIMES):
        silences.failed(ONE, "12125550001", ROUTE, 0.0)
    assert silences.answered(ONE)
    assert not silences.answered(ONE)
    assert silences.times(ONE, 0.0) == 0
    assert not silences.last(9)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of longest ago is forgotten first, and the latest are given first."""
    monkeypatch.setattr(silence, "MOST_SILENT", 3)
    silences = Silences()
    for _ in range(SILENT_TIMES):
        for index in range(5):
            silences.failed(f"https://{index}.example.net", "12125550001", ROUTE, 0.0)
    assert len(silences) == 3
    for _ in range(SILENT_TIMES):
        silences.failed(ONE, "12125550002", ROUTE, 0.0)
    assert [(cps, one.number) for cps, one in silences.last(1)] == [(ONE, "12125550002")]
