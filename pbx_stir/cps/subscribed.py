"""Retrieval for the verification service: from memory where a subscription is live, else by asking.

Takes a ``CallPlacement`` that asks, and subscriptions; gives answers as they are to be had. Where a
live subscription holds a call's number at a CPS, that CPS is not asked at all: it does not even
learn that a call came (RFC 8816 section 5.5). What is pushed may be a moment behind the store that
the caller waited for, so such a call goes on listening for ``PUSHED_SECONDS`` before it has found
nothing. A subscription that is not live is as if it were not there: the CPS is asked.

A call that waits for a PASSporT stored after it (RFC 9888 section 5) listens on, or asks again at
random moments about every ``AGAIN_SECONDS``, and once more at the end.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from pbx_stir.cps.feeds import Feed
from pbx_stir.services.placement_service import Answer, CallPlacement, StoreResult

PUSHED_SECONDS: Final = 0.1
AGAIN_SECONDS: Final = 0.15
# what of that is chance, so that calls do not ask in step
_JITTER: Final = 0.3

Place = tuple[str, str]


class SubscribedPlacement:
    """Implements services' ``CallPlacement`` and ``Retrieval``; stores pass through."""

    def __init__(
        self,
        placement: CallPlacement,
        feeds: Mapping[str, Feed] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``feeds`` by CPS URL; ``clock`` is that of every ``give_up_at``."""
        self._placement = placement
        self.feeds: Mapping[str, Feed] = feeds or {}
        self._clock = clock
        self._pause = pause
        self._uniform = uniform

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store as the placement within does; see ``CallPlacement``."""
        return await self._placement.store(cps, number, blobs, give_up_at)

    async def retrieve(
        self, wanted: Sequence[Place], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer, None]:
        """See ``Retrieval``. Never raises; close it to end what is still under way."""
        fed = [place for place in wanted if self._live_feed(place) is not None]
        if not fed and wait_until <= self._clock():
            async with aclosing(self._placement.retrieve(wanted, give_up_at)) as answers:
                async for answer in answers:
                    yield answer
            return
        found: asyncio.Queue[Answer | None] = asyncio.Queue()
        search = _Search(self, found, give_up_at, wait_until)
        work = asyncio.create_task(search.all([one for one in wanted if one not in fed], fed))
        try:
            while (answer_or_end := await found.get()) is not None:
                yield answer_or_end
            # a defect is not to look like a CPS that has nothing
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _live_feed(self, place: Place) -> Feed | None:
        cps, number = place
        feed = self.feeds.get(cps)
        return feed if feed is not None and feed.is_live_for(number) else None


class _Search:
    """One call's retrieval: puts answers into ``found``, and None behind the last."""

    def __init__(
        self,
        of: SubscribedPlacement,
        found: asyncio.Queue[Answer | None],
        give_up_at: float,
        wait_until: float,
    ) -> None:
        self._of = of
        self._found = found
        self._give_up_at = give_up_at
        self._wait_until = wait_until

    async def all(self, asked: Sequence[Place], fed: Sequence[Place]) -> None:
        """Ask and listen at the same time."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask(asked, group))
                for place in fed:
                    group.create_task(self._listen(place, group))
        finally:
            self._found.put_nowait(None)

    async def _ask(self, places: Sequence[Place], group: asyncio.TaskGroup) -> None:
        """Ask for what is there; and of each that has answered again, while the call waits."""
        if not places:
            return
        answers = self._of._placement.retrieve(places, self._give_up_at)
        async with aclosing(answers):
            async for answer in answers:
                self._found.put_nowait(answer)
                if self._wait_until > self._of._clock():
                    group.create_task(self._ask_again((answer.cps, answer.number)))

    async def _ask_again(self, place: Place) -> None:
        while (now := self._of._clock()) < self._wait_until:
            seconds = AGAIN_SECONDS * self._of._uniform(1 - _JITTER, 1 + _JITTER)
            await self._of._pause(min(seconds, self._wait_until - now))
            if self._of._clock() >= self._give_up_at:
                return
            answers = self._of._placement.retrieve([place], self._give_up_at)
            async with aclosing(answers):
                async for answer in answers:
                    self._found.put_nowait(answer)

    async def _listen(self, place: Place, group: asyncio.TaskGroup) -> None:
        """Give what has come, and what comes; ask instead when the subscription is lost."""
        cps, number = place
        feed = self._of._live_feed(place)
        if feed is None:
            await self._ask([place], group)
            return
        until = max(self._wait_until, self._of._clock() + PUSHED_SECONDS)
        until = min(until, self._give_up_at)
        with feed.arrivals.watched(number) as came:
            while True:
                came.clear()
                self._found.put_nowait(Answer(cps, number, feed.arrivals.of(number)))
                if not await self._comes(came, until):
                    return
                if not feed.is_live_for(number):
                    await self._ask([place], group)
                    return

    async def _comes(self, came: asyncio.Event, until: float) -> bool:
        """Wait for more; False when the time is over."""
        try:
            async with asyncio.timeout(max(0.0, until - self._of._clock())):
                await came.wait()
        except TimeoutError:
            return False
        return True
