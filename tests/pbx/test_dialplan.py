"""The dialplan on real Asterisks: switches, exemptions, originator and way in, hostile callers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from urllib.parse import quote

import pytest

from lab import asterisk
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


HOSTILE = [
    "a,Nonce: 0000000000000000",
    "x\r\nNonce: 0000000000000000\r\n\r\nAction: Originate",
    "),UserEvent(PbxStir",
    "${GLOBAL(STIR_OUT_on-1)}$[1+1]",
    '"quoted" (bracket',
    "[unclosed",
    "\\",
    "Ünïcode",
    "9" * 400,
    "%00%0a%25",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_caller_injects_nothing(caller: Caller, text: str) -> None:
    """Whatever a caller calls himself or dials, the announcement has its one set of fields."""
    desk = Desk()
    async with listening(caller.instance, desk):
        encoded = quote(text, safe="")
        seen = await caller.call("in", "16465550100", ORIG=encoded, NAME=encoded)
    assert seen["Reason"] == "verified"
    call = desk.calls[0]
    assert len(desk.calls) == 1
    assert (call.dest, call.trunk) == ("16465550100", "on-1")
    assert 1900 < call.budget_ms <= 2000
    assert call.nonce != "0" * 16
    assert not any(c in call.orig for c in "\r\n")


@pytest.mark.parametrize("name", ["[V] Bank", "[v]Bank", "[[V]] Bank", "[V", "Ban]k"])
async def test_mark_cannot_be_sent_along(caller: Caller, name: str) -> None:
    """A caller who is not verified has no square brackets in his name."""
    seen = await caller.call("in", "16465550100", NAME=quote(name))
    assert seen["Reason"] == "listener-down"
    assert "[" not in seen["Name"]
    assert "]" not in seen["Name"]
    assert seen["Name"].replace("-", "") == name.replace("[", "").replace("]", "")


@pytest.mark.parametrize(
    ("mark", "name", "shown"),
    [
        ("OK:", "OK: Bank", " Bank"),
        ("OK:", "OKOK:: Bank", " Bank"),
        ("(V)", "(V) Bank", " Bank"),
        ("(V)", "(V(V)) B(V)ank", " Bank"),
        ("OK:", "Bank", "Bank"),
        ("-V-", "[V-V-", "V-"),
        ("✔", "✔✔Bank", "Bank"),
        ("[OK]", "[OK] Bank", "-OK- Bank"),
        (
            "",
            "\N{FULLWIDTH LEFT SQUARE BRACKET}V\N{FULLWIDTH RIGHT SQUARE BRACKET} Bank",
            "-V- Bank",
        ),
    ],
)
async def test_own_mark_cannot_be_sent_along(
    caller: Caller, mark: str, name: str, shown: str
) -> None:
    """A mark of one's own is taken out of every name, however it is put together."""
    await caller.set_global("MARK", mark.encode().decode("latin-1"))
    try:
        assert (await caller.call("in", "16465550100", NAME=quote(name)))[
            "Name"
        ].strip() == shown.strip()
        async with listening(caller.instance, Desk()):
            seen = await caller.call("in", "16465550100", NAME=quote(name))
        assert seen["Name"].split() == [mark or "[V]", *shown.split()]
    finally:
        await caller.set_global("MARK", "")


async def test_identity_headers_are_announced(caller: Caller) -> None:
    """All Identity headers of a SIP call reach the receiver, in order, octet for octet."""
    values = [
        f'eyJhbGciOi.{"A" * 600}.{n};info=<https://cert.example.org/a.pem>;alg=ES256;ppt="shaken"'
        for n in range(3)
    ]
    desk = Desk()
    async with listening(caller.instance, desk):
        given = {f"ID{n}": quote(value, safe="") for n, value in enumerate(values, start=1)}
        # A variable of Originate is cut at commas, and its line at 1,024 octets.
        for name, value in given.items():
            await caller.set_global(name, value)
        try:
            await caller.place("sip", "16465550120", ORIG="12125550120")
            seen = await caller.seen("16465550120")
        finally:
            for name in given:
                await caller.set_global(name, "")
    assert seen["Reason"] == "verified"
    assert desk.calls[0].identity == tuple(values)
    assert desk.calls[0].orig == "12125550120"
    assert desk.calls[0].originator == ("itself",)


