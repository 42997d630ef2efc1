"""The dialplan on real Asterisks: switches, exemptions, originator and way in, contested calls."""

from __future__ import annotations

import asyncio
import time

import pytest

from pbx_stir.services.call import Call, Mode
from tests.pbx.scene import EXTENSIONS, Caller, Desk, calling, eventually, listening, started

pytestmark = pytest.mark.pbx


@pytest.mark.parametrize("context", ["in", "out"])
async def test_trunk_that_is_off_announces_nothing(caller: Caller, context: str) -> None:
    """A trunk without a switch, or with any other word in it, is disabled and costs nothing."""
    desk = Desk()
    async with listening(caller.instance, desk):
        await caller.set_global("STIR_IN_odd", "ON")
        for trunk in ("never-heard-of", "odd"):
            seen = await caller.call(context, "16465550100", TRUNK=trunk, ORIG="12125550110")
            assert seen["Reason"] == "disabled"
            assert seen["Verstat"] == ("No-TN-Validation" if context == "in" else "")
            assert seen["Status"] == ("skipped" if context == "out" else "")
            assert seen["Ms"] == "0"
            assert seen["CameIn"] == (trunk if context == "in" else "")
    assert desk.calls == []


@pytest.mark.parametrize("context", ["in", "out"])
async def test_trunk_that_is_watched_changes_nothing(caller: Caller, context: str) -> None:
    """In monitor the call is announced, does not wait, and no variable is set but the way in."""
    desk = Desk(delay=None)
    async with listening(caller.instance, desk):
        seen = await caller.call(context, "16465550100", TRUNK="watch", ORIG="12125550111")
        await desk.wait_calls(1)
    assert desk.calls[0].mode is Mode.MONITOR
    assert desk.calls[0].trunk == "watch"
    shown = {name: seen[name] for name in ("Status", "Verstat", "Reason", "Ms", "Id", "Answer")}
    assert set(shown.values()) == {""}
    row = await asyncio.to_thread(caller.instance.wait_cdr, lambda r: r["src"] == "12125550111")
    assert row["userfield"] == row["stir_reason"] == row["stir_out_reason"] == ""


async def test_watched_trunk_without_listener_changes_nothing(caller: Caller) -> None:
    """In monitor a missing listener leaves no trace on the call."""
    seen = await caller.call("in", "16465550100", TRUNK="watch")
    assert (seen["Verstat"], seen["Reason"]) == ("", "")


@pytest.mark.parametrize("number", ["911", "9911", "0112", "00911", "8112", "933"])
async def test_emergency_call_is_not_held(caller: Caller, number: str) -> None:
    """An emergency call is announced to nobody, and calls back are not held for 30 minutes."""
    desk = Desk(delay=None)
    async with listening(caller.instance, desk):
        seen = await caller.call("out", number)
        assert (seen["Status"], seen["Reason"]) == ("skipped", "emergency")
        assert int(seen["Ms"]) < 50
        until = int(await caller.get_global("STIR_EMERGENCY_UNTIL"))
        assert 1790 < until - time.time() <= 1800
        seen = await caller.call("in", "16465550100")
        assert (seen["Verstat"], seen["Reason"]) == ("No-TN-Validation", "emergency")
        assert int(seen["Ms"]) < 50
        seen = await caller.call("in", "16465550100", TRUNK="watch")
        assert seen["Reason"] == ""
    assert desk.calls == []


async def test_emergency_call_through_a_trunk_that_is_off_counts(caller: Caller) -> None:
    """The call back is let through, whichever trunk the emergency call took."""
    seen = await caller.call("out", "911", TRUNK="off")
    assert seen["Reason"] == "emergency"
    assert (await caller.call("in", "16465550100"))["Reason"] == "emergency"


async def test_emergency_number_as_dialled_is_not_held(caller: Caller) -> None:
    """9911 dialled and sent to a ten-digit number of an emergency centre is an emergency call."""
    desk = Desk(delay=None)
    async with listening(caller.instance, desk):
        seen = await caller.call("outside-line", "9911", SENT="12125559999")
    assert seen["Reason"] == "emergency"
    assert desk.calls == []


async def test_emergency_period_ends(caller: Caller) -> None:
    """After the 30 minutes inbound calls are held again."""
    async with listening(caller.instance, Desk()):
        await caller.set_global("STIR_EMERGENCY_UNTIL", str(int(time.time()) - 1))
        assert (await caller.call("in", "16465550100"))["Reason"] == "verified"


async def test_emergency_numbers_are_configurable(caller: Caller) -> None:
    """STIR_EMERGENCY replaces the list."""
    async with listening(caller.instance, Desk()):
        await caller.set_global("STIR_EMERGENCY", "110|11[28]")
        assert (await caller.call("out", "118"))["Reason"] == "emergency"
        # 911 is not one any more: it is only short
        assert (await caller.call("out", "911"))["Reason"] == "excluded"
        assert (await caller.call("out", "1118"))["Reason"] == "stored"


