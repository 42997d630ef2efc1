"""A double of an Asterisk, healthy and not."""

from __future__ import annotations

import asyncio

import pytest

from pbx_stir import __version__
from pbx_stir.checks import asterisk
from pbx_stir.checks.asterisk import check_asterisk
from pbx_stir.checks.finding import Finding
from pbx_stir.configured_pbxs import asterisks
from tests.checks.setups import Setup
from tests.pbx_room.fake_asterisk import NOW, SECRET, FakeAsterisk


async def found(setup: Setup) -> list[Finding]:
    """What is found at the one Asterisk."""
    [settings] = asterisks(setup.loaded)
    return [one async for one in check_asterisk(setup.loaded, settings)]


async def codes(setup: Setup) -> list[str]:
    """Their codes."""
    return [one.code for one in await found(setup)]


async def test_an_asterisk_that_is_healthy(online: Setup, pbx: FakeAsterisk) -> None:
    """Not even a note; and nothing was set there, nor is anybody left logged in."""
    assert await codes(online) == []
    assert pbx.writes == []
    asked = {one["Action"] for one in pbx.connections[0]}
    assert asked == {"Login", "UserEvent", "Getvar", "Ping", "Logoff"}


async def test_a_refused_login(online: Setup) -> None:
    """Said with its reason, and never with the secret."""
    (online.folder / "pbx.secret").write_text("hunter2")
    [one] = await found(online)
    assert (one.code, "Authentication failed" in one.what) == ("ami-login-refused", True)
    assert "hunter2" not in str(one)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("DIALPLAN_EXISTS(pbx-stir-inbound,s,1)", "0", "dialplan-missing"),
        (f"DIALPLAN_EXISTS(pbx-stir-version,{__version__},1)", "0", "dialplan-version"),
        ("IFMODULE(app_waitforcond.so)", "0", "module-missing"),
        ("GLOBAL(STIR_AMI_USER)", "somebody", "ami-user-differs"),
        ("GLOBAL(STIR_HEARTBEAT)", "", "heartbeat-missing"),
        ("GLOBAL(STIR_HEARTBEAT)", f"{'a' * 16}:1795309800", "heartbeat-missing"),
        ("GLOBAL(STIR_HEARTBEAT)", "junk", "heartbeat-missing"),
        ("GLOBAL(STIR_EMERGENCY)", "4711", "emergency-signed"),
        ("GLOBAL(STIR_OUT_carrier)", "yes", "switch-unknown"),
    ],
)
async def test_a_pbx_that_lacks_something(
    online: Setup, pbx: FakeAsterisk, name: str, value: str, code: str
) -> None:
    """Each thing has its code, and says what to do."""
    pbx.variables[name] = value
    [one] = await found(online)
    assert (one.code, bool(one.hint), one.where.startswith("pbx (127.0.0.1:")) == (code, True, True)


@pytest.mark.parametrize(
    ("inbound", "connected", "wrong"),
    [("true", "yes", True), ("yes", "yes", True), ("true", "no", False), ("false", "yes", False)],
)
async def test_an_endpoint_that_lets_callers_change_their_number(
    online: Setup, pbx: FakeAsterisk, inbound: str, connected: str, wrong: bool
) -> None:
    """An error where both options are on; one that Asterisk does not know is none."""
    pbx.variables |= {
        "PJSIP_ENDPOINT(carrier,trust_id_inbound)": inbound,
        "PJSIP_ENDPOINT(carrier,trust_connected_line)": connected,
    }
    assert await codes(online) == (["caller-id-not-fixed"] if wrong else [])


@pytest.mark.parametrize(("pjsip", "wrong"), [("1", True), ("0", False)])
async def test_a_pbx_that_cannot_ask_for_an_endpoint(
    online: Setup, pbx: FakeAsterisk, pjsip: str, wrong: bool
) -> None:
    """An error on PJSIP, whose calls have no verdict then; chan_sip has no use for it."""
    pbx.variables |= {"IFMODULE(chan_pjsip.so)": pjsip, "IFMODULE(func_pjsip_endpoint.so)": "0"}
    assert await codes(online) == (["caller-id-not-fixed"] if wrong else [])


async def test_a_user_of_another_name(online: Setup, pbx: FakeAsterisk) -> None:
    """Is what the dialplan must look for."""
    online.change('username = "pbx-stir"', 'username = "other"')
    assert await codes(online) == ["ami-user-differs"]
    pbx.variables["GLOBAL(STIR_AMI_USER)"] = "other"
    assert await codes(online) == []


async def test_a_trunk_that_is_off(online: Setup, pbx: FakeAsterisk) -> None:
    """Works, and is good to know."""
    pbx.variables |= {"GLOBAL(STIR_OUT_carrier)": "", "GLOBAL(STIR_IN_carrier)": "off"}
    assert await codes(online) == ["trunk-off"]


async def test_a_user_without_rights(
    online: Setup, pbx: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asterisk says so only when it is asked."""
    answer = pbx._answer

    def denied(writer: asyncio.StreamWriter, action: dict[str, str]) -> None:
        if action["Action"] != "Getvar":
            answer(writer, action)
            return
        said = f"Response: Error\r\nMessage: Permission denied\r\nActionID: {action['ActionID']}"
        writer.write(f"{said}\r\n\r\n".encode())

    monkeypatch.setattr(pbx, "_answer", denied)
    assert await codes(online) == ["ami-rights"]


async def test_a_user_that_does_not_hear(
    online: Setup, pbx: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dialplan's events do not come through, or the user may raise none."""
    monkeypatch.setattr(asterisk, "ECHO_SECONDS", 0.2)
    pbx.deaf = True
    assert await codes(online) == ["ami-deaf"]
    pbx.denied = {"UserEvent"}
    assert await codes(online) == ["ami-rights"]


async def test_a_pbx_that_goes_silent(
    online: Setup, pbx: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logged in, but no answer; or nothing at all; or somewhere else."""
    monkeypatch.setattr(asterisk, "SECONDS", 0.3)
    pbx.silent = {"Getvar"}
    assert await codes(online) == ["ami-broken"]
    pbx.silent = {"Login"}
    assert await codes(online) == ["ami-unreachable"]
    online.change('host = "127.0.0.1"', 'host = "192.0.2.1"')
    assert await codes(online) == ["ami-cleartext", "ami-unreachable"]
    online.change('host = "192.0.2.1"', 'host = "localhost"')
    assert await codes(online) == ["ami-unreachable"]


def test_the_double_is_healthy(pbx: FakeAsterisk) -> None:
    """What the other tests break is in order before."""
    assert NOW.partition(".")[0] in pbx.variables["GLOBAL(STIR_HEARTBEAT)"]
    assert SECRET not in pbx.variables.values()
