"""Calls for people's eyes and for other programs: a table, CSV, JSON.

Takes lines, gives text. What stands in a line may have been chosen by a stranger: nothing that a
terminal would obey, or a spreadsheet calculate, leaves here.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from datetime import date
from typing import Final

from pbx_stir.call_log.reading import CallLine, as_object

NARROWEST: Final = 80
ID_SHOWN: Final = 7
_CUT: Final = "~"
_ROOM_FOR_REASON: Final = 23
_NARROWEST_SIGNER: Final = 12
# what a spreadsheet takes for the beginning of a formula
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
CSV_COLUMNS: Final = (
    "time",
    "event",
    "id",
    "pbx",
    "uniqueid",
    "linkedid",
    "direction",
    "mode",
    "trunk",
    "orig",
    "dest",
    "orig_given",
    "dest_given",
    "verdict",
    "reason",
    "attest",
    "signer",
    "diverted_by",
    "name",
    "ms",
    "released",
    "detail",
)
RED, GREEN, YELLOW, DIM, BOLD, PLAIN = 31, 32, 33, 2, 1, 0


def safe(text: str) -> str:
    """``text`` without anything but what is printed: the rest is escaped."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def paint(text: str, colour: int, *, colours: bool) -> str:
    """``text`` in a colour, where there are colours."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colours and colour else text


def columns_of(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def colour_of(line: CallLine) -> int:
    """Green: it passed or is stored; red: forged or an error; the rest is neither."""
    if line.event == "contested":
        return YELLOW
    if line.verdict in {"passed", "stored", "in-band"}:
        return GREEN
    return RED if line.verdict in {"failed", "error"} else PLAIN


class Table:
    """Rows of calls, ``width`` columns wide; None: as wide as they are, nothing is cut."""

    def __init__(self, width: int | None, *, colours: bool = False) -> None:
        self._cut = width is not None
        self._colours = colours
        spare = max(0, (width or NARROWEST) - NARROWEST)
        number = 12 + min(4, spare // 4)
        spare -= 2 * (number - 12)
        trunk = 9 + min(6, spare // 4)
        spare -= trunk - 9
        # a blank and five columns for the time taken, a blank, and the rest for the signer
        signer = min(40, spare - 7)
        self._is_wide = signer >= _NARROWEST_SIGNER
        ident = ID_SHOWN if self._cut else 16
        self._widths = (8, ident, 3, trunk, number, number, _ROOM_FOR_REASON, 5, signer)
        self._day: date | None = None

    def heading(self) -> str:
        """The names of the columns."""
        names = ["TIME", "ID", "DIR", "TRUNK", "FROM", "TO", "REASON"]
        if self._is_wide:
            names += ["MS", "SIGNER"]
        return paint(self._joined(names), BOLD, colours=self._colours)

    def rows(self, line: CallLine) -> list[str]:
        """The row of ``line``, after one with the day where that is another one."""
        at = line.time.astimezone()
        rows = []
        if at.date() != self._day:
            self._day = at.date()
            rows.append(paint(f"{at:%Y-%m-%d %A}", DIM, colours=self._colours))
        reason = line.reason
        if line.event == "contested":
            reason = f"contested by {line.claimed_by[:ID_SHOWN]}"
        elif line.verdict == "failed":
            reason += " !"
        cells = [f"{at:%H:%M:%S}", line.id, line.direction, line.trunk, line.orig, line.dest]
        if self._is_wide:
            cells += [reason, f"{line.ms:.0f}", line.signer]
        else:
            cells.append(reason)
        painted = paint(self._joined(cells), colour_of(line), colours=self._colours)
        return [*rows, painted]

    def _joined(self, cells: Sequence[str]) -> str:
        shown = []
        for cell, width in zip(map(safe, cells), self._widths, strict=False):
            fits = cell
            if self._cut and columns_of(cell) > width:
                # an id is told by its beginning, so there it needs no mark
                mark = "" if width == ID_SHOWN else _CUT
                fits = _beginning(cell, width - len(mark)) + mark
            shown.append(fits + " " * (width - columns_of(fits)))
        return " ".join(shown).rstrip()


def _beginning(text: str, columns: int) -> str:
    while columns_of(text) > columns:
        text = text[:-1]
    return text


def csv_row(line: CallLine | None) -> str:
    """One record (RFC 4180) of ``CSV_COLUMNS``, without its end; None gives their names."""
    if line is None:
        cells: list[str] = list(CSV_COLUMNS)
    else:
        cells = [cell(getattr(line, name)) for name in CSV_COLUMNS[1:]]
        cells.insert(0, line.time.astimezone().isoformat(timespec="milliseconds"))
    plain = ",".join(cells)
    if '"' not in plain and plain.count(",") == len(cells) - 1:
        return plain
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(cells)
    return written.getvalue()


def cell(value: object) -> str:
    """A value as a spreadsheet may have it: an apostrophe before what it would calculate."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return safe(f"'{text}" if text.startswith(_FORMULA) else text)


def json_row(octets: bytes) -> str:
    """The line as it stands, in ASCII without any control character."""
    start = octets.find(b"{")
    text = octets[start:].decode("utf-8", "replace")
    if text.isascii() and text.isprintable():
        return text
    return json.dumps(as_object(octets), separators=(",", ":"))