async def test_short_numbers_are_not_held(caller: Caller) -> None:
    """Somewhere each number of up to three digits calls for help, and none can be signed for."""
    desk = Desk(delay=None)
    async with listening(caller.instance, desk):
        for number in ("110", "15"):
            seen = await caller.call("out", number)
            assert (seen["Status"], seen["Reason"]) == ("skipped", "excluded"), number
            assert int(seen["Ms"]) < 50
    assert desk.calls == []


async def test_excluded_numbers_are_not_held(caller: Caller) -> None:
    """Numbers of STIR_EXCLUDED, and of the trunk's own list, are announced to nobody."""
    desk = Desk()
    async with listening(caller.instance, desk):
        await caller.set_global("STIR_EXCLUDED", "1?8(00|88)[0-9]{7}|611")
        await caller.set_global("STIR_EXCLUDED_on-1", "1900.*")
        for number in ("18005550100", "8885550100", "611", "19005550100"):
            seen = await caller.call("out", number)
            assert (seen["Status"], seen["Reason"]) == ("skipped", "excluded"), number
        seen = await caller.call("in", "18005550100")
        assert (seen["Verstat"], seen["Reason"]) == ("No-TN-Validation", "excluded")
        assert desk.calls == []
        assert (await caller.call("out", "118005550100"))["Reason"] == "stored"
        assert (await caller.call("out", "19005550100", TRUNK="short"))["Reason"] == "stored"


async def test_announcement_says_all_of_the_call(caller: Caller) -> None:
    """Trunk, numbers, presentation, budget and ids reach the receiver as they are."""
    desk = Desk()
    async with listening(caller.instance, desk):
        await caller.set_global("STIR_BUDGET_on-1", "777")
        await caller.call("out", "+16465550100", ORIG="12125550112", PRES="prohib_passed_screen")
    call = desk.calls[0]
    assert (call.trunk, call.orig, call.dest) == ("on-1", "12125550112", "+16465550100")
    assert call.restricted
    assert 677 < call.budget_ms <= 777
    assert call.pbx == caller.instance.name
    assert call.came_in == ""
    assert call.unique_id.startswith(caller.instance.name)
    assert call.linked_id.startswith(caller.instance.name)


def outbound(desk: Desk) -> list[Call]:
    """The calls that have been announced on their way out."""
    return [call for call in desk.calls if call.direction.value == "out"]


async def test_call_that_came_in_carries_its_trunk_out(caller: Caller) -> None:
    """A forwarded call is announced with the trunk it came in on, through Local channels too."""
    desk = Desk()
    async with listening(caller.instance, desk):
        for context in ("forward", "through"):
            for trunk in ("never-heard-of", "on-1", "watch"):
                desk.calls.clear()
                # through: the outbound hook is that of the same trunk
                on = trunk == "on-1" or context == "forward"
                seen = await caller.call(context, "16465550100", TRUNK=trunk)
                expected = [trunk] if on or trunk == "watch" else []
                # a watched call is not held: it may be over before its announcement is read
                await eventually(lambda wanted=expected: len(outbound(desk)) >= len(wanted))
                assert [call.came_in for call in outbound(desk)] == expected
                assert seen["CameIn"] == trunk


async def test_outbound_hook_clears_what_the_inbound_one_said(caller: Caller) -> None:
    """A verdict on the caller is not left for the leg that goes out; the record keeps both."""
    async with listening(caller.instance, Desk()):
        seen = await caller.call("through", "16465550100", ORIG="12125550113")
    assert (seen["Status"], seen["Reason"]) == ("stored", "stored")
    assert seen["Verstat"] == seen["Attest"] == seen["Signer"] == ""
    row = await asyncio.to_thread(caller.instance.wait_cdr, lambda r: r["src"] == "12125550113")
    assert (row["stir_verstat"], row["stir_reason"]) == ("TN-Validation-Passed", "verified")
    assert (row["stir_status"], row["stir_out_reason"]) == ("stored", "stored")
    assert row["userfield"] == (
        f"verstat=TN-Validation-Passed reason=verified ms={row['stir_ms']} "
        f"status=stored reason=stored ms={row['stir_out_ms']}"
    )


async def test_legs_of_an_inbound_call_inherit_the_verdict(caller: Caller) -> None:
    """The channel that rings the phone has the verdict and the way in."""
    async with listening(caller.instance, Desk()):
        seen = await caller.call("ring", "16465550100")
    assert (seen["Verstat"], seen["Reason"]) == ("TN-Validation-Passed", "verified")
    assert (seen["Signer"], seen["CameIn"]) == ("Company A", "on-1")


