"""The dummies' secrets, shared: every worker gives the same dummies."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from lab.redis_servers import RedisServer
from pbx_stir.cps.dummies import Dummies, SecretSource
from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.connection import Connection
from pbx_stir.redis_backend.secrets import SharedSecrets
from pbx_stir.redis_backend.settings import settings

LIFETIME = 30
EPOCH = 3600


async def test_all_workers_give_the_same_dummies(connection: Connection) -> None:
    """Ids, order and octets, for any number, whichever of them asked first."""
    now = time.time()
    workers = [
        Dummies(LIFETIME, epoch_secrets=SharedSecrets(connection, LIFETIME)) for _ in range(3)
    ]
    for worker in workers:
        await worker.prepare(now)
    for number in ("12125551234", "442079460123"):
        shown = [worker.entries(number, now) for worker in workers]
        assert shown[0] == shown[1] == shown[2]
        assert len(shown[0]) in (2, 3)


async def test_without_secrets_there_are_no_dummies(connection: Connection) -> None:
    """Made up ones would not be those of the other workers: a retrieval is refused instead."""
    source: SecretSource = SharedSecrets(connection, LIFETIME)
    dummies = Dummies(LIFETIME, epoch_secrets=source)
    with pytest.raises(StoreUnavailable):
        dummies.entries("12125551234", time.time())
    await dummies.prepare(time.time())
    with pytest.raises(StoreUnavailable):
        dummies.entries("12125551234", time.time() + 10 * EPOCH)


async def test_secrets_differ_and_are_erased_everywhere(connection: Connection) -> None:
    """One an epoch; in memory overwritten, on Redis gone one drawing time after the epoch."""
    source = SharedSecrets(connection, LIFETIME, epoch_seconds=EPOCH)
    epoch = int(time.time() // EPOCH)
    await source.prepare(epoch, epoch + 1)
    first, second = source.of(epoch), source.of(epoch + 1)
    assert len({bytes(first), bytes(second), source.phase_key}) == 3
    key = b"pbx-stir:{dummies}:%d" % epoch
    end = (epoch + 1) * EPOCH + 1.2 * LIFETIME
    left = await connection.run(key, "PTTL", key) / 1000
    assert abs(time.time() + left - end) < 2
    source.erase_before(epoch + 1)
    assert first == bytes(32)
    with pytest.raises(StoreUnavailable):
        source.of(epoch)


async def test_an_epoch_long_over_is_kept_nowhere(connection: Connection) -> None:
    """Its secret would be of no use to anybody but a thief."""
    source = SharedSecrets(connection, LIFETIME)
    epoch = int(time.time() // EPOCH) - 100
    await source.prepare(epoch, epoch)
    key = b"pbx-stir:{dummies}:%d" % epoch
    assert await connection.run(key, "EXISTS", key) == 0


async def test_a_server_that_comes_back_empty_gets_the_same_secrets(
    server: RedisServer, eventually: Any
) -> None:
    """Dummies that changed because Redis was started again would betray themselves."""
    connection = Connection(replace(settings(server.url), command_seconds=5.0))
    old, new = SharedSecrets(connection, LIFETIME), SharedSecrets(connection, LIFETIME)
    epoch = int(time.time() // EPOCH)
    await old.prepare(epoch, epoch)
    before = bytes(old.of(epoch)), old.phase_key
    server.kill()
    with pytest.raises(StoreUnavailable):
        await old.prepare(epoch, epoch)
    server.start()

    async def is_back() -> bool:
        try:
            await old.prepare(epoch, epoch)
        except StoreUnavailable:
            return False
        return True

    await eventually(is_back)
    await new.prepare(epoch, epoch)
    assert (bytes(new.of(epoch)), new.phase_key) == before
    await connection.close()


async def test_what_is_no_secret_is_refused(connection: Connection) -> None:
    """Somebody else's key of that name is no reason to give dummies that anybody can compute."""
    key = b"pbx-stir:{dummies}:7"
    await connection.run(key, "SET", key, b"short")
    with pytest.raises(StoreUnavailable):
        await SharedSecrets(connection, LIFETIME).prepare(7, 7)
