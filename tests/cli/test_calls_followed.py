"""``pbx-stir calls`` on what is being written: standard input, new calls, and how it ends."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.call_log.written import octets
from tests.cli.call_logs import shown, write


def test_standard_input_is_read(log: Path) -> None:
    """From journalctl, zcat or grep."""
    done = subprocess.run(
        [sys.executable, "-m", "pbx_stir", "calls", "-", "--json"],
        input=b"Nov 22 pbx pbx-stir-calls[1]: @cee: " + log.read_bytes(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert len(done.stdout.splitlines()) == 2


def test_standard_input_is_followed() -> None:
    """Each call as it is written: journalctl -f."""
    running = subprocess.Popen(
        [sys.executable, "-m", "pbx_stir", "calls", "-", "--follow", "--json"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    assert running.stdin is not None
    assert running.stdout is not None
    for call_id in "ab":
        running.stdin.write(octets(id=call_id) + b"\n")
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["id"] == call_id
    running.stdin.close()
    assert running.wait(60) == 0
    running.stdout.close()


def test_new_calls_are_followed(log: Path) -> None:
    """Over a rotation, each at once and once."""
    running = subprocess.Popen(
        [sys.executable, "-m", "pbx_stir", "calls", str(log), "--follow", "--json"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert running.stdout is not None
    try:
        seen = [json.loads(running.stdout.readline())["id"][0] for _ in range(3)]
        log.rename(log.with_name("calls.jsonl-20261122"))
        write(log, octets(id="d"))
        seen.append(json.loads(running.stdout.readline())["id"])
    finally:
        running.terminate()
        running.wait(30)
        running.stdout.close()
    assert seen == ["a", "b", "c", "d"]


def test_whoever_reads_may_go(log: Path) -> None:
    """As head does; also while new calls are followed."""
    for more in ([], ["--follow"]):
        running = subprocess.Popen(
            [sys.executable, "-m", "pbx_stir", "calls", str(log), "--json", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert running.stdout is not None
        assert running.stderr is not None
        if more:
            running.stdout.readline()
        running.stdout.close()
        give_up_at = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < give_up_at:
            with log.open("ab") as stream:
                stream.write(octets() + b"\n")
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.2)
        assert running.returncode == 1
        assert b"cannot read" not in running.stderr.read()
        running.stderr.close()


def test_following_ends_in_peace(
    capsys: pytest.CaptureFixture[str], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is how it ends; the last calls come first."""
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) > 2:
            raise KeyboardInterrupt
        with log.open("ab") as stream:
            stream.write(b"\n" + octets(id="dddd", reason="revoked") + b"\n")

    monkeypatch.setattr(time, "sleep", sleep)
    rows = shown(capsys, log, "--follow", "--last", "1", "--json").splitlines()
    assert [json.loads(row)["id"][0] for row in rows] == ["c", "d", "d"]
