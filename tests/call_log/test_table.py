"""What people and programs are shown of calls: nothing that a terminal or a sheet obeys."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.call_log.reading import parsed
from pbx_stir.call_log.table import (
    CSV_COLUMNS,
    Table,
    cell,
    columns_of,
    csv_row,
    json_row,
    safe,
)
from tests.call_log.written import line, octets

ESCAPE = "\x1b]0;owned\x07\x1b[2J\r\n\u202e\u2028\x9b31m\x00"


def test_a_row_fits_a_terminal() -> None:
    """The longest words of every column in 80 columns, and in what else a terminal has."""
    worst = line(
        trunk="a-trunk-with-a-long-name",
        orig="123456789012345",
        dest="sip:somebody@example.com",
        reason="certificate-unavailable",
        verstat="TN-Validation-Failed",
        signer="\u5f20" * 60,
    )
    for width in (80, 100, 119, 120, 132, 200):
        table = Table(width)
        assert columns_of(table.heading()) <= width
        assert max(map(columns_of, table.rows(worst))) <= width
    assert "certificate-unavailable" in Table(80).rows(line(reason="certificate-unavailable"))[1]
    assert "carrier-1" in Table(80).rows(line())[1]


def test_where_nobody_looks_nothing_is_cut() -> None:
    """In a pipe ids and numbers are whole."""
    text = "\n".join(Table(None).rows(line(orig="123456789012345")))
    assert "3f2a9c0e11d2b4a7" in text
    assert "123456789012345" in text


def test_each_day_is_said_once() -> None:
    """Rows have the time of day."""
    table = Table(80)
    assert len(table.rows(line())) == 2
    assert len(table.rows(line())) == 1
    assert len(table.rows(line(time="2026-11-25T08:14:03Z"))) == 2


def test_verdicts_are_told_without_colours_too() -> None:
    """What failed has a mark, and colours are there only where they are wanted."""
    failed = line(verstat="TN-Validation-Failed", reason="bad-signature")
    assert Table(80).rows(failed)[1].endswith("bad-signature !")
    assert "\x1b" not in "".join(Table(80).rows(failed))
    assert "\x1b[31m" in Table(80, colours=True).rows(failed)[1]
    assert "\x1b[32m" in Table(80, colours=True).rows(line())[1]
    none = line(verstat="No-TN-Validation", reason="no-passport")
    assert "\x1b" not in Table(80, colours=True).rows(none)[1]


def test_a_contest_is_a_row() -> None:
    """It names the call that claimed the signature."""
    row = Table(80).rows(line(event="contested", claimed_by="0123456789abcdef"))[1]
    assert "contested by 0123456" in row


@given(st.text(max_size=40), st.sampled_from([None, 80, 200]))
def test_nothing_a_stranger_wrote_reaches_a_terminal_raw(text: str, width: int | None) -> None:
    """No control, no direction, no line end, whatever the field."""
    for wild in (text, text + ESCAPE):
        raw = octets(trunk=wild, orig=wild, dest=wild, reason=wild, id=wild, signer=wild)
        found = parsed(raw)
        if found is None:
            continue
        rows = [*Table(width).rows(found), csv_row(found), json_row(raw)]
        assert all(row.isprintable() for row in rows)


def test_what_is_escaped_can_be_read() -> None:
    """As Python and C write it."""
    assert safe("a\x1b[2Jb") == r"a\x1b[2Jb"
    assert safe("Zo\xeb \u5f20") == "Zo\xeb \u5f20"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(start: str) -> None:
    """An apostrophe goes before it; a number without a sign stands as it is."""
    row = csv_row(line(signer=f"{start}cmd|' /C calc'!A0"))
    (cells,) = csv.reader(io.StringIO(row))
    found = dict(zip(CSV_COLUMNS, cells, strict=True))
    assert found["signer"].startswith("'")
    assert found["orig"] == "12125551234"
    assert found["ms"] == "7.5"
    assert found["released"] == "yes"


@given(st.text(max_size=60))
def test_any_cell_is_harmless(text: str) -> None:
    """Whatever it holds: no formula, one line, and one cell for those who read it."""
    assert not cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert len(next(csv.reader([csv_row(line(signer=text))]))) == len(CSV_COLUMNS)


def test_json_is_the_line() -> None:
    """As it stands in the log, without what syslog has put before it."""
    assert json_row(b"Nov 22 host name: @cee: " + octets()).encode() == octets()
    wild = b'{"time":"2026-11-22T08:14:03Z","trunk":"' + "\x9b\u2028".encode() + b'"}'
    assert json_row(wild).isascii()
    assert json.loads(json_row(wild))["trunk"] == "\x9b\u2028"
