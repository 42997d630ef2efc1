"""The bench's manager interface is one to the daemon's own adapter."""

from __future__ import annotations

import asyncio
import time

import pytest

from bench import manager as room
from bench.manager import Manager
from lab.debian import LabError
from pbx_stir.pbx.ami import AmiConnection, AsteriskSettings, LoginRefused
from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.services.call import Call, Direction, Mode


class Answering:
    """Takes calls, and answers as it is told."""

    def __init__(self, *variables: tuple[str, str]) -> None:
        self.variables = variables
        self.calls: list[Call] = []
        self.over = asyncio.Event()

    async def receive(self, call: Call, pbx: AsteriskPbx) -> None:
        self.calls.append(call)
        if self.variables:
            assert await pbx.answer(call, self.variables, time.monotonic() + 5)

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        assert (unique_id, answered) == (self.calls[-1].unique_id, True)
        self.over.set()


def settings(manager: Manager) -> AsteriskSettings:
    """How to reach it."""
    return AsteriskSettings(
        "pbx", manager.host, manager.ami_port, manager.ami_user, manager.ami_secret
    )


async def test_a_call_is_announced_answered_and_ended() -> None:
    """Heartbeat, announcement, release and end go both ways as with a dialplan."""
    receiver = Answering(("STIR_VERSTAT", "TN-Validation-Passed"), ("STIR_REASON", "verified"))
    async with Manager("a") as manager:
        pbx = AsteriskPbx(settings(manager), receiver)
        running = asyncio.create_task(pbx.run())
        await asyncio.wait_for(manager.heard.wait(), 5)
        released = await manager.announce("in", "carrier", "+12125550000", "13105550000")
        await asyncio.wait_for(receiver.over.wait(), 5)
        await pbx.stop()
        await running
    assert (released.status, released.verstat, released.reason) == (
        "",
        "TN-Validation-Passed",
        "verified",
    )
    assert 0 < released.seconds < 5
    [call] = receiver.calls
    assert (call.direction, call.mode, call.trunk) == (Direction.INBOUND, Mode.ON, "carrier")
    assert (call.orig, call.dest, call.came_in) == ("+12125550000", "13105550000", "carrier")
    assert not manager.heartbeat


async def test_a_wrong_secret_is_refused() -> None:
    """As Asterisk does."""
    async with Manager("a") as manager:
        wrong = AsteriskSettings("pbx", manager.host, manager.ami_port, "pbx-stir", "guess")
        with pytest.raises(LoginRefused):
            await AmiConnection.open(wrong, lambda _message: None)


async def test_a_call_that_nobody_answers_voids_the_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is said which PBX waited in vain."""
    monkeypatch.setattr(room, "ANSWER_SECONDS", 0.05)
    async with Manager("a") as manager:
        with pytest.raises(LabError, match="a: no listener"):
            await manager.announce("out", "carrier", "12125550000", "13105550000")
        pbx = AsteriskPbx(settings(manager), Answering())
        running = asyncio.create_task(pbx.run())
        await asyncio.wait_for(manager.heard.wait(), 5)
        with pytest.raises(LabError, match="a: no answer"):
            await manager.announce("out", "carrier", "12125550000", "13105550000")
        await pbx.stop()
        await running
