"""Tests of pbx_stir.sqlite_file: bounded waits, whole changes, errors that say which file."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from pbx_stir import sqlite_file
from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.sqlite_file import SqliteFile, SqliteTerms

TERMS = SqliteTerms(
    schema="CREATE TABLE IF NOT EXISTS one (n INTEGER)",
    thread="test",
    without_it="nothing works",
    lost="all is lost",
    busy_seconds=0.05,
    answer_seconds=0.3,
    broken=(ZeroDivisionError,),
)


ASIDE = replace(TERMS, changes_a_checkpoint=10)


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to others")
def test_what_root_makes_belongs_to_the_folders_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run by hand makes, or makes anew, nothing that the service cannot open after it."""
    os.chown(tmp_path, 12_345, 23_456)
    path = tmp_path / "one.sqlite"
    for boot in ("1" * 32, "2" * 32):
        monkeypatch.setattr(sqlite_file, "this_boot", lambda _, boot=boot: boot)
        file = SqliteFile(path, replace(TERMS, is_of_one_boot=True))
        assert path.stat().st_size > 0 or (tmp_path / "one.sqlite-wal").stat().st_size > 0
        made = {one.name: one.stat() for one in tmp_path.iterdir()}
        assert set(made) == {"one.sqlite" + end for end in ("", "-wal", "-shm", "-boot")}
        assert {(each.st_uid, each.st_gid) for each in made.values()} == {(12_345, 23_456)}
        assert {each.st_mode & 0o777 for each in made.values()} == {0o600}
        file.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give what is its own to others")
def test_root_gives_away_nothing_that_a_link_leads_to(tmp_path: Path) -> None:
    """Whoever may write the folder gets no other file by a link in it."""
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 12_345, 23_456)
    for end in ("-boot", ""):
        target = tmp_path / f"roots{end}"
        target.touch()
        (state / f"one.sqlite{end}").symlink_to(target)
        with contextlib.suppress(ConfigurationError):
            SqliteFile(state / "one.sqlite", replace(TERMS, is_of_one_boot=True)).close()
        assert target.stat().st_uid == 0
        (state / f"one.sqlite{end}").unlink()


def test_an_open_file_that_is_opened_again_keeps_its_locks(tmp_path: Path) -> None:
    """In one process too, where to close any descriptor of a file would end them."""
    path = tmp_path / "one.sqlite"
    files = [SqliteFile(path, TERMS)]
    files[0].database.execute("BEGIN EXCLUSIVE")
    files[0].database.execute("INSERT INTO one VALUES (1)")
    files[0].database.execute("COMMIT")
    files.append(SqliteFile(path, TERMS))
    files[1].close()
    command = [sys.executable, "-c", _LOOK, path.absolute().as_uri()]
    assert subprocess.run(command, check=False, timeout=60).returncode == 5
    files[0].close()


_LOOK = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1] + "?mode=rw", 0.05, uri=True, isolation_level=None)
try:
    file.execute("PRAGMA locking_mode = EXCLUSIVE")
    file.execute("BEGIN EXCLUSIVE")
except sqlite3.Error as error:
    sys.exit(error.sqlite_errorcode)
"""


@pytest.mark.parametrize("kind", ["folder", "text"])
def test_what_is_no_database_is_named(tmp_path: Path, kind: str) -> None:
    """Where something else lies there, the error says where."""
    path = tmp_path / "one.sqlite"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_text("this is not a database, but a text of more than a hundred letters " * 9)
    with pytest.raises(ConfigurationError, match=r"one\.sqlite") as refused:
        SqliteFile(path, TERMS)
    assert ("all is lost" in refused.value.hint) == (kind == "text")
    assert ("state_dir" in refused.value.hint) == (kind == "folder")


def _no_room(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("schema", "said", "remedy"),
    [
        ("PRAGMA max_page_count = 2; CREATE TABLE one (n); CREATE TABLE two (n)", "full", "room"),
        ("CREATE INDEX IF NOT EXISTS i ON one (no_such)", "no_such", "move one.sqlite, "),
        ("SELECT made_up()", "made_up", "all is lost"),
    ],
)
def test_each_refusal_has_its_remedy(tmp_path: Path, schema: str, said: str, remedy: str) -> None:
    """A full disk is no damaged file, and neither is a folder that nobody may write."""
    SqliteFile(tmp_path / "one.sqlite", TERMS).close()
    (tmp_path / "full").mkdir()
    path = tmp_path / ("full" if said == "full" else "") / "one.sqlite"
    with pytest.raises(ConfigurationError, match=said) as refused:
        SqliteFile(path, replace(TERMS, schema=schema))
    assert remedy in refused.value.hint


def test_a_file_that_another_process_holds(tmp_path: Path) -> None:
    """Is neither damaged nor in the wrong place."""
    other = sqlite3.connect(tmp_path / "one.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigurationError, match="locked") as refused:
        SqliteFile(tmp_path / "one.sqlite", TERMS)
    assert "end the other process" in refused.value.hint
    other.close()


def test_a_disk_without_room_for_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that fills up later."""
    monkeypatch.setattr(SqliteFile, "_make", _no_room)
    with pytest.raises(ConfigurationError, match="No space left") as refused:
        SqliteFile(tmp_path / "one.sqlite", TERMS)
    assert "room" in refused.value.hint


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """By what the error says, whatever was beside it."""
    path = tmp_path / "one.sqlite"
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).write_bytes(os.urandom(9000))
    with pytest.raises(ConfigurationError) as refused:
        SqliteFile(path, TERMS)
    names = re.findall(r"one\.sqlite(?:-\w+)?", refused.value.hint)
    assert len(names) == 3
    for name in names:
        # SQLite may have removed what it laid beside it
        with contextlib.suppress(FileNotFoundError):
            (tmp_path / name).rename(tmp_path / f"{name}.old")
    file = SqliteFile(path, TERMS)
    assert _count(file) == 0
    file.close()


