"""The call log: one line a call, numbers hidden when asked, and never a call's trouble."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.call_log import CallLogFile, file, shortened
from pbx_stir.call_log.numbers import hide_digits
from pbx_stir.services.call import Direction, Outcome, Reason, Rejection, Status, Verstat
from pbx_stir.services.reception import Record
from pbx_stir.services.used import Claim
from tests.services.world import ALICE, BOB, NOW, call

CLAIM = Claim("pbx", "1.1", "1.1", "carrier", ALICE, BOB, "id1")


def record(outcome: Outcome, call_id: str = "id2", **changes: object) -> Record:
    """A record of an inbound call, unless the outcome is an outbound one's."""
    direction = Direction.OUTBOUND if outcome.status else Direction.INBOUND
    return Record(call_id, NOW, call(direction, **changes), outcome, 3.14159, released=True)


def passed(**changes: object) -> Outcome:
    """A call that passed."""
    fields: dict[str, Any] = {
        "reason": Reason.VERIFIED,
        "verstat": Verstat.PASSED,
        "orig": ALICE,
        "dest": BOB,
        "signer": "Company A",
        "used_key": "k",
        "claim": CLAIM,
    }
    return Outcome(**(fields | changes))


def lines(path: Path) -> list[dict[str, Any]]:
    """What stands in the file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


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
    assert len(line["rejections"]) == file.MOST_REJECTIONS
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
    assert line["note"] == "two calls claimed this signature; either may be the genuine one"
    assert ALICE not in path.read_text()


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("12125551234", "1212555xxxx"),
        ("+1 (212) 555-1234", "+1 (212) 555-xxxx"),
        ("tel:+12125551234;ext=99", "tel:+1212555xxxx;ext=xx"),
        ("sip:4210@10.1.2.3", "sip:xxxx@xx.x.x.x"),
        ("1.2.1.2.5.5.5.1.2.3.4", "1.2.1.2.5.5.5.x.x.x.x"),
        ("4210", "xxxx"),
        ("123456", "xxxxxx"),
        ("1234567", "123xxxx"),
        ("\u0967\u0968\u0969\u096a5678", "\u0967\u0968\u0969\u096axxxx"),
        ("anonymous", "anonymous"),
        ("", ""),
    ],
)
def test_a_short_number_lacks_its_end(number: str, shown: str) -> None:
    """Four digits of a number that could be dialled, all of a short one, however written."""
    assert shortened(number) == shown


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


@given(
    st.from_regex(r"\+?[0-9]{7,15}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Nd", "Cs"]), max_size=20),
    st.sampled_from(["", "-", " ", ".", ") "]),
)
def test_no_number_gets_through(number: str, around: str, separator: str) -> None:
    """Grouped in whatever way, its last four digits are gone."""
    grouped = separator.join(number)
    shown = hide_digits(f"{around}{grouped}{around}")
    # what is left of the digits is at most all but the last four
    assert re.sub(r"[^0-9]", "", shown) in number[:-4] or len(re.sub(r"\D", "", shown)) <= 11
    assert number[-4:] not in re.sub(r"[^0-9x]", "", shown)
    assert sum(one == "x" for one in shown) >= 4


def test_a_moved_file_is_begun_again(tmp_path: Path) -> None:
    """logrotate renames, and needs no signal."""
    path, old = tmp_path / "calls.jsonl", tmp_path / "calls.jsonl.1"
    output = file._Output(path)
    output.write(b"1\n", more=False)
    path.rename(old)
    output.write(b"2\n", more=False)
    output.write(b"3\n", more=False)
    path.unlink()
    output.write(b"4\n", more=False)
    output.close()
    assert old.read_text() == "1\n"
    assert path.read_text() == "4\n"


def test_an_unwritable_file_costs_lines_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder in its place, no folder around it: said once, and calls go on."""
    for path in (tmp_path, tmp_path / "none/calls.jsonl"):
        caplog.clear()
        log = CallLogFile(path)
        for _ in range(5):
            log.record(record(passed()))
        log.close()
        said = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert len(said) == 1
        assert "1 lines lost" in said[0].getMessage()


def test_a_full_disk_costs_lines_only(caplog: pytest.LogCaptureFixture) -> None:
    """Each is lost, none is waited for, and the thread lives on."""
    log = CallLogFile(Path("/dev/full"))
    for _ in range(12):
        log.record(record(passed()))
    log.close()
    assert not log._thread.is_alive()
    assert "12 lines lost" not in caplog.text
    assert "10 lines lost" in caplog.text
    assert "No space left" in caplog.text


def test_a_line_that_was_cut_off_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next line begins on a line of its own."""
    path = tmp_path / "calls.jsonl"
    output = file._Output(path)
    whole = os.write
    monkeypatch.setattr(os, "write", lambda stream, octets: whole(stream, octets[:3]))
    with pytest.raises(OSError, match="3 of 6"):
        output.write(b"12345\n", more=False)
    monkeypatch.undo()
    output.write(b"next\n", more=False)
    output.write(b"last\n", more=False)
    output.close()
    assert path.read_text() == "123\nnext\nlast\n"


def test_the_queue_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind a disk that hangs memory does not grow, and recording does not wait."""
    monkeypatch.setattr(file, "LONGEST_QUEUE", 3)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # opening a pipe for writing waits for who reads it: a disk that hangs
    log = CallLogFile(path)
    for _ in range(20):
        log.record(record(passed()))
    assert log._queue.qsize() <= 3
    assert "the disk cannot keep up" in caplog.text
    log.close(seconds=0.01)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log.close()
    log._thread.join(2)
    os.close(reader)
    assert not log._thread.is_alive()


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the lines go to standard output, for a journal to keep."""
    output = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", output)
    log = CallLogFile(None)
    log.record(record(passed()))
    log.record(record(passed()))
    log.close()
    assert output.buffer.getvalue().count(b"\n") == 2  # type: ignore[attr-defined]


def test_a_closed_standard_output_costs_lines_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who read the lines has gone: calls go on."""
    output = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", output)
    output.close()
    log = CallLogFile(None)
    log.record(record(passed()))
    log.close()
    assert not log._thread.is_alive()
    assert "1 lines lost" in caplog.text


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


def test_readers_are_told_each_line_as_it_is_queued(tmp_path: Path) -> None:
    """At once, with the numbers as the line has them; one that fails costs nobody his line."""
    heard: list[Mapping[str, object]] = []

    def fails(line: Mapping[str, object]) -> None:
        raise RuntimeError("defect")

    log = CallLogFile(tmp_path / "calls.jsonl", numbers="short", told=(fails, heard.append))
    log.record(record(passed()))
    log.contested(CLAIM, record(passed()))
    assert [one["event"] for one in heard] == ["call", "contested"]
    assert heard[0]["orig"] == shortened(ALICE)
    log.close()
    assert lines(tmp_path / "calls.jsonl") == heard
