"""What pbx_stir.lua announces of a call: who placed it, where it came in, what will be sent."""

from __future__ import annotations

from typing import Any

import pytest

from pbx_stir.pbx import hook
from tests.dialplan.stand_in import CALL, LISTENER, PASSED, STORED


def test_announcement_is_what_the_listener_reads(run: Any) -> None:
    """Its headers make a call; a nonce has sixteen characters and is another one each time."""
    done = run("inbound", "carrier", answer_ms=2, answer=PASSED)
    event = done.events[0]
    assert event["Subclass"] == "pbx_stir::request"
    assert event["Stir-Listener"] == LISTENER
    fields = {k.removeprefix("Stir-"): v for k, v in event.items()}
    call = hook.parse_announcement({**fields, "From": "%2B12125550100"}, "fs")
    assert (call.dest, call.trunk, call.budget_ms, call.came_in) == (
        "13105552001", "carrier", 2_000, "carrier",
    )  # fmt: skip
    assert len(call.nonce) == 16


def test_outbound_outcome_is_on_the_leg_and_on_the_one_that_placed_it(run: Any) -> None:
    """Where people look for it, beside what was said of the call's coming in."""
    legs = {"leg-0": {"destination_number": "913105552001", "user_name": "1001",
                      "accountcode": "sales", "call_uuid": "call-0"}}  # fmt: skip
    channel = {**CALL, "originator": "leg-0"}
    done = run("outbound", "carrier", channel=channel, legs=legs, state="CS_INIT",
               answer_ms=6, answer=STORED)  # fmt: skip
    assert done.stir()["status"] == "stored"
    assert done.stir()["out_reason"] == "stored"
    assert done.legs["leg-0"] == {
        "stir_status": "stored", "stir_out_reason": "stored", "stir_out_ms": "6",
        "stir_out_id": "0a1b",
    }  # fmt: skip
    event = done.events[0]
    assert event["Stir-Originator"] == "1001"
    assert event["Stir-Account"] == "sales"
    assert event["Stir-Linkedid"] == "call-0"


def test_placing_leg_is_found_through_loopback_channels(run: Any) -> None:
    """What came in by a trunk is known as such, however many legs are between; circles end."""
    legs = {
        "loop-b": {
            "other_loopback_leg_uuid": "loop-a",
            "originator": "leg-9",
            "channel_name": "loopback/9-b",
        },
        "loop-a": {
            "originator": "leg-0",
            "other_loopback_leg_uuid": "loop-b",
            "channel_name": "loopback/9-a",
        },
        "leg-0": {
            "stir_came_in": "other-carrier",
            "stir_came_in_id": "leg-0",
            "user_name": "1001",
        },
    }
    channel = {**CALL, "originating_leg_uuid": "loop-b"}
    legs["leg-9"] = {"other_loopback_leg_uuid": "loop-a", "channel_name": "loopback/8-b"}
    done = run("outbound", "carrier", channel=channel, legs=legs, state="CS_INIT",
               answer_ms=2, answer=STORED)  # fmt: skip
    assert done.events[0]["Stir-CameIn"] == "other-carrier"
    assert done.events[0]["Stir-CameInId"] == "leg-0"
    assert done.events[0]["Stir-Originator"] == "1001"
    assert done.stir()["status"] == "stored"


def test_named_originator_is_taken_before_the_accounts_name(run: Any) -> None:
    """stir_originator, else user_name, else the name of its SIP authentication."""
    for given in ({"sip_auth_username": "c"}, {"user_name": "b"}, {"stir_originator": "a"}):
        leg = {"sip_auth_username": "c", **given} if "user_name" in given else given
        channel = {**CALL, **leg}
        done = run("outbound", "carrier", channel=channel, answer_ms=2, answer=STORED)
        assert done.events[0]["Stir-Originator"] == next(iter(given.values()))


