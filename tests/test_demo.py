"""The demo: it exits 0 as it is, 1 where its verdicts are not as expected, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import asterisk
from lab.asterisk import LabError

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 120

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module", autouse=True)
def software() -> None:
    """What the demo needs, gotten before its time counts."""
    try:
        asterisk.get("forky")
    except LabError as error:
        pytest.skip(f"no Asterisk: {error}")


def _left(mark: str) -> dict[int, str]:
    """Processes whose environment has our mark, by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark.encode() in environment.split(b"\0"):
            found[int(entry.name)] = command
    return found


def demo(tmp_path: Path, *options: str, end: bool = False) -> subprocess.CompletedProcess[str]:
    """Run it, with ``end`` only to its first row; what it leaves is ended, and fails the test."""
    mark = f"PBX_STIR_TEST={tmp_path.name}-{os.getpid()}"
    name, _, value = mark.partition("=")
    folder = tmp_path / "tmp"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.demo", *options],
        cwd=ROOT,
        env=os.environ | {name: value, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if end:
            assert process.stdout is not None
            while not process.stdout.readline().startswith(("ok ", "NO ")):
                assert process.poll() is None
            process.terminate()
        out, err = process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        left = _left(mark)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert left == {}
    assert list(folder.iterdir()) == []
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_all_is_as_expected(tmp_path: Path) -> None:
    """Every row agrees with the PBXs' own call detail records, within two minutes."""
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "NO "))]
    assert len(rows) >= 14
    assert all(row.startswith("ok ") for row in rows)
    for reason in ("verified", "no-passport", "replayed", "contested", "dest-mismatch"):
        assert any(reason in row for row in rows)
    for reason in ("caller-not-allowed", "cps-unavailable", "timeout", "listener-down"):
        assert any(reason in row for row in rows)


def test_calls_that_cross_networks_are_as_expected(tmp_path: Path) -> None:
    """Gateways both ways, forwards and a transfer: C's own Asterisk says success, too."""
    done = demo(tmp_path, "networks")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "NO "))]
    assert len(rows) >= 18
    assert all(row.startswith("ok ") for row in rows)
    for said in (
        "passed-on",
        "1 success A",
        "stored forwarded",
        "by 13105552090",
        "by 17205556090",
    ):
        assert any(said in row for row in rows)
    assert any("skipped caller-not-allowed" in row for row in rows)


def test_a_wrong_anchor_is_noticed(tmp_path: Path) -> None:
    """Where B trusts another authority the genuine call does not pass, and the demo says so."""
    done = demo(tmp_path, "--wrong-anchor", "--only", "genuine")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NO genuine" in done.stdout
    assert "certificate-untrusted" in done.stdout
    assert "NOT as expected" in done.stdout


def test_being_ended_it_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM in the middle of a call: PBXs, listeners, CPS and folder are gone."""
    assert demo(tmp_path, end=True).returncode == 128 + signal.SIGTERM
