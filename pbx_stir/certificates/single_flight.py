"""One piece of work at a time for one key, however many wait for it.

Takes a key and a way to start the work; gives its result to all that asked meanwhile. Who gives up
leaves, the work goes on and its result is there for the next; its own end bounds it. It knows
neither what the work is nor how long it may take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from pbx_stir.errors import Unavailable

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SingleFlight(Generic[Key, Result]):
    """The work under way, by key."""

    def __init__(self, *, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """At most ``most`` keys are worked on at the same time; ``clock`` gives seconds."""
        self._most = most
        self._clock = clock
        self._flights: dict[Key, asyncio.Task[Result]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def join(
        self, key: Key, start: Callable[[], Awaitable[Result]], give_up_at: float
    ) -> Result:
        """Wait for the work on ``key``, started now if it is not under way.

        Raises what the work raises, and ``Unavailable`` at ``give_up_at`` (on the clock given) or
        where too much is under way already.
        """
        flight = self.launch(key, start)
        if flight is None:
            raise Unavailable(f"{self._most} look-ups are under way already")
        seconds = max(0.0, give_up_at - self._clock())
        done, _ = await asyncio.wait({flight}, timeout=seconds)
        if not done:
            raise Unavailable("no answer within the time there was")
        if flight.cancelled():
            raise Unavailable("the look-up was broken off")
        return flight.result()

    def launch(
        self, key: Key, start: Callable[[], Awaitable[Result]]
    ) -> asyncio.Task[Result] | None:
        """Start the work on ``key`` in the background; None where too much is under way."""
        flight = self._flights.get(key)
        if flight is not None:
            return flight
        if len(self._flights) >= self._most:
            return None

        async def work() -> Result:
            return await start()

        flight = asyncio.create_task(work())
        self._flights[key] = flight
        flight.add_done_callback(lambda task: self._landed(key, task))
        return flight

    async def close(self) -> None:
        """Break off all that is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _landed(self, key: Key, flight: asyncio.Task[Result]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            # marks it as seen: who gave up no longer asks, and that is no news for the log
            flight.exception()
