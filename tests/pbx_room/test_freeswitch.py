"""The FreeSWITCH adapter takes and answers calls, against a double of its event socket."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from lab.event_socket import EventSocketDouble
from pbx_stir.errors import PbxUnavailable
from pbx_stir.pbx.listener import Timing
from pbx_stir.services.call import Mode
from tests.pbx_room.desk import (
    ESL_QUICK,
    PASSED,
    SAID,
    Desk,
    announce,
    answers,
    running_asterisk,
    running_freeswitch,
)
from tests.pbx_room.fake_asterisk import FakeAsterisk


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("late_seconds", [0.0, 0.02])
async def test_freeswitch_call_is_received_and_answered(
    bytewise: bool, late_seconds: float
) -> None:
    """An announcement becomes a call, its answer one write to its channel, led by its nonce."""
    desk = Desk(at_once=True)
    async with (
        EventSocketDouble(bytewise=bytewise, late_seconds=late_seconds) as double,
        running_freeswitch(double, desk) as adapter,
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
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
        double.announce(adapter.listener, From=text, To=text)
        call = await desk.next()
        assert (call.orig, call.dest, call.mode) == (read, read, Mode.ON)


async def test_freeswitch_identity_headers_are_read() -> None:
    """Up to four; one that is too long is none, and the call comes without it."""
    desk = Desk()
    value = "a.b.c;info=<https://x.example/c.pem>;alg=ES256"
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
        double.announce(adapter.listener, Identity1=value, Identity2="x" * 3_001, Identity4="d")
        assert (await desk.next()).identity == (value, "d")


async def test_freeswitch_originator_and_trunk_of_entry_are_read() -> None:
    """Who placed the call, and by which trunk it came in."""
    desk = Desk()
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
        double.announce(
            adapter.listener, Dir="out", Originator="1001", Account="sales", CameIn="carrier"
        )
        call = await desk.next()
        assert (call.originator, call.came_in) == (("1001", "sales"), "carrier")


async def test_freeswitch_long_answer_comes_in_parts_and_the_nonce_last() -> None:
    """Parts lie in variables of their own before the one that releases."""
    desk = Desk()
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
        nonce = double.announce(adapter.listener, Uniqueid="a-1")
        call = replace(await desk.next(), nonce=nonce, unique_id="a-1")
        long = [("STIR_NAME", "n" * 500), ("STIR_CALL_REASON", "r" * 500)]
        assert await adapter.answer(call, long, time.monotonic() + 1)
        assert [value[:20] for _, value in double.answers][-1] == f"{nonce}|+|2"
        assert len(double.answers) == 3
        assert "n" * 500 in double.channels["a-1"][f"stir_answer_{nonce}_1"]


async def test_freeswitch_values_that_could_be_syntax_are_left_empty() -> None:
    """Quotes, commas, semicolons, variables and line ends never go out."""
    desk = Desk()
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
        nonce = double.announce(adapter.listener, Uniqueid="a-1")
        call = await desk.next()
        wrong = [("STIR_SIGNER", "a'b"), ("STIR_ORIG", "1\n\napi x"), ("STIR_DEST", "${x}")]
        assert await adapter.answer(call, wrong, time.monotonic() + 1)
        assert double.answers == [("a-1", f"{nonce}|" + "|" * 10)]


async def test_freeswitch_call_that_ended_in_the_hold_is_told_apart() -> None:
    """The answer's reply says that there is no such channel: nothing was used."""
    desk = Desk()
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
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
    slow = replace(ESL_QUICK, heartbeat=60)
    async with EventSocketDouble() as double:
        async with running_freeswitch(double, desk, timing=slow) as adapter:
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
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
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
    async with (
        EventSocketDouble() as double,
        # on a busy machine a thousand take longer than the patience of a quick one
        running_freeswitch(double, desk, max_waiting=50, timing=Timing()) as adapter,
    ):
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
        running_freeswitch(double, desk, max_waiting=1_000) as adapter,
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
    async with EventSocketDouble() as double, running_freeswitch(double, desk):
        double.fire("pbx_stir::ended", {"Stir-Uniqueid": "a-1", "Stir-Answered": "maybe"})
        double.fire("pbx_stir::ended", {"Stir-Uniqueid": "a-1", "Stir-Answered": "yes"})
        async with asyncio.timeout(5):
            assert await desk.over.get() == ("fs", "a-1", True)


async def test_freeswitch_contested_call_is_marked_and_told() -> None:
    """On its channel while its verdict stands there, and as an event; values are whitelisted."""
    async with EventSocketDouble() as double, running_freeswitch(double, Desk()) as adapter:
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
    async with EventSocketDouble() as double, running_freeswitch(double, desk) as adapter:
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
    async with (
        EventSocketDouble() as double,
        FakeAsterisk() as asterisk,
        running_asterisk(asterisk, desk) as other,
        running_freeswitch(double, desk) as adapter,
    ):
        nonce = double.announce(adapter.listener, Uniqueid="a-1")
        announce(asterisk, other)
        await double.until(lambda: bool(double.answers))
        await asterisk.until(lambda: bool(answers(asterisk)))
        assert double.answers == [("a-1", f"{nonce}|{SAID}")]
        assert {(await desk.next()).pbx, (await desk.next()).pbx} == {"fs", "pbx"}
