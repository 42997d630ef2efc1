"""The shelf of records in a file: as the one in memory, but shared, and there after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pbx_stir import record_database
from pbx_stir.cps.records import REMEMBERED_SECONDS, CheckedRecord, Shelved
from pbx_stir.cps.shelf import MemoryShelf
from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.record_database import RecordDatabase

NOW = 1_800_000_000.0
NUMBER = "12125551234"


def checked(serial: int = 1, number: str = NUMBER, size: int = 10) -> CheckedRecord:
    """A record of Alice's."""
    token = str(serial).ljust(size, "x")
    return CheckedRecord(token, b"Alice", ((number, number),), serial, 1, NOW + 3600)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., RecordDatabase]]:
    """Opens the file, as often as it is called."""
    found: list[RecordDatabase] = []

    def opening(**settings: Any) -> RecordDatabase:
        found.append(RecordDatabase(tmp_path / "state" / "records.sqlite", **settings))
        return found[-1]

    yield opening
    for each in found:
        with contextlib.suppress(RuntimeError):
            each.close()


async def test_a_restart_forgets_nothing(opened: Callable[..., RecordDatabase]) -> None:
    """Neither what is given out nor a serial whose record is over."""
    shelf = opened()
    await shelf.put(NUMBER, checked(7), NOW)
    shelf.close()
    shelf = opened()
    assert await shelf.tokens(NUMBER, NOW) == (checked(7).token,)
    await shelf.sweep(NOW + 3600)
    shelf.close()
    shelf = opened()
    assert await shelf.tokens(NUMBER, NOW + 3600) == ()
    assert await shelf.put(NUMBER, checked(7), NOW) is Shelved.NOT_NEWER
    assert await shelf.put(NUMBER, checked(8), NOW) is Shelved.KEPT


async def test_workers_share_it(opened: Callable[..., RecordDatabase]) -> None:
    """What one takes all give; of two records at once the newer one stays, whoever was first."""
    workers = [opened() for _ in range(3)]
    puts = [workers[each % 3].put(NUMBER, checked(each), NOW) for each in range(1, 31)]
    assert Shelved.KEPT in await asyncio.gather(*puts)
    for worker in workers:
        assert await worker.tokens(NUMBER, NOW) == (checked(30).token,)


def test_only_we_can_read_it(opened: Callable[..., RecordDatabase], tmp_path: Path) -> None:
    """Mode 0600, like everything in state_dir."""
    opened()
    path = tmp_path / "state" / "records.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_unusable_file_is_named(tmp_path: Path) -> None:
    """What cannot be opened, or is no database, is said with its path."""
    (tmp_path / "garbage").write_bytes(b"garbage" * 100)
    for path in (tmp_path / "garbage", tmp_path / "garbage" / "records.sqlite"):
        with pytest.raises(ConfigurationError, match="garbage"):
            RecordDatabase(path)


async def test_its_size_is_bounded(opened: Callable[..., RecordDatabase]) -> None:
    """A full file takes nothing more, but renewals; what expires makes room."""
    shelf = opened(max_octets=400_000)
    numbers = [str(12125550000 + each) for each in range(60)]
    got = [await shelf.put(each, checked(1, each, 10_000), NOW) for each in numbers]
    kept = got.count(Shelved.KEPT)
    assert 20 < kept < 40
    assert got == [Shelved.KEPT] * kept + [Shelved.FULL] * (60 - kept)
    assert await shelf.put(numbers[0], checked(2, numbers[0], 10_000), NOW) is Shelved.KEPT
    await shelf.sweep(NOW + REMEMBERED_SECONDS)
    assert await shelf.put(numbers[-1], checked(2, numbers[-1]), NOW) is Shelved.KEPT


