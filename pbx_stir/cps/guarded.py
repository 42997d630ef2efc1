"""A breaker for each CPS, so that a silent one costs two calls their budget and no more.

Takes what ``CpsClient`` takes and gives what it gives. A CPS that cost two calls in a row half of
their budget or more and gave nothing is not asked any more: calls are told CPS_UNAVAILABLE at once,
and a task of its own asks for its health until it answers. One that refuses or breaks off soon
costs little and is always asked. A caller that cancels when its time is over was kept waiting too.
Calls that come while two wait already, for half a second and for a CPS that answers nobody, do not
join them (``waits``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pbx_stir.cps.waits import Wait, Waits
from pbx_stir.errors import PbxStirError
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import Answer, CallPlacement, StoreResult

SILENT_CALLS: Final = 2
# a call that could wait for less says nothing of the CPS
SHORTEST_WAIT_SECONDS: Final = 0.2
# results come a little before or after the moment to give up at
MARGIN_SECONDS: Final = 0.02
PROBE_SECONDS: Final = 2.0
FIRST_PAUSE_SECONDS: Final = 1.0
LAST_PAUSE_SECONDS: Final = 10.0
# whom calls go to is in strangers' records: the CPS that was silent longest ago is forgotten first
MOST_BREAKERS: Final = 256
_DETAIL: Final = "not asked: it was silent, and is probed until it answers"
_log = logging.getLogger(__name__)


class Prober(CallPlacement, Protocol):
    """What is asked of the client behind the breakers (cps.client.CpsClient)."""

    async def clock_offset(self, cps: str, give_up_at: float) -> float | None:
        """Ask for the CPS's health. Raises a PbxStirError where it gives none."""
        ...


@dataclass(slots=True)
class _Breaker:
    """How often a CPS was silent; ``probe`` is under way while it is not asked."""

    silent: int = 0
    probe: asyncio.Task[None] | None = field(default=None, repr=False)


class GuardedPlacement:
    """Implements services' CallPlacement. Belongs to one event loop; ``close`` it there."""

    def __init__(
        self,
        client: Prober,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``clock`` is that of every ``give_up_at``; ``pause`` waits between two probes."""
        self._client = client
        self._clock = clock
        self._pause = pause
        # of CPSs that were silent when they were last asked
        self._breakers: OrderedDict[str, _Breaker] = OrderedDict()
        # those that gave nothing when they were last asked, however fast
        self._unavailable: OrderedDict[str, None] = OrderedDict()
        self._waits = Waits(clock)

    def is_silent(self, cps: str) -> bool:
        """Tell whether calls go on without a CPS until it answers a probe."""
        return self._is_open(cps)

    def is_unavailable(self, cps: str) -> bool:
        """Tell whether a CPS gave nothing when it was last asked."""
        return cps in self._unavailable

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store at every CPS that is not known to be silent; see ``CallPlacement``."""
        return await asyncio.gather(
            *(self._store_at(one, number, blobs, give_up_at) for one in cps)
        )

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        """Ask every CPS that is not known to be silent; see ``CallPlacement``."""
        began = self._clock()
        asked = [(cps, number) for cps, number in wanted if self._may_ask(cps)]
        # One call counts once, for however many numbers it asks.
        unheard = {cps for cps, _ in asked}
        waits = {cps: self._waits.begin(cps) for cps in unheard}
        handed: float | None = None
        try:
            async with contextlib.aclosing(self._client.retrieve(asked, give_up_at)) as answers:
                async for answer in answers:
                    if answer.cps in unheard:
                        unheard.discard(answer.cps)
                        unavailable = answer.reason is Reason.CPS_UNAVAILABLE
                        self._end(waits[answer.cps], unavailable, began, give_up_at)
                    handed = self._clock()
                    yield answer
                    handed = None
        except (asyncio.CancelledError, GeneratorExit):
            # While the caller was busy with an answer, the others may have come.
            if handed is None or handed >= (began + give_up_at) / 2:
                for cps in unheard:
                    self._note_left(cps, began, give_up_at)
            raise
        finally:
            for wait in waits.values():
                wait.end()
        for cps, number in wanted:
            if (cps, number) not in asked:
                yield Answer(cps, number, reason=Reason.CPS_UNAVAILABLE, detail=_DETAIL)

    async def close(self) -> None:
        """End the probes; the client is its maker's to close."""
        probes = [one.probe for one in self._breakers.values() if one.probe is not None]
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)

    async def _store_at(
        self, cps: str, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> StoreResult:
        if not self._may_ask(cps):
            return StoreResult(cps, Reason.CPS_UNAVAILABLE, _DETAIL)
        began = self._clock()
        wait = self._waits.begin(cps)
        try:
            (result,) = await self._client.store([cps], number, blobs, give_up_at)
            self._end(wait, result.reason is Reason.CPS_UNAVAILABLE, began, give_up_at)
        except asyncio.CancelledError:
            self._note_left(cps, began, give_up_at)
            raise
        finally:
            wait.end()
        return result

    def _may_ask(self, cps: str) -> bool:
        return not (self._is_open(cps) or self._waits.are_long(cps))

    def _is_open(self, cps: str) -> bool:
        breaker = self._breakers.get(cps)
        return breaker is not None and breaker.probe is not None

    def _end(self, wait: Wait, unavailable: bool, began: float, give_up_at: float) -> None:
        """A CPS has answered, or there was no answer."""
        wait.end(heard=not unavailable or self._clock() < (began + give_up_at) / 2)
        self._note(wait.cps, unavailable, began, give_up_at)

    def _note(self, cps: str, unavailable: bool, began: float, give_up_at: float) -> None:
        """What came of asking ``cps``: whether it cost much and gave nothing."""
        self._remember(cps, unavailable)
        breaker = self._breakers.get(cps)
        if not unavailable or self._clock() < (began + give_up_at) / 2:
            if breaker is not None and breaker.probe is None:
                del self._breakers[cps]
            return
        if give_up_at - began >= SHORTEST_WAIT_SECONDS:
            self._count(cps, breaker or _Breaker())

    def _remember(self, cps: str, unavailable: bool) -> None:
        if not unavailable:
            self._unavailable.pop(cps, None)
            return
        self._unavailable[cps] = None
        if len(self._unavailable) > MOST_BREAKERS:
            self._unavailable.popitem(last=False)

    def _note_left(self, cps: str, began: float, give_up_at: float) -> None:
        """The caller went before ``cps`` answered: early says nothing of it, late does."""
        if self._clock() >= give_up_at - MARGIN_SECONDS:
            self._note(cps, True, began, give_up_at)

    def _count(self, cps: str, breaker: _Breaker) -> None:
        """Count one silent call; begin to probe at the one too many."""
        breaker.silent += 1
        self._breakers[cps] = breaker
        self._breakers.move_to_end(cps)
        if len(self._breakers) > MOST_BREAKERS:
            _, forgotten = self._breakers.popitem(last=False)
            if forgotten.probe is not None:
                forgotten.probe.cancel()
        if breaker.silent >= SILENT_CALLS and breaker.probe is None:
            _log.warning("%s is silent: calls go on without it until it answers", cps)
            breaker.probe = asyncio.create_task(self._probe(cps))

    async def _probe(self, cps: str) -> None:
        """Ask for its health until it answers, then ask it for calls again."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._client.clock_offset(cps, self._clock() + PROBE_SECONDS)
            except PbxStirError:
                await self._pause(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
                continue
            del self._breakers[cps]
            self._unavailable.pop(cps, None)
            _log.warning("%s answers again", cps)
            return
