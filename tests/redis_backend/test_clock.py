"""One clock for all workers: Redis' own."""

from __future__ import annotations

import time

import pytest

from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.clock import SharedClock
from pbx_stir.redis_backend.connection import Connection
from pbx_stir.redis_backend.settings import settings


class Telling:
    """A Redis that tells a time of one's choice."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    async def run(self, _key: bytes, *_command: object) -> object:
        """Answer TIME."""
        now = time.time() + self.ahead
        return [b"%d" % int(now), b"%d" % int(now % 1 * 1_000_000)]


async def test_two_workers_tell_one_time(connection: Connection) -> None:
    """As near as half of what an answer takes."""
    mine, theirs = SharedClock(connection), SharedClock(connection)
    for _ in range(5):
        await mine.ask()
        await theirs.ask()
    assert abs(mine() - theirs()) < 0.5
    assert abs(mine() - time.time()) < 0.5


async def test_it_is_the_time_of_redis() -> None:
    """Not of this machine; and what the first answer said holds until there is a better one."""
    telling = Telling(ahead=3600)
    clock = SharedClock(telling)  # type: ignore[arg-type]
    assert abs(clock() - time.time()) < 1
    await clock.ask()
    assert abs(clock() - time.time() - 3600) < 1
    telling.ahead = 0
    for _ in range(8):
        await clock.ask()
    assert abs(clock() - time.time()) < 1


async def test_without_redis_it_goes_on() -> None:
    """Asking fails, telling does not."""
    connection = Connection(settings("redis://127.0.0.1:1"))
    clock = SharedClock(connection)
    with pytest.raises(StoreUnavailable):
        await clock.ask()
    first = clock()
    assert first <= clock()
    await connection.close()
