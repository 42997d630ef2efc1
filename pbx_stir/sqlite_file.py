"""An SQLite file that an event loop uses: asked in a thread, for a bounded time.

Takes work to be done in the file's own thread; gives what it gives. The loop waits for nothing, and
whoever asks waits for a bounded time. Several processes may use one file.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pbx_stir.errors import ConfigurationError, StoreUnavailable

COMPLAINT_SECONDS: Final = 60.0
Result = TypeVar("Result")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SqliteTerms:
    """How one file is used.

    ``thread`` names its thread; ``without_it`` says in a log what does not work while it does not
    answer. ``busy_seconds`` are waited for another process, ``answer_seconds`` for all of it.
    ``synchronous`` is SQLite's word for what a power failure may cost. ``broken`` are errors that
    what lies in the file may cause, beside SQLite's own.
    """

    schema: str
    thread: str
    without_it: str
    busy_seconds: float
    answer_seconds: float
    synchronous: str = "NORMAL"
    broken: tuple[type[Exception], ...] = ()


class SqliteFile:
    """One file of mode 0600. ``run`` is for the loop; all else is for the work it is given."""

    def __init__(self, path: Path, terms: SqliteTerms) -> None:
        """Open or make the file. Raises ConfigurationError: it cannot be, or is something else."""
        self._path = path
        self._terms = terms
        self._next_complaint = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=terms.thread)
        try:
            self.database = self._thread.submit(self._open).result()
        except (OSError, sqlite3.Error) as error:
            self._thread.shutdown()
            hint = "state_dir must be a folder that the service may write"
            raise ConfigurationError(f"{path}: {error}", hint=hint) from error

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do ``work`` in the thread. Raises StoreUnavailable: nobody knows whether it was done."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._terms.answer_seconds):
                return await loop.run_in_executor(self._thread, work)
        except TimeoutError as error:
            raise self._unavailable(f"no answer in {self._terms.answer_seconds} s") from error
        except (sqlite3.Error, RuntimeError) as error:
            raise self._unavailable(str(error)) from error
        except self._terms.broken as error:
            raise self._unavailable(str(error)) from error

    def close(self) -> None:
        """Close the file, once what is under way is done."""
        self._thread.submit(self.database.close)
        self._thread.shutdown(wait=True)

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

    def _unavailable(self, why: str) -> StoreUnavailable:
        """Say it, but not each time."""
        if time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + COMPLAINT_SECONDS
            _log.error("%s: %s: %s", self._path, why, self._terms.without_it)
        return StoreUnavailable(f"{self._path}: {why}")

    def _open(self) -> sqlite3.Connection:
        terms = self._terms
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        database = sqlite3.connect(
            self._path, timeout=terms.busy_seconds, isolation_level=None, check_same_thread=False
        )
        # with a write-ahead log readers and a writer do not wait for each other
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {terms.synchronous}")
        database.execute("PRAGMA foreign_keys = ON")
        database.executescript(terms.schema)
        return database
