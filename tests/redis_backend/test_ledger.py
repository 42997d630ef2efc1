"""What must not be spent twice, on Redis: also when Redis fails in between."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lab.redis_servers import RedisServer
from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.redis_backend.connection import Connection
from pbx_stir.redis_backend.ledger import RedisLedger
from pbx_stir.redis_backend.sentinels import Sentinels
from pbx_stir.redis_backend.settings import settings
from pbx_stir.tokens.ledger import Counter, Ledger, MemoryLedger


def keys(count: int) -> list[bytes]:
    """Keys that are counted together."""
    tag = secrets.token_bytes(16)
    return [tag + secrets.token_bytes(16) for _ in range(count)]


async def opened(connection: Connection) -> RedisLedger:
    """A worker's ledger on a Redis that is known to be new."""
    ledger = RedisLedger(connection, new_seconds=0)
    await ledger.open()
    return ledger


async def test_once_is_once(connection: Connection) -> None:
    """Of many workers that ask at the same time exactly one hears yes."""
    ledgers: list[Ledger] = [await opened(connection) for _ in range(4)]
    [key] = keys(1)
    found = await asyncio.gather(*(ledger.once(key, 60) for ledger in ledgers * 10))
    assert found.count(True) == 1


async def test_once_is_forgotten_after_its_time(connection: Connection, eventually: Any) -> None:
    """Not before."""
    ledger = await opened(connection)
    [key] = keys(1)
    began = time.monotonic()
    assert await ledger.once(key, 0.3)

    async def again() -> bool:
        return await ledger.once(key, 0.3)

    await eventually(again)
    assert time.monotonic() - began >= 0.29


async def test_a_spend_is_all_or_nothing(connection: Connection) -> None:
    """Where one counter is exhausted none is touched, and its index is told."""
    ledger = await opened(connection)
    first, second = keys(2)
    until = time.time() + 60
    narrow = [Counter(first, 5), Counter(second, 2)]
    assert await ledger.spend(narrow, 2, until) is None
    assert await ledger.spend(narrow, 1, until) == 1
    assert await ledger.spend([Counter(first, 5)], 3, until) is None
    assert await ledger.spend([Counter(first, 5)], 1, until) == 0
    assert await ledger.spend([], 1, until) is None


async def test_counters_are_forgotten_at_their_time(
    connection: Connection, eventually: Any
) -> None:
    """An epoch's counts end with it."""
    ledger = RedisLedger(connection)
    [key] = keys(1)
    until = time.time() + 0.5
    assert await ledger.spend([Counter(key, 1)], 1, until) is None

    async def free() -> bool:
        return await ledger.spend([Counter(key, 1)], 1, time.time() + 60) is None

    await eventually(free)
    assert time.time() >= until - 0.05


async def test_many_at_once_spend_no_more_than_there_is(connection: Connection) -> None:
    """Whoever spends at the same time."""
    ledgers = [RedisLedger(connection) for _ in range(3)]
    counters = [Counter(key, 20) for key in keys(2)]
    spends = (ledgers[each % 3].spend(counters, 1, time.time() + 60) for each in range(60))
    found = await asyncio.gather(*spends)
    assert found.count(None) == 20


async def test_keys_that_lie_apart_are_refused(connection: Connection) -> None:
    """A mistake of the caller, found on one server too."""
    ledger = RedisLedger(connection)
    with pytest.raises(ValueError, match="together"):
        await ledger.spend([Counter(keys(1)[0], 1), Counter(keys(1)[0], 1)], 1, time.time() + 9)
    with pytest.raises(ValueError, match="octets"):
        await ledger.once(b"short", 1)


_spends = st.lists(
    st.tuples(st.lists(st.integers(0, 2), max_size=3, unique=True), st.integers(1, 3)), max_size=12
)


@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_spends, st.lists(st.integers(0, 6), min_size=3, max_size=3))
async def test_it_counts_as_the_ledger_in_memory(
    shared_server: RedisServer, spends: list[tuple[list[int], int]], limits: list[int]
) -> None:
    """Whatever is spent on which counters in which order."""
    connection = Connection(replace(settings(shared_server.url), command_seconds=5.0))
    ledger, model = RedisLedger(connection), MemoryLedger()
    counters = [Counter(key, most) for key, most in zip(keys(3), limits, strict=True)]
    until = time.time() + 60
    for chosen, amount in spends:
        some = [counters[each] for each in chosen]
        assert await ledger.spend(some, amount, until) == await model.spend(some, amount, until)
    await connection.close()


