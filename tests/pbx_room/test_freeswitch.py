"""The FreeSWITCH adapter, against a double of its event socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lab.event_socket import EventSocketDouble
from pbx_stir.errors import PbxUnavailable
from pbx_stir.pbx import event_socket
from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.pbx.freeswitch import FreeSwitchPbx
from pbx_stir.pbx.listener import Timing
from pbx_stir.services.call import Call, Mode
from tests.pbx_room import test_asterisk
from tests.pbx_room.fake_asterisk import FakeAsterisk

QUICK = Timing(heartbeat=0.02, silence=0.3, first_retry=0.01, last_retry=0.05, echo=0.3)
PASSED = [("STIR_VERSTAT", "TN-Validation-Passed"), ("STIR_REASON", "verified")]
SAID = "|TN-Validation-Passed|verified||||||||"


class Desk:
    """Keeps calls; answers each once it is told to, or at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.over: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()
        self.taken: asyncio.Queue[bool] = asyncio.Queue()
        self.release = asyncio.Event()
        if at_once:
            self.release.set()

    async def receive(self, call: Call, pbx: Any) -> None:
        """Wait for the test, then answer."""
        self.calls.put_nowait(call)
        await self.release.wait()
        if call.mode is Mode.ON:
            self.taken.put_nowait(await pbx.answer(call, PASSED, time.monotonic() + 1))

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        """Remember it."""
        self.over.put_nowait((pbx, unique_id, answered))

    async def next(self) -> Call:
        """The next call that came."""
        async with asyncio.timeout(5):
            return await self.calls.get()


@asynccontextmanager
async def running(
    double: EventSocketDouble, desk: Desk, *, max_waiting: int = 100, timing: Timing = QUICK
) -> AsyncIterator[FreeSwitchPbx]:
    """An adapter that serves."""
    adapter = FreeSwitchPbx(double.settings(), desk, max_waiting=max_waiting, timing=timing)
    task = asyncio.create_task(adapter.run())
    try:
        async with asyncio.timeout(5):
            await adapter.connected.wait()
        yield adapter
    finally:
        await adapter.stop(drain_seconds=0.2)
        await task


def heartbeat(double: EventSocketDouble) -> str:
    """The global that the dialplan looks at."""
    return double.globals.get("stir_heartbeat", "")


async def test_freeswitch_heartbeat_names_the_listener_in_freeswitchs_clock() -> None:
    """The global is the listener's id and the seconds of an event that FreeSWITCH dated."""
    async with EventSocketDouble() as double, running(double, Desk()) as adapter:
        name, _, seconds = heartbeat(double).partition(":")
        assert name == adapter.listener
        assert abs(int(seconds) - time.time()) < 5
        written = len([c for c in double.commands[0] if "global_setvar" in c])
        await double.until(
            lambda: len([c for c in double.commands[0] if "global_setvar" in c]) > written + 2
        )


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("late_seconds", [0.0, 0.02])
async def test_freeswitch_call_is_received_and_answered(
    bytewise: bool, late_seconds: float
) -> None:
    """An announcement becomes a call, its answer one write to its channel, led by its nonce."""
    desk = Desk(at_once=True)
    async with (
        EventSocketDouble(bytewise=bytewise, late_seconds=late_seconds) as double,
        running(double, desk) as adapter,
    ):
        nonce = double.announce(adapter.listener, Uniqueid="a-1")
        call = await desk.next()
        assert (call.nonce, call.unique_id, call.pbx) == (nonce, "a-1", "fs")
        assert (call.orig, call.dest, call.trunk) == ("+12125550100", "13105552001", "carrier")
        await double.until(lambda: bool(double.answers))
        assert double.answers == [("a-1", f"{nonce}|{SAID}")]
        assert double.channels["a-1"]["stir_answer"].startswith(nonce)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("A\"n;n'a|${x}%41", "A\"n;n'a|${x}%41"),
        ("12\n\nStir-Mode: monitor\n", "12\ufffd\ufffdStir-Mode: monitor\ufffd"),
        ("é\u202e", "é\ufffd"),
        ("1" * 160, "1" * 160),
        ("ARRAY::1|:2", "ARRAY::1|:2"),
    ],
)
async def test_freeswitch_caller_sends_no_syntax(text: str, read: str) -> None:
    """A caller's number is text, whatever is in it."""
    desk = Desk()
    async with EventSocketDouble() as double, running(double, desk) as adapter:
        double.announce(adapter.listener, From=text, To=text)
        call = await desk.next()
        assert (call.orig, call.dest, call.mode) == (read, read, Mode.ON)


