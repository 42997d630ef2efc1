"""The adapter, against an AMI double."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

import pytest

from pbx_stir.errors import PbxUnavailable
from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.pbx.listener import Timing
from pbx_stir.services.call import Call
from tests.pbx_room.desk import (
    AMI_QUICK,
    PASSED,
    Desk,
    announce,
    answers,
    connected,
    running_asterisk,
    started,
    stop_before_connecting,
    trying,
)
from tests.pbx_room.fake_asterisk import NOW, FakeAsterisk
from tests.pbx_room.test_hook import NONCE


async def test_heartbeat_names_the_listener_in_the_clock_of_the_pbx() -> None:
    """The global is the listener's id and the time that the PBX's ping said."""
    async with FakeAsterisk() as pbx, running_asterisk(pbx, Desk()) as adapter:
        assert pbx.variables["STIR_HEARTBEAT"] == f"{adapter.listener}:{NOW}"
        assert len(adapter.listener) == 16
        first = len(pbx.writes)
        await pbx.until(lambda: len(pbx.writes) > first + 2)


async def test_heartbeat_has_an_age_while_connected() -> None:
    """Seconds since the PBX took the last one; none before the first and after the connection."""
    async with FakeAsterisk() as pbx:
        began = time.monotonic()
        async with running_asterisk(pbx, Desk(), timing=Timing(heartbeat=60)) as adapter:
            age = adapter.heartbeat_age()
            assert age is not None
            assert 0 <= age <= time.monotonic() - began
        assert adapter.heartbeat_age() is None


@pytest.mark.parametrize("bytewise", [False, True])
async def test_call_is_received_and_answered(bytewise: bool) -> None:
    """An announcement becomes a call, its answer one write to its unique id, led by its nonce."""
    desk = Desk(at_once=True)
    async with FakeAsterisk(bytewise=bytewise) as pbx, running_asterisk(pbx, desk) as adapter:
        announce(pbx, adapter)
        call = await desk.next()
        assert (call.nonce, call.unique_id, call.orig) == (NONCE, "pbx-1.1", "+12125550100")
        await pbx.until(lambda: bool(answers(pbx)))
        assert answers(pbx) == [("pbx-1.1", f"{NONCE}||TN-Validation-Passed|verified||||||||")]


async def test_call_of_another_listener_is_left_alone() -> None:
    """Of two listeners only the one that the dialplan named takes the call."""
    desk = Desk()
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk) as adapter:
        announce(pbx, adapter, Listener="f" * 16)
        announce(pbx, adapter, From="2")
        assert (await desk.next()).orig == "2"
        assert desk.calls.empty()


async def test_answer_to_a_call_that_is_gone_is_false() -> None:
    """The PBX's word decides whether an answer was taken."""
    desk = Desk()
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk) as adapter:
        announce(pbx, adapter)
        announce(pbx, adapter, Uniqueid="pbx-1.2")
        here, gone = await desk.next(), await desk.next()
        assert await adapter.answer(here, PASSED, time.monotonic() + 1)
        assert not await adapter.answer(gone, PASSED, time.monotonic() + 1)


async def test_answer_without_the_word_of_the_pbx_is_unavailable() -> None:
    """A PBX that does not say in time, or is not there, is PbxUnavailable."""
    desk = Desk()
    slow = Timing(heartbeat=60)
    async with FakeAsterisk() as pbx:
        async with running_asterisk(pbx, desk, timing=slow) as adapter:
            announce(pbx, adapter)
            call = await desk.next()
            pbx.silent.add("Setvar")
            with pytest.raises(PbxUnavailable):
                await adapter.answer(call, PASSED, time.monotonic())
            pbx.silent.clear()
        with pytest.raises(PbxUnavailable, match="not connected"):
            await adapter.answer(call, PASSED, time.monotonic())