async def test_originator_may_be_named_and_inherited(caller: Caller) -> None:
    """STIR_ORIGINATOR of an endpoint's set_var tells who placed a call through a Local channel."""
    desk = Desk()
    async with listening(caller.instance, desk):
        await caller.call("out", "16465550100", STIR_ORIGINATOR="alice")
        await caller.call("out", "16465550100")
    assert desk.calls[0].originator == ("alice",)
    assert desk.calls[1].originator == ()


@pytest.mark.parametrize("number", ["+16465550100", "16465550100", "442079460100"])
async def test_samples_take_every_did(caller: Caller, number: str) -> None:
    """The contexts of dialplan/README.md load, and a DID may begin with a plus sign."""
    for context in ("from-carrier-1", "screening"):
        shown = await asyncio.to_thread(caller.instance.cli, f"dialplan show {number}@{context}")
        assert "1. " in shown, shown


async def test_contested_call_says_so(caller: Caller) -> None:
    """A call in progress becomes contested: on its channel, in its CDR, and as an event."""
    desk = Desk()
    async with listening(caller.instance, desk) as pbx:
        tag = await caller.place("in", "16465550100", ORIG="12125550114", HANG="1", ANSWER="yes")
        assert (await caller.seen(tag))["Reason"] == "verified"
        unique_id = desk.calls[0].unique_id
        await pbx.contest(unique_id, [("STIR_REASON", "contested")])
        asked = (("Channel", unique_id), ("Variable", "STIR_REASON"))
        answer = await caller.connection.request("Getvar", asked)
        assert answer.value == "contested"
        await asyncio.wait_for(desk.stayed.wait(), 5)
    row = await asyncio.to_thread(caller.instance.wait_cdr, lambda r: r["src"] == "12125550114")
    assert row["stir_reason"] == "contested"
    assert row["stir_verstat"] == "TN-Validation-Passed"
    assert row["userfield"] == f"verstat=TN-Validation-Passed reason=contested ms={row['stir_ms']}"
    assert [e["CallUniqueid"] for e in caller.contested] == [unique_id]


async def test_contesting_a_call_that_is_over_is_harmless(caller: Caller) -> None:
    """A call that has gone is left alone."""
    async with listening(caller.instance, Desk()) as pbx:
        await pbx.contest("nobody-1.1", [("STIR_REASON", "contested")])
    assert caller.contested == []


async def test_long_answer_comes_in_parts(caller: Caller) -> None:
    """An answer that no line of AMI holds arrives whole."""
    signer, call_id = "S" * 500, "i" * 500

    class Wordy(Desk):
        async def receive(self, call, pbx):  # type: ignore[no-untyped-def]
            given = [("STIR_VERSTAT", "TN-Validation-Passed"), ("STIR_REASON", "verified")]
            given += [("STIR_SIGNER", signer), ("STIR_ID", call_id)]
            await pbx.answer(call, given, time.monotonic() + 1)

    async with listening(caller.instance, Wordy()):
        seen = await caller.call("in", "16465550100")
    assert seen["Verstat"] == "TN-Validation-Passed"
    assert (seen["Signer"], seen["Id"]) == (signer, call_id)


async def test_old_asterisk_holds_nothing() -> None:
    """Without WaitForCondition no call is held or harmed; monitor works all the same."""
    for instance in started("forky", EXTENSIONS, without_modules=["app_waitforcond"]):
        desk = Desk()
        async with calling(instance) as caller, listening(instance, desk):
            seen = await caller.call("in", "16465550100")
            assert (seen["Verstat"], seen["Reason"]) == ("No-TN-Validation", "internal-error")
            seen = await caller.call("out", "16465550100")
            assert (seen["Status"], seen["Reason"]) == ("error", "internal-error")
            await caller.call("in", "16465550100", TRUNK="watch")
            await desk.wait_calls(1)
        assert desk.calls[0].mode is Mode.MONITOR


async def test_frozen_asterisk_is_noticed(caller: Caller) -> None:
    """A PBX that no longer answers is given up after seconds, and served again when it is back."""
    instance = caller.instance
    async with listening(instance, Desk()) as pbx:
        instance.freeze()
        try:
            await eventually(lambda: not pbx.connected.is_set())
        finally:
            instance.thaw()
        async with asyncio.timeout(30):
            await pbx.connected.wait()
        assert (await caller.call("in", "16465550100"))["Reason"] == "verified"


async def test_nothing_is_logged_as_an_error(caller: Caller) -> None:
    """The dialplan's own steps leave neither warnings nor errors in Asterisk's log."""
    async with listening(caller.instance, Desk()):
        before = caller.instance.log
        for context in ("in", "out", "through", "forward", "ring"):
            await caller.call(context, "16465550100")
        for trunk in ("watch", "off"):
            await caller.call("in", "16465550100", TRUNK=trunk)
            await caller.call("out", "16465550100", TRUNK=trunk)
    after = caller.instance.log[len(before) :]
    bad = [line for line in after.splitlines() if " WARNING[" in line or " ERROR[" in line]
    assert bad == []
