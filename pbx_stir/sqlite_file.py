"""An SQLite file that an event loop uses: asked in a thread, for a bounded time.

Takes work to be done in the file's own thread; gives what it gives. The loop waits for nothing, and
whoever asks waits for a bounded time. Several processes may use one file.

A disk that other programs keep busy takes seconds for what is forced to it. Where ``SqliteTerms``
say so, nothing is; and what is long goes on aside, in a second thread and on a connection of its
own, so that whoever asks does not wait for it: to bring the write-ahead log into the file, to
remove what is past.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pbx_stir.boot_mark import BootMark, this_boot
from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.lane import Lane
from pbx_stir.ownership import give_to_owner

COMPLAINT_SECONDS: Final = 60.0
# 64 MiB: then whoever makes a change brings them into the file, if nobody does so aside
MOST_PAGES_WAITING: Final = 16_384
# changes come while it goes on: it takes less time each time
_TIMES: Final = 5
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# damaged, no database, or one with other tables
_OTHER: Final = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
Result = TypeVar("Result")
Aside = Callable[[sqlite3.Connection], object]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SqliteTerms:
    """How one file is used.

    ``thread`` names its thread; ``without_it`` says in a log what does not work while it does not
    answer, ``lost`` what goes with one that is damaged. ``busy_seconds`` are waited for another
    process, ``answer_seconds`` for all of it. ``synchronous`` is SQLite's word for what a power
    failure may cost. After each ``changes_a_checkpoint`` the write-ahead log is brought into the
    file, aside; 0: now and then, by whoever makes a change. ``is_of_one_boot``: nothing is forced
    to the disk, and the file is begun anew when the machine was; where nobody knows that,
    ``synchronous`` holds. ``broken`` are errors that what lies in the file may cause, beside
    SQLite's own.
    """

    schema: str
    thread: str
    without_it: str
    lost: str
    busy_seconds: float
    answer_seconds: float
    synchronous: str = "NORMAL"
    changes_a_checkpoint: int = 0
    is_of_one_boot: bool = False
    broken: tuple[type[Exception], ...] = ()


class SqliteFile:
    """One file of mode 0600. ``run`` is for the loop; all else is for the work it is given."""

    def __init__(self, path: Path, terms: SqliteTerms) -> None:
        """Open or make the file. Raises ConfigurationError: it cannot be, or is something else."""
        self._path = path
        self._terms = terms
        self._next_complaint = 0.0
        self._thread = Lane(terms.thread)
        self._aside = ThreadPoolExecutor(1, thread_name_prefix=f"{terms.thread}-aside")
        self._lock = threading.Lock()
        self._waiting: dict[str, Aside] = {}
        self._second: sqlite3.Connection | None = None
        self._synchronous = terms.synchronous
        self._mark: BootMark | None = None
        self._changes = 0
        self._closing = threading.Event()
        try:
            self.database = self._open()
        except (OSError, sqlite3.Error) as error:
            self._thread.close()
            self._unmark()
            hint = _remedy(error, path.name, terms.lost)
            raise ConfigurationError(f"{path}: {error}", hint=hint) from error

    @property
    def begun(self) -> float | None:
        """Since when it knows everything, by ``boot_mark.since_start``; None: since ever."""
        return None if self._mark is None else self._mark.begun

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do ``work`` in the thread. Raises StoreUnavailable: nobody knows whether it was done."""
        try:
            return await self._thread.run(work, self._terms.answer_seconds)
        except TimeoutError as error:
            raise self._unavailable(f"no answer in {self._terms.answer_seconds} s") from error
        except (sqlite3.Error, RuntimeError) as error:
            raise self._unavailable(str(error)) from error
        except self._terms.broken as error:
            raise self._unavailable(str(error)) from error

    def aside(self, name: str, work: Aside) -> None:
        """Have ``work`` done, in place of what waits to be done by this ``name``, if it does."""
        with self._lock:
            is_new = name not in self._waiting
            self._waiting[name] = work
        if is_new:
            self._aside.submit(self._do_aside, name)

    def pause(self, seconds: float) -> bool:
        """Wait, in what is done aside, for others to use the file; False: end, it is closing."""
        return not self._closing.wait(seconds)

    def close(self) -> None:
        """Close the file, once what is under way is done."""
        self._closing.set()
        # first: what it does may have something done aside
        self._thread.close()
        self.database.close()
        self._aside.shutdown(wait=True)
        if self._second is not None:
            self._second.close()
        self._unmark()

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        """Do all of it or nothing."""
        self.database.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")
        self._changes += 1
        if 0 < self._terms.changes_a_checkpoint <= self._changes:
            self._changes = 0
            self.aside("checkpoint", _bring_in)

    def _do_aside(self, name: str) -> None:
        with self._lock:
            work = self._waiting.pop(name)
        try:
            if self._second is None:
                self._second = self._connect()
            work(self._second)
        except sqlite3.Error as error:
            # it comes again; what is asked meanwhile says for itself what it cannot do
            _log.info("%s: %s: %s", self._path, name, error)

    def _unavailable(self, why: str) -> StoreUnavailable:
        """Say it, but not each time."""
        if time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + COMPLAINT_SECONDS
            _log.error("%s: %s: %s", self._path, why, self._terms.without_it)
        return StoreUnavailable(f"{self._path}: {why}")

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._terms.is_of_one_boot:
            boot = this_boot(os.environ)
            self._mark = BootMark(self._path, boot)
            if boot and self._mark.is_of_one_boot:
                self._synchronous = "OFF"
        self._make()
        database = self._connect()
        if self._terms.changes_a_checkpoint:
            database.execute(f"PRAGMA wal_autocheckpoint = {MOST_PAGES_WAITING}")
        database.executescript(self._terms.schema)
        return database

    def _make(self) -> None:
        """Make the file where it is missing; what SQLite lays beside it gets its owner and mode."""
        # never one that is there: closing it would end the locks of this process's connections
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with suppress(FileExistsError):
            descriptor = os.open(self._path, flags, 0o600)
            try:
                give_to_owner(self._path.parent, descriptor)
            finally:
                os.close(descriptor)

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self._path,
            timeout=self._terms.busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        # first: it holds for what is next, too
        database.execute(f"PRAGMA synchronous = {self._synchronous}")
        # with a write-ahead log readers and a writer do not wait for each other
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA foreign_keys = ON")
        return database

    def _unmark(self) -> None:
        if self._mark is not None:
            self._mark.close()


def _remedy(error: OSError | sqlite3.Error, name: str, lost: str) -> str:
    """What to do about a file that cannot be opened."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, TimeoutError) or code in _BUSY:
        return "end the other process, then start this one"
    if code in _OTHER:
        files = f"{name}, {name}-wal and {name}-shm"
        return f"stop whatever uses it, move {files} away, then start: {lost}"
    # a full disk is an I/O error to what SQLite maps into memory
    if code in _FULL or getattr(error, "errno", 0) in _NO_ROOM:
        return "make room on the disk; if there is, the disk may be failing"
    return "state_dir must be a folder that the service may write"


def _bring_in(database: sqlite3.Connection) -> None:
    """Bring the log into the file, all of it if it can be: only then is the log begun anew."""
    for _ in range(_TIMES):
        is_busy, pages, done = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if is_busy or pages == done:
            return
