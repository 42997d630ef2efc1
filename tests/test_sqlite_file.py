"""Tests of pbx_stir.sqlite_file: bounded waits, whole changes, errors that say which file."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.sqlite_file import SqliteFile, SqliteTerms

TERMS = SqliteTerms(
    schema="CREATE TABLE IF NOT EXISTS one (n INTEGER)",
    thread="test",
    without_it="nothing works",
    busy_seconds=0.05,
    answer_seconds=0.3,
    broken=(ZeroDivisionError,),
)


def _count(file: SqliteFile) -> int:
    return int(file.database.execute("SELECT count(*) FROM one").fetchone()[0])


async def test_a_change_is_whole_or_none(tmp_path: Path) -> None:
    """What fails half-way has changed nothing; what does not is there, also after a restart."""
    file = SqliteFile(tmp_path / "state" / "one.sqlite", TERMS)

    def add(*, fail: bool) -> None:
        with file.transaction():
            file.database.execute("INSERT INTO one VALUES (1)")
            assert 1 // (not fail)

    await file.run(lambda: add(fail=False))
    with pytest.raises(StoreUnavailable):
        await file.run(lambda: add(fail=True))
    file.close()
    again = SqliteFile(tmp_path / "state" / "one.sqlite", TERMS)
    assert await again.run(lambda: _count(again)) == 1
    again.close()
    assert (tmp_path / "state" / "one.sqlite").stat().st_mode & 0o777 == 0o600


async def test_nobody_waits_without_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Work that takes too long, and a file that another process holds: said, once a minute."""
    file = SqliteFile(tmp_path / "one.sqlite", TERMS)
    other = sqlite3.connect(tmp_path / "one.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    def add() -> None:
        with file.transaction():
            file.database.execute("INSERT INTO one VALUES (1)")

    with pytest.raises(StoreUnavailable, match="locked"):
        await file.run(add)
    other.execute("ROLLBACK")
    other.close()
    await file.run(add)
    release = threading.Event()
    with pytest.raises(StoreUnavailable, match="no answer"):
        await file.run(lambda: release.wait(10))
    release.set()
    assert [record.message.count("nothing works") for record in caplog.records] == [1]
    file.close()


@pytest.mark.parametrize("kind", ["folder", "text"])
def test_what_is_no_database_is_named(tmp_path: Path, kind: str) -> None:
    """Where something else lies there, the error says where."""
    path = tmp_path / "one.sqlite"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_text("this is not a database, but a text of more than a hundred letters " * 9)
    with pytest.raises(ConfigurationError, match=r"one\.sqlite"):
        SqliteFile(path, TERMS)
