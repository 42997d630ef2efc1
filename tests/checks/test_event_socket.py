"""A double of a FreeSWITCH's event socket, healthy and not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.event_socket import PASSWORD, EventSocketDouble
from pbx_stir import __version__, config
from pbx_stir.checks import event_socket
from pbx_stir.checks.event_socket import check_event_socket
from pbx_stir.checks.finding import Finding
from pbx_stir.configured_pbxs import freeswitches
from tests.checks.setups import files_of

CONFIGURATION = """
state_dir = "state"
[[freeswitch]]
name = "fs"
port = {port}
password_file = "fs.password"
[[trunk]]
name = "carrier"
country_code = "1"
numbers = ["+12125550100"]
"""


@pytest.fixture
async def double(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EventSocketDouble]:
    """A healthy FreeSWITCH."""
    monkeypatch.setattr(event_socket, "ECHO_SECONDS", 0.3)
    async with EventSocketDouble() as one:
        one.globals |= {
            "stir_out_carrier": "on",
            "stir_in_carrier": "monitor",
            "stir_heartbeat": f"{'a' * 16}:{int(time.time())}",
        }
        yield one


def written(folder: Path, port: int, password: str = PASSWORD) -> Path:
    """A configuration file and its password's."""
    secret = folder / "fs.password"
    secret.write_text(f"{password}\n")
    secret.chmod(0o600)
    (folder / "pbx-stir.toml").write_text(CONFIGURATION.format(port=port))
    return folder / "pbx-stir.toml"


async def found(
    folder: Path, double: EventSocketDouble, password: str = PASSWORD, *, host: str = "127.0.0.1"
) -> list[Finding]:
    """What the check of the connection finds."""
    loaded = config.load(written(folder, double.port, password))
    (one,) = freeswitches(loaded)
    return [f async for f in check_event_socket(loaded, replace(one, host=host))]


async def codes(folder: Path, double: EventSocketDouble) -> list[str]:
    """Their codes."""
    return [one.code for one in await found(folder, double)]


async def test_freeswitch_that_is_healthy_has_no_findings(
    double: EventSocketDouble, tmp_path: Path
) -> None:
    """Not even a note; and nothing was set."""
    assert await codes(tmp_path, double) == []
    assert not [c for c in double.commands[0] if "setvar" in c]
    assert double.commands[0][-1] == "exit"


async def test_freeswitch_password_that_is_wrong(double: EventSocketDouble, tmp_path: Path) -> None:
    """It is said, and no password with it."""
    (one,) = await found(tmp_path, double, "another")
    assert one.code == "event-socket-password"
    assert "another" not in one.what + one.hint
    assert "password_file" in one.hint


async def test_freeswitch_that_does_not_admit_us(double: EventSocketDouble, tmp_path: Path) -> None:
    """Its access list, and where it stands."""
    double.rejects = True
    (one,) = await found(tmp_path, double)
    assert one.code == "event-socket-acl"
    assert "apply-inbound-acl" in one.hint


async def test_freeswitch_that_is_away(double: EventSocketDouble, tmp_path: Path) -> None:
    """Nobody answers there."""
    double.close()
    assert await codes(tmp_path, double) == ["event-socket-unreachable"]


async def test_freeswitch_over_the_network(double: EventSocketDouble, tmp_path: Path) -> None:
    """Its password and our calls would go in the clear."""
    one, *_ = await found(tmp_path, double, host="localhost.localdomain")
    assert one.code == "event-socket-cleartext"


async def test_freeswitch_that_brings_no_events(double: EventSocketDouble, tmp_path: Path) -> None:
    """It would announce no call to us; what else is wrong is said too."""
    double.deaf = True
    double.files.clear()
    assert await codes(tmp_path, double) == ["event-socket-deaf", "lua-missing"]


async def test_freeswitch_without_lua_or_our_script(
    double: EventSocketDouble, tmp_path: Path
) -> None:
    """The module, and the file with the folder it belongs in."""
    double.files.clear()
    double.modules.clear()
    module, script = await found(tmp_path, double)
    assert (module.code, script.code) == ("lua-module-missing", "lua-missing")
    assert "/usr/share/freeswitch/scripts/pbx_stir.lua" in script.what


@pytest.mark.parametrize("beat", ["", "0", "x", f"{'a' * 16}:1795324411"])
async def test_freeswitch_without_a_heartbeat(
    double: EventSocketDouble, tmp_path: Path, beat: str
) -> None:
    """None, one of a listener that has stopped, one that is old."""
    double.globals["stir_heartbeat"] = beat
    assert await codes(tmp_path, double) == ["heartbeat-missing"]


async def test_freeswitch_switches(double: EventSocketDouble, tmp_path: Path) -> None:
    """One that says nothing we know, and a trunk that is off both ways."""
    double.globals |= {"stir_out_carrier": "yes", "stir_in_carrier": ""}
    assert await codes(tmp_path, double) == ["switch-unknown", "trunk-off"]


async def test_freeswitch_with_a_script_of_another_version(
    double: EventSocketDouble, tmp_path: Path
) -> None:
    """An older one says nothing, another one its own version."""
    for version in ("", "0.0.1", "-ERR Cannot find script"):
        double.script_version = version
        [one] = await found(tmp_path, double)
        assert (one.code, one.severity.value) == ("dialplan-version", "warning")
        assert __version__ in one.what


async def test_freeswitch_with_other_emergency_numbers(
    double: EventSocketDouble, tmp_path: Path
) -> None:
    """Its list against ours."""
    double.globals["stir_emergency"] = "110|4711"
    assert await codes(tmp_path, double) == ["emergency-signed"]


def test_freeswitch_password_file_that_is_missing(tmp_path: Path) -> None:
    """The files' check names it."""
    path = written(tmp_path, 1)
    (tmp_path / "fs.password").unlink()
    [one] = [one for one in files_of(config.load(path)) if one.code == "pbx-wrong"]
    assert one.where.endswith("freeswitch[0].password_file")
