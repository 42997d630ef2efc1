"""The single-use memory that listeners of one machine share, and that outlives them.

An SQLite file in ``state_dir``, by the rules of services.used. It is asked in a thread of its own:
the event loop waits for nothing, and a call waits for a bounded time; when that is over the call
has no verdict. Each change is one transaction, so that of two listeners (two PBXs, or an old and a
new one during an upgrade) exactly one gets a PASSporT.

A process that is killed loses nothing: what it wrote is the kernel's. Nothing is forced to the
disk, since calls would wait for that while other programs keep it busy; so a machine that loses its
power may lose any of it. Therefore the file is begun anew when the machine was, and what was made
before that, or up to 5 s after, has no verdict. (Where nobody tells one run of the machine from
another, changes are forced to the disk now and then, and a loss of power may cost the last; what
was left there by one who forced nothing is begun anew.)
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from pbx_stir.boot_mark import since_start
from pbx_stir.services import used
from pbx_stir.services.known_since import refuse_older
from pbx_stir.services.used import Claim, Entry, Reservation, Use
from pbx_stir.sqlite_file import SqliteFile, SqliteTerms
from pbx_stir.tokens.passed import Passed

BUSY_SECONDS: Final = 0.25
ANSWER_SECONDS: Final = 0.5
SWEEP_SECONDS: Final = 10.0
# some 2 MB of the write-ahead log
CHANGES_A_CHECKPOINT: Final = 100
# a call that comes meanwhile waits for so many rows to go, and not for all
ROWS_AT_ONCE: Final = 100
# then the file is left to calls for longer than that took: SQLite looks but now and then whether it
# is free
GAP_SECONDS: Final = 0.005
_MOST_GAP_SECONDS: Final = 0.1
_GAPS: Final = 4.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS used (
    key TEXT PRIMARY KEY,
    call TEXT NOT NULL,
    until REAL NOT NULL,
    entry BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_by_call ON used (call);
CREATE INDEX IF NOT EXISTS used_by_until ON used (until);
CREATE TABLE IF NOT EXISTS legs (
    call TEXT NOT NULL,
    key TEXT NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (call, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS legs_by_until ON legs (until);
"""
_OF_A_CALL = """
SELECT key, entry FROM used
WHERE call = :call OR key IN (SELECT key FROM legs WHERE call = :call)
"""
_PAST = (
    "DELETE FROM used WHERE key IN (SELECT key FROM used WHERE until < ? LIMIT ?)",
    """
    DELETE FROM legs
    WHERE (call, key) IN (SELECT call, key FROM legs WHERE until < ? LIMIT ?)
    """,
)
_decoder = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()
_TERMS = SqliteTerms(
    schema=_SCHEMA,
    thread="used",
    without_it="no call can pass",
    lost="a PASSporT of the last minute may pass a second call",
    busy_seconds=BUSY_SECONDS,
    answer_seconds=ANSWER_SECONDS,
    changes_a_checkpoint=CHANGES_A_CHECKPOINT,
    is_of_one_boot=True,
    broken=(msgspec.MsgspecError,),
)


class UsedDatabase:
    """Implements services.used.SingleUse over a file of mode 0600."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Open or make the file; ``clock`` is one that never steps.

        Raises:
            ConfigurationError: it cannot be, or is something else
        """
        self._next_sweep = 0.0
        # a clock that was wrong for a moment must not let a PASSporT pass a second call
        self._passed = Passed(clock)
        self._clock = clock
        self._file = SqliteFile(path, _TERMS)
        self._database = self._file.database

    async def reserve(
        self, key: str, claim: Claim, until: float, now: float, made: float | None = None
    ) -> Reservation:
        """Take ``key`` for ``claim``. Raises Unavailable: then nobody knows who has it."""
        if self._file.begun is not None:
            # by the clock as it is now: it may have been wrong when the machine started
            refuse_older(now - (since_start() - self._file.begun), until, made)

        def change() -> Reservation:
            self._sweep(now)
            with self._file.transaction():
                entry, found = used.reserved(self._read(key), claim, until, now)
                if found.use is not Use.TAKEN:
                    self._write(key, entry)
                if found.use is Use.SAME:
                    # ``used.call`` has but one of a call's legs
                    self._database.execute(
                        "INSERT OR REPLACE INTO legs (call, key, until) VALUES (?, ?, ?)",
                        (_call(claim.pbx, claim.unique_id), key, entry.until),
                    )
                return found

        return await self._file.run(change)

    async def confirm(self, key: str, claim: Claim, now: float) -> None:
        """The PBX has taken the verdict."""
        await self._change(key, lambda entry: used.confirmed(entry, claim))

    async def give_back(self, key: str, claim: Claim, now: float) -> None:
        """The call was gone before its verdict."""
        await self._change(key, lambda entry: used.given_back(entry, claim))

    async def ended(self, pbx: str, unique_id: str, answered: bool, now: float) -> None:
        """The call is over."""
        if answered:
            return

        def change() -> None:
            with self._file.transaction():
                rows = self._database.execute(_OF_A_CALL, {"call": _call(pbx, unique_id)})
                for key, entry in rows.fetchall():
                    self._write(key, used.ended(_decoder.decode(entry), pbx, unique_id, now))

        await self._file.run(change)

    def close(self) -> None:
        """Close the file, once what is under way is done."""
        self._file.close()

    async def _change(self, key: str, change_of: Callable[[Entry], Entry | None]) -> None:
        def change() -> None:
            with self._file.transaction():
                entry = self._read(key)
                if entry is None:
                    return
                changed = change_of(entry)
                if changed is None:
                    self._database.execute("DELETE FROM used WHERE key = ?", (key,))
                elif changed != entry:
                    self._write(key, changed)

        await self._file.run(change)

    # everything below runs in the file's thread

    def _read(self, key: str) -> Entry | None:
        row = self._database.execute("SELECT entry FROM used WHERE key = ?", (key,)).fetchone()
        return None if row is None else _decoder.decode(row[0])

    def _write(self, key: str, entry: Entry) -> None:
        values = (key, _call(entry.claim.pbx, entry.claim.unique_id), entry.until)
        self._database.execute(
            "INSERT OR REPLACE INTO used (key, call, until, entry) VALUES (?, ?, ?, ?)",
            (*values, _encoder.encode(entry)),
        )

    def _sweep(self, now: float) -> None:
        # with the first call too: from then on a step of the clock is known for one
        over = self._passed(now)
        if self._clock() >= self._next_sweep:
            self._next_sweep = self._clock() + SWEEP_SECONDS
            self._file.aside("sweep", lambda database: _forget(database, over, self._file.pause))


def _forget(database: sqlite3.Connection, over: float, pause: Callable[[float], bool]) -> None:
    """Remove what is past; with gaps, and not all of it where the file is closing meanwhile."""
    for delete in _PAST:
        is_more = True
        while is_more:
            begun = time.monotonic()
            if not _forgot_some(database, delete, over):
                break
            gap = _GAPS * (time.monotonic() - begun)
            is_more = pause(min(max(GAP_SECONDS, gap), _MOST_GAP_SECONDS))


def _forgot_some(database: sqlite3.Connection, delete: str, over: float) -> bool:
    """Whether there may be more."""
    try:
        return database.execute(delete, (over, ROWS_AT_ONCE)).rowcount == ROWS_AT_ONCE
    except sqlite3.OperationalError as error:
        # calls come before it: it would never be done where they are many
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return True
        raise


def _call(pbx: str, unique_id: str) -> str:
    return f"{pbx}\n{unique_id}"
