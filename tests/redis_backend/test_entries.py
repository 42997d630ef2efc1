"""Entries on Redis: the promises of the store in memory, for several workers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.redis_servers import RedisServer
from pbx_stir.cps.places import Cursor
from pbx_stir.cps.store import MAX_ENTRIES_OF_A_NUMBER, EntryStore, MemoryStore, Placed
from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.arrivals import Announced
from pbx_stir.redis_backend.connection import Connection, Script
from pbx_stir.redis_backend.entries import RedisStore
from pbx_stir.redis_backend.settings import settings as redis_settings
from pbx_stir.stir import sealing

NUMBER = "12125551234"


def sealed() -> bytes:
    """A sealed PASSporT's text on the wire, as far as a CPS can tell."""
    return sealing.to_wire(sealing.dummy(os.urandom(32)))


async def test_it_is_an_entry_store(connection: Connection) -> None:
    """It has what the server asks of a store."""
    store: EntryStore = RedisStore(connection)
    assert store.clock is not None


async def test_stores_of_two_names_share_nothing(connection: Connection, running: Any) -> None:
    """Sealed and unsealed PASSporTs on one Redis: neither is ever given for the other."""
    sealed_ones = RedisStore(connection)
    bare = RedisStore(connection, 60, name=b"pbx-stir-bare", clock=sealed_ones.shared_clock)
    await sealed_ones.add(NUMBER, b"sealed", 0)
    await bare.add(NUMBER, b"bare", 0)
    for store, wire in ((sealed_ones, b"sealed"), (bare, b"bare")):
        async with running(store):
            assert [entry.wire for entry in await store.entries(NUMBER, 0)] == [wire]
            assert [one.entry.wire for one in (await store.under("1212", 0)).placed] == [wire]


@pytest.mark.parametrize("bad", [4, 61])
def test_a_lifetime_out_of_bounds_is_refused(bad: int) -> None:
    """As the store in memory refuses it."""
    with pytest.raises(ValueError, match="lifetime"):
        RedisStore(Connection(redis_settings("redis://127.0.0.1")), bad)


def test_a_cap_that_no_list_holds_is_refused() -> None:
    """64 entries fit into a list, three of them are dummies."""
    with pytest.raises(ValueError, match="caps"):
        RedisStore(Connection(redis_settings("redis://127.0.0.1")), max_entries_of_a_number=62)


async def test_what_is_stored_is_found(connection: Connection) -> None:
    """Octet by octet, under its number alone, newest first; ids have the one form."""
    store = RedisStore(connection)
    wires = [sealed() for _ in range(3)]
    ids = [await store.add(NUMBER, wire, 0) for wire in wires]
    entries = await store.entries(NUMBER, 0)
    assert [entry.id for entry in entries] == ids[::-1]
    assert [entry.wire for entry in entries] == wires[::-1]
    assert {len(entry_id) for entry_id in ids} == {22}
    assert list(await store.entries("12125551235", 0)) == []


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"eyJ.eyJ.sig",
        b"A" * 4144,
        bytes(range(256)),
        b"A" * 5526,
        b"A" + bytes(5525),
        sealed() + b"\n",
    ],
)
async def test_any_text_comes_back_as_it_was(connection: Connection, wire: bytes) -> None:
    """Also one that is not a sealed PASSporT, and one that has as many octets as one."""
    store = RedisStore(connection)
    await store.add(NUMBER, wire, 0)
    assert [entry.wire for entry in await store.entries(NUMBER, 0)] == [wire]


async def test_octets_are_kept_decoded(shared_server: RedisServer) -> None:
    """A sealed PASSporT takes its 4,144 octets and what Redis adds: less than its text would."""
    shared_server.ask("FLUSHALL")
    connection = Connection(replace(redis_settings(shared_server.url), command_seconds=5.0))
    await RedisStore(connection).add(NUMBER, sealed(), 0)
    key = b"pbx-stir:{%s}" % NUMBER.encode()
    assert await connection.run(key, "XLEN", key) == 1
    usage = await connection.run(key, "MEMORY", "USAGE", key)
    await connection.close()
    assert usage < 6500


async def test_a_full_number_drops_the_oldest_of_the_greediest(connection: Connection) -> None:
    """A flood pushes out the flood, not the one entry of somebody else."""
    store = RedisStore(connection, max_entries_of_a_number=4)
    genuine = await store.add(NUMBER, b"genuine", 0, owner="company")
    flood = [await store.add(NUMBER, b"flood", 0, owner="flooder") for _ in range(9)]
    ids = [entry.id for entry in await store.entries(NUMBER, 0)]
    assert ids == [*flood[:-4:-1], genuine]


async def test_many_at_once_stay_within_the_cap(connection: Connection) -> None:
    """Counting and dropping are one step: no number of workers exceeds a number's cap."""
    store = RedisStore(connection)
    await asyncio.gather(*(store.add(NUMBER, b"x", 0, owner=str(one % 7)) for one in range(150)))
    assert len(await store.entries(NUMBER, 0)) == MAX_ENTRIES_OF_A_NUMBER


async def test_an_entry_lives_exactly_its_lifetime(connection: Connection) -> None:
    """One that is past it is not given, even where the server still holds its key."""
    store = RedisStore(connection, 5)
    key = b"pbx-stir:{%s}" % NUMBER.encode()
    seconds, micros = (int(part) for part in await connection.run(key, "TIME"))
    now = seconds * 1000 + micros // 1000
    for age, name in ((5000, b"over"), (3500, b"alive")):
        place = b"%d-0" % (now - age)
        await connection.run(key, *("XADD", key, place, "i", name, "o", "", "w", name))
    assert [entry.id for entry in await store.entries(NUMBER, 0)] == ["alive"]
    await store.add(NUMBER, b"new", 0)
    assert await connection.run(key, "XLEN", key) == 2
    assert 4000 < await connection.run(key, "PTTL", key) <= 5000


