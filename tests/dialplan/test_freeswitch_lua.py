"""dialplan/freeswitch's scripts, run by Debian's Lua against a stand-in for FreeSWITCH's."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pbx_stir.pbx import hook
from pbx_stir.services import treatment

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parents[1] / "dialplan/freeswitch"
LUA = shutil.which("lua5.2")
LUACHECK = shutil.which("luacheck")
NOW_MS = 1_795_324_411_000
LISTENER = "0123456789abcdef"
BEAT = f"{LISTENER}:{NOW_MS // 1000 - 1}"
ON = {"stir_heartbeat": BEAT, "stir_in_carrier": "on", "stir_out_carrier": "on"}
PASSED = "|TN-Validation-Passed|verified||12125550100|13105552001|Acme Ltd|0a1b||||"
STORED = "stored||stored|A|12125550100|13105552001|Acme Ltd|0a1b|||"
CALL = {"uuid": "leg-1", "caller_id_number": "+12125550100", "destination_number": "13105552001"}

pytestmark = pytest.mark.skipif(LUA is None, reason="no lua5.2: install Debian's package lua5.2")


@dataclass
class Outcome:
    """What a run of a script left behind."""

    variables: dict[str, str] = field(default_factory=dict)
    globals: dict[str, str] = field(default_factory=dict)
    legs: dict[str, dict[str, str]] = field(default_factory=dict)
    events: list[dict[str, str]] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    slept: int = 0

    def stir(self) -> dict[str, str]:
        """The variables of the contract, without the mark of where it came in and its heirs."""
        hidden = {"stir_came_in"}
        return {
            name.removeprefix("stir_"): value
            for name, value in self.variables.items()
            if name.startswith("stir_") and name not in hidden
        }


def lua(value: Any) -> str:
    """A value as Lua writes it."""
    if isinstance(value, dict):
        return "{" + "".join(f"[{lua(k)}]={lua(v)}," for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",".join(lua(one) for one in value) + "}"
    if isinstance(value, str):
        return '"' + "".join(f"\\{octet:03}" for octet in value.encode()) + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Run a script in a scenario."""

    def running(*argv: str, script: str = "pbx_stir.lua", **changed: Any) -> Outcome:
        scenario = {
            "argv": list(argv), "clock": NOW_MS, "tick": 20, "channel": CALL, "globals": ON,
            "legs": {}, "state": "CS_ROUTING", "matches": {}, **changed,
        }  # fmt: skip
        file = tmp_path / "scenario.lua"
        file.write_text(f"return {lua(scenario)}\n")
        done = subprocess.run(
            [str(LUA), str(HERE / "stand_in.lua"), str(SCRIPTS / script), str(file)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return _read(done.stdout)

    return running


def _read(text: str) -> Outcome:
    outcome = Outcome()
    for line in text.splitlines():
        what, *words = line.split(" ")
        values = [bytes.fromhex(word).decode("utf-8", "replace") for word in words]
        match what:
            case "var":
                outcome.variables[values[0]] = values[1]
            case "global":
                outcome.globals[values[0]] = values[1]
            case "leg":
                outcome.legs.setdefault(values[0], {})[values[1]] = values[2]
            case "event":
                outcome.events.append({"Subclass": values[1]})
            case "header":
                outcome.events[-1][values[0]] = values[1]
            case "log":
                outcome.logged.append(values[1])
            case "set":
                outcome.written.append(values[0])
            case "regex":
                outcome.asked.append(values[0])
            case "slept":
                outcome.slept = int(values[0])
    return outcome


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
    assert {"stir_came_in", "stir_verstat", "stir_reason", "stir_id"} <= set(inherited)
    assert len(set(inherited)) == len(inherited)
    assert done.variables["api_hangup_hook"] == "lua pbx_stir.lua ended leg-1 ${answer_epoch}"


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
    expected = ["stir_came_in", "export_vars"] if direction == "inbound" else []
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
        "loop-b": {"other_loopback_leg_uuid": "loop-a", "originator": "leg-9"},
        "loop-a": {"originator": "leg-0", "other_loopback_leg_uuid": "loop-b"},
        "leg-0": {"stir_came_in": "other-carrier", "user_name": "1001"},
    }
    channel = {**CALL, "originating_leg_uuid": "loop-b"}
    legs["leg-9"] = {"other_loopback_leg_uuid": "loop-a"}
    done = run("outbound", "carrier", channel=channel, legs=legs, answer_ms=2, answer=STORED)
    assert done.events[0]["Stir-CameIn"] == "other-carrier"
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


NAMES = {
    "Anna": "Anna", "[V] Bank": "-V- Bank", "\uff3bV\uff3d Bank": "-V- Bank", "${x}$${y}": "xy",
    "a\r\nb": "a  b", "": "", "%{x}": "x", "$\\'{system(touch x)}": "\u2019system(touch x)",
    "$\\\\'{x}": "\u2019x", "O'Brien": "O\u2019Brien", '`x` "y"': "x y",
}  # fmt: skip


@pytest.mark.parametrize("verstat", ["TN-Validation-Passed", "No-TN-Validation", ""])
@pytest.mark.parametrize("name", NAMES)
def test_mark_before_a_verified_name(run: Any, name: str, verstat: str) -> None:
    """A stranger cannot send the mark along, nor anything that FreeSWITCH would expand."""
    channel = {**CALL, "caller_id_name": name, "stir_verstat": verstat}
    done = run("name", script="pbx_stir_caller.lua", channel=channel)
    mark = "[V] " if verstat == "TN-Validation-Passed" else ""
    assert done.variables.get("effective_caller_id_name", "") == mark + NAMES[name]
    assert done.variables["caller_id_name"] == mark + NAMES[name]


EXPANDED = set("${}\\`%\"'")


@hypothesis.given(st.text(max_size=60), st.sampled_from(["", "OK:", "{", "$"]))
@hypothesis.settings(
    max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_nothing_that_freeswitch_expands_is_left(run: Any, name: str, mark: str) -> None:
    """Not even where taking out the mark would put it together: set_profile_var expands it."""
    name = "".join(c for c in name if c.isprintable())
    for sent in (name, f"${mark}{{system(x)}}", f"$\\'{mark}{{{name}}}"):
        channel = {**CALL, "caller_id_name": sent, "caller_id_number": sent}
        done = run("name", *([mark] if mark else []), script="pbx_stir_caller.lua", channel=channel)
        assert not EXPANDED & set(done.variables.get("effective_caller_id_name", ""))
        assert not EXPANDED & set(done.variables.get("caller_id_name", ""))
        if done.variables["caller_id_number"] != sent:
            assert not EXPANDED & set(done.variables["caller_id_number"])
        else:
            assert not EXPANDED & set(sent)


@pytest.mark.parametrize("name", ["cc_member_session_uuid", "fifo_bridge_uuid"])
def test_an_agent_s_leg_has_the_caller_s_mark(run: Any, name: str) -> None:
    """Queues make legs of nobody's; they name their caller in variables of their own."""
    done = run(
        "outbound", "carrier", channel={**CALL, "direction": "outbound", name: "leg-0"},
        legs={"leg-0": {"stir_came_in": "carrier"}}, answer_ms=2, answer=PASSED,
    )  # fmt: skip
    assert done.events[0]["Stir-CameIn"] == "carrier"


@pytest.mark.parametrize(("user", "came_in"), [("", "carrier"), ("1001", "")])
def test_a_call_that_replaces_another_came_in(run: Any, user: str, came_in: str) -> None:
    """It has met no inbound hook; only from an authenticated user it is one of ours."""
    channel = {**CALL, "sip_replaces_call_id": "a@b", "user_name": user}
    done = run("outbound", "carrier", channel=channel, answer_ms=2, answer=PASSED)
    assert done.events[0].get("Stir-CameIn", "") == came_in


def test_mark_of_ones_own_is_taken_out_again_and_again(run: Any) -> None:
    """Also where taking it out puts another one together; numbers lose their parameters."""
    channel = {**CALL, "caller_id_name": "OOK:K:OK: Bank",
               "caller_id_number": "+1212;verstat=TN-Validation-Passed"}  # fmt: skip
    done = run("name", "OK:", script="pbx_stir_caller.lua", channel=channel)
    assert done.variables["effective_caller_id_name"] == "Bank"
    assert done.variables["caller_id_number"] == "+1212"


def test_foreign_headers_are_taken_away(run: Any) -> None:
    """X- and P- headers alone."""
    channel = {**CALL, "sip_h_X-Stir-Verstat": "x", "sip_h_x-a": "y", "sip_h_P-B": "z",
               "sip_h_identity": "i", "sip_X": "k"}  # fmt: skip
    done = run("headers", script="pbx_stir_caller.lua", channel=channel)
    assert set(done.variables) - set(CALL) == {"sip_h_identity", "sip_X"}


def test_caller_script_used_wrongly_is_harmless(run: Any) -> None:
    """It logs, and the call goes on."""
    assert len(run("nothing", script="pbx_stir_caller.lua").logged) == 1
    assert len(run("name", script="pbx_stir_caller.lua", no_session=True).logged) == 1


def scripts() -> list[Path]:
    """All Lua of ours."""
    return sorted([*SCRIPTS.glob("*.lua"), *HERE.glob("*.lua")])


@pytest.mark.skipif(LUACHECK is None, reason="no luacheck: install Debian's package lua-check")
@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.name)
def test_freeswitch_lua_is_clean(script: Path) -> None:
    """luacheck finds nothing."""
    done = subprocess.run(
        [str(LUACHECK), "--std", "lua52", "--no-color", "--max-line-length", "120",
         "--globals", "freeswitch", "session", "argv", "--", str(script)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_every_version_of_lua_reads_the_scripts() -> None:
    """FreeSWITCH is built with 5.1 to 5.4: whichever compilers are here take them."""
    compilers = [c for v in ("5.1", "5.2", "5.3", "5.4") if (c := shutil.which(f"luac{v}"))]
    for compiler in compilers:
        for script in SCRIPTS.glob("*.lua"):
            subprocess.run([compiler, "-p", str(script)], check=True)
