"""The single-use memory that listeners of one machine share, and that outlives them.

An SQLite file in ``state_dir``, by the rules of services.used. It is asked in a thread of its own:
the event loop waits for nothing, and a call waits for a bounded time; when that is over the call
has no verdict. Each change is one transaction, so that of two listeners (two PBXs, or an old and a
new one during an upgrade) exactly one gets a PASSporT. A process that is killed loses nothing;
a machine that loses its power may lose the last uses, and its calls with them.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pbx_stir.errors import ConfigurationError, Unavailable
from pbx_stir.services import used
from pbx_stir.services.used import Claim, Entry, Reservation

log = logging.getLogger(__name__)

BUSY_SECONDS: Final = 0.25
ANSWER_SECONDS: Final = 0.5
SWEEP_SECONDS: Final = 10.0
COMPLAINT_SECONDS: Final = 60.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS used (
    key TEXT PRIMARY KEY,
    call TEXT NOT NULL,
    until REAL NOT NULL,
    entry BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_by_call ON used (call);
CREATE INDEX IF NOT EXISTS used_by_until ON used (until);
"""
_decoder = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()
Result = TypeVar("Result")


class UsedDatabase:
    """Implements services.used.SingleUse over a file of mode 0600."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            ConfigurationError: it cannot be, or is something else
        """
        self._path = path
        self._next_sweep = 0.0
        self._next_complaint = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="used")
        try:
            self._database = self._thread.submit(self._open).result()
        except (OSError, sqlite3.Error) as error:
            self._thread.shutdown()
            hint = "state_dir must be a folder that the service may write"
            raise ConfigurationError(f"{path}: {error}", hint=hint) from error

    async def reserve(self, key: str, claim: Claim, until: float, now: float) -> Reservation:
        """Take ``key`` for ``claim``. Raises Unavailable: then nobody knows who has it."""

        def change() -> Reservation:
            with self._transaction():
                self._sweep(now)
                entry, found = used.reserved(self._read(key), claim, until, now)
                if entry.claim is claim:
                    self._write(key, entry)
                return found

        return await self._in_thread(change)

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
            with self._transaction():
                select = "SELECT key, entry FROM used WHERE call = ?"
                rows = self._database.execute(select, (_call(pbx, unique_id),)).fetchall()
                for key, entry in rows:
                    self._write(key, used.ended(_decoder.decode(entry), now))

        await self._in_thread(change)

    def close(self) -> None:
        """Close the file, once what is under way is done."""
        self._thread.submit(self._database.close)
        self._thread.shutdown(wait=True)

    async def _change(self, key: str, change_of: Callable[[Entry], Entry | None]) -> None:
        def change() -> None:
            with self._transaction():
                entry = self._read(key)
                if entry is None:
                    return
                changed = change_of(entry)
                if changed is None:
                    self._database.execute("DELETE FROM used WHERE key = ?", (key,))
                elif changed != entry:
                    self._write(key, changed)

        await self._in_thread(change)

    async def _in_thread(self, change: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await loop.run_in_executor(self._thread, change)
        except TimeoutError as error:
            raise self._unavailable(f"no answer in {ANSWER_SECONDS} s") from error
        except (sqlite3.Error, msgspec.MsgspecError, RuntimeError) as error:
            raise self._unavailable(str(error)) from error

    def _unavailable(self, why: str) -> Unavailable:
        """Say it, but not with each call: while it lasts, none passes."""
        if time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + COMPLAINT_SECONDS
            log.error("%s: %s: no call can pass", self._path, why)
        return Unavailable(f"{self._path}: {why}")

    # everything below runs in the thread

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        database = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # with a write-ahead log a change costs no wait for the disk
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        return database

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

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
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            self._database.execute("DELETE FROM used WHERE until < ?", (now,))


def _call(pbx: str, unique_id: str) -> str:
    return f"{pbx}\n{unique_id}"
