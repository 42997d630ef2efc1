"""One call in plain sentences."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.call_log.explaining import WIDTH, of_contest, of_word, told
from pbx_stir.call_log.lines import Lines
from pbx_stir.call_log.numbers import style
from pbx_stir.call_log.reading import as_object, parsed
from pbx_stir.reasons import explanation
from pbx_stir.services.call import (
    Asked,
    Direction,
    Outcome,
    Reason,
    Rejection,
    Status,
    Verstat,
)
from tests.call_log.records import record
from tests.call_log.written import line, octets
from tests.services.world import ALICE, BOB

CPS = "https://cps.example.net"
OTHER = "https://b.example.net"


def story(outcome: Outcome, **changes: Any) -> str:
    """What is told of a call that reception has recorded, in one line."""
    whole = Lines(style("full")).call(record(outcome, **changes))
    found = parsed(json.dumps(whole).encode())
    assert found is not None
    return " ".join(" ".join(told(found, whole)).split())


def test_a_call_that_was_not_verified_says_why() -> None:
    """Who was asked and what came of it, where it was refused, what to do."""
    outcome = Outcome(
        Reason.STALE,
        verstat=Verstat.NONE,
        orig=ALICE,
        dest=BOB,
        detail="75 s old",
        asked=(
            Asked(CPS, BOB, passports=3, opened=1, ms=5.0),
            Asked(OTHER, BOB, reason=Reason.CPS_UNAVAILABLE, ms=1800.0),
            Asked("https://c.example.net", BOB, heard=False),
        ),
        rejections=(
            Rejection("iat", Reason.STALE, "75 s old"),
            Rejection(f"retrieve {OTHER}", Reason.CPS_UNAVAILABLE, "refused"),
        ),
    )
    text = story(outcome, orig=f"+{ALICE}", identity=("x", "y"))
    assert "Not verified, neither good nor bad (No-TN-Validation), reason stale" in text
    assert f"from {ALICE} (as the PBX has it: +{ALICE})" in text
    assert "the call itself carried 2 Identity headers" in text
    assert f"{CPS} was asked for {BOB}: after 5.0 ms it gave 3 PASSporTs, one of them" in text
    assert f"{OTHER} was asked for {BOB}: cps-unavailable, after 1800.0 ms (refused)" in text
    assert "and the verdict stood before it answered" in text
    assert "rejected at its date: stale (75 s old)" in text
    assert text.count("refused)") == 1
    assert "Compare the clocks of both sides" in text


def test_an_outbound_call_says_where_it_was_stored() -> None:
    """And who placed it."""
    asked = (Asked(CPS, BOB), Asked(OTHER, BOB, reason=Reason.CPS_REFUSED))
    text = story(Outcome(Reason.STORED, Status.STORED, orig=ALICE, dest=BOB, asked=asked))
    assert "Signed and stored (stored), reason stored" in text
    assert f"{CPS} was asked to store it: it stored all copies" in text
    assert f"{OTHER} was asked to store it: it did not store: cps-refused" in text
    assert "placed by PJSIP/alice" in text


def test_a_replayed_call_names_the_other() -> None:
    """And so does the event that the other one gets."""
    text = " ".join(told(line(), {"contests": "0123456789abcdef"}))
    assert "call 0123456789abcdef had used the signature" in text
    event = line(event="contested", claimed_by="0123456789abcdef")
    assert "Either may be the genuine one" in " ".join(of_contest(event))
    first = " ".join(told(line(reason="verified"), {}, contested=True))
    assert "reason verified, then contested" in first
    assert "Look at both calls" in first
    assert "Nothing to do" not in first


def test_call_that_was_read_of_too_late_is_said() -> None:
    """A service that stood still has not held a call for one millisecond."""
    text = " ".join(told(line(reason="timeout"), {"budget_ms": 1}))
    assert "the hold was over" in " ".join(text.split())
    assert "1 ms" not in text


@pytest.mark.parametrize("reason", list(Reason), ids=lambda one: one.value)
def test_every_reason_is_explained(reason: Reason) -> None:
    """In lines that fit a terminal."""
    for status, verstat in ((Status.ERROR, None), (None, Verstat.NONE)):
        outcome = Outcome(reason, status, verstat)
        means = explanation(reason, Direction.OUTBOUND if status else Direction.INBOUND)
        text = story(outcome)
        for told_of in (means.meaning, means.remedy, *means.causes, *means.commands):
            assert " ".join(told_of.split()) in text
        assert max(map(len, of_word(reason.value, [("in", means)]))) <= WIDTH


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["asked", "rejections", "originator", "contests", "budget_ms", "came_in", "decided_ms"]
        ),
        JSON | st.lists(st.dictionaries(st.sampled_from(["cps", "step", "answer", "ms"]), JSON)),
    )
)
def test_whatever_stands_in_a_line_is_told_safely(wild: dict[str, Any]) -> None:
    """Nothing of it is taken to be of a type, and none of it reaches a terminal raw."""
    raw = octets(**wild)
    found, whole = parsed(raw), as_object(raw)
    assert found is not None
    assert whole is not None
    assert all(row.isprintable() for row in told(found, whole))