async def test_freeswitch_identity_headers_are_read() -> None:
    """Up to four; one that is too long is none, and the call comes without it."""
    desk = Desk()
    value = "a.b.c;info=<https://x.example/c.pem>;alg=ES256"
    async with EventSocketDouble() as double, running(double, desk) as adapter:
        double.announce(adapter.listener, Identity1=value, Identity2="x" * 3_001, Identity4="d")
        assert (await desk.next()).identity == (value, "d")


async def test_freeswitch_originator_and_trunk_of_entry_are_read() -> None:
    """Who placed the call, and by which trunk it came in."""
    desk = Desk()
    async with EventSocketDouble() as double, running(double, desk) as adapter:
        double.announce(
            adapter.listener, Dir="out", Originator="1001", Account="sales", CameIn="carrier"
        )
        call = await desk.next()
        assert (call.originator, call.came_in) == (("1001", "sales"), "carrier")


async def test_freeswitch_long_answer_comes_in_parts_and_the_nonce_last() -> None:
    """Parts lie in variables of their own before the one that releases."""
    async with EventSocketDouble() as double, running(double, Desk()) as adapter:
        nonce = double.announce(adapter.listener, Uniqueid="a-1")
        call = replace(await self_call(adapter, double, nonce), nonce=nonce, unique_id="a-1")
        long = [("STIR_NAME", "n" * 500), ("STIR_CALL_REASON", "r" * 500)]
        assert await adapter.answer(call, long, time.monotonic() + 1)
        assert [value[:20] for _, value in double.answers][-1] == f"{nonce}|+|2"
        assert len(double.answers) == 3
        assert "n" * 500 in double.channels["a-1"][f"stir_answer_{nonce}_1"]


async def self_call(adapter: FreeSwitchPbx, double: EventSocketDouble, nonce: str) -> Call:
    """A call as it would come."""
    desk = adapter._receiver
    assert isinstance(desk, Desk)
    return await desk.next()


async def test_freeswitch_values_that_could_be_syntax_are_left_empty() -> None:
    """Quotes, commas, semicolons, variables and line ends never go out."""
    async with EventSocketDouble() as double, running(double, Desk()) as adapter:
        nonce = double.announce(adapter.listener, Uniqueid="a-1")
        call = await self_call(adapter, double, nonce)
        wrong = [("STIR_SIGNER", "a'b"), ("STIR_ORIG", "1\n\napi x"), ("STIR_DEST", "${x}")]
        assert await adapter.answer(call, wrong, time.monotonic() + 1)
        assert double.answers == [("a-1", f"{nonce}|" + "|" * 10)]


async def test_freeswitch_call_that_ended_in_the_hold_is_told_apart() -> None:
    """The answer's reply says that there is no such channel: nothing was used."""
    desk = Desk()
    async with EventSocketDouble() as double, running(double, desk) as adapter:
        double.announce(adapter.listener, Uniqueid="a-1")
        await desk.next()
        double.channels.clear()
        desk.release.set()
        await double.until(lambda: any("stir_answer" in c for c in double.commands[0]))
        async with asyncio.timeout(5):
            assert await desk.taken.get() is False


async def test_freeswitch_that_does_not_say_whether_it_took_an_answer() -> None:
    """Frozen meanwhile, or gone: the caller of answer learns it in bounded time."""
    desk = Desk()
    slow = replace(QUICK, heartbeat=60)
    async with EventSocketDouble() as double:
        async with running(double, desk, timing=slow) as adapter:
            double.announce(adapter.listener)
            call = await desk.next()
            double.freeze()
            with pytest.raises(PbxUnavailable, match="does not say"):
                await adapter.answer(call, PASSED, time.monotonic())
            double.thaw()
        with pytest.raises(PbxUnavailable, match="not connected"):
            await adapter.answer(call, PASSED, time.monotonic())


