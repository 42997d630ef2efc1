"""pbx_stir.lua holds calls for their answer, within bounds, and never costs one anything else."""

from __future__ import annotations

from typing import Any

import pytest

from pbx_stir.services import treatment
from tests.dialplan.stand_in import BEAT, CALL, LISTENER, NOW_MS, ON, PASSED, STORED


def test_inbound_call_is_held_until_its_answer(run: Any) -> None:
    """Announced once, answered, shown; the legs it makes inherit what was said."""
    done = run("inbound", "carrier", answer_ms=10, answer=PASSED)
    assert done.slept == 10
    assert len(done.events) == 1
    assert done.stir() == {
        "verstat": "TN-Validation-Passed", "reason": "verified", "orig": "12125550100",
        "dest": "13105552001", "signer": "Acme Ltd", "id": "0a1b", "ms": "10",
    }  # fmt: skip
    assert done.variables["stir_came_in"] == "carrier"
    inherited = done.variables["export_vars"].split(",")
    assert done.variables["stir_came_in_id"] == CALL["uuid"]
    marks = {"stir_came_in", "stir_came_in_id", "stir_first_id"}
    assert {*marks, "stir_verstat", "stir_reason", "stir_id"} <= set(inherited)
    assert len(set(inherited)) == len(inherited)
    assert done.variables["api_hangup_hook"] == "lua pbx_stir.lua ended leg-1 ${answer_epoch}"


def test_caller_stays_who_he_was_asked_about_as(run: Any) -> None:
    """From before the hold on, on this leg and those it makes; whom we call may change."""
    done = run("inbound", "carrier", hangup_ms=30)
    assert done.variables["sip_ignore_remote_cid"] == "true"
    assert done.variables["ignore_display_updates"] == "true"
    inherited = done.variables["export_vars"].split(",")
    assert inherited.count("ignore_display_updates") == 1
    assert "sip_ignore_remote_cid" not in inherited
    done = run("outbound", "carrier", answer_ms=2, answer=STORED)
    assert not {"sip_ignore_remote_cid", "ignore_display_updates"} & set(done.variables)


def test_answer_has_its_fields_in_the_order_of_the_services(run: Any) -> None:
    """The n-th field becomes the variable that stands n-th in the contract."""
    values = [f"value{n}" for n in range(len(treatment.NAMES))]
    done = run("inbound", "carrier", answer_ms=2, answer="|".join(values))
    told = {
        name.removeprefix("STIR_").lower(): v
        for name, v in zip(treatment.NAMES, values, strict=True)
    }
    assert {**done.stir(), "ms": "2"} == {**told, "ms": "2"}


def test_long_answer_is_put_together_from_its_parts(run: Any) -> None:
    """Parts come in variables of their own, which go away again."""
    done = run("inbound", "carrier", answer_ms=2, answer="+|2", parts=[PASSED[:30], PASSED[30:]])
    assert done.stir()["signer"] == "Acme Ltd"
    assert not [name for name in done.variables if name.startswith("stir_answer")]


@pytest.mark.parametrize("value", ["a'b", 'a"b', "${x}", "a;b", "a,b", "$1", "a\nb", "é", "<a>"])
def test_value_that_could_be_syntax_is_left_empty(run: Any, value: str) -> None:
    """Whoever wrote it: nothing outside the whitelist is set on a channel."""
    done = run("inbound", "carrier", answer_ms=2, answer=f"|x|verified||||{value}||||")
    assert "signer" not in done.stir()
    assert done.stir()["reason"] == "verified"


@pytest.mark.parametrize(("direction", "budget"), [("inbound", 2_000), ("outbound", 1_500)])
@pytest.mark.parametrize("drift", [0, 3, -3])
def test_hold_ends_with_its_budget(run: Any, direction: str, budget: int, drift: int) -> None:
    """Whatever the clock does meanwhile; the heartbeat that was trusted is trusted no more."""
    done = run(direction, "carrier", drift=drift)
    assert budget / 2 <= done.slept <= budget + 10
    assert done.stir()["reason"] == "timeout"
    assert done.globals["stir_timed_out_heartbeat"] == BEAT
    again = run(direction, "carrier", globals={**ON, "stir_timed_out_heartbeat": BEAT})
    assert (again.slept, again.stir()["reason"], again.stir()["ms"]) == (0, "listener-down", "0")


