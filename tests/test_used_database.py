"""The single-use memory on disk: shared by listeners, and outliving them."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
import threading
from pathlib import Path

import pytest

from pbx_stir import sqlite_file, used_database
from pbx_stir.errors import ConfigurationError, Unavailable
from pbx_stir.services.used import Claim, Use
from pbx_stir.used_database import UsedDatabase

UNTIL = 100.0


def claim(number: int, *, linked: int | None = None) -> Claim:
    return Claim("pbx", f"u{number}", f"l{linked or number}", "carrier", "1", "2", f"id{number}")


async def test_of_two_listeners_exactly_one_gets_a_passport(tmp_path: Path) -> None:
    """An old and a new listener, or two PBXs, ask at the same moment; one of them has it."""
    listeners = [UsedDatabase(tmp_path / "used.sqlite") for _ in range(2)]
    try:
        for key in range(50):
            found = await asyncio.gather(
                *(one.reserve(f"k{key}", claim(n), UNTIL, 0) for n, one in enumerate(listeners))
            )
            assert sorted(each.use.value for each in found) == ["fresh", "taken"]
    finally:
        for one in listeners:
            one.close()


async def test_a_restart_forgets_no_use(tmp_path: Path) -> None:
    """What was reserved, used, given back or ended before the end is so afterwards."""
    before = UsedDatabase(tmp_path / "used.sqlite")
    for key, number in (("used", 1), ("held", 2), ("back", 3), ("unanswered", 4), ("answered", 5)):
        await before.reserve(key, claim(number), UNTIL, 0)
        if key not in {"held", "back"}:
            await before.confirm(key, claim(number), 0)
    await before.give_back("back", claim(3), 0)
    await before.ended("pbx", "u4", False, 1)
    await before.ended("pbx", "u5", True, 1)
    before.close()
    after = UsedDatabase(tmp_path / "used.sqlite")
    expected = {
        "used": Use.TAKEN,
        "held": Use.TAKEN,
        "back": Use.FRESH,
        "unanswered": Use.AGAIN,
        "answered": Use.TAKEN,
    }
    for key, use in expected.items():
        assert (await after.reserve(key, claim(9), UNTIL, 3)).use is use, key
    after.close()


async def test_a_second_use_that_is_given_back_may_be_taken_by_the_next(tmp_path: Path) -> None:
    """The rules are those of services.used, whoever keeps the entries."""
    one = UsedDatabase(tmp_path / "used.sqlite")
    await one.reserve("k", claim(1), UNTIL, 0)
    await one.confirm("k", claim(1), 0)
    assert (await one.reserve("k", claim(7, linked=1), UNTIL, 0)).use is Use.SAME
    await one.confirm("k", claim(7, linked=1), 0)
    await one.ended("pbx", "u7", False, 0)
    assert (await one.reserve("k", claim(2), UNTIL, 1)).use is Use.TAKEN
    await one.ended("pbx", "u1", False, 0)
    assert (await one.reserve("k", claim(2), UNTIL, 1)).use is Use.AGAIN
    await one.give_back("k", claim(2), 1)
    assert (await one.reserve("k", claim(3), UNTIL, 4)).use is Use.AGAIN
    assert (await one.reserve("k", claim(4), UNTIL, 4)).use is Use.TAKEN
    one.close()


async def test_a_leg_that_gives_back_takes_nothing_from_another(tmp_path: Path) -> None:
    """What a call's second leg has passed by is used, whatever the first did in its hold."""
    one = UsedDatabase(tmp_path / "used.sqlite")
    await one.reserve("k", claim(1), UNTIL, 0)
    assert (await one.reserve("k", claim(2, linked=1), UNTIL, 0)).use is Use.SAME
    await one.give_back("k", claim(1), 0)
    await one.confirm("k", claim(2, linked=1), 0)
    assert (await one.reserve("k", claim(9), UNTIL, 1)).use is Use.TAKEN
    one.close()


