"""SIPp calls SIPp: what it measured is read whole, and what failed is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import sipp
from bench.calls import BARE, SIGNED, Audio, Report, Row, datagrams, render
from bench.latency import Latency
from bench.machine import Interference, Machine
from lab.stage import free_port

CORES = tuple(os.sched_getaffinity(0))

needs_sipp = pytest.mark.skipif(
    sipp.binary() is None, reason="no sipp: install Debian's package sip-tester"
)


@needs_sipp
def test_every_call_is_answered_and_timed(tmp_path: Path) -> None:
    """One time from INVITE to 200 for each pair of numbers."""
    port = free_port()
    numbers = [(f"1310555{n:04}", f"1212555{n:04}") for n in range(20)]
    with sipp.phone("127.0.0.1", port, tmp_path, CORES):
        done = sipp.call(
            tmp_path, ("127.0.0.1", port), "127.0.0.1", numbers,
            at_once=5, rate=200, processors=CORES,
        )  # fmt: skip
    assert (done.answered, done.failed) == (20, 0)
    assert done.latency.samples == 20
    assert done.rate > 0


@needs_sipp
def test_audio_goes_both_ways(tmp_path: Path) -> None:
    """A caller speaks fifty packets a second and hears as many."""
    port = free_port()
    before = datagrams()
    with sipp.phone("127.0.0.1", port, tmp_path, CORES):
        done = sipp.call(
            tmp_path, ("127.0.0.1", port), "127.0.0.1", [("13105550001", "12125550001")] * 4,
            at_once=4, rate=100, processors=CORES, audio_seconds=2,
        )  # fmt: skip
    assert (done.answered, done.failed) == (4, 0)
    assert datagrams() - before > 4 * 2 * 2 * sipp.PACKETS * 0.8


def test_report_says_what_was_missed() -> None:
    """The shares of the bare PBX's rates are at the top, and in the table by their names."""
    rows = tuple(
        Row(name, rate, (rate,), 1.0, 1.0, Latency.of([0.001]), Audio(spoken, (spoken,), 30.0),
            None, 0)
        for name, rate, spoken in ((BARE, 100.0, 20.0), (SIGNED, 80.0, 19.0))
    )  # fmt: skip
    report = Report(0.8, 0.95, "bench", Machine.this(), Interference(0.0, 0.0), "22", rows)
    text = render(report)
    assert "0.80 of the bare PBX    0.9  MISSED" in text
    assert "0.95 of the bare PBX    0.9     met" in text
    assert b'"share_of_bare": 0.8' in report.as_json()


@needs_sipp
def test_answers_are_read_while_they_are_written(tmp_path: Path) -> None:
    """When a call began and how long it waited, of whole lines only."""
    (tmp_path / "calls_1_rtt.csv").write_text(
        "Date_ms;response_time_ms;rtd_no\n1012.001;12;1\n2500;500;1\n26"
    )
    assert sipp.answers(tmp_path) == [(1.000001, 0.012), (2.0, 0.5)]


def test_its_clock_is_read_from_whole_rows(tmp_path: Path) -> None:
    """Seconds of the last row that is written to its end; 0 before there is one."""
    assert sipp.seconds_so_far(tmp_path) == 0
    file = tmp_path / "statistics.csv"
    file.write_text("StartTime;ElapsedTime(C);CallRate(C);\n")
    assert sipp.seconds_so_far(tmp_path) == 0
    file.write_text("StartTime;ElapsedTime(C);CallRate(C);\n1;00:01:02;9;\n1;00:01")
    assert sipp.seconds_so_far(tmp_path) == 62