def _add(file: SqliteFile) -> None:
    with file.transaction():
        file.database.execute("INSERT INTO one VALUES (1)")


def _octets_waiting(folder: Path) -> int:
    return (folder / "one.sqlite-wal").stat().st_size


async def test_nobody_waits_for_what_is_done_aside(tmp_path: Path) -> None:
    """What is to be done once more while it waits is done once; the file closes after it."""
    file = SqliteFile(tmp_path / "one.sqlite", ASIDE)
    begun, release = threading.Event(), threading.Event()
    done: list[int] = []

    def hold(_: sqlite3.Connection) -> None:
        begun.set()
        assert release.wait(60)

    file.aside("hold", hold)
    assert begun.wait(60)
    file.aside("next", lambda _: done.append(1))
    file.aside("next", lambda _: done.append(2))
    for _ in range(50):
        await file.run(lambda: _add(file))
    assert await file.run(lambda: _count(file)) == 50
    assert done == []
    release.set()
    file.close()
    assert done == [2]


async def test_the_log_is_brought_into_the_file_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each so many changes and no more often, so that it does not grow with them."""
    times: list[sqlite3.Connection] = []
    bring_in = sqlite_file._bring_in

    def counted(database: sqlite3.Connection) -> None:
        times.append(database)
        bring_in(database)

    monkeypatch.setattr(sqlite_file, "_bring_in", counted)
    file = SqliteFile(tmp_path / "one.sqlite", ASIDE)
    for _ in range(300):
        await file.run(lambda: _add(file))
        # a checkpoint that is late on a busy machine is waited for here
        file._aside.submit(lambda: None).result()
    assert _octets_waiting(tmp_path) < 100 * 4_096
    assert len(times) == 30
    assert file.database not in times
    # its own limit is far away: nobody who changes something does it
    limit = file.database.execute("PRAGMA wal_autocheckpoint").fetchone()[0]
    assert limit == sqlite_file.MOST_PAGES_WAITING
    file.close()


async def test_who_reads_for_long_holds_no_change_up(tmp_path: Path) -> None:
    """What cannot be brought in while he does so is brought in later."""
    file = SqliteFile(tmp_path / "one.sqlite", replace(ASIDE, busy_seconds=60, answer_seconds=20))
    await file.run(lambda: _add(file))
    reader = sqlite3.connect(tmp_path / "one.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM one").fetchone() == (1,)
    for _ in range(50):
        await file.run(lambda: _add(file))
    assert reader.execute("SELECT count(*) FROM one").fetchone() == (1,)
    reader.close()
    file.close()


async def test_a_log_that_nobody_brings_in_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While what goes on aside does not come to an end, whoever makes a change does it."""
    monkeypatch.setattr(sqlite_file, "MOST_PAGES_WAITING", 50)
    file = SqliteFile(tmp_path / "one.sqlite", ASIDE)
    release = threading.Event()
    file.aside("hold", lambda _: release.wait(60))
    for _ in range(500):
        await file.run(lambda: _add(file))
    assert _octets_waiting(tmp_path) < 100 * 4_096
    release.set()
    file.close()


async def test_what_fails_aside_is_told_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes again."""
    caplog.set_level(logging.INFO)
    file = SqliteFile(tmp_path / "one.sqlite", ASIDE)
    file.aside("sweep", lambda database: database.execute("DELETE FROM none"))
    file.aside("checkpoint", lambda database: database.execute("INSERT INTO one VALUES (1)"))
    file._aside.submit(lambda: None).result()
    assert await file.run(lambda: _count(file)) == 1
    file.close()
    assert "sweep: no such table" in caplog.text


@pytest.mark.parametrize(("boot", "forced"), [("1" * 32, 0), ("", 1)])
async def test_what_is_of_one_run_of_the_machine_is_forced_to_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str, forced: int
) -> None:
    """By none of its connections; where nobody knows the run it is, as its terms say."""
    monkeypatch.setattr(sqlite_file, "this_boot", lambda _: boot)
    file = SqliteFile(tmp_path / "one.sqlite", replace(ASIDE, is_of_one_boot=True))
    found = [await file.run(lambda: file.database.execute("PRAGMA synchronous").fetchone()[0])]
    file.aside("look", lambda one: found.append(one.execute("PRAGMA synchronous").fetchone()[0]))
    file.close()
    assert found == [forced, forced]