async def test_malformed_announcement_is_released_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A call whose announcement cannot be read does not wait, and no number is logged."""
    desk = Desk()
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk) as adapter:
        announce(pbx, adapter, Trunk="", From="12125550199")
        await pbx.until(lambda: bool(answers(pbx)))
        told = f"{NONCE}|error|No-TN-Validation|internal-error||||||||"
        assert answers(pbx) == [("pbx-1.1", told)]
        announce(pbx, adapter, Nonce="?")
        announce(pbx, adapter)
        await desk.next()
    assert "Trunk is malformed" in caplog.text
    assert "12125550199" not in caplog.text


async def test_more_calls_than_can_wait_are_refused_at_once() -> None:
    """Beyond the bound an inbound call is overloaded, an outbound one an internal error."""
    desk = Desk()
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk, max_waiting=2) as adapter:
        announce(pbx, adapter)
        announce(pbx, adapter)
        announce(pbx, adapter, Nonce="b" * 16)
        announce(pbx, adapter, Nonce="c" * 16, Dir="out")
        announce(pbx, adapter, Nonce="d" * 16, Mode="monitor")
        await pbx.until(lambda: len(answers(pbx)) == 2)
        assert answers(pbx) == [
            ("pbx-1.1", f"{'b' * 16}|error|No-TN-Validation|overloaded||||||||"),
            ("pbx-1.1", f"{'c' * 16}|error|No-TN-Validation|internal-error||||||||"),
        ]
        desk.release.set()
        await pbx.until(lambda: len(answers(pbx)) == 4)
    assert desk.calls.qsize() == 2


async def test_receiver_that_fails_harms_no_other_call(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the receiver is logged; the connection and the other calls go on."""

    class Faulty(Desk):
        async def receive(self, call: Call, pbx: AsteriskPbx) -> None:
            if call.orig == "1":
                raise RuntimeError("a bug")
            await super().receive(call, pbx)

    desk = Faulty()
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk) as adapter:
        announce(pbx, adapter, From="1")
        announce(pbx, adapter, From="2")
        assert (await desk.next()).orig == "2"
    assert "a bug" in caplog.text


async def test_end_of_a_call_is_passed_on() -> None:
    """The dialplan's hang-up hook reaches the receiver; one that is malformed is dropped."""
    desk = Desk()
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk):
        pbx.event("PbxStirEnded", Uniqueid="pbx-1.1", Answered="maybe")
        pbx.event("PbxStirEnded", Uniqueid="pbx-1.1", Answered="yes")
        async with asyncio.timeout(5):
            assert await desk.over.get() == ("pbx", "pbx-1.1", True)


async def test_lost_connection_is_made_again() -> None:
    """After a loss the adapter logs in anew and serves; nothing is sent twice."""
    desk = Desk(at_once=True)
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk) as adapter:
        pbx.drop()
        await pbx.until(lambda: len(pbx.connections) == 2 and len(pbx.connections[1]) > 2)
        assert pbx.connections[1][0]["Action"] == "Login"
        announce(pbx, adapter)
        await pbx.until(lambda: len(answers(pbx)) == 1)


async def test_frozen_pbx_is_noticed() -> None:
    """A PBX that takes pings and does not answer is left and tried again."""
    async with FakeAsterisk() as pbx, running_asterisk(pbx, Desk()):
        pbx.silent.add("Ping")
        await pbx.until(lambda: len(pbx.connections) >= 2)
        pbx.silent.clear()
        await pbx.until(lambda: len(pbx.connections[-1]) > 3)


async def test_refused_heartbeat_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A user who may not set variables is of no use, and the log says which right is missing."""

    class Strict(FakeAsterisk):
        def _answer(self, writer: asyncio.StreamWriter, action: dict[str, str]) -> None:
            if action["Action"] == "Setvar":
                said = "Response: Error\r\nMessage: Permission denied\r\nActionID: "
                self._write(writer, f"{said}{action['ActionID']}\r\n\r\n".encode())
            else:
                super()._answer(writer, action)

    async with Strict() as pbx, trying(AsteriskPbx(pbx.settings(), Desk(), timing=AMI_QUICK)):
        await pbx.until(lambda: len(pbx.connections) >= 2)
    assert "write = call,user" in caplog.text


@pytest.mark.parametrize(("denied", "hint"), [(False, "read = user"), (True, "write = call,user")])
async def test_listener_that_does_not_hear_writes_no_heartbeat(
    denied: bool, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No call waits for it; the log says which right is missing; a mended one is taken up."""
    async with FakeAsterisk() as pbx:
        pbx.deaf, pbx.denied = True, {"UserEvent"} if denied else set()
        async with trying(AsteriskPbx(pbx.settings(), Desk(), timing=AMI_QUICK)) as adapter:
            await pbx.until(lambda: len(pbx.connections) >= 3)
            assert pbx.writes == []
            assert not adapter.connected.is_set()
            said = [r for r in caplog.records if hint in r.getMessage()]
            assert {r.levelno for r in said} == {logging.ERROR}
            pbx.deaf, pbx.denied = False, set()
            await connected(adapter)


