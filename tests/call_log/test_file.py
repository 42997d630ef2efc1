"""The call log: never a call's trouble."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from pbx_stir.call_log import CallLogFile, file, shortened
from tests.call_log.records import CLAIM, lines, passed, record
from tests.services.world import ALICE


def test_an_unwritable_file_costs_lines_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder in its place, no folder around it: said once, and calls go on."""
    for path in (tmp_path, tmp_path / "none/calls.jsonl"):
        caplog.clear()
        log = CallLogFile(path)
        for _ in range(5):
            log.record(record(passed()))
        log.close()
        said = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert len(said) == 1
        assert "1 lines lost" in said[0].getMessage()


def test_a_full_disk_costs_lines_only(caplog: pytest.LogCaptureFixture) -> None:
    """Each is lost, none is waited for, and the thread lives on."""
    log = CallLogFile(Path("/dev/full"))
    for _ in range(12):
        log.record(record(passed()))
    log.close()
    assert not log._thread.is_alive()
    assert "12 lines lost" not in caplog.text
    assert "10 lines lost" in caplog.text
    assert "No space left" in caplog.text


class FullDisk:
    """An output that has room from some moment on."""

    name = "disk"

    def __init__(self) -> None:
        self.has_room = threading.Event()
        self.refused = threading.Event()
        self.lines: list[bytes] = []

    def write(self, line: bytes, *, more: bool) -> None:
        """Take a line, or say that the disk is full."""
        if not self.has_room.is_set():
            self.refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines.append(line)

    def tidy(self, *, idle: bool) -> bool:
        """Nothing."""
        return False

    def close(self) -> None:
        """Nothing."""


def test_lines_wait_for_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a full disk does not take is written once there is room, each line once, in order."""
    monkeypatch.setattr(file, "RETRY_SECONDS", 0.01)
    disk = FullDisk()
    log = CallLogFile(None, output=disk)
    for number in range(5):
        log.record(record(passed(), call_id=f"id-{number}"))
    assert disk.refused.wait(10)
    disk.has_room.set()
    give_up_at = time.monotonic() + 10
    while len(disk.lines) < 5 and time.monotonic() < give_up_at:
        time.sleep(0.01)
    log.close()
    assert [json.loads(line)["id"] for line in disk.lines] == [f"id-{n}" for n in range(5)]
    assert log.lines_lost == 0
    assert caplog.text.count("lines wait in memory") == 1
    assert caplog.text.count("written again") == 1


def test_the_queue_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind a disk that hangs memory does not grow, and recording does not wait."""
    monkeypatch.setattr(file, "LONGEST_QUEUE", 3)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # opening a pipe for writing waits for who reads it: a disk that hangs
    log = CallLogFile(path)
    for _ in range(20):
        log.record(record(passed()))
    assert log._queue.qsize() <= 3
    assert "the disk cannot keep up" in caplog.text
    log.close(seconds=0.01)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log.close()
    log._thread.join(2)
    os.close(reader)
    assert not log._thread.is_alive()


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the lines go to standard output, for a journal to keep."""
    output = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", output)
    log = CallLogFile(None)
    log.record(record(passed()))
    log.record(record(passed()))
    log.close()
    assert output.buffer.getvalue().count(b"\n") == 2  # type: ignore[attr-defined]


def test_a_closed_standard_output_costs_lines_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who read the lines has gone: calls go on."""
    output = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", output)
    output.close()
    log = CallLogFile(None)
    log.record(record(passed()))
    log.close()
    assert not log._thread.is_alive()
    assert "1 lines lost" in caplog.text


def test_readers_are_told_each_line_as_it_is_queued(tmp_path: Path) -> None:
    """At once, with the numbers as the line has them; one that fails costs nobody his line."""
    heard: list[Mapping[str, object]] = []

    def fails(line: Mapping[str, object]) -> None:
        raise RuntimeError("defect")

    log = CallLogFile(tmp_path / "calls.jsonl", numbers="short", told=(fails, heard.append))
    log.record(record(passed()))
    log.contested(CLAIM, record(passed()))
    assert [one["event"] for one in heard] == ["call", "contested"]
    assert heard[0]["orig"] == shortened(ALICE)
    log.close()
    assert lines(tmp_path / "calls.jsonl") == heard
