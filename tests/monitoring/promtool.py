"""Prometheus' own checker of rules, from the machine or out of Debian's package."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".lab/promtool"
TIME_LIMIT_SECONDS = 120


def promtool() -> Path | str:
    """The command, or why there is none: unpacked once, 19 MB to download, nothing installed."""
    if installed := shutil.which("promtool"):
        return Path(installed)
    command = CACHE / "usr/bin/promtool"
    if command.exists():
        return command
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "promtool is not installed: Prometheus has it"
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with (CACHE.parent / "promtool.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return command if command.exists() else _unpacked(command)


def _unpacked(command: Path) -> Path | str:
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as work:
        fetched = _run(["apt-get", "-qq", "download", "prometheus"], work)
        packages = list(Path(work).glob("prometheus_*.deb"))
        if not packages:
            return f"Debian's package prometheus cannot be had: {fetched[-200:]}"
        said = _run(["dpkg-deb", "--extract", packages[0].name, "root"], work)
        unpacked = Path(work, "root/usr/bin/promtool")
        if not unpacked.exists():
            return f"Debian's package prometheus has no promtool: {said[-200:]}"
        command.parent.mkdir(parents=True, exist_ok=True)
        unpacked.replace(command)
    return command


def _run(command: list[str], folder: str) -> str:
    """What a command says; it may fail."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIME_LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} took more than {TIME_LIMIT_SECONDS} s"
    return done.stderr.strip()
