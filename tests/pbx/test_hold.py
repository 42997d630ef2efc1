"""The hold on real Asterisks: what a call pays when the listener is there, slow, gone or frozen."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.pbx.listener import Timing
from tests.pbx.scene import Caller, Desk, ListenerProcess, eventually, listening, settings

pytestmark = pytest.mark.pbx


async def heartbeat(caller: Caller, other_than: str = "") -> str:
    """Wait for a heartbeat, or for another one."""
    for _ in range(1000):
        found = await caller.get_global("STIR_HEARTBEAT")
        if found not in {"", other_than}:
            return found
        await asyncio.sleep(0.01)
    raise TimeoutError


async def test_verdict_reaches_the_dialplan_and_the_records(caller: Caller) -> None:
    """An inbound call has all the variables, its CDR columns and its channel event."""
    async with listening(caller.instance, Desk()):
        seen = await caller.call("in", "16465550100", ORIG="12125550101", NAME="Alice")
    assert seen["Verstat"] == "TN-Validation-Passed"
    assert seen["Reason"] == "verified"
    assert seen["Attest"] == "A"
    assert seen["Orig"] == "12125550100"
    assert seen["Dest"] == "16465550100"
    assert seen["Signer"] == "Company A"
    assert seen["Id"] == "log-1"
    assert seen["Status"] == ""
    assert seen["Name"] == "[V] Alice"
    assert seen["CameIn"] == "on-1"
    assert 0 <= int(seen["Ms"]) < 500
    row = await asyncio.to_thread(caller.instance.wait_cdr, lambda r: r["src"] == "12125550101")
    assert row["stir_verstat"] == "TN-Validation-Passed"
    assert row["stir_reason"] == "verified"
    assert row["stir_attest"] == "A"
    assert row["stir_signer"] == "Company A"
    assert row["stir_id"] == "log-1"
    assert row["stir_ms"] == seen["Ms"]
    assert row["userfield"] == f"verstat=TN-Validation-Passed reason=verified ms={seen['Ms']}"
    events = [e for e in caller.instance.cel_rows() if e["userdeftype"] == "STIR_VERIFY"]
    assert "TN-Validation-Passed verified" in events[-1]["eventextra"]


async def test_outbound_call_has_its_status(caller: Caller) -> None:
    """An outbound call has status and reason, on the channel and in the CDR."""
    async with listening(caller.instance, Desk()):
        seen = await caller.call("out", "16465550101", ORIG="12125550102")
    assert (seen["Status"], seen["Reason"], seen["Verstat"]) == ("stored", "stored", "")
    row = await asyncio.to_thread(caller.instance.wait_cdr, lambda r: r["src"] == "12125550102")
    assert row["stir_status"] == "stored"
    assert row["stir_out_reason"] == "stored"
    assert row["stir_out_id"] == "log-2"
    assert row["stir_verstat"] == ""


async def test_without_listener_a_call_waits_for_nothing(caller: Caller) -> None:
    """A listener that never started costs no time, and the reason says so."""
    seen = await caller.call("in", "16465550100")
    assert (seen["Verstat"], seen["Reason"]) == ("No-TN-Validation", "listener-down")
    assert int(seen["Ms"]) < 50
    seen = await caller.call("out", "16465550100", ORIG="12125550103")
    assert (seen["Status"], seen["Reason"]) == ("error", "listener-down")
    row = await asyncio.to_thread(caller.instance.wait_cdr, lambda r: r["src"] == "12125550103")
    assert row["stir_out_reason"] == "listener-down"
    assert int(row["stir_out_ms"]) < 50


async def test_stopped_listener_says_good_bye(caller: Caller) -> None:
    """After a clean stop the very next call does not wait."""
    async with listening(caller.instance, Desk()):
        pass
    assert await caller.get_global("STIR_HEARTBEAT") == ""
    seen = await caller.call("in", "16465550100")
    assert seen["Reason"] == "listener-down"
    assert int(seen["Ms"]) < 50


async def test_stop_answers_what_waits(caller: Caller) -> None:
    """A stop drains: the call held at that moment still gets its verdict."""
    desk = Desk(delay=0.5)
    async with listening(caller.instance, desk):
        tag = await caller.place("in", "16465550100")
        await desk.wait_calls(1)
    seen = await caller.seen(tag)
    assert seen["Reason"] == "verified"


async def test_slow_listener_is_given_up_after_the_budget(caller: Caller) -> None:
    """A listener that never answers costs the budget once; then a newer heartbeat counts."""
    async with listening(caller.instance, Desk(delay=None)):
        seen = await caller.call("in", "16465550100", TRUNK="short")
        assert (seen["Verstat"], seen["Reason"]) == ("No-TN-Validation", "timeout")
        assert 300 <= int(seen["Ms"]) < 600
        again = await caller.call("in", "16465550100", TRUNK="short")
        assert again["Reason"] == "listener-down"
        await heartbeat(caller, await caller.get_global("STIR_TIMED_OUT_HEARTBEAT"))
        seen = await caller.call("out", "16465550100", TRUNK="short", ORIG="12125550104")
        assert (seen["Status"], seen["Reason"]) == ("error", "timeout")
    row = await asyncio.to_thread(caller.instance.wait_cdr, lambda r: r["src"] == "12125550104")
    assert row["stir_out_reason"] == "timeout"
    assert 300 <= int(row["stir_out_ms"]) < 600


@pytest.mark.parametrize(
    ("written", "at_least", "at_most"),
    [("50", 100, 250), ("garbage", 2000, 2300), ("1e9", 2000, 2300), ("-5", 2000, 2300)],
)
async def test_budget_is_bounded(caller: Caller, written: str, at_least: int, at_most: int) -> None:
    """A budget outside its bounds is drawn to them, and garbage means the default."""
    await caller.set_global("STIR_BUDGET_on-1", written)
    async with listening(caller.instance, Desk(delay=None)):
        seen = await caller.call("in", "16465550100")
    assert seen["Reason"] == "timeout"
    assert at_least <= int(seen["Ms"]) < at_most


async def test_killed_listener_delays_only_calls_in_flight(caller: Caller) -> None:
    """Once its AMI session is gone, no call waits for it, and it recovers by itself."""
    process = ListenerProcess(caller.instance)
    try:
        process.start()
        await heartbeat(caller)
        assert (await caller.call("in", "16465550100"))["Reason"] == "verified"
        process.signal(signal.SIGSTOP)
        tag = await caller.place("in", "16465550100", TRUNK="short")
        await asyncio.sleep(0.05)
        process.signal(signal.SIGKILL)
        assert (await caller.seen(tag))["Reason"] == "timeout"
        seen = await caller.call("in", "16465550100", TRUNK="short")
        assert seen["Reason"] == "listener-down"
        assert int(seen["Ms"]) < 50
        process.end()
        process.start()
        await heartbeat(caller, await caller.get_global("STIR_HEARTBEAT"))
        assert (await caller.call("in", "16465550100"))["Reason"] == "verified"
    finally:
        process.end()


async def test_frozen_listener_delays_only_calls_in_flight(caller: Caller) -> None:
    """A frozen listener holds those in flight, then none; thawed it serves again by itself."""
    process = ListenerProcess(caller.instance)
    try:
        process.start()
        await heartbeat(caller)
        process.signal(signal.SIGSTOP)
        tags = [await caller.place("in", "16465550100", TRUNK="short") for _ in range(3)]
        for tag in tags:
            seen = await caller.seen(tag)
            assert seen["Reason"] == "timeout"
            assert int(seen["Ms"]) < 600
        for _ in range(3):
            seen = await caller.call("in", "16465550100", TRUNK="short")
            assert seen["Reason"] == "listener-down"
            assert int(seen["Ms"]) < 50
        process.signal(signal.SIGCONT)
        await heartbeat(caller, await caller.get_global("STIR_TIMED_OUT_HEARTBEAT"))
        assert (await caller.call("in", "16465550100"))["Reason"] == "verified"
    finally:
        process.end()


def stand_still(seconds: float) -> None:
    """Keep this process from reading anything."""
    time.sleep(seconds)


async def test_thawed_listener_knows_whose_hold_is_over(caller: Caller) -> None:
    """A call that was let go while the listener stood still is read of as over, and not taken."""
    desk = Desk()
    # A process frozen reads all at once when it goes on; so does a loop that was kept busy.
    async with listening(caller.instance, desk):
        placing = asyncio.create_task(caller.place("in", "16465550100", TRUNK="short"))
        await asyncio.sleep(0)
        stand_still(0.6)
        await placing
        await desk.wait_calls(1)
        await eventually(lambda: bool(desk.taken))
        assert desk.calls[0].budget_ms == 1
        assert desk.taken == [False]


@pytest.mark.parametrize(
    ("mistake", "hint"),
    [
        (("read = user", "read = call"), "read = user"),
        (("eventfilter = UserEvent: PbxStir", "eventfilter = !UserEvent"), "eventfilter"),
        (("write = call,user", "write = call"), "write = call,user"),
    ],
)
async def test_user_that_does_not_hear_holds_no_call(
    caller: Caller, mistake: tuple[str, str], hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its listener is down for every call, says why, and serves once manager.conf is mended."""
    instance = caller.instance
    conf = instance.directory / "etc/manager.conf"
    whole = conf.read_text()
    assert mistake[0] in whole
    quick = Timing(first_retry=0.05, last_retry=0.3, echo=0.5)
    pbx = AsteriskPbx(settings(instance), Desk(), timing=quick)
    try:
        conf.write_text(whole.replace(*mistake, 1))
        await asyncio.to_thread(instance.cli, "manager reload")
        running = asyncio.create_task(pbx.run())
        await eventually(lambda: hint in caplog.text)
        seen = await caller.call("in", "16465550100")
        assert seen["Reason"] == "listener-down"
        assert int(seen["Ms"]) < 50
        assert not pbx.connected.is_set()
    finally:
        conf.write_text(whole)
        await asyncio.to_thread(instance.cli, "manager reload")
    async with asyncio.timeout(10):
        await pbx.connected.wait()
    assert (await caller.call("in", "16465550100"))["Reason"] == "verified"
    await pbx.stop()
    await running


