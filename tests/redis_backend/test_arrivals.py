"""The index of what is alive, and how a worker keeps it when Redis is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.redis_servers import RedisServer
from pbx_stir.cps.places import Cursor
from pbx_stir.cps.store import Placed
from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.arrivals import Announced, ArrivalIndex
from pbx_stir.redis_backend.connection import Connection
from pbx_stir.redis_backend.entries import RedisStore
from pbx_stir.redis_backend.settings import settings

LIFETIME_MS = 30_000

_announced = st.builds(
    Announced,
    st.integers(0, 100_000),
    st.text("abcdef", min_size=22, max_size=22),
    st.from_regex(r"\A1212555[0-9]{1,4}\Z|\A44[0-9]{2,9}\Z"),
    st.just(b"0-0"),
)


@given(
    st.lists(_announced, max_size=40, unique_by=lambda one: one.id),
    st.sampled_from(["1", "1212555", "12125551", "44", "4420", "999"]),
    st.integers(0, 140_000),
)
def test_the_index_is_what_a_list_would_be(
    announced: list[Announced], prefix: str, now_ms: int
) -> None:
    """Whatever comes in which order: by prefix, newest first, page by page, gone when expired."""
    index = ArrivalIndex(LIFETIME_MS)
    for one in announced:
        assert index.add(one)
        assert not index.add(one)
    index.sweep(now_ms)
    alive = [one for one in announced if one.arrival_ms + LIFETIME_MS > now_ms]
    wanted = sorted(
        (one for one in alive if one.number.startswith(prefix)),
        key=lambda one: (one.arrival_ms, one.id),
        reverse=True,
    )
    assert len(index) == len(alive)
    assert index.walk(prefix, None, 99)[0] == wanted
    for place, one in enumerate(wanted):
        assert index.get(one.id) == one
        cursor = Cursor(one.arrival_ms / 1000, one.id)
        assert index.walk(prefix, cursor, 99)[0] == wanted[place + 1 :]


async def test_a_lost_connection_loses_nothing_alive(
    server: RedisServer, running: Any, eventually: Any
) -> None:
    """What is stored while a worker does not hear it is told late, and nothing is told twice.

    Who listens learns of it when it begins, when the worker no longer says that it is complete.
    """
    deaf, hearing = (
        Connection(replace(settings(server.url), command_seconds=5.0)),
        Connection(replace(settings(server.url), command_seconds=5.0)),
    )
    told: list[Placed] = []
    losses: list[bool] = []
    mine = RedisStore(hearing)
    async with running(RedisStore(deaf)) as theirs:
        theirs.arrivals(told.append, lambda: losses.append(theirs.is_complete))
        ids = [await mine.add("12125551234", b"before", 0)]

        async def heard() -> bool:
            return len(told) == len(ids)

        await eventually(heard)
        assert not losses
        server.ask("CLIENT", "KILL", "TYPE", "normal")

        async def stored() -> bool:
            try:
                ids.append(await mine.add("12125551234", b"meanwhile", 0))
            except StoreUnavailable:
                return False
            return True

        await eventually(stored)
        await eventually(heard)
        assert [one.entry.id for one in told] == ids
        assert losses
        assert not any(losses)

        async def complete() -> bool:
            return theirs.is_complete

        await eventually(complete)
        assert {one.entry.id for one in (await theirs.under("1212", 0)).placed} == set(ids)
    await deaf.close()
    await hearing.close()


async def test_who_has_not_heard_does_not_pretend(server: RedisServer, running: Any) -> None:
    """A bulk retrieval is refused while Redis is lost, and where nothing was heard yet."""
    connection = Connection(replace(settings(server.url), command_seconds=5.0))
    with pytest.raises(StoreUnavailable):
        await RedisStore(connection).under("1212", 0)
    async with running(RedisStore(connection)) as store:
        await store.add("12125551234", b"x", 0)
        server.kill()
        with pytest.raises(StoreUnavailable):
            await store.entries("12125551234", 0)
    await connection.close()
