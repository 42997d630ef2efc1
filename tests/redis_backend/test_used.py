"""Single use across machines, by the rules of services.used."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lab.redis_servers import RedisServer
from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.connection import Connection
from pbx_stir.redis_backend.settings import settings
from pbx_stir.redis_backend.used import RedisUsed
from pbx_stir.services.used import Claim, SingleUse, Use, UsedPassports

CALL = Claim("pbx1", "100.1", "100.1", "carrier", "12125551234", "12125551235", "log1")
OTHER = msgspec.structs.replace(CALL, pbx="pbx2", unique_id="200.1", linked_id="200.1")


async def ready(connection: Connection) -> RedisUsed:
    """A machine's memory on a Redis that is known to be new."""
    used = RedisUsed(connection, new_seconds=0)
    await used.look()
    return used


async def test_a_passport_is_used_by_one_call(connection: Connection) -> None:
    """On whichever machine; the same call that asks again has it still."""
    here: SingleUse = await ready(connection)
    there = await ready(connection)
    now = time.time()
    assert (await here.reserve("k", CALL, now + 60, now)).use is Use.FRESH
    assert (await there.reserve("k", CALL, now + 60, now)).use is Use.SAME
    taken = await there.reserve("k", OTHER, now + 60, now)
    assert (taken.use, taken.holder) == (Use.TAKEN, CALL)
    await here.confirm("k", CALL, now)
    assert (await there.reserve("k", OTHER, now + 60, now)).use is Use.TAKEN


async def test_a_leg_that_gives_back_takes_nothing_from_another(connection: Connection) -> None:
    """What a call's second leg has passed by is used, whatever the first did in its hold."""
    used, now = await ready(connection), time.time()
    leg = msgspec.structs.replace(CALL, unique_id="100.2", call_id="log2")
    await used.reserve("k", CALL, now + 60, now)
    assert (await used.reserve("k", leg, now + 60, now)).use is Use.SAME
    await used.give_back("k", CALL, now)
    await used.confirm("k", leg, now)
    assert (await used.reserve("k", OTHER, now + 60, now)).use is Use.TAKEN


async def test_of_many_claims_one_is_first(connection: Connection) -> None:
    """At the same moment, from several machines."""
    machines = [await ready(connection) for _ in range(3)]
    now = time.time()
    claims = [msgspec.structs.replace(CALL, linked_id=str(each)) for each in range(30)]
    found = await asyncio.gather(
        *(
            machines[each % 3].reserve("race", claim, now + 60, now)
            for each, claim in enumerate(claims)
        )
    )
    assert [one.use for one in found].count(Use.FRESH) == 1
    assert [one.use for one in found].count(Use.TAKEN) == 29


async def test_the_memory_ends_with_freshness(connection: Connection) -> None:
    """Redis keeps a use a little longer than it is needed, never for ever."""
    used = await ready(connection)
    now = time.time()
    await used.reserve("gone", CALL, now + 60, now)
    for key in (_name("gone"), b"pbx-stir:call:{%s}" % _digest("pbx1\n100.1")):
        assert 60_000 < await connection.run(key, "PTTL", key) <= 65_000


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest().encode()


def _name(text: str) -> bytes:
    """The key of a PASSporT: which of 64 buckets it is in, then itself."""
    bucket = hashlib.sha256(text.encode()).digest()[0] % 64
    return b"pbx-stir:used:{u%d}:%s" % (bucket, _digest(text))


_steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "confirm", "give_back", "ended"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from([CALL, OTHER, msgspec.structs.replace(CALL, unique_id="100.2")]),
        st.integers(0, 3),
    ),
    max_size=20,
)


@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_steps)
async def test_it_decides_as_the_memory_of_one_process(
    shared_server: RedisServer, steps: list[tuple[str, str, Claim, int]]
) -> None:
    """Whatever the calls do, in which order, and how long they take."""
    shared_server.ask("FLUSHALL")
    connection = Connection(replace(settings(shared_server.url), command_seconds=5.0))
    used, model = await ready(connection), UsedPassports()
    now = time.time()
    for step, key, claim, seconds in steps:
        now += seconds
        found: list[Any] = []
        for memory in (used, model):
            match step:
                case "reserve":
                    found.append(await memory.reserve(key, claim, now + 3600, now))
                case "confirm":
                    found.append(await memory.confirm(key, claim, now))
                case "give_back":
                    found.append(await memory.give_back(key, claim, now))
                case _:
                    found.append(await memory.ended(claim.pbx, claim.unique_id, False, now))
        assert found[0] == found[1]
    await connection.close()


async def test_without_redis_nobody_knows(server: RedisServer) -> None:
    """A reservation fails: the call has no verdict, and no PASSporT passes twice."""
    connection = Connection(replace(settings(server.url), command_seconds=5.0))
    used = await ready(connection)
    now = time.time()
    assert (await used.reserve("k", CALL, now + 60, now)).use is Use.FRESH
    server.kill()
    with pytest.raises(StoreUnavailable):
        await used.reserve("k", OTHER, now + 60, now)
    await connection.close()


async def test_what_cannot_be_read_passes_nobody(connection: Connection) -> None:
    """Somebody else's octets under a key of ours."""
    key = _name("k")
    await connection.run(key, "SET", key, b"{}")
    with pytest.raises(StoreUnavailable):
        await (await ready(connection)).reserve("k", CALL, time.time() + 60, time.time())


@pytest.mark.parametrize("look_first", [True, False])
async def test_what_redis_has_forgotten_passes_nobody(
    server: RedisServer, look_first: bool
) -> None:
    """A PASSporT from before the loss passes no second call; one that was made later does."""
    connection = Connection(replace(settings(server.url), command_seconds=5.0))
    used, now = await ready(connection), time.time()
    assert (await used.reserve("k", CALL, now + 66, now, now)).use is Use.FRESH
    await used.confirm("k", CALL, now)
    server.ask("FLUSHALL")
    new = RedisUsed(connection)
    if look_first:
        # one that was started a moment after: it knows of nothing
        await new.look()
        with pytest.raises(StoreUnavailable, match="nobody knows"):
            await new.reserve("k", OTHER, now + 66, now, now)
        await used.look()
        with pytest.raises(StoreUnavailable, match="lost"):
            await new.reserve("k", OTHER, now + 66, now, now)
    with pytest.raises(StoreUnavailable, match="lost"):
        await used.reserve("k", OTHER, now + 66, now, now)
    # whatever is not known of a PASSporT is thought the worst of
    with pytest.raises(StoreUnavailable, match="lost"):
        await used.reserve("k", OTHER, now + 300, now)
    for key in ("k2", "k3"):
        assert (await used.reserve(key, OTHER, now + 86, now, now + 20)).use is Use.FRESH
        assert (await new.reserve(key, CALL, now + 86, now, now + 20)).use is Use.TAKEN
    await connection.close()


async def test_a_redis_that_may_drop_keys_has_no_say(server: RedisServer, eventually: Any) -> None:
    """It could forget single PASSporTs, which no sentinel shows."""
    server.ask("CONFIG", "SET", "maxmemory", "100mb")
    server.ask("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    connection = Connection(replace(settings(server.url), command_seconds=5.0))
    used, now = RedisUsed(connection, new_seconds=0), time.time()
    running = asyncio.ensure_future(used.run())

    async def is_refused() -> bool:
        try:
            await used.reserve("k", CALL, now + 66, now, now)
        except StoreUnavailable as error:
            return "drops keys" in str(error)
        return False

    await eventually(is_refused)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await connection.close()