@pytest.mark.parametrize(
    ("state", "orig"), [("CS_EXECUTE", "2"), ("CS_ROUTING", "2"), ("CS_INIT", "1")]
)
def test_caller_id_is_the_one_that_will_be_sent(run: Any, state: str, orig: str) -> None:
    """In the dialplan the effective one, at a gateway the leg's own."""
    channel = {**CALL, "caller_id_number": "1", "effective_caller_id_number": "2"}
    done = run("outbound", "carrier", channel=channel, state=state, answer_ms=2, answer=STORED)
    assert done.events[0]["Stir-From"] == orig


@pytest.mark.parametrize(
    "given",
    [{"privacy_hide_number": "true"}, {"origination_privacy": "hide_name:hide_number"},
     {"sip_h_Privacy": "id"}, {"sip_Privacy": "user;id"}, {"origination_privacy": "full"}],
)  # fmt: skip
@pytest.mark.parametrize("at", ["own", "placing"])
def test_restricted_caller_is_announced_as_one(run: Any, given: dict[str, str], at: str) -> None:
    """In each of FreeSWITCH's ways, on the leg that leaves and on the one that placed it."""
    channel = {**CALL, "originator": "leg-0", **(given if at == "own" else {})}
    legs = {"leg-0": given if at == "placing" else {}}
    done = run("outbound", "carrier", channel=channel, legs=legs, answer_ms=2, answer=STORED)
    assert done.events[0]["Stir-Pres"] == "prohib"
    shown = {**CALL, "originator": "leg-0", "origination_privacy": "hide_name",
             "sip_Privacy": "none"}  # fmt: skip
    done = run("outbound", "carrier", channel=shown, legs={"leg-0": {}}, answer_ms=2, answer=STORED)
    assert done.events[0]["Stir-Pres"] == "allowed"


def test_outbound_hook_clears_what_the_inbound_one_has_left(run: Any) -> None:
    """What was said of a caller does not leave with the call; for the records it is kept."""
    came = run("inbound", "carrier", answer_ms=2, answer=PASSED)
    done = run("outbound", "carrier", channel={**CALL, **came.variables}, answer_ms=4,
               answer="skipped||caller-not-allowed|||||0c||||")  # fmt: skip
    said = done.stir()
    assert "verstat" not in said
    assert "signer" not in said
    assert (said["inbound_verstat"], said["inbound_id"]) == ("TN-Validation-Passed", "0a1b")
    assert (said["reason"], said["out_id"], said["ms"]) == ("caller-not-allowed", "0c", "4")


def test_identity_headers_are_announced(run: Any) -> None:
    """One, or several as FreeSWITCH joins them; at most four, and none over 3,000 octets."""
    one = "a.b.c;info=<https://x.example/c.pem>"
    for given, sent in (
        ({"sip_h_identity": one}, [one]),
        ({"sip_identity": f"ARRAY::{one}|:second", "sip_h_identity": one}, [one, "second"]),
        ({"sip_identity": "ARRAY::" + "|:".join("abcdef")}, ["a", "b", "c", "d"]),
        ({"sip_identity": "x" * 3_001}, []),
        ({}, []),
    ):
        done = run("inbound", "carrier", channel={**CALL, **given}, answer_ms=2, answer=PASSED)
        event = done.events[0]
        assert [event[k] for k in sorted(event) if k.startswith("Stir-Identity")] == sent


@pytest.mark.parametrize(
    "text", ["'\"\\${x}$${y}%s%n", "\n\nStir-Mode: x", "é\uff3bV\uff3d|;,", "1" * 400]
)
def test_hostile_numbers_are_announced_as_they_are_but_bounded(run: Any, text: str) -> None:
    """They are for pbx-stir to judge; FreeSWITCH encodes them in its event."""
    hostile = {**CALL, "caller_id_number": text, "caller_id_name": text}
    done = run("inbound", "carrier", channel=hostile, answer_ms=2, answer=PASSED)
    assert done.events[0]["Stir-From"] == text.encode()[:160].decode("utf-8", "replace")
    assert done.stir()["verstat"] == "TN-Validation-Passed"
    assert done.logged == []