async def test_what_is_past_is_removed(tmp_path: Path) -> None:
    """The file holds numbers only for as long as their PASSporTs could be used again."""
    moment = 0.0
    one = UsedDatabase(tmp_path / "used.sqlite", lambda: moment)
    for number in range(100):
        await one.reserve(f"k{number}", claim(number), UNTIL, 0)
        await one.reserve(f"k{number}", claim(1000 + number, linked=number), UNTIL, 0)
    moment = UNTIL + 1
    await one.reserve("late", claim(200), UNTIL + 100, UNTIL + 1)
    one.close()
    database = sqlite3.connect(tmp_path / "used.sqlite")
    assert database.execute("SELECT count(*) FROM used").fetchone() == (1,)
    assert database.execute("SELECT count(*) FROM legs").fetchone() == (0,)
    database.close()


def _fill(path: Path, rows: int) -> None:
    database = sqlite3.connect(path)
    with database:
        database.executemany(
            "INSERT INTO used (key, call, until, entry) VALUES (hex(randomblob(32)), ?, 1, ?)",
            ((f"pbx\n{number}", b"{" * 400) for number in range(rows)),
        )
    database.close()


def _rows(path: Path) -> int:
    database = sqlite3.connect(path)
    [[count]] = database.execute("SELECT count(*) FROM used")
    database.close()
    return int(count)


async def test_no_call_fails_while_much_that_is_past_is_removed(tmp_path: Path) -> None:
    """As after some minutes of the most calls that a machine can take."""
    path = tmp_path / "used.sqlite"
    one = UsedDatabase(path)
    _fill(path, 20_000)
    swept = None
    number = 0
    while swept is None or not swept.done():
        found = await one.reserve(f"k{number}", claim(number), UNTIL, 50)
        assert found.use is Use.FRESH
        number += 1
        swept = swept or one._file._aside.submit(lambda: None)
    one.close()
    assert _rows(path) == number


async def test_a_file_that_is_closing_waits_for_one_part_of_what_is_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes after the next start; and the gaps between the parts are no call's."""
    gaps: list[tuple[float, str]] = []
    entered = threading.Event()
    pause = sqlite_file.SqliteFile.pause

    def seen(file: sqlite_file.SqliteFile, seconds: float) -> bool:
        gaps.append((seconds, threading.current_thread().name))
        entered.set()
        return pause(file, 60)

    monkeypatch.setattr(sqlite_file.SqliteFile, "pause", seen)
    path = tmp_path / "used.sqlite"
    one = UsedDatabase(path)
    _fill(path, 5 * used_database.ROWS_AT_ONCE)
    await one.reserve("k", claim(1), UNTIL, 50)
    assert await asyncio.to_thread(entered.wait, 60)
    one.close()
    assert _rows(path) == 4 * used_database.ROWS_AT_ONCE + 1
    [(seconds, thread)] = gaps
    assert seconds >= used_database.GAP_SECONDS
    assert thread.startswith("used-aside")


