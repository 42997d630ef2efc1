"""What a line of the call log says, and what it does not."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.call_log import CallLogFile, shortened
from pbx_stir.call_log import lines as call_log_lines
from pbx_stir.services.call import Asked, Outcome, Reason, Rejection, Status, Verstat
from tests.call_log.records import CLAIM, lines, passed, record
from tests.services.world import ALICE, BOB


def test_each_call_has_one_line(tmp_path: Path) -> None:
    """In the order they ended, each a JSON object with all that is known."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path)
    log.record(record(passed(attest="A")))
    stored = Outcome(Reason.STORED, Status.STORED, orig=ALICE, dest=BOB)
    log.record(record(stored, "id3", came_in="carrier-2"))
    log.close()
    first, second = lines(path)
    assert first == {
        "event": "call",
        "time": "2027-01-15T08:00:00.000+00:00",
        "id": "id2",
        "pbx": "pbx",
        "uniqueid": "1.1",
        "linkedid": "1.1",
        "direction": "in",
        "mode": "on",
        "trunk": "carrier",
        "orig": ALICE,
        "dest": BOB,
        "reason": "verified",
        "ms": 3.1,
        "decided_ms": 0.0,
        "budget_ms": 2000,
        "released": True,
        "verstat": "TN-Validation-Passed",
        "attest": "A",
        "signer": "Company A",
    }
    assert second["status"] == "stored"
    assert second["originator"] == ["PJSIP/alice"]
    assert second["came_in"] == "carrier-2"
    assert "verstat" not in second
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_a_stranger_wrote_stays_in_its_line(tmp_path: Path) -> None:
    """No line break, quote or escape of a caller begins another line."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path)
    outcome = Outcome(Reason.ORIG_MISMATCH, verstat=Verstat.NONE, detail='a\n{"event":"call"}\x1b')
    log.record(record(outcome, orig='x\r\n{"b":1}\u2028'))
    log.close()
    (only,) = lines(path)
    assert only["orig"] == 'x\r\n{"b":1}\u2028'
    assert path.read_bytes().count(b"\n") == 1
    assert b"\x1b" not in path.read_bytes()


@given(st.text(st.characters(), max_size=50))
def test_any_text_is_one_line_of_ascii(text: str) -> None:
    """Lone surrogates, foreign line ends, control characters: all escaped."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.jsonl"
        for numbers in ("full", "short"):
            log = CallLogFile(path, numbers=numbers)
            denied = Outcome(Reason.MALFORMED, verstat=Verstat.NONE, detail=text, signer=text)
            log.record(record(denied, orig=text))
            log.close()
        assert path.read_bytes().isascii()
        assert len(lines(path)) == 2


def test_details_are_bounded(tmp_path: Path) -> None:
    """Of many rejections some are kept, and how many were left out."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path)
    many = tuple(Rejection("parse", Reason.MALFORMED, "x" * 5000) for _ in range(50))
    log.record(record(Outcome(Reason.MALFORMED, verstat=Verstat.NONE, rejections=many)))
    log.close()
    (line,) = lines(path)
    assert len(line["rejections"]) == call_log_lines.MOST_REJECTIONS
    assert line["rejections_left_out"] == 30
    assert line["rejections"][0] == {"step": "parse", "reason": "malformed", "detail": "x" * 200}


def test_a_contest_has_a_line_of_its_own(tmp_path: Path) -> None:
    """It names both calls and blames neither."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path, numbers="short")
    log.contested(CLAIM, record(Outcome(Reason.REPLAYED, verstat=Verstat.NONE)))
    log.close()
    (line,) = lines(path)
    assert (line["event"], line["id"], line["claimed_by"]) == ("contested", "id1", "id2")
    assert (line["reason"], line["trunk"], line["orig"]) == (
        "contested",
        "carrier",
        shortened(ALICE),
    )
    assert line["note"] == "two calls claimed this signature; either may be the genuine one"
    assert ALICE not in path.read_text()


