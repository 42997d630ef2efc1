"""Cover: stores and retrievals that belong to no call, at random times.

Takes numbers, how often, and the very directory and placement that calls take; gives nothing. "AS
could store dummy PASSporTs at the CPS at random intervals" (RFC 8816 section 7.4), and a retriever
may "randomly request PASSporTs when there are no calls in progress" (section 13), so that whoever
watches the traffic, or the CPS, sees less of when calls are placed and come in.

A dummy is on the wire what a call's store is: its number's keys are looked up, it has one blob a
key, of the one size, with a token that is as good as any, over the same connections. Its octets are
``sealing.dummy``'s: only a key's holder sees that they hold nothing. The pauses are exponential, so
that nothing about the next one follows from the last.

Calls come first: cover rests when a CPS refuses it or fails, and where tokens are few.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from pbx_stir.errors import PbxStirError
from pbx_stir.services.authentication import Directory
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import CallPlacement, OwnCps
from pbx_stir.stir import sealing
from pbx_stir.stir.number_set import NumberSet

# what a call usually has
BUDGET_SECONDS: Final = 1.3
REFUSED_SECONDS: Final = 3_600.0
FAILED_SECONDS: Final = 600.0
_REFUSALS: Final = frozenset({Reason.CPS_REFUSED, Reason.NO_TOKENS})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CoverPlan:
    """How much cover there is, and where.

    ``stores`` and ``retrievals`` are the mean a second, 0 for none. Dummies are stored for
    ``others``; retrieved is, as often, for one of ``own`` and for one of ``others``, where both are
    there. Numbers are drawn evenly from singles and ranges; prefixes name none.
    """

    stores: float = 0.0
    retrievals: float = 0.0
    own: NumberSet = NumberSet()  # noqa: RUF009
    others: NumberSet = NumberSet()  # noqa: RUF009


async def always(_cps: str) -> bool:
    """Where no tokens are needed."""
    return True


class Cover:
    """Makes cover for as long as ``run`` runs. Belongs to one event loop."""

    def __init__(
        self,
        plan: CoverPlan,
        *,
        directory: Directory,
        stores: CallPlacement,
        retrievals: CallPlacement,
        own_cps: OwnCps,
        has_spare: Callable[[str], Awaitable[bool]] = always,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        """``stores`` and ``retrievals`` are what calls take for the one and the other.

        ``has_spare`` tells of a CPS's URL whether there are more tokens than calls will need.
        """
        self._plan = plan
        self._directory = directory
        self._stores = stores
        self._retrievals = retrievals
        self._own_cps = own_cps
        self._has_spare = has_spare
        self._clock = clock
        self._pause = pause
        self._chance = chance or random.SystemRandom()

    async def run(self) -> None:
        """Make cover until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._plan.stores:
                group.create_task(self._again("stores", self._plan.stores, self.store))
            if self._plan.retrievals:
                group.create_task(self._again("retrievals", self._plan.retrievals, self.retrieve))

    async def store(self) -> frozenset[Reason]:
        """Store one dummy, as a call would store; what the CPSs answered, other than STORED."""
        number = draw(self._plan.others, self._chance)
        if not number:
            return frozenset()
        give_up_at = self._clock() + BUDGET_SECONDS
        destination = await self._directory.destination(number, give_up_at)
        if destination.reason is not None or not destination.keys:
            # a call to a number without a CPS or a key is not stored either, and what is stored
            # unsealed can be no dummy
            return frozenset()
        try:
            for cps in destination.cps:
                if not await self._has_spare(cps):
                    return frozenset()
        except PbxStirError:
            # a stranger's record may name any URL, such as one that nothing is sent to
            return frozenset({Reason.CPS_UNAVAILABLE})
        blobs = [sealing.dummy(secrets.token_bytes(32)) for _ in destination.keys]
        results = await self._stores.store(destination.cps, number, blobs, give_up_at)
        return frozenset(one.reason for one in results) - {Reason.STORED}

    async def retrieve(self) -> frozenset[Reason]:
        """Retrieve for one number and forget it; how CPSs failed."""
        sides = [one for one in (self._plan.own, self._plan.others) if one.ranges]
        number = draw(self._chance.choice(sides), self._chance) if sides else ""
        wanted = [(cps, number) for cps in self._own_cps.own_cps(number)] if number else []
        reasons: set[Reason] = set()
        answers = self._retrievals.retrieve(wanted, self._clock() + BUDGET_SECONDS)
        async with aclosing(answers):
            async for answer in answers:
                if answer.reason is not None:
                    reasons.add(answer.reason)
        return frozenset(reasons)

    async def _again(
        self, what: str, rate: float, once: Callable[[], Awaitable[frozenset[Reason]]]
    ) -> None:
        """Do it again and again; rest where it is not wanted, or nobody is there."""
        while True:
            await self._pause(self._chance.expovariate(rate))
            reasons = await once()
            if reasons:
                seconds = REFUSED_SECONDS if reasons & _REFUSALS else FAILED_SECONDS
                why = ", ".join(sorted(one.value for one in reasons))
                _log.warning("cover: no %s for %.0f minutes: %s", what, seconds / 60, why)
                await self._pause(seconds)


def draw(numbers: NumberSet, chance: random.Random) -> str:
    """Draw a number evenly from singles and ranges, by arithmetic; empty where there are none."""
    spans: Sequence[tuple[int, int, int]] = [
        (digits, first, last) for digits, row in numbers.ranges.items() for first, last in row
    ]
    place = chance.randrange(sum(last - first + 1 for _, first, last in spans)) if spans else 0
    for digits, first, last in spans:
        if place <= last - first:
            return f"{first + place:0{digits}d}"
        place -= last - first + 1
    return ""
