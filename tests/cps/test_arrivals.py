"""What a subscription brings is kept for one lifetime, bounded, and fairly between numbers."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.arrivals import Arrivals
from tests.cps.conftest import Clock

ALICE, BOB = "12125551234", "13105552000"


def arrivals(clock: Clock, **bounds: object) -> Arrivals:
    return Arrivals(clock=clock, **bounds)  # type: ignore[arg-type]


def test_newest_first_and_by_number() -> None:
    """A number has what came for it, and nothing of another's."""
    held = arrivals(Clock())
    held.add(BOB, "1", b"one")
    held.add(ALICE, "2", b"other")
    held.add(BOB, "3", b"three")
    assert held.of(BOB) == (b"three", b"one")
    assert held.of(ALICE) == (b"other",)
    assert held.of("1") == ()


def test_an_entry_that_comes_twice_is_one() -> None:
    """A stream that is resumed repeats entries; an id is taken once."""
    held = arrivals(Clock())
    held.add(BOB, "1", b"one")
    held.add(BOB, "1", b"one")
    assert held.of(BOB) == (b"one",)


def test_kept_for_a_lifetime_only() -> None:
    """What came a lifetime ago is neither given nor held."""
    clock = Clock()
    held = arrivals(clock, lifetime_seconds=60.0)
    held.add(BOB, "1", b"one")
    clock.moment += 59.9
    held.add(BOB, "2", b"two")
    assert held.of(BOB) == (b"two", b"one")
    clock.moment += 0.1
    assert held.of(BOB) == (b"two",)
    clock.moment += 60
    held.sweep()
    assert (len(held), held.octets) == (0, 0)


def test_a_flood_on_one_number_pushes_out_its_own() -> None:
    """However much comes for one number, the others keep what they have."""
    held = arrivals(Clock(), most_octets=20 * 700, most_of_a_number=64)
    for index in range(5):
        held.add(f"1212555000{index}", f"genuine {index}", b"g" * 100)
    for index in range(1000):
        held.add(BOB, str(index), b"f" * 100)
    for index in range(5):
        assert held.of(f"1212555000{index}") == (b"g" * 100,)
    assert len(held.of(BOB)) == 15
    assert held.octets <= 20 * 700


def test_a_number_has_a_cap_of_its_own() -> None:
    """Of one number no more is kept than a call would open, the newest."""
    held = arrivals(Clock(), most_of_a_number=3)
    for index in range(5):
        held.add(BOB, str(index), bytes([index]))
    assert held.of(BOB) == (b"\4", b"\3", b"\2")


def test_what_fits_nowhere_is_left_out() -> None:
    """A blob larger than all the room pushes out nothing."""
    held = arrivals(Clock(), most_octets=2000)
    held.add(BOB, "1", b"one")
    held.add(BOB, "2", bytes(2000))
    assert held.of(BOB) == (b"one",)


async def test_who_waits_is_woken() -> None:
    """Something for the number wakes, something for another does not, and wake does."""
    held = arrivals(Clock())
    with held.watched(BOB) as event, held.watched(BOB) as second:
        held.add(ALICE, "1", b"one")
        assert not event.is_set()
        held.add(BOB, "2", b"two")
        assert event.is_set()
        assert second.is_set()
        event.clear()
        held.wake()
        await asyncio.wait_for(event.wait(), 5)
    held.add(BOB, "3", b"three")
    assert not held._waiting


@given(
    st.lists(
        st.tuples(st.sampled_from([ALICE, BOB, "1", "2"]), st.integers(0, 40), st.integers(0, 900)),
        max_size=80,
    )
)
def test_the_books_balance(steps: list[tuple[str, int, int]]) -> None:
    """Whatever comes, counts and octets are those of what is held, within the bounds."""
    clock = Clock()
    held = arrivals(clock, most_octets=6000, most_of_a_number=4)
    for index, (number, after, size) in enumerate(steps):
        clock.moment += after
        held.add(number, str(index), bytes(size))
        blobs = [blob for one in (ALICE, BOB, "1", "2") for blob in held.of(one)]
        assert len(blobs) == len(held)
        assert held.octets == sum(len(blob) + 600 for blob in blobs) <= 6000
        assert held.of(number)[0] == bytes(size)