def test_short_numbers_are_short_everywhere(tmp_path: Path) -> None:
    """In the fields, the detail, the rejections, the signer and the originator."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path, numbers="short")
    rejections = (
        Rejection("orig", Reason.ORIG_MISMATCH, "signed for sip:+16465550000@example.com"),
        Rejection("dest", Reason.DEST_MISMATCH, "signed to 1-646-555-0000, +1 (646) 555.0000"),
        Rejection("fetch", Reason.CPS_REFUSED, "https://a/cps/1.6.4.6.5.5.5.0.0.0.0/ppts in 1.5 s"),
        Rejection("parse", Reason.MALFORMED, "4210 is too short, 14210 s"),
    )
    detail = f"{ALICE} calls {BOB}, written +1 (310) 555-2000"
    unknown = Outcome(
        Reason.ORIG_MISMATCH,
        verstat=Verstat.NONE,
        rejections=rejections,
        detail=detail,
        signer="+1 646 555 0000",
    )
    log.record(record(unknown, orig="4210", dest="sip:+13105552000@10.0.0.1"))
    denied = Outcome(Reason.CALLER_NOT_ALLOWED, Status.SKIPPED, detail=f"not {ALICE}")
    log.record(record(denied, originator=("PJSIP/16465550000", "4210")))
    log.close()
    text = path.read_text()
    for hidden in (ALICE, BOB, "5551234", "5552000", "5550000", "555.0000", "555-0000", "0.0.0.0"):
        assert hidden not in text
    first, second = lines(path)
    assert first["orig"] == "xxxx"
    assert first["dest"] == "sip:+1310555xxxx@xx.x.x.x"
    assert first["rejections"][3]["detail"] == "xxxx is too short, 14210 s"
    assert "in 1.5 s" in first["rejections"][2]["detail"]
    assert second["originator"] == ["PJSIP/1646555xxxx", "4210"]


def test_a_forwarded_call_says_who_forwards_it_and_what_it_carries(tmp_path: Path) -> None:
    """The number of ours, and how many Identity headers the call has itself; never the headers."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path, numbers="short")
    outcome = Outcome(
        Reason.FORWARDED,
        Status.STORED,
        orig=ALICE,
        dest=BOB,
        diverted_by="14155553000",
        identity=("a.b.c", "d.e.f"),
    )
    log.record(record(outcome, came_in="carrier-2"))
    log.close()
    (line,) = lines(path)
    assert (line["status"], line["reason"]) == ("stored", "forwarded")
    assert line["diverted_by"] == "1415555xxxx"
    assert line["identity_headers"] == 2
    assert "a.b.c" not in path.read_text()


def test_a_line_says_who_was_asked_and_what_they_said(tmp_path: Path) -> None:
    """Each CPS and number: its answer, how many PASSporTs, how many opened, when."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path, numbers="short")
    asked = (
        Asked("https://cps.example.net", BOB, passports=3, opened=1, ms=12.34),
        Asked("https://b.example.net", BOB, reason=Reason.CPS_UNAVAILABLE, ms=99.0),
        Asked("https://c.example.net", BOB, heard=False),
    )
    nothing = Outcome(Reason.NO_PASSPORT, verstat=Verstat.NONE, asked=asked)
    log.record(record(nothing))
    log.record(record(Outcome(Reason.NO_PASSPORT, verstat=Verstat.NONE, asked=asked * 9)))
    log.close()
    first, second = lines(path)
    number = shortened(BOB)
    assert first["asked"] == [
        {
            "cps": "https://cps.example.net",
            "number": number,
            "answer": "ok",
            "passports": 3,
            "opened": 1,
            "ms": 12.3,
        },
        {
            "cps": "https://b.example.net",
            "number": number,
            "answer": "cps-unavailable",
            "passports": 0,
            "opened": 0,
            "ms": 99.0,
        },
        {"cps": "https://c.example.net", "number": number, "answer": ""},
    ]
    assert (len(second["asked"]), second["asked_left_out"]) == (16, 11)


def test_numbers_stand_as_the_pbx_has_them_where_that_differs(tmp_path: Path) -> None:
    """What was dialled and what it became; hidden in the same way, and bounded."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path, numbers="hash", key=bytes(32))
    unsigned = Outcome(Reason.NO_PASSPORT, verstat=Verstat.NONE, orig=ALICE, dest=BOB)
    log.record(record(unsigned, orig=f"+{ALICE}", dest="4210", restricted=True))
    log.record(record(unsigned, orig="x" * 5000))
    log.close()
    first, second = lines(path)
    # the same digits, so the same hash
    assert first["orig_given"] == first["orig"]
    assert first["dest_given"] != first["dest"]
    assert first["restricted"] is True
    assert len(second["orig_given"]) == 120
    assert ALICE not in path.read_text()


def test_a_replayed_call_names_the_one_that_passed(tmp_path: Path) -> None:
    """By its id in this log."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path)
    log.record(record(Outcome(Reason.REPLAYED, verstat=Verstat.NONE, contests=CLAIM)))
    log.close()
    (line,) = lines(path)
    assert line["contests"] == "id1"