async def test_stale_heartbeat_is_no_listener(caller: Caller) -> None:
    """A heartbeat of five seconds ago, of the future, or garbage holds no call."""
    async with listening(caller.instance, Desk()) as pbx:
        pbx._beating = False
        now = time.time()
        for value in (f"x:{now - 7:.3f}", f"x:{now + 9:.3f}", "garbage", "::", "x:abc", "x"):
            await asyncio.sleep(0)
            await caller.set_global("STIR_HEARTBEAT", value)
            seen = await caller.call("in", "16465550100", TRUNK="short")
            assert seen["Reason"] == "listener-down", value


async def test_heartbeat_without_session_is_no_listener(caller: Caller) -> None:
    """A fresh heartbeat of a listener whose session is gone holds no call."""
    await caller.set_global("STIR_HEARTBEAT", f"gone:{time.time():.3f}")
    seen = await caller.call("in", "16465550100")
    assert seen["Reason"] == "listener-down"
    assert int(seen["Ms"]) < 50


async def test_two_listeners_answer_each_call_once(caller: Caller) -> None:
    """During an upgrade two listeners are there: every call is served by exactly one of them."""
    old, new = Desk(), Desk()
    async with listening(caller.instance, old), listening(caller.instance, new):
        for _ in range(20):
            assert (await caller.call("in", "16465550100"))["Reason"] == "verified"
            await asyncio.sleep(0.05)
    assert len(old.calls) + len(new.calls) == 20