async def test_what_is_past_is_removed_though_others_hold_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where calls are so many that it finds no moment, it goes on looking for one."""
    entered = threading.Event()

    def seen(file: sqlite_file.SqliteFile, seconds: float) -> bool:
        assert seconds <= 0.1
        entered.set()
        return not file._closing.wait(0.001)

    monkeypatch.setattr(sqlite_file.SqliteFile, "pause", seen)
    path = tmp_path / "used.sqlite"
    one = UsedDatabase(path)
    _fill(path, 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    one._file.aside("sweep", lambda file: used_database._forget(file, 50, one._file.pause))
    assert await asyncio.to_thread(entered.wait, 60)
    other.execute("ROLLBACK")
    other.close()
    one._file._aside.submit(lambda: None).result()
    one.close()
    assert _rows(path) == 0


async def test_what_ends_now_is_used_still(tmp_path: Path) -> None:
    """A PASSporT may pass up to the last moment of its freshness, that one too."""
    moment = 0.0
    one = UsedDatabase(tmp_path / "used.sqlite", lambda: moment)
    await one.reserve("k", claim(1), UNTIL, 0)
    await one.reserve("k", claim(2, linked=1), UNTIL, 0)
    await one.confirm("k", claim(2, linked=1), 0)
    moment = UNTIL
    await one.reserve("other", claim(3), 2 * UNTIL, UNTIL)
    one._file._aside.submit(lambda: None).result()
    assert one._database.execute("SELECT count(*) FROM legs").fetchone() == (1,)
    assert (await one.reserve("k", claim(4), UNTIL, UNTIL)).use is Use.TAKEN
    one.close()


async def test_the_log_does_not_grow_with_the_calls(tmp_path: Path) -> None:
    """It is brought into the file each so many of them."""
    one = UsedDatabase(tmp_path / "used.sqlite")
    for number in range(500):
        await one.reserve(f"k{number}", claim(number), UNTIL, 0)
        await one.confirm(f"k{number}", claim(number), 0)
        # a checkpoint that is late on a busy machine is waited for here
        one._file._aside.submit(lambda: None).result()
    assert (tmp_path / "used.sqlite-wal").stat().st_size < 6_000_000
    one.close()


async def test_a_step_of_the_clock_forgets_no_use(tmp_path: Path) -> None:
    """Set forth for minutes and back again, it lets no PASSporT pass a second call."""
    moment = 0.0
    one = UsedDatabase(tmp_path / "used.sqlite", lambda: moment)
    assert (await one.reserve("key", claim(1), UNTIL, 0)).use is Use.FRESH
    await one.confirm("key", claim(1), 0)
    for moment in (20.0, 40.0, 60.0):
        await one.reserve(f"other {moment}", claim(2), 2000, 1000 + moment)
    moment = 62.0
    assert (await one.reserve("key", claim(3), UNTIL, 62)).use is Use.TAKEN
    one.close()


async def test_a_lock_that_is_held_ends_in_a_bounded_time(tmp_path: Path) -> None:
    """A process that is frozen in the middle of a change costs the next call its verdict only."""
    one = UsedDatabase(tmp_path / "used.sqlite")
    other = sqlite3.connect(tmp_path / "used.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await one.reserve("k", claim(1), UNTIL, 0)
    other.execute("ROLLBACK")
    other.close()
    assert (await one.reserve("k", claim(1), UNTIL, 0)).use is Use.FRESH
    one.close()


def test_the_file_is_private(tmp_path: Path) -> None:
    """It holds who called whom."""
    UsedDatabase(tmp_path / "state" / "used.sqlite").close()
    path = tmp_path / "state" / "used.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    """A folder or a damaged file is said, with what to do."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged").write_bytes(b"no database at all, and rather long at that" * 50)
    for name in ("folder", "damaged"):
        with pytest.raises(ConfigurationError, match=name):
            UsedDatabase(tmp_path / name)


async def test_a_damaged_entry_is_not_taken_for_a_fresh_one(tmp_path: Path) -> None:
    """What cannot be read says nothing about whether it was used."""
    one = UsedDatabase(tmp_path / "used.sqlite")
    await one.reserve("k", claim(1), UNTIL, 0)
    other = sqlite3.connect(tmp_path / "used.sqlite")
    other.execute("UPDATE used SET entry = '{'")
    other.commit()
    other.close()
    with pytest.raises(Unavailable):
        await one.reserve("k", claim(2), UNTIL, 0)
    one.close()


