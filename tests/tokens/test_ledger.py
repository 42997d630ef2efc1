"""The ledger in memory: once is once, limits hold, and nothing alive is ever forgotten."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import StoreUnavailable
from pbx_stir.tokens.journal import Journal
from pbx_stir.tokens.ledger import LEDGER_BELIEVED_SECONDS, Counter, MemoryLedger

NOW = 1_800_000_000.0


class Clock:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> float:
        """Tell the time."""
        return self.moment


def key(number: int) -> bytes:
    """A key of 32 octets."""
    return number.to_bytes(32, "big")


async def test_once_is_once() -> None:
    """True the first time, False until its time is over, then True again."""
    clock = Clock()
    ledger = MemoryLedger(clock, clock=clock)
    assert await ledger.once(key(1), 60)
    assert await ledger.once(key(2), 60)
    clock.moment += 59.9
    assert not await ledger.once(key(1), 60)
    clock.moment += 0.2
    assert await ledger.once(key(1), 60)
    assert not await ledger.once(key(1), 60)


async def test_once_is_once_for_all_at_the_same_time() -> None:
    """Of a hundred that ask together one hears yes."""
    ledger = MemoryLedger(Clock())
    assert sum(await asyncio.gather(*(ledger.once(key(1), 60) for _ in range(100)))) == 1


async def test_a_counter_reaches_its_most() -> None:
    """The amounts add up to it exactly, and no further."""
    ledger = MemoryLedger(Clock())
    counter = [Counter(key(1), 5)]
    assert await ledger.spend(counter, 3, NOW + 60) is None
    assert await ledger.spend(counter, 3, NOW + 60) == 0
    assert await ledger.spend(counter, 2, NOW + 60) is None
    assert await ledger.spend(counter, 1, NOW + 60) == 0


async def test_a_spend_is_all_or_nothing() -> None:
    """Where one counter is exhausted the others do not move."""
    ledger = MemoryLedger(Clock())
    narrow = [Counter(key(1), 10), Counter(key(2), 1)]
    assert await ledger.spend(narrow, 1, NOW + 60) is None
    for _ in range(20):
        assert await ledger.spend(narrow, 1, NOW + 60) == 1
    assert await ledger.spend(narrow[:1], 9, NOW + 60) is None
    assert await ledger.spend(narrow[:1], 1, NOW + 60) == 0


async def test_counts_end_at_their_time() -> None:
    """Not a moment before, whether or not anything was freed meanwhile."""
    clock = Clock()
    ledger = MemoryLedger(clock, clock=clock)
    assert await ledger.spend([Counter(key(1), 1)], 1, NOW + 60) is None
    clock.moment += 59.999
    assert await ledger.spend([Counter(key(1), 1)], 1, NOW + 60) == 0
    clock.moment += 0.001
    assert await ledger.spend([Counter(key(1), 1)], 1, NOW + 120) is None
    assert await ledger.spend([Counter(key(1), 1)], 1, NOW + 120) == 0


async def test_a_full_ledger_takes_nothing_new_and_forgets_nothing() -> None:
    """What is alive stays; what is new is 503 until something has expired."""
    clock = Clock()
    ledger = MemoryLedger(clock, most=4, clock=clock)
    for number in range(3):
        assert await ledger.once(key(number), 60)
    assert await ledger.spend([Counter(key(9), 2)], 1, NOW + 60) is None
    with pytest.raises(StoreUnavailable):
        await ledger.once(key(4), 60)
    with pytest.raises(StoreUnavailable):
        await ledger.spend([Counter(key(5), 2), Counter(key(6), 2)], 1, NOW + 60)
    for number in range(3):
        assert not await ledger.once(key(number), 60)
    # what stands already needs no room
    assert await ledger.spend([Counter(key(9), 2)], 1, NOW + 60) is None
    assert await ledger.spend([Counter(key(9), 2)], 1, NOW + 60) == 0
    clock.moment += 62
    assert await ledger.once(key(4), 60)


async def test_expired_ones_are_freed_a_little_at_a_time() -> None:
    """A thousand that end together are gone after some calls, not all in one."""
    clock = Clock()
    ledger = MemoryLedger(clock, clock=clock)
    for number in range(1000):
        await ledger.once(key(number), 60)
    clock.moment += 62
    await ledger.once(key(5000), 60)
    assert 900 < len(ledger) < 1000
    for number in range(20):
        await ledger.once(key(6000 + number), 60)
    assert len(ledger) == 21


async def test_what_stands_anew_is_not_freed_with_what_has_expired() -> None:
    """It is used again after its end, before its turn has come to be freed."""
    clock = Clock()
    ledger = MemoryLedger(clock, clock=clock)
    for number in range(200):
        await ledger.once(key(number), 60)
    clock.moment += 62
    assert await ledger.once(key(0), 60)
    for number in range(10):
        await ledger.once(key(6000 + number), 60)
    assert not await ledger.once(key(0), 60)


async def test_what_was_used_by_a_clock_that_was_ahead_is_used_when_its_time_comes() -> None:
    """A proof of the time then is good once more when the clock is right and has come so far."""
    steady, wall = Clock(), Clock()
    ledger = MemoryLedger(wall, clock=steady)
    assert await ledger.once(key(1), 90)
    wall.moment += 200
    assert await ledger.once(key(2), 90)
    wall.moment -= 200
    for _ in range(28):
        steady.moment += 10
        wall.moment += 10
        assert not await ledger.once(key(2), 90)


async def test_what_ends_within_a_second_is_freed_too() -> None:
    """Nothing is left behind by who looks in the second in which it ends, before it does."""
    clock = Clock()
    ledger = MemoryLedger(clock, clock=clock)
    assert await ledger.once(key(1), 60.7)
    clock.moment += 60.2
    assert await ledger.once(key(2), 600)
    clock.moment += 2
    assert await ledger.once(key(3), 600)
    assert len(ledger) == 2


async def test_a_clock_that_is_ahead_removes_nothing_from_the_disk(tmp_path: Path) -> None:
    """What was spent is spent, also where the next process starts when the clock is right again."""
    steady, wall = Clock(), Clock()
    ledger = MemoryLedger(wall, journal=Journal(tmp_path), clock=steady)
    assert await ledger.spend([Counter(key(1), 1)], 1, NOW + 3600) is None
    wall.moment += 2 * 86_400
    for _ in range(5):
        steady.moment += 20
        wall.moment += 20
        await ledger.once(key(2), 60)
    wall.moment -= 2 * 86_400
    ledger.close()
    again = MemoryLedger(wall, journal=Journal(tmp_path), clock=steady)
    assert await again.spend([Counter(key(1), 1)], 1, NOW + 3600) == 0
    again.close()


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """With a journal what was spent is spent for the next process, too, though this one died.

    For some minutes longer: by a clock that is ahead it would seem to have expired.
    """
    clock = Clock()
    journal = Journal(tmp_path)
    ledger = MemoryLedger(clock, journal=journal, clock=clock)
    assert await ledger.once(key(1), 60)
    counters = [Counter(key(2), 3), Counter(key(3), 2)]
    for _ in range(2):
        assert await ledger.spend(counters, 1, NOW + 86_400) is None
    # nothing is said to the first: only the lock goes with its process
    journal.close()
    ledger = MemoryLedger(clock, journal=Journal(tmp_path), clock=clock)
    assert not await ledger.once(key(1), 60)
    assert await ledger.spend(counters, 1, NOW + 86_400) == 1
    assert await ledger.spend(counters[:1], 1, NOW + 86_400) is None
    assert await ledger.spend(counters[:1], 1, NOW + 86_400) == 0
    clock.moment += 60.1
    assert not await ledger.once(key(1), 60)
    clock.moment += LEDGER_BELIEVED_SECONDS
    assert await ledger.once(key(1), 60)
    ledger.close()


async def test_a_clock_that_is_set_forth_and_back_forgets_nothing(tmp_path: Path) -> None:
    """Minutes or days ahead, asked meanwhile or not, what was spent is spent when it is back."""
    wall, clock = Clock(), Clock()
    ledger = MemoryLedger(wall, clock=clock, journal=Journal(tmp_path))
    assert await ledger.once(key(1), 90)
    counter = [Counter(key(2), 1)]
    assert await ledger.spend(counter, 1, NOW + 3600) is None
    for step in (300, 2 * 86_400):
        wall.moment += step
        assert await ledger.once(key(step), 90)
        assert not await ledger.once(key(1), 90)
        assert await ledger.spend(counter, 1, NOW + 3600) == 0
        clock.moment += 40
        wall.moment += 40 - step
        assert not await ledger.once(key(1), 90)
        assert await ledger.spend(counter, 1, NOW + 3600) == 0
    ledger.close()
    again = MemoryLedger(wall, clock=clock, journal=Journal(tmp_path))
    assert not await again.once(key(1), 90)
    clock.moment += LEDGER_BELIEVED_SECONDS
    wall.moment += LEDGER_BELIEVED_SECONDS
    assert await again.once(key(1), 90)
    again.close()


async def test_nothing_is_allowed_that_cannot_be_remembered(tmp_path: Path) -> None:
    """Where the disk takes nothing more the answer is 503, and the count stands as it was."""
    journal = Journal(tmp_path)
    ledger = MemoryLedger(Clock(), journal=journal)
    assert await ledger.spend([Counter(key(1), 2)], 1, NOW + 60) is None
    journal.close()
    shutil.rmtree(tmp_path)
    with pytest.raises(StoreUnavailable):
        await ledger.once(key(2), 60)
    with pytest.raises(StoreUnavailable):
        await ledger.spend([Counter(key(1), 2)], 1, NOW + 60)
    assert len(ledger) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["once", "spend", "wait"]),
            st.integers(0, 4),
            st.integers(1, 3),
        ),
        max_size=60,
    )
)
async def test_it_is_what_a_simple_one_would_be(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is asked in whatever order, the answers are those of two plain tables."""
    clock = Clock()
    ledger = MemoryLedger(clock, clock=clock)
    once: dict[int, float] = {}
    counts: dict[int, tuple[int, float]] = {}
    for what, number, amount in steps:
        now = clock.moment
        if what == "wait":
            clock.moment += 7.5 * amount
        elif what == "once":
            new = once.get(number, 0.0) <= now
            assert await ledger.once(key(number), 20) is new
            if new:
                once[number] = now + 20
        elif what == "spend":
            count, until = counts.get(number, (0, 0.0))
            if until <= now:
                count, until = 0, now + 30
            answer = await ledger.spend([Counter(key(100 + number), 5)], amount, now + 30)
            assert answer == (None if count + amount <= 5 else 0)
            if answer is None:
                counts[number] = (count + amount, until)


async def test_a_start_by_a_clock_that_is_ahead_forgets_nothing(tmp_path: Path) -> None:
    """What was spent just before stays spent when the clock is right again."""
    now, clock = [NOW], [0.0]

    def started() -> MemoryLedger:
        journal = Journal(tmp_path / "spent")
        return MemoryLedger(lambda: now[0], journal=journal, clock=lambda: clock[0])

    ledger = started()
    assert await ledger.once(b"k" * 32, 90)
    ledger.close()
    now[0], clock[0] = NOW + 1_010, 10.0
    ledger = started()
    clock[0], now[0] = 45.0, NOW + 1_045
    await ledger.once(bytes(32), 1)
    clock[0], now[0] = 50.0, NOW + 50
    assert not await ledger.once(b"k" * 32, 90)
    ledger.close()
