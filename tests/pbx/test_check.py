"""``pbx-stir check`` at real Asterisks: what it finds, and that it leaves nothing there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import asterisk
from lab.processes import pbx_stir
from lab.stage import Stage, software
from pbx_stir import config
from pbx_stir.checks import asterisk as checks
from pbx_stir.checks.asterisk import check_asterisk
from pbx_stir.configured_pbxs import asterisks
from tests.pbx.scene import started

pytestmark = pytest.mark.pbx

CONFIGURATION = """
state_dir = "state"
[[asterisk]]
name = "pbx"
host = "{pbx.host}"
port = {pbx.ami_port}
username = "{pbx.ami_user}"
secret_file = "pbx.secret"
[[trunk]]
name = "carrier"
"""


@pytest.fixture(scope="module", params=["forky", "bullseye"], ids=["asterisk22", "asterisk16"])
def pbx(request: pytest.FixtureRequest) -> Iterator[asterisk.Instance]:
    """An Asterisk with our dialplan, whose trunk is on."""
    extensions = "[globals]\nSTIR_OUT_carrier=on\nSTIR_IN_carrier=monitor\n"
    yield from started(str(request.param), extensions)


class Desk:
    """Whose Asterisk it is: asks ``check``, and breaks things by Asterisk's own console."""

    def __init__(self, pbx: asterisk.Instance, folder: Path) -> None:
        self.pbx = pbx
        self.file = folder / "pbx-stir.toml"
        self.file.write_text(CONFIGURATION.format(pbx=pbx))
        self.secret = folder / "pbx.secret"
        self.secret.touch(mode=0o600)
        self.secret.write_text(pbx.ami_secret)

    async def say(self, *commands: str) -> str:
        """What the console says to each command."""
        return "".join([await asyncio.to_thread(self.pbx.cli, one) for one in commands])

    async def listen(self) -> None:
        """What a listener does for the dialplan each second."""
        beat = f"{'a' * 16}:{time.time():.6f}"
        await self.say(f"dialplan set global STIR_HEARTBEAT {beat}")

    async def codes(self) -> list[str]:
        """What is found, with a listener there."""
        await self.listen()
        loaded = config.load(self.file)
        [settings] = asterisks(loaded)
        return [one.code async for one in check_asterisk(loaded, settings)]


@pytest.fixture
def desk(pbx: asterisk.Instance, tmp_path: Path) -> Desk:
    """A desk at it."""
    return Desk(pbx, tmp_path)


async def test_an_asterisk_as_it_should_be(desk: Desk) -> None:
    """No finding; no global of it, no variable, no login is left."""
    await desk.listen()
    before = await desk.say("dialplan show globals")
    assert await desk.codes() == []
    after = await desk.say("dialplan show globals")

    def others(text: str) -> list[str]:
        return [line for line in text.splitlines() if "STIR_HEARTBEAT" not in line]

    assert others(after) == others(before)
    assert "pbx-stir " not in await desk.say("manager show connected")


async def test_a_secret_of_another(desk: Desk) -> None:
    """The login is refused."""
    desk.secret.write_text("another")
    assert await desk.codes() == ["ami-login-refused"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("STIR_OUT_carrier", "yes", "switch-unknown"),
        ("STIR_EMERGENCY", "911|4711", "emergency-signed"),
        ("STIR_AMI_USER", "somebody", "ami-user-differs"),
    ],
)
async def test_globals(desk: Desk, name: str, value: str, code: str) -> None:
    """What they say is read as the dialplan reads it."""
    was = {"STIR_OUT_carrier": "on"}.get(name, "")
    await desk.say(f'dialplan set global {name} "{value}"')
    try:
        assert await desk.codes() == [code]
    finally:
        await desk.say(f'dialplan set global {name} "{was}"')


async def test_a_listener_that_died(desk: Desk) -> None:
    """Its last heartbeat is old by Asterisk's own clock."""
    loaded = config.load(desk.file)
    [settings] = asterisks(loaded)
    old = f"{'a' * 16}:{time.time() - 60:.6f}"
    await desk.say(f"dialplan set global STIR_HEARTBEAT {old}")
    assert [one.code async for one in check_asterisk(loaded, settings)] == ["heartbeat-missing"]


async def test_a_dialplan_of_another_version_or_none(desk: Desk) -> None:
    """Its version can be asked, and whether it is there at all."""
    try:
        await desk.say("dialplan remove context pbx-stir-version")
        assert await desk.codes() == ["dialplan-version"]
        await desk.say("dialplan remove context pbx-stir-inbound")
        assert await desk.codes() == ["dialplan-missing"]
    finally:
        await desk.say("dialplan reload")
    assert await desk.codes() == []


async def test_a_module_that_is_not_loaded(desk: Desk) -> None:
    """Without it no call would be held."""
    try:
        await desk.say("module unload app_waitforcond.so")
        assert await desk.codes() == ["module-missing"]
    finally:
        await desk.say("module load app_waitforcond.so")


async def test_rights(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may not write variables, who may raise no events, who hears none."""
    monkeypatch.setattr(checks, "ECHO_SECONDS", 1.0)
    file = desk.pbx.directory / "etc/manager.conf"
    before = file.read_text()
    usual = "read = user\nwrite = call,user\n"
    assert before.count(usual) == 1
    try:
        for rights, code in (
            ("read = user\nwrite = user\n", "ami-rights"),
            ("read = user\nwrite = call\n", "ami-rights"),
            ("read = system\nwrite = call,user\n", "ami-deaf"),
        ):
            file.write_text(before.replace(usual, rights))
            await desk.say("manager reload")
            assert await desk.codes() == [code]
    finally:
        file.write_text(before)
        await desk.say("manager reload")
    assert await desk.codes() == []


def test_two_companies_that_call_each_other() -> None:
    """A real PBX, listener and CPS with storage tokens: healthy."""
    reason = asterisk.why_not()
    if reason:
        pytest.skip(f"no Asterisk: {reason}")
    with Stage(software()) as stage:
        said = json.loads(pbx_stir("check", "--json", "--config", str(stage.a.config)))
    assert said["healthy"]
    # their certificates are published nowhere: all that they store has them inside
    allowed = {"x5u-not-fetched", "x5u-unreachable", "tokens-none", "tokens-few"}
    assert {one["code"] for one in said["findings"]} <= allowed
    assert said["checks"] > 25
