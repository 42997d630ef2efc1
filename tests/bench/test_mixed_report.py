"""Rows of records are given to the calls that made them, also where no number tells them apart."""

from __future__ import annotations

from bench.mixed_calls import NONE, PASSED, Planned, born
from bench.mixed_report import Row, _kind


def row(moment: int, verdict: str, reason: str) -> Row:
    """One row of a call detail record at the called side."""
    return {
        "uniqueid": f"b-{moment}.1",
        "channel": "PJSIP/from-a-1",
        "stir_verstat": verdict,
        "stir_reason": reason,
    }


def test_two_without_a_number_who_call_the_same_one_have_a_row_each() -> None:
    """Neither is counted with the other's row."""
    calls = [Planned("anonymous", f"1212555{n:04}", "13105550001") for n in (1, 2)]
    rows = [row(n, NONE, "anonymous-caller") for n in (5, 4)]
    kind = _kind("anonymous", calls, {("anonymous", "13105550001"): rows}, {})
    assert kind.found == {f"{NONE} anonymous-caller": 2}
    assert (kind.lost, kind.other) == (0, 0)


def test_one_row_for_two_calls_is_a_lost_call() -> None:
    """What is missing of the two is missing."""
    calls = [Planned("anonymous", f"1212555{n:04}", "13105550001") for n in (1, 2)]
    rows = [row(4, NONE, "anonymous-caller")]
    kind = _kind("anonymous", calls, {("anonymous", "13105550001"): rows}, {})
    assert kind.lost == 1


def test_what_must_not_pass_is_counted() -> None:
    """A verdict that a stranger got is false, one more row than there may be is told."""
    call = Planned("spoofed", "12125550001", "13105550001")
    received = {call.pair: [row(1, PASSED, "verified"), row(2, NONE, "no-passport")]}
    assert _kind("spoofed", [call], received, {}).false_passed == 1
    genuine = Planned("genuine", "12125550001", "13105550001")
    assert _kind("genuine", [genuine], received, {}).other == 1


def test_channels_of_one_second_are_told_by_their_numbers() -> None:
    """The tenth came after the ninth: an id is no decimal fraction."""
    assert born("b-1795345270.9") < born("b-1795345270.10") < born("b-1795345271.1")