async def test_silence_is_said_but_not_with_each_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An administrator learns that no call can pass, once a minute."""
    one = UsedDatabase(tmp_path / "used.sqlite")
    one._database.execute("DROP TABLE used")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await one.reserve("k", claim(1), UNTIL, 0)
    one.close()
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == ["no call can pass"]


async def test_no_call_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log cannot be brought into the file, and nothing past removed, calls go on."""
    monkeypatch.setattr(sqlite_file, "this_boot", lambda _: "1" * 32)
    moment = 0.0
    one = UsedDatabase(tmp_path / "used.sqlite", lambda: moment)
    begun, release = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        begun.set()
        assert release.wait(60)

    one._file.aside("hold", hold)
    assert begun.wait(60)
    for number in range(300):
        moment = float(number)
        found = await one.reserve(f"k{number}", claim(number), number + 66, number)
        assert found.use is Use.FRESH
        await one.confirm(f"k{number}", claim(number), number)
    assert (await one.reserve("k299", claim(999), 366, 299)).use is Use.TAKEN
    assert one._database.execute("PRAGMA synchronous").fetchone() == (0,)
    # by no call
    assert (tmp_path / "used.sqlite-wal").stat().st_size > 6_000_000
    release.set()
    one._file._aside.submit(lambda: None).result()
    one.close()
    database = sqlite3.connect(tmp_path / "used.sqlite")
    assert database.execute("SELECT count(*) FROM used").fetchone()[0] < 100
    database.close()


_OTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from pbx_stir.used_database import UsedDatabase
from tests.test_used_database import claim, UNTIL

async def main():
    one = UsedDatabase(Path(sys.argv[1]))
    for number in range(1, 10_000):
        await one.reserve(f"k{number}", claim(number), UNTIL, 0)
        await one.confirm(f"k{number}", claim(number), 0)
        print(number, flush=True)

asyncio.run(main())
"""


async def test_a_process_that_is_killed_forgets_no_use(tmp_path: Path) -> None:
    """What it had taken is taken for another listener at once, and for those that start after."""
    path = tmp_path / "used.sqlite"
    other = UsedDatabase(path)
    root = Path(used_database.__file__).parent.parent
    command = [sys.executable, "-c", _OTHER_PROCESS, str(path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, cwd=root
    )
    assert process.stdout is not None
    last = 0
    # past some checkpoints
    while last < 3 * used_database.CHANGES_A_CHECKPOINT:
        last = int(await process.stdout.readline())
        found = await other.reserve(f"k{last}", claim(20_000), UNTIL, 0)
        assert (found.use, found.holder) == (Use.TAKEN, claim(last))
    process.kill()
    await process.wait()
    for listener in (other, UsedDatabase(path)):
        for number in range(1, last + 1):
            assert (await listener.reserve(f"k{number}", claim(20_000), UNTIL, 0)).use is Use.TAKEN
        listener.close()


async def test_after_a_start_of_the_machine_nothing_passes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may have been used before has no verdict, by whatever the clock says by now; what was
    made since is used once."""
    path = tmp_path / "used.sqlite"
    monkeypatch.setattr(sqlite_file, "this_boot", lambda _: "1" * 32)
    before = UsedDatabase(path)
    assert (await before.reserve("k", claim(1), 1_066, 1_000, 1_000)).use is Use.FRESH
    before.close()
    # what a loss of power makes of it
    path.write_bytes(path.read_bytes()[:100] + bytes(9_000))
    monkeypatch.setattr(sqlite_file, "this_boot", lambda _: "2" * 32)
    listeners = [UsedDatabase(path), UsedDatabase(path)]
    begun = listeners[0]._file.begun
    assert begun is not None
    monkeypatch.setattr(used_database, "since_start", lambda: begun + 20)
    # the clock was an hour behind when the machine started, and is right now
    now = 1_060.0
    for one in listeners:
        for made in (1_000.0, now - 20, now - 20 + 5):
            with pytest.raises(Unavailable, match="made before"):
                await one.reserve("k", claim(2), made + 66, now, made)
        with pytest.raises(Unavailable, match="made before"):
            await one.reserve("k", claim(2), now + 66, now)
    found = [(await one.reserve("new", claim(2), now + 60, now, now - 14)) for one in listeners]
    assert [each.use for each in found] == [Use.FRESH, Use.SAME]
    assert (await listeners[1].reserve("new", claim(3), now + 60, now, now - 14)).use is Use.TAKEN
    for one in listeners:
        one.close()
