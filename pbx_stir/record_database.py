"""The shelf of records that a CPS's workers share, and that outlives them.

An SQLite file in ``state_dir``, by the rules of cps.records. It is asked in a thread of its own:
the event loop waits for nothing, and a request waits for a bounded time; when that is over it gets
``StoreUnavailable``. Each change is one transaction, so that of two workers with two records of one
signer the newer wins, and a process that is killed leaves all of a change or nothing of it. Records
are public: the file is 0600 only because nobody else has anything to do there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pbx_stir.cps.records import (
    CheckedRecord,
    Row,
    Shelved,
    beginnings,
    given,
    place,
    prefix_of,
)
from pbx_stir.cps.shelf import MOST_LOOKED_AT, RecordPage, cursor, page
from pbx_stir.sqlite_file import SqliteFile, SqliteTerms

DEFAULT_MAX_OCTETS: Final = 256 << 20
BUSY_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL,
    signer BLOB NOT NULL,
    serial INTEGER NOT NULL,
    keys INTEGER NOT NULL,
    exp REAL NOT NULL,
    until REAL NOT NULL,
    since REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS record_by_signer ON record (signer);
CREATE INDEX IF NOT EXISTS record_by_until ON record (until);
CREATE INDEX IF NOT EXISTS record_by_exp ON record (exp) WHERE token != '';
CREATE TABLE IF NOT EXISTS span (
    prefix TEXT NOT NULL,
    record INTEGER NOT NULL REFERENCES record (id) ON DELETE CASCADE,
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    PRIMARY KEY (prefix, record, first, last)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS span_by_record ON span (record);
"""
# a list goes in as JSON, so that every statement is one text
_OF_SIGNER = "SELECT * FROM record WHERE signer = ? AND until > ? ORDER BY id"
_HOLDING = """
SELECT * FROM record WHERE exp > ? AND token != '' AND id IN (
    SELECT record FROM span WHERE prefix IN (SELECT value FROM json_each(?))
    AND length(first) = ? AND first <= ? AND last >= ?
)
"""
_ABOVE = """
SELECT DISTINCT prefix, record FROM span
WHERE (prefix, record) > (?, ?) AND prefix IN (SELECT value FROM json_each(?))
ORDER BY prefix, record LIMIT ?
"""
_BELOW = """
SELECT DISTINCT prefix, record FROM span WHERE (prefix, record) > (?, ?) AND prefix < ?
ORDER BY prefix, record LIMIT ?
"""
_NAMED = "SELECT * FROM record WHERE id IN (SELECT value FROM json_each(?))"
_SPANS = "SELECT first, last FROM span WHERE record = ? ORDER BY length(first), first"
_ADD = """
INSERT INTO record (token, signer, serial, keys, exp, until, since) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
# a serial that was answered with 204 must not be forgotten when the power fails
_TERMS = SqliteTerms(
    schema=_SCHEMA,
    thread="records",
    without_it="no record is given or taken",
    lost="records and revocations are gone until their owners publish again",
    busy_seconds=BUSY_SECONDS,
    answer_seconds=ANSWER_SECONDS,
    synchronous="FULL",
)


class RecordDatabase:
    """Implements cps.shelf.RecordShelf over a file of mode 0600."""

    def __init__(self, path: Path, *, max_octets: int = DEFAULT_MAX_OCTETS) -> None:
        """Open or make the file, which may grow to about ``max_octets``.

        Raises:
            ConfigurationError: it cannot be, or is something else
        """
        self._max_octets = max_octets
        self._file = SqliteFile(path, _TERMS)
        self._database = self._file.database

    async def put(self, number: str, record: CheckedRecord, now: float) -> Shelved:
        """See ``RecordShelf``."""

        def change() -> Shelved:
            with self._file.transaction():
                mine = self._of_signer(record.signer, now)
                others = [row for row in self._holding(number, now) if row.signer != record.signer]
                placed = place(record, number, mine, others, now)
                if placed.row is None:
                    return placed.shelved
                if not placed.gone and self._is_full():
                    return Shelved.FULL
                for row in placed.gone:
                    self._database.execute("DELETE FROM record WHERE id = ?", (row.id,))
                for row in placed.cut:
                    self._database.execute("DELETE FROM span WHERE record = ?", (row.id,))
                    self._add_spans(row.id, row)
                self._add(placed.row)
                return placed.shelved

        return await self._file.run(change)

    async def tokens(self, number: str, now: float) -> Sequence[str]:
        """See ``RecordShelf``."""

        def read() -> Sequence[str]:
            with self._file.transaction("DEFERRED"):
                return given(self._holding(number, now), now)

        return await self._file.run(read)

    async def under(self, prefix: str, now: float, after: str = "") -> RecordPage:
        """See ``RecordShelf``."""

        def read() -> RecordPage:
            # one moment for all it reads: another worker may write meanwhile
            with self._file.transaction("DEFERRED"):
                return self._page(prefix, now, after)

        return await self._file.run(read)

    async def sweep(self, now: float) -> None:
        """See ``RecordShelf``."""

        def change() -> None:
            with self._file.transaction():
                self._database.execute(
                    "DELETE FROM record WHERE until <= ? AND exp <= ?", (now,) * 2
                )
                self._database.execute(
                    "UPDATE record SET token = '' WHERE token != '' AND exp <= ?", (now,)
                )

        await self._file.run(change)

    def close(self) -> None:
        """Close the file, once what is under way is done."""
        self._file.close()

    # everything below runs in the file's thread

    def _is_full(self) -> bool:
        """Whether what is in use of the file is beyond its bound; freed pages are used again."""
        count, free, size = (
            int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (count - free) * size > self._max_octets

    def _of_signer(self, signer: bytes, now: float) -> list[Row]:
        """Read what is remembered of a signer."""
        return self._rows(_OF_SIGNER, (signer, now))

    def _holding(self, number: str, now: float) -> list[Row]:
        """Read the rows with a live record of the number."""
        every = json.dumps(list(beginnings(number)))
        return self._rows(_HOLDING, (now, every, len(number), number, number))

    def _page(self, prefix: str, now: float, after: str) -> RecordPage:
        """Read a page: first what ranges above the prefix have, then what is below it."""
        begin, shorter = cursor(after), json.dumps(list(beginnings(prefix[:-1])))
        places = self._database.execute(_ABOVE, (*begin, shorter, MOST_LOOKED_AT)).fetchall()
        below = (*max(begin, (prefix, 0)), prefix + ":", MOST_LOOKED_AT - len(places))
        places += self._database.execute(_BELOW, below).fetchall()
        wanted = json.dumps([each[1] for each in places])
        rows = {row.id: row for row in self._rows(_NAMED, (wanted,))}
        return page([(each, rows[each[1]]) for each in places], prefix, now)

    def _rows(self, select: str, values: Sequence[object]) -> list[Row]:
        """Read rows, each with its spans."""
        found = []
        for each in self._database.execute(select, tuple(values)).fetchall():
            number, token, signer, serial, keys, exp, until, since = each
            spans = tuple(self._database.execute(_SPANS, (number,)).fetchall())
            found.append(Row(token, signer, spans, serial, keys, exp, until, since, number))
        return found

    def _add(self, row: Row) -> None:
        values = (row.token, row.signer, row.serial, row.keys, row.exp, row.until, row.since)
        written = self._database.execute(_ADD, values)
        self._add_spans(written.lastrowid or 0, row)

    def _add_spans(self, number: int, row: Row) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO span (prefix, record, first, last) VALUES (?, ?, ?, ?)",
            [(prefix_of(span), number, *span) for span in row.spans],
        )
