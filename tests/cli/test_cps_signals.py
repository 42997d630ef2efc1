"""A running CPS obeys SIGHUP and SIGUSR1, and tells its manager how it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.processes import Service
from pbx_stir import config
from pbx_stir.cli.cps_signals import CpsFile, check_cps
from pbx_stir.cli.main import main
from pbx_stir.errors import ConfigurationError
from pbx_stir.log_levels import LogLevels
from tests.cli.conftest import Office
from tests.cli.test_cps_files import Place
from tests.notifying import Notified, said

BROKEN = """
[cps]
listen = "nowhere"
metrics = "127.0.0.1"
trust = ["none.pem", "neither.pem"]
[cps.redis]
url = "http://a"
[cps.bare]
listen = "0.0.0.0"
"""


@pytest.fixture
def place(tmp_path: Path, office: Office) -> Place:
    """An empty folder."""
    return Place(tmp_path, office)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notified]:
    """A service manager with a watchdog of a second."""
    with Notified(str(tmp_path / "notify")) as told:
        monkeypatch.setenv("NOTIFY_SOCKET", told.address)
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        yield told


def change(file: Path, old: str, new: str) -> None:
    """Edit a configuration file."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_every_mistake_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with file, line and key; nothing is started."""
    file = tmp_path / "cps.toml"
    file.write_text(BROKEN)
    with pytest.raises(ConfigurationError) as caught:
        check_cps(config.load(file))
    assert main(["cps", "--config", str(file)]) == 1
    err = capsys.readouterr().err.splitlines()
    assert err == [f"pbx-stir cps: {one}" for one in caught.value.each]
    lines = [line.removeprefix(f"pbx-stir cps: {file}:").split(": ")[:2] for line in err]
    assert sorted(lines) == [
        ["3", "cps.listen"],
        ["4", "cps.metrics"],
        ["5", "cps.trust"],
        ["5", "cps.trust"],
        ["7", "cps.redis.url"],
        ["9", "cps.bare.listen"],
    ]


def test_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    """By its key; what was read at the start is what counts, and the log level is applied."""
    file = tmp_path / "cps.toml"
    file.write_text('state_dir = "a"\n[cps]\nlisten = "127.0.0.1:1"\n')
    held = CpsFile(str(file))
    levels = LogLevels(held.log_level)
    assert held.again(levels) == []
    file.write_text(
        'state_dir = "b"\nlog_level = "error"\n[verification]\nspc = "refuse"\n'
        '[cps]\nlisten = "127.0.0.1:2"\nlifetime_seconds = 10\n'
    )
    changed = ["cps.listen", "cps.lifetime_seconds", "state_dir", "verification.spc"]
    assert held.again(levels) == changed
    assert held.again(levels) == changed
    file.write_text('state_dir = "a"\n[cps]\nlisten = "127.0.0.1:1"\n')
    assert held.again(levels) == []
    assert CpsFile(None).again(levels) == []
    assert CpsFile(None).log_level == "warning"


def test_a_running_cps_obeys(place: Place, manager: Notified, tmp_path: Path) -> None:
    """Read again, refused, raised, ended; each is said to people and to the manager."""
    file = place.write('listen = "127.0.0.1:0"')
    with Service("cps", ["cps", "--config", str(file)], tmp_path) as service:
        manager.wait(said("READY=1\nSTATUS=listening on https://127.0.0.1:"))
        manager.wait(said("WATCHDOG=1"))
        change(file, "tokens = false", "tokens = false\nmost_mebibytes = 7")
        os.kill(service.pid, signal.SIGHUP)
        manager.wait(said("restart it to take up cps.most_mebibytes"))
        change(file, "[cps]", "[cps]\nnonsense = 1")
        os.kill(service.pid, signal.SIGHUP)
        manager.wait(said("the configuration file has mistakes"))
        os.kill(service.pid, signal.SIGUSR1)
        service.wait_until(lambda: "log level: debug" in service.said, "louder")
        assert service.stop() == 0
    words = [one.split("=")[0] for one in manager.read() if not one.startswith("WATCHDOG")]
    assert words == ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]
    assert "cps.nonsense: unknown field" in service.said
    assert "configuration refused" in service.said
