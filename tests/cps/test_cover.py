"""Cover is on the wire what calls are, comes at random times, and gives way to calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps import cover
from pbx_stir.cps.cover import Cover, CoverPlan, draw
from pbx_stir.errors import PbxStirError, UrlRefused
from pbx_stir.services.authentication import Destination
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import Answer, StoreResult
from pbx_stir.stir import sealing
from pbx_stir.stir.number_set import NumberSet

CPS, SECOND = "https://cps.example.net", "https://second.example.net"
OWN = NumberSet.parse(["12125551200-12125551299"])
OTHERS = NumberSet.parse(["16465550100-16465550199", "442071234567"])
KEYS = (bytes(32), bytes([1]) * 32)


class Enough(Exception):
    """Ends a test's endless work."""


@dataclass
class World:
    """The directory, the CPSs and the time of a test."""

    plan: CoverPlan
    answer: Reason | None = None
    destination_reason: Reason | None = None
    spare: bool | PbxStirError = True
    most_pauses: int = 10_000
    stored: list[tuple[tuple[str, ...], str, list[bytes], float]] = field(default_factory=list)
    retrieved: list[list[tuple[str, str]]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    time: float = 100.0

    def cover(self) -> Cover:
        return Cover(
            self.plan,
            directory=self,
            stores=self,
            retrievals=self,
            own_cps=self,
            has_spare=self.has_spare,
            clock=lambda: self.time,
            pause=self.pause,
            chance=random.Random(7),
        )

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds
        if len(self.pauses) >= self.most_pauses:
            raise Enough
        await asyncio.sleep(0)

    async def has_spare(self, cps: str) -> bool:
        if isinstance(self.spare, PbxStirError):
            raise self.spare
        return self.spare

    async def destination(self, number: str, give_up_at: float) -> Destination:
        self.looked_up.append(number)
        if self.destination_reason is not None:
            return Destination(reason=self.destination_reason)
        return Destination((CPS, SECOND), KEYS)

    def own_cps(self, number: str) -> tuple[str, ...]:
        return (CPS,) if number in OWN else (SECOND,)

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        self.stored.append((tuple(cps), number, list(blobs), give_up_at))
        return [StoreResult(one, self.answer or Reason.STORED) for one in cps]

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        self.retrieved.append(list(wanted))
        for one, number in wanted:
            yield Answer(one, number, reason=self.answer)

    async def run(self, pauses: int) -> None:
        self.most_pauses = pauses
        with suppress(*[ExceptionGroup]):
            await self.cover().run()


async def test_a_dummy_is_stored_as_a_call_is() -> None:
    """The number is looked up, and each CPS gets one blob a key, of the one size, fresh."""
    world = World(CoverPlan(stores=1.0, others=OTHERS))
    one = world.cover()
    assert await one.store() == await one.store() == frozenset()
    assert world.looked_up == [number for _, number, _, _ in world.stored]
    blobs = []
    for cps, number, each, give_up_at in world.stored:
        assert cps == (CPS, SECOND)
        assert number in OTHERS
        assert give_up_at == world.time + cover.BUDGET_SECONDS
        assert len(each) == len(KEYS)
        blobs += each
    assert len(set(blobs)) == 4
    assert all(sealing.looks_sealed(blob) for blob in blobs)


async def test_nothing_is_stored_where_a_call_would_store_nothing() -> None:
    """A number without a key or a CPS costs a look-up, as it costs a call."""
    world = World(CoverPlan(stores=1.0, others=OTHERS), destination_reason=Reason.NO_KEY)
    assert await world.cover().store() == frozenset()
    assert (len(world.looked_up), world.stored) == (1, [])


async def test_tokens_are_for_calls_first() -> None:
    """Where tokens are few, none is spent on a dummy."""
    world = World(CoverPlan(stores=1.0, others=OTHERS), spare=False)
    assert await world.cover().store() == frozenset()
    assert world.stored == []


async def test_retrievals_are_for_own_numbers_and_others() -> None:
    """About as often for one of ours as for one of others, each at its own CPSs."""
    world = World(CoverPlan(retrievals=1.0, own=OWN, others=OTHERS))
    one = world.cover()
    for _ in range(400):
        await one.retrieve()
    own = [number for [(cps, number)] in world.retrieved if cps == CPS]
    assert all(number in OWN for number in own)
    assert 140 < len(own) < 260
    assert all(number in OTHERS for [(cps, number)] in world.retrieved if cps == SECOND)


@pytest.mark.parametrize("others", [OTHERS, NumberSet()])
async def test_pauses_are_exponential(others: NumberSet) -> None:
    """The mean is what was asked for, and as many are shorter than its half as chance has it."""
    plan = CoverPlan(stores=0.1, others=OTHERS) if others else CoverPlan(retrievals=0.1, own=OWN)
    world = World(plan)
    await world.run(2000)
    assert len(world.pauses) == 2000
    assert 9.2 < sum(world.pauses) / 2000 < 10.8
    short = sum(one < 5 for one in world.pauses) / 2000
    assert 0.35 < short < 0.44
    assert len(world.stored) + len(world.retrieved) == 1999


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        (Reason.CPS_REFUSED, cover.REFUSED_SECONDS),
        (Reason.NO_TOKENS, cover.REFUSED_SECONDS),
        (Reason.CPS_UNAVAILABLE, cover.FAILED_SECONDS),
    ],
)
async def test_who_is_not_wanted_rests(
    reason: Reason, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A CPS that refuses, or fails, has peace; the log says so, without a number."""
    world = World(CoverPlan(stores=1.0, others=OTHERS), answer=reason)
    await world.run(4)
    assert len(world.stored) == 2
    assert world.pauses[1::2] == [seconds, seconds]
    said = f"cover: no stores for {seconds / 60:.0f} minutes: {reason.value}"
    assert caplog.messages == [said, said]


async def test_a_refused_cps_does_not_end_cover() -> None:
    """A record may name a URL that nothing is sent to: stores rest, and go on."""
    refused = UrlRefused("its address is not global")
    world = World(CoverPlan(1.0, 1.0, OWN, OTHERS), spare=refused)
    assert await world.cover().store() == {Reason.CPS_UNAVAILABLE}
    await world.run(50)
    assert cover.FAILED_SECONDS in world.pauses
    assert len(world.looked_up) > 2
    assert len(world.retrieved) > 10


async def test_stores_and_retrievals_do_not_wait_for_each_other() -> None:
    """Both go on at their own times; one that rests does not stop the other."""
    world = World(CoverPlan(1.0, 1.0, OWN, OTHERS))
    await world.run(200)
    assert len(world.stored) > 50
    assert len(world.retrieved) > 50


async def test_none_by_default() -> None:
    """An empty plan ends at once."""
    await asyncio.wait_for(World(CoverPlan()).cover().run(), 10)


@given(
    st.lists(st.tuples(st.integers(10**6, 10**7), st.integers(0, 10**6)), max_size=5),
    st.randoms(use_true_random=False),
)
def test_a_number_is_drawn_from_the_set(
    spans: list[tuple[int, int]], chance: random.Random
) -> None:
    """Whatever the set, a number that is drawn is in it; from an empty one none is."""
    ranges = [f"{first:09d}-{first + more:09d}" for first, more in spans]
    numbers = NumberSet.parse(ranges)
    number = draw(numbers, chance)
    assert number in numbers if ranges else number == ""


def test_numbers_are_drawn_evenly() -> None:
    """A single number is as likely as one of a range."""
    chance = random.Random(1)
    numbers = NumberSet.parse(["100-104", "7"])
    drawn = [draw(numbers, chance) for _ in range(6000)]
    counts: Callable[[str], int] = drawn.count
    assert {one: 850 < counts(one) < 1150 for one in set(drawn)} == dict.fromkeys(
        ["100", "101", "102", "103", "104", "7"], True
    )