async def test_a_lost_answer_counts_as_spent(server: RedisServer, eventually: Any) -> None:
    """Who was told 503 has spent: asked again, it is the second time."""
    connection = Connection(replace(settings(server.url), command_seconds=0.3))
    ledger = RedisLedger(connection, new_seconds=0)

    async def is_back() -> bool:
        try:
            await ledger.open()
        except StoreUnavailable:
            return False
        return True

    await eventually(is_back)
    proof, token = keys(1)[0], Counter(keys(1)[0], 1)
    until = time.time() + 60
    # What is sent now is carried out when the pause is over, and nobody hears of it.
    server.ask("CLIENT", "PAUSE", "900", "WRITE")
    lost = await asyncio.gather(
        ledger.once(proof, 60), ledger.spend([token], 1, until), return_exceptions=True
    )
    assert [type(one) for one in lost] == [StoreUnavailable, StoreUnavailable]
    await eventually(is_back)
    # Either it was carried out, or it never will be: twice it is not.
    assert [await ledger.once(proof, 60) for _ in range(2)][1] is False
    spent = [await ledger.spend([token], 1, until) for _ in range(2)]
    assert spent[1] == 0
    await connection.close()


async def test_a_server_that_comes_back_empty_is_not_believed(
    server: RedisServer, eventually: Any
) -> None:
    """What was spent before may not be spent again in its window; then all is as ever."""
    connection = Connection(replace(settings(server.url), command_seconds=5.0))
    ledger, other = await opened(connection), await opened(connection)
    [key] = keys(1)
    assert await ledger.once(key, 1.5)
    server.kill()
    server.start()

    async def is_back() -> bool:
        try:
            await other.open()
        except StoreUnavailable:
            return False
        return True

    await eventually(is_back)
    with pytest.raises(StoreUnavailable, match="lost"):
        await ledger.once(key, 1.5)

    async def is_believed() -> bool:
        try:
            return await ledger.once(keys(1)[0], 1.5)
        except StoreUnavailable:
            return False

    await eventually(is_believed)
    await connection.close()


async def test_a_worker_started_anew_hides_no_loss(connection: Connection) -> None:
    """It leaves it to the others to say what an empty Redis is, and believes them."""
    old, new = await opened(connection), RedisLedger(connection)
    [key] = keys(1)
    assert await old.once(key, 90)
    await forget(connection)
    await new.open()
    with pytest.raises(StoreUnavailable, match="nobody knows"):
        await new.once(key, 90)
    await old.open()
    for ledger in (new, old):
        await ledger.open()
        with pytest.raises(StoreUnavailable, match="lost"):
            await ledger.once(key, 90)


async def test_who_knows_better_is_believed_even_late(connection: Connection) -> None:
    """A worker that could not look for long finds what a new one has written, and corrects it."""
    old = await opened(connection)
    [key] = keys(1)
    assert await old.once(key, 90)
    await forget(connection)
    new = await opened(connection)
    with pytest.raises(StoreUnavailable, match="lost"):
        await old.once(key, 90)
    with pytest.raises(StoreUnavailable, match="lost"):
        await new.once(key, 90)
    await new.open()
    with pytest.raises(StoreUnavailable, match="lost"):
        await new.once(key, 90)


async def test_a_new_redis_is_used_after_a_moment(connection: Connection, eventually: Any) -> None:
    """Nobody has said that there was something: then there was nothing."""
    ledger = RedisLedger(connection, new_seconds=0.2)
    running = asyncio.ensure_future(ledger.run())

    async def is_open() -> bool:
        try:
            return await ledger.once(keys(1)[0], 90)
        except StoreUnavailable:
            return False

    await eventually(is_open)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_redis_that_may_drop_keys_is_not_relied_on(
    server: RedisServer, eventually: Any
) -> None:
    """Also where that was set after the start; and relied on again when it was set right."""
    connection = Connection(replace(settings(server.url), command_seconds=5.0))
    sentinels = Sentinels(connection, b"l", new_seconds=0)
    await sentinels.check()
    await sentinels.look()
    assert sentinels.seen(0)
    server.ask("CONFIG", "SET", "maxmemory", "100mb")
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigurationError):
        await sentinels.check()
    with pytest.raises(StoreUnavailable, match="drops keys"):
        sentinels.seen(0)
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await sentinels.check()
    assert sentinels.seen(0)
    await connection.close()


async def forget(connection: Connection) -> None:
    """Make all servers lose all keys."""
    addresses = {connection._owners[slot] for slot in range(16_384)}
    for address in addresses:
        assert address is not None
        await connection._at(address).run("FLUSHALL")