async def test_freeswitch_malformed_announcement_is_released_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A call whose announcement cannot be read does not wait, and no number is logged."""
    desk = Desk()
    async with EventSocketDouble() as double, running(double, desk) as adapter:
        nonce = double.announce(adapter.listener, Uniqueid="a-1", Trunk="", From="12125550199")
        double.announce(adapter.listener, Uniqueid="a-1", Nonce="?")
        double.announce(adapter.listener, Uniqueid="a 1")
        await double.until(lambda: bool(double.answers))
        told = f"{nonce}|error|No-TN-Validation|internal-error||||||||"
        assert double.answers == [("a-1", told)]
        double.announce(adapter.listener, Ver="2")
        double.announce(adapter.listener)
        await desk.next()
    assert "Trunk is malformed" in caplog.text
    assert "12125550199" not in caplog.text


async def test_freeswitch_flood_is_bounded() -> None:
    """Beyond the bound calls are released at once, and those before it are served."""
    desk = Desk()
    async with EventSocketDouble() as double, running(double, desk, max_waiting=50) as adapter:
        for _ in range(1_000):
            double.announce(adapter.listener)
        await double.until(lambda: len(double.answers) == 950)
        assert {value[16:] for _, value in double.answers} == {
            "|error|No-TN-Validation|overloaded||||||||"
        }
        desk.release.set()
        await double.until(lambda: len(double.answers) == 1_000)
        assert desk.calls.qsize() == 50


async def test_freeswitch_three_hundred_holds_at_once() -> None:
    """Each gets its own answer, in its own channel, by its own nonce."""
    desk = Desk(at_once=True)
    async with (
        EventSocketDouble(late_seconds=0.02) as double,
        running(double, desk, max_waiting=1_000) as adapter,
    ):
        nonces = {
            f"a-{n}": double.announce(adapter.listener, Uniqueid=f"a-{n}") for n in range(300)
        }
        await double.until(lambda: len(double.answers) == 300)
        assert {name: value[:16] for name, value in double.answers} == nonces
        assert len(double.commands) == 1


async def test_freeswitch_event_of_an_ended_call_is_passed_on() -> None:
    """The hook at the call's end reaches the receiver; one that is malformed is dropped."""
    desk = Desk()
    async with EventSocketDouble() as double, running(double, desk):
        double.fire("pbx_stir::ended", {"Stir-Uniqueid": "a-1", "Stir-Answered": "maybe"})
        double.fire("pbx_stir::ended", {"Stir-Uniqueid": "a-1", "Stir-Answered": "yes"})
        async with asyncio.timeout(5):
            assert await desk.over.get() == ("fs", "a-1", True)


async def test_freeswitch_connection_lost_is_made_again() -> None:
    """After a loss the adapter logs in anew and serves; nothing is sent twice."""
    desk = Desk(at_once=True)
    async with EventSocketDouble() as double, running(double, desk) as adapter:
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
    async with EventSocketDouble() as double, running(double, desk) as adapter:
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
    async with EventSocketDouble() as double, running(double, Desk()) as adapter:
        double.freeze()
        await double.until(lambda: len(double.commands) >= 2)
        assert not adapter.connected.is_set()
        double.thaw()
        async with asyncio.timeout(5):
            await adapter.connected.wait()


async def test_freeswitch_that_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader slower than answers are written does not have us keep them without end."""
    monkeypatch.setattr(event_socket, "MAX_PENDING", 50)
    desk = Desk()
    slow = replace(QUICK, silence=1.0)
    async with EventSocketDouble() as double, running(double, desk, timing=slow) as adapter:
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
        adapter = FreeSwitchPbx(double.settings(), Desk(), timing=replace(QUICK, echo=0.03))
        task = asyncio.create_task(adapter.run())
        await double.until(lambda: len(double.commands) >= 3)
        assert heartbeat(double) == ""
        assert "brings no events" in caplog.text
        double.deaf = False
        async with asyncio.timeout(5):
            await adapter.connected.wait()
        await adapter.stop()
        await task


@pytest.mark.parametrize("rejects", [False, True])
async def test_freeswitch_refusal_is_said_but_not_over_and_over(
    rejects: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, or an address that is not admitted: the 1st, 2nd, 4th … is logged."""
    async with EventSocketDouble() as double:
        double.rejects = rejects
        adapter = FreeSwitchPbx(double.settings("not this one"), Desk(), timing=QUICK)
        task = asyncio.create_task(adapter.run())
        await double.until(lambda: len(double.commands) >= 6)
        await adapter.stop()
        await task
    why = "access list" if rejects else "refused: -ERR invalid"
    said = [record for record in caplog.records if why in record.getMessage()]
    assert len(said) == 3
    assert {record.levelno for record in said} == {logging.ERROR}
    assert "not this one" not in caplog.text


