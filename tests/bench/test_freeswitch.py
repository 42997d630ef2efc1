"""``scripts/bench freeswitch``: what it measures happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import freeswitch
from lab.debian import LabError


def test_freeswitch_hooks_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real listener answers every hook; the figures are printed and written."""
    file = tmp_path / "figures.json"
    arguments = ["bench", "freeswitch", "--calls", "20", "--json", str(file)]
    monkeypatch.setattr("sys.argv", arguments)
    assert command.main() == 0
    figures = json.loads(file.read_text())
    assert figures["hooks"]["samples"] == 60
    assert figures["at_once"]["samples"] == 900
    assert 0 < figures["hooks"]["p50"] <= figures["hooks"]["p99"]
    assert {one["name"] for one in figures["targets"]} == {"300 hooks/s, p99", "processor a hook"}
    assert "300 hooks/s, one connection" in capsys.readouterr().out


def test_freeswitch_hook_that_is_answered_otherwise_voids_the_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener that answers something else was not measured doing this."""
    monkeypatch.setattr(freeswitch, "_WANTED", "stored")
    with pytest.raises(LabError, match="caller-not-allowed"):
        freeswitch.measure(20, lambda _: None)