async def test_a_locked_file_is_said_in_time(
    opened: Callable[..., RecordDatabase],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While another holds the file a change fails in bounded time, and works again afterwards."""
    monkeypatch.setattr(record_database, "BUSY_SECONDS", 0.05)
    shelf = opened()
    other = sqlite3.connect(tmp_path / "state" / "records.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="locked"):
            await shelf.put(NUMBER, checked(), NOW)
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    assert await shelf.tokens(NUMBER, NOW) == ()
    other.execute("ROLLBACK")
    other.close()
    assert await shelf.put(NUMBER, checked(), NOW) is Shelved.KEPT


async def test_a_change_is_whole_or_nothing(
    opened: Callable[..., RecordDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What breaks in the middle of a change leaves the record that was there."""
    shelf = opened()
    await shelf.put(NUMBER, checked(1), NOW)
    with monkeypatch.context() as patch:
        patch.setattr(record_database, "prefix_of", lambda span: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await shelf.put(NUMBER, checked(2), NOW)
    assert await shelf.tokens(NUMBER, NOW) == (checked(1).token,)
    assert await shelf.put(NUMBER, checked(2), NOW) is Shelved.KEPT


async def test_a_closed_one_is_unavailable(opened: Callable[..., RecordDatabase]) -> None:
    """A request in the last moment gets its 503."""
    shelf = opened()
    shelf.close()
    with pytest.raises(StoreUnavailable):
        await shelf.tokens(NUMBER, NOW)


NUMBERS = st.integers(1200, 1239).map(str) | st.integers(12, 14).map(str)
SPANS = st.lists(
    st.tuples(NUMBERS, NUMBERS).map(
        lambda both: (min(both), max(both)) if len(both[0]) == len(both[1]) else (both[0],) * 2
    ),
    min_size=1,
    max_size=3,
    unique=True,
)


class Shelves(RuleBasedStateMachine):
    """The two shelves beside each other; the file is closed and opened again now and then."""

    @initialize()
    def begin(self) -> None:
        """Begin with nothing."""
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.memory = MemoryShelf()
        self.file = self.opened()
        self.now = NOW
        self.made = 0
        self.newest: dict[tuple[bytes, str], int] = {}

    def opened(self) -> RecordDatabase:
        """Open the file."""
        return RecordDatabase(Path(self.folder.name) / "records.sqlite")

    def both(self, ask: Callable[[Any], Any]) -> Any:
        """Ask both the same, and expect the same."""
        run = self.loop.run_until_complete
        one, other = run(ask(self.memory)), run(ask(self.file))
        assert one == other
        return one

    @rule(
        signer=st.sampled_from([b"a", b"b", b"c", b"d", b"e"]),
        serial=st.integers(0, 6),
        spans=SPANS,
        keys=st.integers(0, 2),
        hours=st.sampled_from([1, 24, 168]),
        which=st.integers(0, 2),
    )
    def put(
        self,
        signer: bytes,
        serial: int,
        spans: list[tuple[str, str]],
        keys: int,
        hours: int,
        which: int,
    ) -> None:
        """Put a record under one of its numbers."""
        self.made += 1
        token = f"{self.made} {signer!r} {serial}"
        exp = self.now + 3600 * hours
        some = CheckedRecord(token, signer, tuple(spans), serial, keys, exp)
        number = spans[which % len(spans)][0]
        got = self.both(lambda shelf: shelf.put(number, some, self.now))
        seen = self.newest.get((signer, number), -1)
        if got is Shelved.KEPT:
            # the promise itself, not what the other one does: whatever was seen in a week bars
            assert serial > seen
            self.newest[signer, number] = serial
        elif got is Shelved.NOT_NEWER:
            assert self.made > 1

    @rule(hours=st.sampled_from([0.1, 1, 30, 100]))
    def wait(self, hours: float) -> None:
        """Let time pass; the machine never goes beyond a week."""
        if self.now + 3600 * hours < NOW + REMEMBERED_SECONDS:
            self.now += 3600 * hours

    @rule()
    def sweep(self) -> None:
        """Sweep both."""
        self.both(lambda shelf: shelf.sweep(self.now))

    @rule()
    def restart(self) -> None:
        """Close the file and open it again."""
        self.file.close()
        self.file = self.opened()

    @rule(number=NUMBERS)
    def look(self, number: str) -> None:
        """Ask for a number."""
        tokens = self.both(lambda shelf: shelf.tokens(number, self.now))
        assert len(tokens) == len({each.split()[1] for each in tokens})

    @rule(prefix=st.sampled_from(["1", "12", "120", "1234", "13", "2"]))
    def look_under(self, prefix: str) -> None:
        """Ask for a prefix: the same records, whatever their order."""

        async def ask(shelf: Any) -> set[str]:
            assert not (await shelf.under(prefix, self.now, "no cursor")).tokens
            found = await shelf.under(prefix, self.now)
            assert found.after == ""
            assert len(found.tokens) == len(set(found.tokens))
            return set(found.tokens)

        self.both(ask)

    @invariant()
    def places_are_right(self) -> None:
        """The index in memory holds what the rows have, no more."""
        if hasattr(self, "memory"):
            assert {place[1] for place in self.memory._places} == set(self.memory._rows)

    def teardown(self) -> None:
        """Tidy up."""
        if hasattr(self, "file"):
            self.file.close()
            self.loop.close()
            self.folder.cleanup()


TestShelves = Shelves.TestCase
TestShelves.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
