"""Which calls are wanted: times and numbers as people type them."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.call_log.numbers import shortened, style
from pbx_stir.call_log.picking import Number, Wanted, moment, verdict
from pbx_stir.errors import UsageError
from tests.call_log.written import line

ZONE = timezone(timedelta(hours=-5))
NOW = datetime(2026, 11, 22, 15, 30, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2h", "2026-11-22T13:30-05:00"),
        ("90 m", "2026-11-22T14:00-05:00"),
        ("1d ago", "2026-11-21T15:30-05:00"),
        ("1w", "2026-11-15T15:30-05:00"),
        ("30s", "2026-11-22T15:29:30-05:00"),
        ("today", "2026-11-22T00:00-05:00"),
        ("Yesterday", "2026-11-21T00:00-05:00"),
        ("now", "2026-11-22T15:30-05:00"),
        ("8:05", "2026-11-22T08:05-05:00"),
        ("2026-11-20", "2026-11-20T00:00-05:00"),
        ("2026-11-20 08:30", "2026-11-20T08:30-05:00"),
        ("2026-11-20T08:30:00Z", "2026-11-20T08:30+00:00"),
    ],
)
def test_a_time_is_told_in_many_ways(text: str, wanted: str) -> None:
    """Without a zone it is that of the machine."""
    assert moment(text, NOW) == datetime.fromisoformat(wanted)


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """Never a traceback."""
    with contextlib.suppress(UsageError):
        assert moment(text, NOW).tzinfo is not None


@pytest.mark.parametrize("text", ["", "25:00", "999999w", "2026-13-01", "h", "-2h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Also what overflows."""
    with pytest.raises(UsageError, match="no time"):
        moment(text, NOW)


@pytest.mark.parametrize(
    "text",
    ["12125551234", "+1 (212) 555-1234", "1212555", "121", "2125551234", "16465550000"],
)
def test_a_number_is_found(text: str) -> None:
    """In full, from its beginning, by seven last digits or more; calling or called."""
    assert Number(text).matches(line())


@pytest.mark.parametrize("text", ["12125551235", "2125", "1234", "99"])
def test_another_number_is_not(text: str) -> None:
    """Nor one in whose middle or end a few digits stand."""
    assert not Number(text).matches(line())


def test_a_number_is_found_as_the_pbx_has_it_and_as_who_forwards() -> None:
    """All the numbers of a call."""
    assert Number("4210").matches(line(dest_given="4210"))
    assert Number("33123456789").matches(line(diverted_by="33123456789"))


def test_a_short_number_is_found_by_the_whole() -> None:
    """As far as it can be told: its last digits are gone."""
    hidden = line(orig=shortened("12125551234"), dest="x")
    assert Number("12125551234").matches(hidden)
    assert Number("12125559999").matches(hidden)
    assert Number("1212555xxxx").matches(hidden)
    assert not Number("12125561234").matches(hidden)


def test_a_hashed_number_is_found_by_the_whole() -> None:
    """With the log's key, or by the hash itself; without the key nobody is told wrong."""
    hashed = style("hash", bytes(32)).number
    hidden = line(orig=hashed("12125551234"), dest=hashed("16465550000"))
    assert Number("+1 212 555 1234", hashed).matches(hidden)
    assert not Number("12125551235", hashed).matches(hidden)
    assert not Number("1212", hashed).matches(hidden)
    assert Number(hidden.orig).matches(hidden)
    with pytest.raises(UsageError, match="key is missing"):
        Number("12125551234").matches(hidden)


@pytest.mark.parametrize("text", ["", "alice", "12a", "\u0661\u0662", "+"])
def test_what_is_no_number_is_refused(text: str) -> None:
    """Rather than found nowhere."""
    with pytest.raises(UsageError, match="no number"):
        Number(text)


def test_everything_that_is_asked_for_must_be_so() -> None:
    """Trunk, verdict, reason, direction, time: since is included, until is not."""
    at = line().time
    assert Wanted().anything
    assert Wanted().has(line())
    full = {
        "trunk": "carrier-1",
        "number": Number("1212"),
        "verdict": "passed",
        "reason": "verified",
        "direction": "in",
        "since": at,
        "until": at + timedelta(seconds=1),
    }
    assert Wanted(**full).has(line())  # type: ignore[arg-type]
    other = {
        "trunk": "carrier",
        "number": Number("1213"),
        "verdict": "none",
        "reason": "stale",
        "direction": "out",
        "since": at + timedelta(seconds=1),
        "until": at,
    }
    for key, value in other.items():
        assert not Wanted(**(full | {key: value})).has(line())  # type: ignore[arg-type]


def test_a_verdict_has_many_names() -> None:
    """Ours, and STIR_VERSTAT's."""
    assert verdict("Passed") == verdict("TN-Validation-Passed") == "passed"
    assert verdict("no-tn-validation") == "none"
    with pytest.raises(UsageError, match="no verdict"):
        verdict("good")
