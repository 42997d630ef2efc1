"""Tests of pbx_stir.cps.store."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.store import MAX_ENTRIES_OF_A_NUMBER, Entry, MemoryStore
from pbx_stir.cps.wire import is_id
from pbx_stir.stir import sealing

NUMBER = "12125551234"


class Direct:
    """A MemoryStore without its awaits: none of them waits for anything."""

    def __init__(self, *arguments, **settings) -> None:
        self.store = MemoryStore(*arguments, **settings)

    def __len__(self) -> int:
        return len(self.store)

    @property
    def octets(self) -> int:
        """What it says it takes."""
        return self.store.octets

    def __getattr__(self, name):
        method = getattr(self.store, name)

        def done(*arguments, **named):
            try:
                method(*arguments, **named).send(None)
            except StopIteration as end:
                return end.value
            raise AssertionError("it waits")

        return done


def wires(store: Direct, number: str, now: float) -> list[bytes]:
    """What is held for a number, newest first."""
    return [entry.wire for entry in store.entries(number, now)]


def test_an_entry_lives_exactly_its_lifetime() -> None:
    """It is there from its arrival until one lifetime later, and not at that moment."""
    store = Direct(30)
    store.add(NUMBER, b"x", 1000.0)
    assert wires(store, NUMBER, 1000.0) == [b"x"]
    assert wires(store, NUMBER, 1029.999) == [b"x"]
    assert wires(store, NUMBER, 1030.0) == []


def test_numbers_are_kept_apart() -> None:
    """An entry is found under its number only."""
    store = Direct()
    store.add(NUMBER, b"x", 0.0)
    assert wires(store, "12125551235", 0.0) == []


def test_newest_first() -> None:
    """Entries are given newest first, with ids of the one form, all different."""
    store = Direct()
    ids = [store.add(NUMBER, b"%d" % n, float(n)) for n in range(5)]
    assert wires(store, NUMBER, 5.0) == [b"4", b"3", b"2", b"1", b"0"]
    assert [entry.id for entry in store.entries(NUMBER, 5.0)] == ids[::-1]
    assert len(set(ids)) == 5
    assert all(is_id(each) for each in ids)


def test_memory_is_freed_without_a_retrieval() -> None:
    """Ten thousand entries that expire leave the store empty and the memory free after a sweep."""
    tracemalloc.start()
    try:
        store = Direct(5)
        before, _ = tracemalloc.get_traced_memory()
        for each in range(10_000):
            store.add(f"1212555{each % 5000:04}", b"x" * 2000 + b"%d" % each, each / 1e5)
        assert len(store) == 10_000
        held, _ = tracemalloc.get_traced_memory()
        assert held - before > 10_000 * 2000
        store.sweep(10.0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(store), store.octets) == (0, 0)
    assert after - before < 2_000_000


def test_adding_frees_what_has_expired() -> None:
    """A store in use needs no sweep of its own."""
    store = Direct(5)
    store.add(NUMBER, b"x", 0.0)
    store.add("12125551235", b"x", 5.0)
    assert len(store) == 1


def test_a_full_collection_drops_its_oldest() -> None:
    """With one owner the oldest goes, and no other number loses anything."""
    store = Direct(max_entries_of_a_number=3)
    store.add("12125551235", b"other", 0.0)
    for each in range(5):
        store.add(NUMBER, b"%d" % each, 1.0 + each)
    assert wires(store, NUMBER, 6.0) == [b"4", b"3", b"2"]
    assert wires(store, "12125551235", 6.0) == [b"other"]
    assert len(store) == 4


def test_a_flood_into_one_collection_pushes_out_the_flood() -> None:
    """The owner with the most entries of a full collection loses its oldest, nobody else."""
    store = Direct()
    store.add(NUMBER, b"genuine", 0.0, owner="alice")
    for each in range(1000):
        store.add(NUMBER, b"%d" % each, 1.0, owner="mallory")
    held = wires(store, NUMBER, 1.0)
    assert len(held) == MAX_ENTRIES_OF_A_NUMBER
    assert held[-1] == b"genuine"


def test_a_flood_over_many_numbers_pushes_out_the_flood() -> None:
    """The octets of all are bounded, and the greediest owner pays for that."""
    store = Direct(max_octets=100_000)
    store.add(NUMBER, b"genuine" * 100, 0.0, owner="alice")
    for each in range(1000):
        store.add(f"1646555{each:04}", b"x" * 1000, 1.0, owner="mallory")
    assert store.octets <= 100_000
    assert wires(store, NUMBER, 1.0) == [b"genuine" * 100]


@pytest.mark.parametrize("seconds", [0, 4, 61, -1])
def test_a_lifetime_past_freshness_is_refused(seconds: int) -> None:
    """Nothing is kept longer than the freshness of a PASSporT, nor too short to be fetched."""
    with pytest.raises(ValueError, match="lifetime"):
        Direct(seconds)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["1", "2", "3"]),
            st.sampled_from(["", "a", "b"]),
            st.floats(0, 3),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_indexes_agree(steps: list[tuple[str, str, float, bool]]) -> None:
    """After any adds and sweeps the counts, caps and contents agree, and all ends empty."""
    store = Direct(5, max_entries_of_a_number=4, max_octets=10_000)
    now = 0.0
    for number, owner, pause, sweeps in steps:
        now += pause
        added = store.add(number, b"x" * 100, now, owner=owner)
        assert store.entries(number, now)[0].id == added
        if sweeps:
            store.sweep(now)
        held = [entry for each in "123" for entry in store.entries(each, now)]
        assert len(held) <= len(store)
        assert all(len(store.entries(each, now)) <= 4 for each in "123")
        assert store.octets <= 10_000
    store.sweep(now + 5)
    assert (len(store), store.octets) == (0, 0)


def test_under_a_prefix() -> None:
    """All numbers with a prefix are given newest first, a page at a time, short prefixes too."""
    store = Direct(30)
    ids = [store.add(f"1212555{each:04}", b"x", float(each)) for each in range(7)]
    store.add("13125550000", b"other", 7.0)
    for prefix in ("1212555", "1212"):
        first, cursor = store.under(prefix, 8.0, most=4)
        assert [placed.entry.id for placed in first] == ids[:2:-1]
        assert first[0].number == "12125550006"
        rest, end = store.under(prefix, 8.0, before=cursor, most=4)
        assert ([placed.entry.id for placed in rest], end) == (ids[2::-1], None)
        # what has expired meanwhile, the place to go on among it, is the end
        assert store.under(prefix, 33.0, before=cursor, most=4) == ([], None)
    assert len(store.under("1", 8.0).placed) == 8
    last, end = store.under("1212", 30.5)
    assert (last[-1].entry.id, end) == (ids[1], None)
    store.sweep(99.0)
    assert store.under("1", 99.0) == ([], None)


def test_an_entry_is_found_by_its_id() -> None:
    """As long as it lives, and not after that."""
    store = Direct(30)
    entry_id = store.add(NUMBER, b"x", 0.0)
    assert store.find(entry_id, 29.9).number == NUMBER
    assert store.find(entry_id, 30.0) is None
    assert store.find("A" * 22, 0.0) is None


def test_what_was_dropped_is_not_under_its_prefix() -> None:
    """A collection that is full, and a store that is, leave nothing of what goes."""
    store = Direct(30, max_entries_of_a_number=2, max_octets=5_000)
    for each in range(50):
        store.add(f"1212555000{each % 4}", b"x", float(each) / 10)
        found = {placed.entry.id for placed in store.under("1212", 6.0).placed}
        assert len(found) == len(store)
        assert len(store.store._places) == len(store)


def test_places_of_what_has_expired_are_forgotten() -> None:
    """Also where nobody sweeps: what is kept of them is bounded by what there is."""
    store = Direct(5)
    for each in range(5_000):
        store.add(NUMBER, b"x", each / 10)
    assert len(store) <= 50
    assert len(store.store._places) <= 2 * 51 + 1024


def test_arrivals_are_told() -> None:
    """Each entry is told as it arrives, until that is ended."""
    store = MemoryStore(30)
    told = []
    end = store.arrivals(told.append)
    with pytest.raises(StopIteration):
        store.add(NUMBER, b"x", 1.0).send(None)
    end()
    with pytest.raises(StopIteration):
        store.add(NUMBER, b"y", 2.0).send(None)
    assert [(placed.number, placed.entry.wire) for placed in told] == [(NUMBER, b"x")]


@given(st.binary(min_size=16, max_size=16))
def test_a_sealed_entry_is_packed_and_comes_out_as_it_went_in(part: bytes) -> None:
    """Its octets are kept, three quarters of its text; a dummy's are kept in the same way."""
    octets = part * (sealing.SEALED_OCTETS // len(part))
    wire = sealing.to_wire(octets)
    entry = Entry.of(1.0, "id", wire)
    assert (entry.packed, entry.octets, entry.wire) == (True, octets, wire)


def test_octets_are_held_as_their_text_is() -> None:
    """A sealed PASSporT that was taken apart already is the entry that its text would make."""
    octets = bytes(range(256)) * 17
    octets = octets[: sealing.SEALED_OCTETS]
    store = Direct(30)
    store.add(NUMBER, sealing.to_wire(octets), 1000.0)
    size = store.octets
    store.add(NUMBER, octets, 1000.0, packed=True)
    new, old = store.entries(NUMBER, 1000.0)
    assert (new.octets, new.packed, new.wire) == (old.octets, old.packed, old.wire)
    assert store.octets == 2 * size


@given(st.one_of(st.binary(), st.text("Az_=+/ .", min_size=5526, max_size=5526).map(str.encode)))
def test_any_other_entry_is_kept_as_it_stands(wire: bytes) -> None:
    """What is not exactly the text of a sealed PASSporT is not changed by a bit."""
    assert Entry.of(1.0, "id", wire).wire == wire


async def test_an_entrys_owner_is_known_while_it_lives() -> None:
    """For its own number alone; of what is not there nobody is the owner."""
    store = MemoryStore(30)
    entry_id = await store.add(NUMBER, b"x", 0.0, owner="one")
    assert await store.owner(NUMBER, entry_id, 29.9) == "one"
    assert await store.owner(NUMBER, entry_id, 30.0) == ""
    assert await store.owner("16465550000", entry_id, 1.0) == ""
    assert await store.owner(NUMBER, "A" * 22, 1.0) == ""
