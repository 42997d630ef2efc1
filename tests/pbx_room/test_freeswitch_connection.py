"""The FreeSWITCH adapter keeps its connection, and says by its heartbeat that it listens."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

import pytest

from lab.event_socket import EventSocketDouble
from pbx_stir.pbx import event_socket
from pbx_stir.pbx.freeswitch import FreeSwitchPbx
from pbx_stir.pbx.listener import Timing
from tests.pbx_room.desk import (
    ESL_QUICK,
    SAID,
    Desk,
    connected,
    running_freeswitch,
    started,
    stop_before_connecting,
    trying,
)


def heartbeat(double: EventSocketDouble) -> str:
    """The global that the dialplan looks at."""
    return double.globals.get("stir_heartbeat", "")


async def test_freeswitch_heartbeat_names_the_listener_in_freeswitchs_clock() -> None:
    """The global is the listener's id and the seconds of an event that FreeSWITCH dated."""
    async with EventSocketDouble() as double, running_freeswitch(double, Desk()) as adapter:
        name, _, seconds = heartbeat(double).partition(":")
        assert name == adapter.listener
        assert abs(int(seconds) - time.time()) < 5
        written = len([c for c in double.commands[0] if "global_setvar" in c])
        await double.until(
            lambda: len([c for c in double.commands[0] if "global_setvar" in c]) > written + 2
        )


async def test_freeswitch_connection_lost_is_made_again() -> None:
    """After a loss the adapter logs in anew and serves; nothing is sent twice."""
    desk = Desk(at_once=True)
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
        double.announce(adapter.listener, Uniqueid="a-1")
        await double.until(lambda: len(double.answers) == 1)
        double.drop()
        await double.until(lambda: len(double.commands) == 2 and len(double.commands[1]) > 4)
        assert double.commands[1][0].startswith("auth")
        assert len(double.answers) == 1
        double.announce(adapter.listener, Uniqueid="a-2")
        await double.until(lambda: len(double.answers) == 2)


async def test_freeswitch_restarted_knows_no_call_of_before() -> None:
    """An answer to a channel that is gone sets nothing; the heartbeat and new calls go on."""
    desk = Desk()
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
        double.announce(adapter.listener, Uniqueid="a-1")
        await desk.next()
        await double.restart()
        await double.until(lambda: heartbeat(double).startswith(adapter.listener))
        desk.release.set()
        nonce = double.announce(adapter.listener, Uniqueid="b-1")
        await double.until(lambda: bool(double.answers))
        assert double.answers == [("b-1", f"{nonce}|{SAID}")]


async def test_freeswitch_frozen_is_noticed() -> None:
    """One that answers no more is left and tried again, and served once it goes on."""
    async with EventSocketDouble() as double, running_freeswitch(double, Desk()) as adapter:
        double.freeze()
        await double.until(lambda: len(double.commands) >= 2)
        assert not adapter.connected.is_set()
        double.thaw()
        await connected(adapter)


async def test_freeswitch_that_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader slower than answers are written does not have us keep them without end."""
    monkeypatch.setattr(event_socket, "MAX_PENDING", 50)
    desk = Desk()
    slow = replace(ESL_QUICK, silence=1.0)
    async with (
        EventSocketDouble() as double,
        running_freeswitch(double, desk, timing=slow) as adapter,
    ):
        for _ in range(80):
            double.announce(adapter.listener)
        for _ in range(80):
            await desk.next()
        double.freeze()
        desk.release.set()
        await asyncio.wait(adapter._tasks, timeout=5)
        assert desk.taken.empty()
        double.thaw()


async def test_freeswitch_that_brings_no_events_gets_no_heartbeat(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No call waits for a listener that does not hear it; a mended one is taken up."""
    async with EventSocketDouble() as double:
        double.deaf = True
        timing = replace(ESL_QUICK, echo=0.03)
        async with trying(FreeSwitchPbx(double.settings(), Desk(), timing=timing)) as adapter:
            await double.until(lambda: len(double.commands) >= 3)
            assert heartbeat(double) == ""
            assert "brings no events" in caplog.text
            double.deaf = False
            await connected(adapter)


@pytest.mark.parametrize("rejects", [False, True])
async def test_freeswitch_refusal_is_said_but_not_over_and_over(
    rejects: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, or an address that is not admitted: the 1st, 2nd, 4th … is logged."""
    async with EventSocketDouble() as double:
        double.rejects = rejects
        settings = double.settings("not this one")
        async with trying(FreeSwitchPbx(settings, Desk(), timing=ESL_QUICK)):
            await double.until(lambda: len(double.commands) >= 6)
    why = "access list" if rejects else "refused: -ERR invalid"
    said = [record for record in caplog.records if why in record.getMessage()]
    assert len(said) == 3
    assert {record.levelno for record in said} == {logging.ERROR}
    assert "not this one" not in caplog.text


async def test_freeswitch_stop_silences_the_heartbeat_first_and_drains() -> None:
    """The dialplan learns at once that nobody listens; then calls that wait are answered."""
    desk = Desk()
    async with EventSocketDouble() as double:
        adapter = FreeSwitchPbx(double.settings(), desk, timing=ESL_QUICK)
        task = await started(adapter)
        await double.until(lambda: double.commands[0][-1].startswith("sendevent"))
        double.announce(adapter.listener)
        await desk.next()
        stopping = asyncio.create_task(adapter.stop(drain_seconds=5))
        await double.until(lambda: heartbeat(double) == "0")
        assert double.answers == []
        desk.release.set()
        await stopping
        await task
        assert len(double.answers) == 1
        assert double.commands[0][-1] == "exit"


async def test_freeswitch_upgrade_leaves_no_moment_without_a_listener() -> None:
    """The old one serves until the new one's heartbeat stands; a call is answered by one alone."""
    desks = Desk(at_once=True), Desk(at_once=True)
    async with EventSocketDouble() as double:
        old = FreeSwitchPbx(double.settings(), desks[0], timing=ESL_QUICK)
        task = await started(old)
        async with running_freeswitch(double, desks[1]) as new:
            await double.until(lambda: old._accompanied)
            stopping = asyncio.create_task(old.stop())
            silent = []
            while not stopping.done():
                silent.append(heartbeat(double) == "0")
                await asyncio.sleep(0)
            await task
            assert not any(silent)
            assert heartbeat(double).startswith(new.listener)
            double.announce(new.listener, Uniqueid="a-1")
            await double.until(lambda: len(double.answers) == 1)
            assert (desks[0].calls.qsize(), desks[1].calls.qsize()) == (0, 1)


async def test_freeswitch_stop_leaves_the_heartbeat_of_another_listener() -> None:
    """During an upgrade the old listener does not silence the new one."""
    another = f"{'e' * 16}:1795309815"
    async with EventSocketDouble() as double:
        async with running_freeswitch(double, Desk(), timing=replace(ESL_QUICK, heartbeat=60)):
            double.globals["stir_heartbeat"] = another
        assert heartbeat(double) == another


async def test_freeswitch_stop_before_the_first_connection_ends() -> None:
    """A FreeSWITCH that was never there does not keep the daemon from stopping."""
    async with EventSocketDouble() as double:
        settings = double.settings()
    await stop_before_connecting(FreeSwitchPbx(settings, Desk(), timing=Timing(first_retry=60)))
