"""The one clock that all workers of a CPS have: Redis' own.

A dummy comes and goes by the clock of the worker that is asked. Would two workers' clocks differ,
an entry that comes, goes and comes again were a dummy. So every worker follows the clock of one
Redis server, by asking it the time and counting half the way back.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.connection import Connection

FOLLOW_SECONDS: Final = 2.0
_KEY: Final = b"pbx-stir:{clock}"
_SAMPLES: Final = 8


class SharedClock:
    """Seconds since the epoch by Redis; by this machine as long as Redis was never asked."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._offset = time.time() - time.monotonic()
        # How long the answer took, and what it made of the offset.
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)

    def __call__(self) -> float:
        """Tell the time."""
        return time.monotonic() + self._offset

    async def ask(self) -> None:
        """Compare once; the quickest of the last answers counts. Raises ``StoreUnavailable``."""
        asked = time.monotonic()
        answer = await self._connection.run(_KEY, "TIME")
        answered = time.monotonic()
        try:
            told = int(answer[0]) + int(answer[1]) / 1_000_000
        except (TypeError, ValueError, IndexError) as error:
            raise StoreUnavailable("redis does not tell the time") from error
        self._samples.append((answered - asked, told - (asked + answered) / 2))
        self._offset = min(self._samples)[1]

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                await self.ask()
            except StoreUnavailable:
                # What was known goes on; an old sample would hold against a clock that was set.
                self._samples.clear()
            await asyncio.sleep(FOLLOW_SECONDS)
