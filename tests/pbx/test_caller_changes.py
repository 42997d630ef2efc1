"""Callers who give another number in the middle of the call, on real Asterisks.

They say it in an UPDATE or another INVITE, and by its endpoint's options Asterisk believes them or
not. Where it does, the dialplan says so before there is a verdict.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.asterisk import Instance, Trunk
from tests.pbx.phone import Phone
from tests.pbx.scene import Desk, calling, listening
from tests.pbx.software import software_of

pytestmark = pytest.mark.pbx

EXTENSIONS = """
[globals]
STIR_IN_on-1=on
STIR_IN_watch=monitor
[from-carrier]
exten => _1X.,1,Gosub(pbx-stir-inbound,s,1(on-1,${EXTEN}))
 same => n,Goto(up,1)
exten => _2X.,1,Gosub(pbx-stir-inbound,s,1(watch,${EXTEN}))
 same => n,Goto(up,1)
exten => local,1,Gosub(pbx-stir-inbound,s,1(on-1,16465550150))
 same => n,Goto(up,1)
exten => up,1,Answer()
 same => n,Wait(30)
 same => n,Hangup()
"""
CALLER, OTHER = "14155550100", "12125550100"
# trust_id_inbound, trust_connected_line
ENDPOINTS = {"open": (True, True), "fixed": (True, False), "doubting": (False, True)}


@dataclass(slots=True)
class Stage:
    """A PBX with a caller at each of its trunks."""

    pbx: Instance
    callers: dict[str, Phone]


def _stage(suite: str, without: tuple[str, ...] = ()) -> Iterator[Stage]:
    software = software_of(suite)
    with tempfile.TemporaryDirectory(prefix="pbx-stir-") as folder:
        pbx = Instance(
            software, Path(folder), "office", extensions=EXTENSIONS,
            without_modules=without,
        )  # fmt: skip
        number, callers = random.randint(1, 250), {}
        for at, (name, (trusted, connected)) in enumerate(ENDPOINTS.items(), start=240):
            callers[name] = Phone(f"127.{at}.{number}.1", 5060, (pbx.host, pbx.sip_port))
            trunk = Trunk(
                name, callers[name].host, 5060, "from-carrier",
                trust_id_inbound=trusted, trust_connected_line=connected,
            )  # fmt: skip
            pbx.trunks.append(trunk)
        with pbx:
            yield Stage(pbx, callers)


@pytest.fixture(scope="module", params=["forky", "bullseye"], ids=["asterisk22", "asterisk16"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A running Asterisk whose endpoints trust callers more and less."""
    yield from _stage(str(request.param))


@pytest.fixture
def unknowing() -> Iterator[Stage]:
    """One whose dialplan cannot ask for an endpoint's options."""
    yield from _stage("forky", ("func_pjsip_endpoint",))


async def _called(stage: Stage, name: str, number: str, *, says: str = "") -> tuple[bool, str]:
    """Call in and say another number: whether the hook said it was fixed, and the number now."""
    desk, place = Desk(), stage.callers[name]
    async with (
        Phone(place.host, place.port, place.pbx) as phone,
        calling(stage.pbx) as caller,
        listening(stage.pbx, desk),
    ):
        dialog = await phone.call(number, CALLER)
        await desk.wait_calls(1)
        [came] = desk.calls
        assert came.orig == CALLER
        if says:
            asserted = f'"[V] Company A" <sip:{OTHER}@example.com>'
            # what came first has been worked on when the second one is answered
            for method in (says, "INVITE"):
                answer = await phone.say_again(method, dialog, asserted)
                assert answer == "SIP/2.0 200 OK"
        asked = (("Channel", came.unique_id), ("Variable", "CALLERID(num)"))
        now = str((await caller.connection.request("Getvar", asked)).value)
        await asyncio.to_thread(stage.pbx.cli, "channel request hangup all")
    assert "ERROR" not in stage.pbx.log
    return came.caller_id_fixed, now


@pytest.mark.parametrize("says", ["UPDATE", "INVITE"])
@pytest.mark.parametrize("name", ENDPOINTS)
async def test_what_may_change_is_said_before_the_verdict(
    stage: Stage, name: str, says: str
) -> None:
    """A number that Asterisk lets its caller change is announced as such, any other as fixed."""
    fixed, now = await _called(stage, name, "16465550150", says=says)
    assert (fixed, now) == (False, OTHER) if name == "open" else (True, CALLER)


async def test_a_trunk_that_is_watched_says_it_too(stage: Stage) -> None:
    """So that a log shows, before the trunk is on, what its verdicts would be."""
    assert (await _called(stage, "open", "26465550150"))[0] is False
    assert (await _called(stage, "fixed", "26465550150"))[0] is True


async def test_without_the_function_nothing_is_fixed(unknowing: Stage) -> None:
    """Where the dialplan cannot ask, no number counts as fixed, and nothing is logged."""
    assert (await _called(unknowing, "fixed", "16465550150"))[0] is False


async def test_calls_without_sip_are_fixed(unknowing: Stage) -> None:
    """A Local channel has no endpoint: nothing is asked for, and nothing logged."""
    desk = Desk()
    async with calling(unknowing.pbx) as caller, listening(unknowing.pbx, desk):
        await asyncio.to_thread(
            caller.instance.cli,
            "channel originate Local/local@from-carrier/n application Wait 1",
        )
        await desk.wait_calls(1)
    assert desk.calls[0].caller_id_fixed
    assert "ERROR" not in unknowing.pbx.log