def test_clock_that_is_set_back_lengthens_no_hold(run: Any) -> None:
    """What was slept bounds it too."""
    assert run("inbound", "carrier", drift=-100).slept <= 2_010


@pytest.mark.parametrize(
    ("given", "budget"),
    [("300", 300), ("50", 100), ("99999", 10_000), ("soon", 2_000), ("", 2_000), ("250.7", 250)],
)
def test_budget_of_a_trunk(run: Any, given: str, budget: int) -> None:
    """Drawn to its bounds; the default where it is no number."""
    done = run("inbound", "carrier", globals={**ON, "stir_budget_carrier": given})
    assert done.events[0]["Stir-Budget"] == str(budget)
    assert abs(done.slept - budget) <= 10


@pytest.mark.parametrize(
    "heartbeat",
    ["", "0", "nonsense", f"{LISTENER}:", f"{LISTENER}:{NOW_MS // 1000 - 6}",
     f"{LISTENER}:{NOW_MS // 1000 + 6}"],
)  # fmt: skip
def test_no_listener_costs_nothing(run: Any, heartbeat: str) -> None:
    """None, one that has stopped, one whose heartbeat is old or not of this time."""
    done = run("inbound", "carrier", globals={**ON, "stir_heartbeat": heartbeat})
    assert (done.slept, done.events) == (0, [])
    assert done.stir() == {"verstat": "No-TN-Validation", "reason": "listener-down", "ms": "0"}


def test_answer_to_another_nonce_releases_nothing(run: Any) -> None:
    """An answer that comes late neither ends nor changes another hold."""
    done = run("inbound", "carrier", answer_ms=4, answer=PASSED, answer_nonce="f" * 16)
    assert done.slept >= 2_000
    assert done.stir()["reason"] == "timeout"
    assert "stir_answer" not in done.variables


def test_hangup_ends_the_hold(run: Any) -> None:
    """Nothing more is said of that call, and the listener is not blamed."""
    done = run("inbound", "carrier", hangup_ms=30)
    assert done.slept <= 40
    assert done.stir() == {}
    assert done.globals == {}


def test_trunk_that_is_off_asks_nothing(run: Any) -> None:
    """No event, no API call; the mark of where the call came in is set all the same."""
    done = run("inbound", "carrier", globals={"stir_heartbeat": BEAT}, broken="execute")
    assert (done.slept, done.events, done.logged) == (0, [], [])
    assert done.stir() == {"verstat": "No-TN-Validation", "reason": "disabled", "ms": "0"}
    assert done.variables["stir_came_in"] == "carrier"


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
@pytest.mark.parametrize("heartbeat", [BEAT, "0"])
@pytest.mark.parametrize("broken", ["", "Event"])
def test_monitor_holds_nothing_and_sets_nothing(
    run: Any, direction: str, heartbeat: str, broken: str
) -> None:
    """Announced where somebody listens; on the channel there is only where the call came in."""
    switches = {"stir_heartbeat": heartbeat, f"stir_{direction[:-5]}_carrier": "monitor"}
    done = run(direction, "carrier", globals=switches, broken=broken)
    assert done.slept == 0
    if not broken:
        assert [event["Stir-Mode"] for event in done.events] == ["monitor"] * (heartbeat == BEAT)
    assert done.stir() == {}
    marks = ["stir_came_in", "stir_came_in_id", "stir_first_id", "export_vars"]
    expected = marks if direction == "inbound" else []
    assert done.written == expected