# Two numbers, three owners: what is stored in which order.
_steps = st.lists(
    st.tuples(st.sampled_from(["12125551234", "12125551235"]), st.sampled_from(["", "a", "b"])),
    max_size=25,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps, cap=st.integers(1, 6))
async def test_it_holds_what_the_store_in_memory_holds(
    shared_server: RedisServer, steps: list[tuple[str, str]], cap: int
) -> None:
    """Whatever is stored by whom: both drop the same entries and list the same order."""
    shared_server.ask("FLUSHALL")
    connection = Connection(replace(redis_settings(shared_server.url), command_seconds=5.0))
    store = RedisStore(connection, max_entries_of_a_number=cap)
    model = MemoryStore(max_entries_of_a_number=cap)
    for moment, (number, owner) in enumerate(steps):
        wire = b"%d" % moment
        await store.add(number, wire, 0, owner=owner)
        await model.add(number, wire, moment / 100, owner=owner)
    for number in ("12125551234", "12125551235"):
        held = [entry.wire for entry in await store.entries(number, 0)]
        assert held == [entry.wire for entry in await model.entries(number, 1)]
    await connection.close()


async def test_arrivals_are_told_at_every_worker(
    connection: Connection, running: Any, eventually: Any
) -> None:
    """Each entry once, with its octets, whichever worker took it."""
    mine, theirs = RedisStore(connection), RedisStore(connection)
    told: list[Placed] = []
    async with running(mine), running(theirs):
        end = theirs.arrivals(told.append)
        numbers = [str(12125550000 + each) for each in range(20)]
        ids = [await mine.add(number, number.encode(), 0) for number in numbers]

        async def all_told() -> bool:
            return len(told) >= len(ids)

        await eventually(all_told)
        assert {(one.number, one.entry.id, one.entry.wire) for one in told} == {
            (number, entry_id, number.encode())
            for number, entry_id in zip(numbers, ids, strict=True)
        }
        end()
        await mine.add(NUMBER, b"later", 0)

        async def known() -> bool:
            return len((await theirs.under(NUMBER, 0)).placed) == 1

        await eventually(known)
        assert len(told) == len(ids)


async def test_what_cannot_be_read_is_said_to_be_lost(connection: Connection) -> None:
    """Of several arrivals the others are told, before the loss or after it."""
    store = RedisStore(connection)
    numbers = [str(12125550000 + each) for each in range(3)]
    for number in numbers:
        await store.add(number, number.encode(), 0)
    entries = {number: await store.entries(number, 0) for number in numbers}
    heard: list[str] = []
    end = store.arrivals(lambda placed: heard.append(placed.number), lambda: heard.append("lost"))
    read = connection.script

    async def script(script: Script, keys: Sequence[bytes], *rest: object) -> object:
        if numbers[1].encode() in keys[0]:
            raise StoreUnavailable("no answer in time")
        return await read(script, keys, *rest)

    connection.script = script  # type: ignore[method-assign,assignment]
    announced = [
        Announced(round(entry.arrival * 1000), entry.id, number, place)
        for number in numbers
        for entry in entries[number]
        for place in [await _place(connection, number)]
    ]
    await store._tell(announced)
    assert heard == [numbers[0], "lost", numbers[2]]
    end()
    await store._tell(announced)
    assert len(heard) == 3


async def _place(connection: Connection, number: str) -> bytes:
    """Where the one entry of a number is."""
    key = b"pbx-stir:{%s}" % number.encode()
    return (await connection.run(key, "XRANGE", key, "-", "+"))[0][0]


async def test_entries_are_found_by_prefix(
    connection: Connection, running: Any, eventually: Any
) -> None:
    """Page by page, newest first, at another worker than the one that took them."""
    mine, theirs = RedisStore(connection), RedisStore(connection)
    async with running(theirs):
        ids = []
        for each in range(11):
            ids.append(await mine.add(f"1212555{each:04}", b"in", 0))
            await mine.add(f"1646555{each:04}", b"out", 0)

        async def all_known() -> bool:
            return len((await theirs.under("1", 0)).placed) == 22

        await eventually(all_known)
        for prefix in ("1212555", "121"):
            found: list[Placed] = []
            cursor: Cursor | None = None
            while True:
                page, cursor = await theirs.under(prefix, 0, before=cursor, most=4)
                found += page
                if cursor is None:
                    break
            assert sorted(one.entry.id for one in found) == sorted(ids)
            moments = [one.entry.arrival for one in found]
            assert moments == sorted(moments, reverse=True)
        one = await theirs.find(ids[0], 0)
        assert one is not None
        assert (one.number, one.entry.wire) == ("12125550000", b"in")
        assert await theirs.find("x" * 22, 0) is None


async def test_a_worker_that_starts_later_knows_what_is_alive(
    connection: Connection, running: Any
) -> None:
    """It reads what was announced before it came."""
    ids = {await RedisStore(connection).add(NUMBER, b"x", 0) for _ in range(5)}
    async with running(RedisStore(connection)) as late:
        assert {one.entry.id for one in (await late.under("1212", 0)).placed} == ids


async def test_an_entrys_owner_is_known_to_every_worker(connection: Connection) -> None:
    """As in memory: for its own number alone, while it lives."""
    store = RedisStore(connection)
    ids = [await store.add(NUMBER, sealed(), 0, owner=owner) for owner in ("one", "", "two")]
    other = RedisStore(connection)
    assert [await other.owner(NUMBER, each, 0) for each in ids] == ["one", "", "two"]
    assert await other.owner("16465550000", ids[0], 0) == ""
    assert await other.owner(NUMBER, "x" * 22, 0) == ""