async def test_listener_that_hears_no_more_takes_its_heartbeat_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The proof is made again and again, and a filter that comes later is noticed."""
    again = replace(AMI_QUICK, proof=0.02)
    async with FakeAsterisk() as pbx, running_asterisk(pbx, Desk(), timing=again):
        pbx.deaf = True
        await pbx.until(lambda: pbx.variables["STIR_HEARTBEAT"] == "")
        await pbx.until(lambda: len(pbx.connections) >= 2)
        assert "does not hear" in caplog.text
        pbx.deaf = False
        await pbx.until(lambda: pbx.variables["STIR_HEARTBEAT"] != "")


async def test_echo_is_no_call() -> None:
    """What another listener's proof raises, or a stranger, is left alone."""
    desk = Desk()
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk) as adapter:
        announce(pbx, adapter, Echo="f" * 32)
        announce(pbx, adapter, From="2")
        assert (await desk.next()).orig == "2"
        assert desk.calls.empty()


@pytest.mark.parametrize(
    ("waited_ms", "least", "most"),
    [(0, 1900, 2000), (500, 1000, 1500), (-9_000, 2000, 2000), (4e6, 2000, 2000)],
)
async def test_budget_counts_from_the_announcement(waited_ms: float, least: int, most: int) -> None:
    """What a call has waited before it was read of is taken off; an impossible time is not."""
    desk = Desk()
    now_ms = int(float(NOW) * 1000)
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk) as adapter:
        announce(pbx, adapter, Nonce=f"{int(now_ms - waited_ms) * 1000:016}")
        assert least <= (await desk.next()).budget_ms <= most


async def test_call_whose_hold_is_over_is_not_released() -> None:
    """The dialplan has let it go and has said so: a verdict now would contradict it."""
    desk = Desk(at_once=True)
    async with FakeAsterisk() as pbx, running_asterisk(pbx, desk) as adapter:
        announce(pbx, adapter, Nonce=f"{int((float(NOW) - 70) * 1e6):016}")
        over = await desk.next()
        assert over.budget_ms == 1
        assert not await adapter.answer(over, PASSED, time.monotonic() + 1)
        assert answers(pbx) == []