@pytest.mark.parametrize("dialled", ["911", "9911", "+911", "0112", "00999", "8933", "9 11"])
def test_emergency_call_is_not_held(run: Any, dialled: str) -> None:
    """As dialled and as sent; and for thirty minutes nobody who calls is held."""
    done = run("outbound", "carrier", channel={**CALL, "destination_number": dialled})
    assert (done.slept, done.events) == (0, [])
    assert done.stir()["reason"] == "emergency"
    assert done.globals["stir_emergency_until"] == str(NOW_MS // 1000 + 1_800)
    back = run("inbound", "carrier", globals={**ON, **done.globals})
    assert (back.slept, back.stir()["reason"]) == (0, "emergency")
    later = {**ON, "stir_emergency_until": str(NOW_MS // 1000)}
    assert run("inbound", "carrier", globals=later, answer_ms=2, answer=PASSED).slept == 2


@pytest.mark.parametrize("mode", ["on", "off", "monitor"])
def test_emergency_call_is_known_by_what_its_caller_dialled(run: Any, mode: str) -> None:
    """Whatever the switch says; but a call that came in has dialled one of our numbers."""
    switches = {**ON, "stir_out_carrier": mode}
    leg = {"destination_number": "9911"}
    channel = {**CALL, "originator": "leg-0"}
    done = run("outbound", "carrier", channel=channel, legs={"leg-0": leg}, globals=switches)
    assert "stir_emergency_until" in done.globals
    leg = {**leg, "stir_came_in": "carrier"}
    done = run("outbound", "carrier", channel=channel, legs={"leg-0": leg}, globals=switches)
    assert done.globals.get("stir_emergency_until") is None


def test_emergency_numbers_of_a_country(run: Any) -> None:
    """A list of numbers is compared here, an expression by FreeSWITCH."""
    own = {**ON, "stir_emergency": "110|112"}
    assert run("outbound", "carrier", "110", globals=own).stir()["reason"] == "emergency"
    assert run("outbound", "carrier", "911", globals=own).stir()["reason"] == "excluded"
    own["stir_emergency"] = "11[02]"
    asked = "m:~0112~^(?:(?:0|00|8|9)?(?:11[02]))$"
    done = run("outbound", "carrier", "0112", globals=own, matches={asked: True})
    assert done.stir()["reason"] == "emergency"


def test_excluded_numbers(run: Any) -> None:
    """An expression over the whole number, of all trunks or of one; never a short number."""
    own = {**ON, "stir_excluded_carrier": "1?800.*"}
    asked = "m:~18005551212~^(?:1?800.*)$"
    done = run("outbound", "carrier", "1 (800) 555-1212", globals=own, matches={asked: True})
    assert (done.stir()["reason"], done.events) == ("excluded", [])
    assert run("outbound", "carrier", "611").stir()["reason"] == "excluded"
    hostile = {**CALL, "caller_id_number": "1~x' y|z"}
    done = run("inbound", "carrier", globals=own, channel=hostile, answer_ms=2, answer=PASSED)
    assert all("x'" not in one for one in done.asked)


@pytest.mark.parametrize("broken", ["execute", "Event", "getVariable", "setVariable"])
def test_nothing_is_raised(run: Any, broken: str) -> None:
    """A fault costs the call nothing; the log does not quote what a stranger sent beyond it."""
    done = run("inbound", "carrier", broken=broken)
    assert done.slept == 0
    assert len(done.logged) == 1
    assert done.logged[0].startswith("pbx_stir.lua: ")
    if broken in {"execute", "Event"}:
        assert done.stir()["reason"] == "internal-error"


@pytest.mark.parametrize(
    "argv",
    [[], ["inbound"], ["sideways", "carrier"], ["inbound", "a b"], ["inbound", "x" * 65],
     ["inbound", "${x}"], ["ended"], ["ended", "a b", "1"]],
)  # fmt: skip
def test_wrong_use_is_logged_and_harmless(run: Any, argv: list[str]) -> None:
    """With a session and without one."""
    for no_session in (False, True):
        done = run(*argv, no_session=no_session)
        assert len(done.logged) == 1
        assert done.events == []


@pytest.mark.parametrize(
    ("answered", "said"),
    [("1795324411", "yes"), ("0", "no"), ("", "no"), ("${answer_epoch}", "no")],
)
def test_end_of_a_call_is_told(run: Any, answered: str, said: str) -> None:
    """The hang-up hook says whether it was answered."""
    done = run("ended", "leg-1", answered, no_session=True)
    assert done.events == [
        {"Subclass": "pbx_stir::ended", "Stir-Uniqueid": "leg-1", "Stir-Answered": said}
    ]


def test_hangup_hook_of_the_administrator_stays(run: Any) -> None:
    """Ours is set only where that is free, and only where a signature was used."""
    channel = {**CALL, "api_hangup_hook": "lua mine.lua"}
    done = run("inbound", "carrier", channel=channel, answer_ms=2, answer=PASSED)
    assert done.variables["api_hangup_hook"] == "lua mine.lua"
    done = run("inbound", "carrier", answer_ms=2, answer="|No-TN-Validation|no-passport||||||||")
    assert "api_hangup_hook" not in done.variables
