"""Pictures of measurements: drawn from what the measurements wrote, the same each time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import plots

LEVELS = [
    {"way": way, "callers": callers, "sent": 10, "done": 10 - lost, "p95": 1.0}
    for way, lost in (("encrypted", 0), ("cleartext", 5))
    for callers in (100, 200)
]
RESULTS: dict[str, dict[str, Any]] = {
    "cycles": {
        "levels": LEVELS,
        "cycles_per_second_per_core": 400.0,
        "cycles_per_second_per_core_one_a_call": 250.0,
        "cycles_per_second_per_core_cleartext": 500.0,
    },
    "calls": {
        "rows": [
            {"way": "no hook", "carried": 100.0, "audio": {"carried": 9.0}},
            {"way": "trunk off", "carried": 90.0, "audio": None},
        ],
    },
    "growth": {
        "points": [{"axis": "keys", "value": n, "mb": 0.0, "latency": {"p50": n}} for n in (0, 4)]
    },
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder as ``scripts/bench NAME --json`` fills it."""
    for name, found in RESULTS.items():
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(found))
    return tmp_path


def test_each_result_has_its_picture(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SVG, twice the same octets."""
    pytest.importorskip("matplotlib", reason="no matplotlib: the extra docs has it")
    drawn = []
    for name in ("first", "second"):
        monkeypatch.setattr(sys, "argv", ["plots", str(results), str(results / name)])
        assert plots.main() == 0
        drawn.append({one.name: one.read_bytes() for one in (results / name).iterdir()})
    assert set(drawn[0]) == {f"{name}.svg" for name in RESULTS}
    assert drawn[0] == drawn[1]
    assert b"virtual callers" in drawn[0]["cycles.svg"]


def test_nothing_to_draw_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without results, or a wrong call, is exit status 2."""
    monkeypatch.setattr(sys, "argv", ["plots", str(tmp_path), str(tmp_path / "pictures")])
    assert plots.main() == 2
    monkeypatch.setattr(sys, "argv", ["plots"])
    assert plots.main() == 2