async def test_refused_login_is_said_but_not_over_and_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The 1st, 2nd, 4th, 8th … refusal is logged with its reason, never with the secret."""
    async with FakeAsterisk() as pbx:
        settings = pbx.settings("wrong secret")
        async with trying(AsteriskPbx(settings, Desk(), timing=AMI_QUICK)):
            await pbx.until(lambda: len(pbx.connections) >= 6)
    said = [r for r in caplog.records if "Authentication failed" in r.getMessage()]
    assert len(said) == 3
    assert {r.levelno for r in said} == {logging.ERROR}
    assert "wrong secret" not in caplog.text


async def test_stop_silences_the_heartbeat_first_and_drains() -> None:
    """The dialplan learns at once that nobody listens; then calls that wait are answered."""
    desk = Desk()
    async with FakeAsterisk() as pbx:
        adapter = AsteriskPbx(pbx.settings(), desk, timing=AMI_QUICK)
        task = await started(adapter)
        announce(pbx, adapter)
        await desk.next()
        stopping = asyncio.create_task(adapter.stop(drain_seconds=5))
        await pbx.until(lambda: pbx.variables["STIR_HEARTBEAT"] == "")
        assert answers(pbx) == []
        desk.release.set()
        await stopping
        await task
        assert len(answers(pbx)) == 1
        assert pbx.connections[0][-1]["Action"] == "Logoff"
        assert pbx.variables["STIR_HEARTBEAT"] == ""


async def test_stop_leaves_the_heartbeat_of_another_listener() -> None:
    """During an upgrade the old listener does not silence the new one."""
    async with FakeAsterisk() as pbx:
        async with running_asterisk(pbx, Desk(), timing=Timing(heartbeat=60)):
            pbx.variables["STIR_HEARTBEAT"] = f"{'e' * 16}:{NOW}"
        assert pbx.variables["STIR_HEARTBEAT"] == f"{'e' * 16}:{NOW}"


async def test_stop_waits_for_the_first_heartbeat_of_another_listener() -> None:
    """One that has only logged in: a heartbeat taken away then could be its first one."""
    async with FakeAsterisk() as pbx:
        adapter = AsteriskPbx(pbx.settings(), Desk(), timing=Timing(heartbeat=60))
        task = await started(adapter)
        pbx.variables["AMI_CLIENT(pbx-stir,sessions)"] = "2"
        stopping = asyncio.create_task(adapter.stop())
        await pbx.until(lambda: pbx.connections[0][-1].get("Variable") == "STIR_HEARTBEAT")
        assert not stopping.done()
        pbx.variables["STIR_HEARTBEAT"] = f"{'e' * 16}:{NOW}"
        async with asyncio.timeout(10):
            await stopping
            await task
        assert pbx.variables["STIR_HEARTBEAT"] == f"{'e' * 16}:{NOW}"
        assert ("", "STIR_HEARTBEAT", "") not in pbx.writes


async def test_stop_before_the_first_connection_ends() -> None:
    """A PBX that was never there does not keep the daemon from stopping."""
    async with FakeAsterisk() as pbx:
        settings = pbx.settings()
    await stop_before_connecting(AsteriskPbx(settings, Desk(), timing=Timing(first_retry=60)))


async def test_contested_call_is_marked_everywhere() -> None:
    """On the channel, in its CDR columns and as an event; values are whitelisted."""
    async with (
        FakeAsterisk() as pbx,
        running_asterisk(pbx, Desk(), timing=Timing(heartbeat=60)) as adapter,
    ):
        pbx.variables |= {"STIR_VERSTAT": "TN-Validation-Passed", "STIR_MS": "7"}
        await adapter.contest("pbx-1.1", [("STIR_REASON", "contested"), ("STIR_ID", "a\r\nb")])
        written = [(name, value) for channel, name, value in pbx.writes if channel == "pbx-1.1"]
        assert written == [
            ("CDR(stir_reason)", "contested"),
            ("CDR(stir_id)", ""),
            ("__STIR_REASON", "contested"),
            ("__STIR_ID", ""),
            ("CDR(userfield)", "verstat=TN-Validation-Passed reason=contested ms=7"),
        ]
        event = pbx.connections[0][-1]
        assert event["UserEvent"] == "PbxStirContested"
        assert (event["CallUniqueid"], event["Reason"]) == ("pbx-1.1", "contested")


async def test_contested_call_that_went_out_again_keeps_its_variables() -> None:
    """Where an outbound hook has cleared the verdict, only the record becomes contested."""
    async with (
        FakeAsterisk() as pbx,
        running_asterisk(pbx, Desk(), timing=Timing(heartbeat=60)) as adapter,
    ):
        await adapter.contest("pbx-1.1", [("STIR_REASON", "contested")])
        written = [(name, value) for channel, name, value in pbx.writes if channel == "pbx-1.1"]
        assert written == [("CDR(stir_reason)", "contested")]


async def test_contesting_never_raises() -> None:
    """A call that is over, and a PBX that is away, are no errors."""
    async with FakeAsterisk() as pbx:
        async with running_asterisk(pbx, Desk()) as adapter:
            await adapter.contest("gone-1.1", [("STIR_REASON", "contested")])
            assert all(
                action.get("UserEvent") != "PbxStirContested" for action in pbx.connections[0]
            )
        await adapter.contest("pbx-1.1", [("STIR_REASON", "contested")])


async def test_several_pbxs_share_a_receiver() -> None:
    """Each call is answered at the PBX it waits at, and each PBX has a listener id of its own."""
    desk = Desk(at_once=True)
    async with (
        FakeAsterisk() as one,
        FakeAsterisk() as two,
        running_asterisk(one, desk) as first,
        running_asterisk(two, desk) as second,
    ):
        assert first.listener != second.listener
        announce(one, first, Nonce="1" * 16)
        announce(two, second, Nonce="2" * 16)
        await one.until(lambda: bool(answers(one)))
        await two.until(lambda: bool(answers(two)))
        assert answers(one)[0][1].startswith("1" * 16)
        assert answers(two)[0][1].startswith("2" * 16)