async def test_call_without_identity_header_is_quiet(caller: Caller) -> None:
    """A SIP call without Identity header is announced without one, and logs no error."""
    desk = Desk()
    before = caller.instance.log.count("ERROR")
    async with listening(caller.instance, desk):
        await caller.place("sip", "16465550121")
        await caller.seen("16465550121")
    assert desk.calls[0].identity == ()
    assert caller.instance.log.count("ERROR") == before


async def test_hostile_identity_headers_inject_nothing(caller: Caller) -> None:
    """Commas, brackets and quotes in an Identity header stay inside its field."""
    desk = Desk()
    async with listening(caller.instance, desk):
        await caller.set_global("ID1", quote('a.b.c;info=<x,Nonce: 1>,"(["', safe=""))
        try:
            await caller.place("sip", "16465550122")
            await caller.seen("16465550122")
        finally:
            await caller.set_global("ID1", "")
    assert len(desk.calls) == 1
    assert desk.calls[0].identity == ('a.b.c;info=<x,Nonce: 1>,"["',)


def invite(instance: asterisk.Instance, number: str, identity: Sequence[str]) -> None:
    """Send one INVITE with these Identity headers, octet for octet; nobody waits for its end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((instance.host, 0))
        here = f"{instance.host}:{sender.getsockname()[1]}"
        there = f"{instance.host}:{instance.sip_port}"
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {instance.host}\r\ns=-\r\nc=IN IP4 {instance.host}\r\nt=0 0\r\n"
            "m=audio 40000 RTP/AVP 0\r\n"
        )
        head = [
            f"INVITE sip:{number}@{there} SIP/2.0",
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{number}",
            f"From: <sip:12125550100@{here}>;tag={number}",
            f"To: <sip:{number}@{there}>",
            f"Call-ID: {number}@{here}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:{here}>",
            "Max-Forwards: 70",
            *(f"Identity: {value}" for value in identity),
            "Content-Type: application/sdp",
            f"Content-Length: {len(sdp)}",
        ]
        octets = ("\r\n".join(head) + f"\r\n\r\n{sdp}").encode()
        sender.sendto(octets, (instance.host, instance.sip_port))


@pytest.mark.parametrize(
    ("number", "identity", "kept"),
    [
        ("16465550131", ["é" * 900, "short"], ["short"]),
        ("16465550132", ["%" * 3000, "short"], ["short"]),
        ("16465550133", ['"' * 2900] * 4, []),
        ("16465550134", ["a" * 3001, "b" * 4000, "short"], ["short"]),
        ("16465550135", ["a" * 3000, "b" * 2990, "c" * 20, "d"], ["a" * 3000, "b" * 2990, "d"]),
        ("16465550136", ["é" * 580, "(" * 20 + ")", "x"], ["é" * 580, "", "x"]),
    ],
)
async def test_long_identity_headers_are_left_out(
    caller: Caller, number: str, identity: list[str], kept: list[str]
) -> None:
    """A header that is too long, or becomes so by its encoding, costs the call only itself."""
    desk = Desk()
    before = len(caller.instance.log)
    async with listening(caller.instance, desk):
        invite(caller.instance, number, identity)
        seen = await caller.seen(number)
    assert seen["Reason"] == "verified"
    assert desk.calls[0].identity == tuple(value for value in kept if value)
    said = caller.instance.log[before:].splitlines()
    assert [line for line in said if "parenthesis" in line or " ERROR[" in line] == []


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


async def test_values_are_whitelisted_at_the_door(caller: Caller) -> None:
    """A value with foreign characters arrives empty, whoever let it through."""

    class Careless(Desk):
        async def receive(self, call, pbx):  # type: ignore[no-untyped-def]
            given = [("STIR_VERSTAT", "No-TN-Validation"), ("STIR_REASON", "replayed")]
            given += [("STIR_SIGNER", "a|b"), ("STIR_ID", "x\r\ny"), ("STIR_ATTEST", "A")]
            await pbx.answer(call, given, time.monotonic() + 1)

    async with listening(caller.instance, Careless()):
        seen = await caller.call("in", "16465550100")
    assert (seen["Reason"], seen["Signer"], seen["Id"], seen["Attest"]) == ("replayed", "", "", "A")


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