def test_number_is_taken_out_of_a_dialled_uri(run: Any) -> None:
    """A call that is not sent by a gateway has the host with it."""
    channel = {**CALL, "destination_number": "sip:13105552001@203.0.113.9:5060;transport=tcp"}
    done = run("outbound", "carrier", channel=channel, answer_ms=2, answer=STORED)
    assert done.events[0]["Stir-To"] == "13105552001"


@pytest.mark.parametrize("uuid", ["a b", "a'b", "a${x}", "", "a\nb", "x" * 151])
def test_id_that_could_be_syntax_is_not_used(run: Any, uuid: str) -> None:
    """Where ids come from a stranger's Call-ID, such a call is not held."""
    done = run("inbound", "carrier", channel={**CALL, "uuid": uuid})
    assert (done.slept, done.events, done.stir()["reason"]) == (0, [], "internal-error")
    outbound = run("outbound", "carrier", channel={**CALL, "originator": uuid or "b c"},
                   answer_ms=2, answer=STORED)  # fmt: skip
    assert outbound.legs == {}


@pytest.mark.parametrize(
    ("state", "own", "between", "expected"),
    [
        ("CS_INIT", "sofia/external/1", {}, "leg-0"),
        ("CS_INIT", "sofia/external/1", {"loop-b": "loopback/9-b"}, "leg-0"),
        ("CS_EXECUTE", "loopback/9-b", {"loop-a": "loopback/9-a"}, "leg-0"),
        ("CS_INIT", "sofia/external/1", {"phone": "sofia/internal/1001"}, ""),
        ("CS_INIT", "sofia/external/1", {"loop-b": "loopback/9-b", "phone": "sofia/int/1"}, ""),
        ("CS_EXECUTE", "sofia/internal/1001", {}, ""),
        ("CS_EXECUTE", "loopback/9-b", {"phone": "sofia/internal/1001"}, ""),
    ],
)
def test_what_a_called_phone_makes_is_not_the_caller_s(
    run: Any, state: str, own: str, between: dict[str, str], expected: str
) -> None:
    """A phone's leg inherits the mark; att_xfer and transfers of that leg are its user's calls."""
    inherited = {"stir_came_in": "carrier", "stir_came_in_id": "leg-0"}
    legs, nearest = {"leg-0": inherited}, "leg-0"
    for uuid, name in reversed(between.items()):
        legs[uuid] = {**inherited, "channel_name": name, "originator": nearest}
        nearest = uuid
    channel = {**CALL, **inherited, "channel_name": own, "originator": nearest}
    done = run("outbound", "carrier", channel=channel, legs=legs, state=state, answer_ms=2,
               answer=STORED)  # fmt: skip
    assert done.events[0]["Stir-CameIn"] == "carrier"
    assert done.events[0]["Stir-CameInId"] == expected


@pytest.mark.parametrize("state", ["CS_INIT", "CS_EXECUTE"])
def test_the_leg_that_came_in_is_its_own(run: Any, state: str) -> None:
    """And one that the administrator originates for it says so itself."""
    own = {**CALL, "stir_came_in": "carrier", "stir_came_in_id": CALL["uuid"]}
    done = run("outbound", "carrier", channel=own, state=state, answer_ms=2, answer=STORED)
    assert done.events[0]["Stir-CameInId"] == CALL["uuid"]


def test_a_leg_that_the_administrator_originates_says_for_whom(run: Any) -> None:
    """It was made for nobody that FreeSWITCH knows of."""
    own = {**CALL, "stir_came_in": "carrier", "stir_came_in_id": "leg-0"}
    done = run("outbound", "carrier", channel=own, state="CS_INIT", answer_ms=2, answer=STORED)
    assert done.events[0]["Stir-CameInId"] == "leg-0"