async def test_late_answer_changes_nothing(caller: Caller) -> None:
    """An answer after the time-out neither changes the verdict nor releases the next hook."""
    desk = Desk(delay=None)
    async with listening(caller.instance, desk) as pbx:
        # the pause lets a newer heartbeat come, or the second hook would not wait
        tag = await caller.place("through", "16465550100", TRUNK="short", PAUSE="1.3")
        await desk.wait_calls(2)
        late = (("STIR_STATUS", "stored"), ("STIR_VERSTAT", "TN-Validation-Passed"))
        assert await pbx.answer(desk.calls[0], late, time.monotonic() + 1)
        seen = await caller.seen(tag)
    assert (seen["Status"], seen["Verstat"], seen["Reason"]) == ("error", "", "timeout")


async def test_hang_up_in_the_hold_is_told(caller: Caller) -> None:
    """The answer to a call that has hung up is not taken, and the receiver learns it."""
    desk = Desk(delay=0.6)
    async with listening(caller.instance, desk):
        await caller.place("in", "16465550100")
        await desk.wait_calls(1)
        channel = ("Channel", desk.calls[0].unique_id)
        await caller.connection.request("Hangup", (channel,))
    assert desk.taken == [False]
    assert desk.over == []


@pytest.mark.parametrize("answer", ["", "yes"])
async def test_end_of_a_verified_call_is_told(caller: Caller, answer: str) -> None:
    """When a call that passed is over, the receiver learns whether it had been answered."""
    desk = Desk()
    async with listening(caller.instance, desk):
        await caller.call("in", "16465550100", ANSWER=answer)
        async with asyncio.timeout(5):
            await desk.stayed.wait()
    assert desk.over == [(desk.calls[0].unique_id, answer == "yes")]


async def test_300_holds_at_once(caller: Caller) -> None:
    """300 calls announced within a second all get their verdict, while each takes a second."""
    desk = Desk(delay=1.0)
    async with listening(caller.instance, desk):
        began = time.monotonic()
        tags = await asyncio.gather(*(caller.place("in", "16465550100") for _ in range(300)))
        seen = [await caller.seen(tag, 20) for tag in tags]
        took = time.monotonic() - began
    assert {s["Reason"] for s in seen} == {"verified"}
    assert len({(call.unique_id, call.nonce) for call in desk.calls}) == 300
    assert took < 10
