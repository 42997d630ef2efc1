"""Retrieval from memory where a subscription is live, by asking where not, and for who waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pbx_stir.cps.arrivals import Arrivals
from pbx_stir.cps.subscribed import AGAIN_SECONDS, PUSHED_SECONDS, SubscribedPlacement
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import Answer, StoreResult

CPS, OTHER = "https://cps.example.net", "https://other.example.net"
BOB, CAROL = "13105552000", "13105552001"


@dataclass
class FakePlacement:
    """CPSs that give what the test has put there; ``silent`` ones answer at the deadline."""

    held: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    on_ask: Callable[[], None] = lambda: None
    closed: int = 0

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        return [StoreResult(one, Reason.STORED, f"{number} {len(blobs)}") for one in cps]

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        self.asked += wanted
        try:
            for cps, number in sorted(wanted, key=lambda one: one[0] in self.silent):
                self.on_ask()
                if cps in self.silent:
                    await asyncio.sleep(max(0.0, give_up_at - time.monotonic()))
                    yield Answer(cps, number, reason=Reason.CPS_UNAVAILABLE)
                else:
                    yield Answer(cps, number, self.held.get(number, ()))
        finally:
            self.closed += 1


class FakeFeed:
    """A feed that is live while the test says so."""

    def __init__(self) -> None:
        self.arrivals = Arrivals(clock=time.monotonic)
        self.live = {BOB}

    def is_live_for(self, number: str) -> bool:
        return number in self.live


class Scene:
    def __init__(self) -> None:
        self.within = FakePlacement()
        self.feed = FakeFeed()
        self.placement = SubscribedPlacement(self.within, {CPS: self.feed})  # type: ignore[dict-item]

    @asynccontextmanager
    async def answers(
        self, *wanted: tuple[str, str], budget: float = 10.0, wait: float = 0.0
    ) -> AsyncIterator[AsyncGenerator[Answer, None]]:
        now = time.monotonic()
        retrieval = self.placement.retrieve(wanted, now + budget, now + wait if wait else 0.0)
        async with aclosing(retrieval) as answers:
            yield answers

    async def all(self, *wanted: tuple[str, str], **times: float) -> list[Answer]:
        async with self.answers(*wanted, **times) as answers:
            return [answer async for answer in answers]


async def test_a_live_subscription_answers_without_asking() -> None:
    """What has come is given at once, and the CPS does not learn that a call is there."""
    scene = Scene()
    scene.feed.arrivals.add(BOB, "1", b"one")
    async with scene.answers((CPS, BOB)) as answers:
        assert await anext(answers) == Answer(CPS, BOB, (b"one",))
    assert scene.within.asked == []


async def test_nothing_found_takes_a_moment() -> None:
    """A push may be a little behind the store: that long, and no longer, a call listens on."""
    scene = Scene()
    began = time.monotonic()
    assert await scene.all((CPS, BOB)) == [Answer(CPS, BOB)]
    assert time.monotonic() - began >= PUSHED_SECONDS
    assert scene.within.asked == []


async def test_what_is_pushed_a_moment_later_is_given() -> None:
    """The entry that comes while the call listens is in a second answer, with the first ones."""
    scene = Scene()
    async with scene.answers((CPS, BOB), wait=10.0) as answers:
        assert await anext(answers) == Answer(CPS, BOB)
        scene.feed.arrivals.add(CAROL, "1", b"other")
        scene.feed.arrivals.add(BOB, "2", b"two")
        assert await anext(answers) == Answer(CPS, BOB, (b"two",))
        scene.feed.arrivals.add(BOB, "3", b"three")
        assert await anext(answers) == Answer(CPS, BOB, (b"three", b"two"))
    assert scene.within.asked == []
    assert not scene.feed.arrivals._waiting


async def test_not_live_is_asked() -> None:
    """A subscription that is lost, or does not hold the number, is as if it were not there."""
    scene = Scene()
    scene.within.held = {BOB: (b"one",), CAROL: (b"two",)}
    scene.feed.arrivals.add(BOB, "old", b"old")
    assert await scene.all((CPS, CAROL)) == [Answer(CPS, CAROL, (b"two",))]
    scene.feed.live.clear()
    assert await scene.all((CPS, BOB)) == [Answer(CPS, BOB, (b"one",))]
    assert scene.within.asked == [(CPS, CAROL), (CPS, BOB)]


async def test_one_that_is_lost_while_a_call_listens_is_asked() -> None:
    """The call goes on by asking, within the time that it has."""
    scene = Scene()
    scene.within.held = {BOB: (b"one",)}
    async with scene.answers((CPS, BOB), wait=10.0) as answers:
        assert await anext(answers) == Answer(CPS, BOB)
        scene.feed.live.clear()
        scene.feed.arrivals.wake()
        assert await anext(answers) == Answer(CPS, BOB, (b"one",))


async def test_some_live_some_not() -> None:
    """Each CPS and number goes its own way at the same time; a silent one holds up no other."""
    scene = Scene()
    scene.within.silent = {OTHER}
    scene.feed.arrivals.add(BOB, "1", b"one")
    async with scene.answers((OTHER, BOB), (CPS, CAROL), (CPS, BOB), budget=60) as answers:
        first = [await anext(answers), await anext(answers)]
    assert set(first) == {Answer(CPS, BOB, (b"one",)), Answer(CPS, CAROL)}
    assert scene.within.closed == 1


async def test_who_waits_asks_again() -> None:
    """What is stored after the call is found by asking again, long before the wait is over."""
    scene = Scene()
    scene.feed.live.clear()

    def stored_later() -> None:
        if len(scene.within.asked) == 3:
            scene.within.held = {BOB: (b"late",)}

    scene.within.on_ask = stored_later
    async with scene.answers((CPS, BOB), wait=9.0) as answers:
        async for answer in answers:
            if answer.blobs:
                break
    assert answer == Answer(CPS, BOB, (b"late",))
    assert len(scene.within.asked) == 3


async def test_a_short_wait_asks_once_more_at_its_end() -> None:
    """A wait shorter than the time between two looks is not for nothing."""
    scene = Scene()
    began = time.monotonic()
    wait = AGAIN_SECONDS / 3
    assert await scene.all((OTHER, BOB), wait=wait) == [Answer(OTHER, BOB)] * 2
    assert time.monotonic() - began >= wait


async def test_the_wait_ends() -> None:
    """When the wait is over nothing is asked any more, and the answers end."""
    scene = Scene()
    await scene.all((OTHER, BOB), wait=0.3, budget=60)
    count = len(scene.within.asked)
    assert 2 <= count <= 5
    await asyncio.sleep(0)
    assert scene.within.closed == count


async def test_one_that_is_silent_keeps_nobody_from_waiting() -> None:
    """With one CPS black-holed the other one is asked again all the same."""
    scene = Scene()
    scene.within.silent = {CPS}
    scene.feed.live.clear()
    async with scene.answers((CPS, BOB), (OTHER, BOB), wait=9.0, budget=9.0) as answers:
        given = [await anext(answers) for _ in range(3)]
    assert {one.cps for one in given} == {OTHER}


async def test_closed_early_leaves_nothing_behind() -> None:
    """A call that passes closes the answers: what was under way ends."""
    scene = Scene()
    scene.within.silent = {OTHER}
    before = asyncio.all_tasks()
    async with scene.answers((OTHER, BOB), (CPS, BOB), wait=9.0) as answers:
        await anext(answers)
    assert asyncio.all_tasks() == before
    assert not scene.feed.arrivals._waiting


async def test_a_defect_is_no_answer() -> None:
    """What must not raise and does is not taken for a CPS without PASSporTs."""
    scene = Scene()

    def defect() -> None:
        raise RuntimeError("defect")

    scene.within.on_ask = defect
    with pytest.raises(ExceptionGroup):
        await scene.all((OTHER, BOB), wait=9.0)


async def test_stores_pass_through() -> None:
    """Storing is as without subscriptions."""
    scene = Scene()
    results = await scene.placement.store([CPS, OTHER], BOB, [b"1", b"2"], 1.0)
    assert [(one.cps, one.detail) for one in results] == [(CPS, f"{BOB} 2"), (OTHER, f"{BOB} 2")]


async def test_without_feeds_and_wait_it_is_the_placement_within() -> None:
    """A call that neither waits nor has a subscription is asked for as ever."""
    within = FakePlacement({BOB: (b"one",)})
    placement = SubscribedPlacement(within)
    answers = [one async for one in placement.retrieve([(CPS, BOB)], time.monotonic() + 5)]
    assert answers == [Answer(CPS, BOB, (b"one",))]