@pytest.mark.parametrize("name", ["cc_member_session_uuid", "fifo_bridge_uuid"])
def test_an_agent_s_leg_has_the_caller_s_mark(run: Any, name: str) -> None:
    """Queues make legs of nobody's; they name their caller in variables of their own.

    So the agent's leg is never signed for as ours; but what the caller came with is not the
    agent's.
    """
    done = run(
        "outbound", "carrier", channel={**CALL, "direction": "outbound", name: "leg-0"},
        legs={"leg-0": {"stir_came_in": "carrier", "stir_came_in_id": "leg-0"}},
        answer_ms=2, answer=PASSED,
    )  # fmt: skip
    assert done.events[0]["Stir-CameIn"] == "carrier"
    assert done.events[0].get("Stir-CameInId", "") == ""


@pytest.mark.parametrize(("user", "came_in"), [("", "carrier"), ("1001", "")])
def test_a_call_that_replaces_another_came_in(run: Any, user: str, came_in: str) -> None:
    """It has met no inbound hook; only from an authenticated user it is one of ours."""
    channel = {**CALL, "sip_replaces_call_id": "a@b", "user_name": user}
    done = run("outbound", "carrier", channel=channel, answer_ms=2, answer=PASSED)
    assert done.events[0].get("Stir-CameIn", "") == came_in


STRANGER = {"direction": "outbound", "channel_name": "sofia/external/14155550100",
            "originator": "leg-0"}  # fmt: skip
USER = {"user_name": "1001", "direction": "inbound", "channel_name": "sofia/internal/1001"}
LOOP = {
    "loop-b": {"other_loopback_leg_uuid": "loop-a", "channel_name": "loopback/8-b"},
    "loop-a": {"originator": "leg-5", "direction": "outbound", "channel_name": "loopback/8-a"},
}


@pytest.mark.parametrize(
    ("leg", "came_in"),
    [
        (STRANGER, "carrier"),
        ({**STRANGER, "sip_gateway_name": "carrier-1"}, "carrier"),
        ({**STRANGER, "sip_gateway_name": "carrier-1", "dialed_user": "1002"}, "carrier"),
        ({**STRANGER, "dialed_user": "1002"}, ""),
        ({**STRANGER, "direction": "inbound"}, ""),
    ],
)
@pytest.mark.parametrize("way", ["dialplan", "gateway", "loopback", "loopback and gateway"])
def test_whom_a_user_has_called_comes_from_outside(
    run: Any, leg: dict[str, str], came_in: str, way: str
) -> None:
    """He is transferred, and says what number he likes; a user of ours who was called is ours."""
    legs = {"leg-0": USER, "leg-5": leg, **LOOP}
    channel, state = {**CALL, **leg}, "CS_EXECUTE"
    if way == "gateway":
        channel, state = {**CALL, **STRANGER, "originator": "leg-5"}, "CS_INIT"
    elif way == "loopback":
        channel = {**CALL, **LOOP["loop-b"], "direction": "inbound"}
    elif way == "loopback and gateway":
        channel, state = {**CALL, **STRANGER, "originator": "loop-b"}, "CS_INIT"
    done = run("outbound", "carrier", channel=channel, legs=legs, state=state,
               answer_ms=2, answer=STORED)  # fmt: skip
    assert done.events[0]["Stir-CameIn"] == came_in
    assert done.events[0]["Stir-CameInId"] == ""


def test_a_leg_that_only_the_pbx_has_asked_for_is_its_own(run: Any) -> None:
    """At a gateway the leg that leaves has been called, and nobody before it."""
    done = run("outbound", "carrier", channel={**CALL, **STRANGER, "originator": ""},
               state="CS_INIT", answer_ms=2, answer=STORED)  # fmt: skip
    assert done.events[0]["Stir-CameIn"] == ""