async def test_freeswitch_stop_silences_the_heartbeat_first_and_drains() -> None:
    """The dialplan learns at once that nobody listens; then calls that wait are answered."""
    desk = Desk()
    async with EventSocketDouble() as double:
        adapter = FreeSwitchPbx(double.settings(), desk, timing=QUICK)
        task = asyncio.create_task(adapter.run())
        async with asyncio.timeout(5):
            await adapter.connected.wait()
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
        old = FreeSwitchPbx(double.settings(), desks[0], timing=QUICK)
        task = asyncio.create_task(old.run())
        async with asyncio.timeout(5):
            await old.connected.wait()
        async with running(double, desks[1]) as new:
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
        async with running(double, Desk(), timing=replace(QUICK, heartbeat=60)):
            double.globals["stir_heartbeat"] = another
        assert heartbeat(double) == another


async def test_freeswitch_contested_call_is_marked_and_told() -> None:
    """On its channel while its verdict stands there, and as an event; values are whitelisted."""
    async with EventSocketDouble() as double, running(double, Desk()) as adapter:
        double.channels["a-1"] = {"stir_verstat": "TN-Validation-Passed"}
        double.channels["a-2"] = {}
        await adapter.contest("a-1", [("STIR_REASON", "contested"), ("STIR_ID", "a\r\nb")])
        await adapter.contest("a-2", [("STIR_REASON", "contested")])
        await adapter.contest("gone", [("STIR_REASON", "contested")])
        await adapter.contest("a b", [("STIR_REASON", "contested")])
        assert double.channels["a-1"]["stir_reason"] == "contested"
        assert double.channels["a-2"] == {}
        told = [c for c in double.commands[0] if "pbx_stir::contested" in c]
        assert len(told) == 1
        assert "Stir-Reason: contested" in told[0]
    await adapter.contest("a-1", [("STIR_REASON", "contested")])


async def test_freeswitch_call_read_late_has_less_budget_left() -> None:
    """What a call has waited before it was read of is taken off; one that is over gets none."""
    desk = Desk()
    async with EventSocketDouble() as double, running(double, desk) as adapter:
        double.announce(adapter.listener)
        assert 1_900 <= (await desk.next()).budget_ms <= 2_000
        octets = double._event("pbx_stir::request", {})
        stamp = octets.split(b"Event-Date-Timestamp: ")[1].split(b"\n")[0].decode()
        event = {f"Stir-{name}": text for name, text in old_call(adapter.listener).items()}
        for waited, most in ((0.5, 1_550), (70.0, 1)):
            made_at = str(int(stamp) - int(waited * 1e6))
            adapter._on_event(
                {"Event-Subclass": "pbx_stir::request", "Event-Date-Timestamp": made_at, **event}
            )
            call = await desk.next()
            assert call.budget_ms <= most
        assert not await adapter.answer(call, PASSED, time.monotonic() + 1)


def old_call(listener: str) -> dict[str, str]:
    """The fields of an announcement."""
    return {
        "Ver": "1", "Listener": listener, "Dir": "in", "Mode": "on", "Trunk": "carrier",
        "From": "1", "Pres": "allowed", "To": "2", "Originator": "", "Account": "", "CameIn": "",
        "Uniqueid": "a-1", "Linkedid": "a-1", "Nonce": "a" * 16, "Budget": "2000",
    }  # fmt: skip


async def test_freeswitch_and_asterisk_share_one_receiver() -> None:
    """Each call is answered at the PBX it waits at."""
    desk = Desk(at_once=True)
    async with EventSocketDouble() as double, FakeAsterisk() as asterisk:
        other = AsteriskPbx(asterisk.settings(), desk, timing=test_asterisk.QUICK)
        task = asyncio.create_task(other.run())
        async with running(double, desk) as adapter:
            async with asyncio.timeout(5):
                await other.connected.wait()
            nonce = double.announce(adapter.listener, Uniqueid="a-1")
            test_asterisk.announce(asterisk, other)
            await double.until(lambda: bool(double.answers))
            await asterisk.until(lambda: bool(test_asterisk.answers(asterisk)))
            assert double.answers == [("a-1", f"{nonce}|{SAID}")]
            assert {(await desk.next()).pbx, (await desk.next()).pbx} == {"fs", "pbx"}
        await other.stop(drain_seconds=0.2)
        await task


async def test_freeswitch_stop_before_the_first_connection_ends() -> None:
    """A FreeSWITCH that was never there does not keep the daemon from stopping."""
    async with EventSocketDouble() as double:
        settings = double.settings()
    adapter = FreeSwitchPbx(settings, Desk(), timing=Timing(first_retry=60))
    task = asyncio.create_task(adapter.run())
    await asyncio.sleep(0)
    await adapter.stop()
    async with asyncio.timeout(5):
        await task
