"""Tests of pbx_stir.cps.refill: what is obtained, how fast, and how much at most."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.limits import TokenBucket
from pbx_stir.cps.obtaining import Obtaining
from pbx_stir.cps.refill import BETWEEN_VISITS
from pbx_stir.cps.supply import HIGH, LOW, Supply
from pbx_stir.errors import CpsRefused, CpsUnavailable, PbxStirError
from pbx_stir.services.call import Reason
from pbx_stir.stir import sealing
from pbx_stir.stir.credential import Credential
from pbx_stir.tokens.epochs import EPOCH_SECONDS, epoch_of
from pbx_stir.tokens.exchange import MOST_IN_A_REQUEST, BlindedBatch
from pbx_stir.tokens.ledger import Counter, MemoryLedger
from pbx_stir.tokens.wallet import Unspent, Wallet
from tests.tokens.minting import CPS, EPOCH, NOW
from tests.tokens.spending import NOW as AT

from .conftest import Authority, Clock
from .desk import COMPANY, desk
from .supplied import ORIGIN, STRANGER, World, long_lived


def made(folder: Path, authority: Authority, low: int = 100, high: int = 400) -> World:
    """A world whose marks leave room."""
    return World(folder, [long_lived(authority)], low=low, high=high)


@pytest.fixture
async def world(tmp_path: Path, authority: Authority) -> AsyncIterator[World]:
    """One configured CPS, one credential."""
    one = made(tmp_path, authority)
    yield one
    one.wallet.close()


async def test_many_calls_are_kept_up_with(world: World) -> None:
    """From an empty wallet: calls lack tokens until the first batch is there, and then none does;
    and never is more obtained than was spent and may be kept."""
    without = await world.calls(250, 50.0)
    # the list of keys is looked at twice before
    assert without < 250
    assert await world.calls(300, 50.0) == 0
    spent = 550 - without
    assert world.wallet.count(CPS, EPOCH) == MOST_IN_A_REQUEST * len(world.cps.batches) - spent
    assert world.wallet.count(CPS, EPOCH) <= 400 + MOST_IN_A_REQUEST


async def test_what_a_burst_makes_us_obtain_is_bounded(world: World) -> None:
    """A hundred calls at once, and then none: no more than the high mark and a batch is left."""
    await world.pass_time(6)
    for _ in range(100):
        world.take()
    await world.pass_time(600)
    assert 400 <= world.wallet.count(CPS, EPOCH) <= 400 + MOST_IN_A_REQUEST
    before = len(world.cps.batches)
    await world.pass_time(2_000)
    assert len(world.cps.batches) == before


async def test_few_calls_leave_it_calm(world: World) -> None:
    """A call every ten seconds: each wait is as long as it was drawn, also with nothing left."""
    await world.pass_time(6)
    account = world.supply._accounts[CPS]
    while isinstance(world.take(), Unspent):
        await world.pass_time(0)
    world.clock.moment += 1_000
    account.rest(40.0, 1.0, world.clock.moment, hurried=False)
    due = account.due
    assert await world.calls(3, 0.1) == 3
    assert account.due == due
    assert await world.calls(30, 0.1) < 10
    assert account.pace.share(32, world.clock.moment) == 1.0


async def test_a_rest_ends_at_random_when_calls_come_fast(world: World) -> None:
    """Where too little is left a pause is drawn, and begins then: the request follows from no
    single call, and comes before what is left is half spent."""
    await world.pass_time(1_500)
    account, rested = world.supply._accounts[CPS], len(world.cps.batches)
    account.rest(10_000.0, 1.0, world.clock.moment, hurried=False)
    while not account.hurried:
        assert await world.calls(1, 20.0) == 0
    assert world.drawn[-1] == BETWEEN_VISITS
    assert account.since == world.clock.moment
    left, calls = world.wallet.count(CPS, EPOCH), 0
    assert 100 <= left < world.supply.refill.mark(account)
    while len(world.cps.batches) == rested:
        assert await world.calls(1, 20.0) == 0
        calls += 1
    assert 5 < calls < left / 2


@pytest.mark.parametrize(
    "failure",
    [CpsUnavailable("down"), CpsRefused("slowly", status=429, retry_after=15)],
)
async def test_a_refusal_is_not_hurried(world: World, failure: PbxStirError) -> None:
    """However many calls want tokens, a CPS that fails is left alone for as long as ever."""
    await world.pass_time(6)
    world.cps.refusal = failure
    asked = len(world.cps.signers)
    await world.calls(2_000, 20.0)
    assert 2 <= len(world.cps.signers) - asked <= 5
    world.cps.refusal = None
    await world.pass_time(300)
    assert await world.calls(100, 20.0) == 0


async def test_too_many_requests_are_made_again_soon(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a CPS says so, after what it says and a short random time; longer where that repeats,
    and only then it is said in the log."""
    await world.pass_time(6)
    account, batches = world.supply._accounts[CPS], len(world.cps.batches)
    world.cps.refusal = CpsRefused("slowly", status=429, retry_after=1)
    await world.pass_time(14)
    assert account.slowed == 4
    assert not caplog.records
    await world.pass_time(600)
    assert 600 / 61 <= account.slowed <= 600 / 31 + 6
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    world.cps.refusal = None
    await world.pass_time(62)
    assert account.slowed == 0
    assert len(world.cps.batches) > batches


class Sharing(World):
    """A sender whose draws are random, at a CPS that has limited requests for its address."""

    random = random.Random(1)
    shared = TokenBucket(10.0, 20.0)
    refused = 0

    def draw(self, low: float, high: float) -> float:
        """A draw."""
        return self.random.uniform(low, high)

    def limit(self) -> None:
        """Have two requests a batch counted."""
        signatures = self.cps.signatures

        async def limited(
            cps: str, batch: BlindedBatch, credential: Credential
        ) -> tuple[bytes, ...]:
            for _ in range(2):
                if self.shared.take(self.clock.moment):
                    self.refused += 1
                    raise CpsRefused("slowly", status=429, retry_after=1)
            return await signatures(cps, batch, credential)

        self.cps.signatures = limited  # type: ignore[method-assign]


async def test_fast_senders_behind_one_address_are_all_supplied(
    tmp_path: Path, authority: Authority
) -> None:
    """Three with forty calls a second each: together they exceed what a CPS takes of an address at
    times, and after the first seconds none of their calls finds no token."""
    signers = [long_lived(authority)]
    worlds = [Sharing(tmp_path / str(which), signers, low=LOW, high=HIGH) for which in range(3)]
    for world in worlds:
        world.limit()
    # in turns, so that their clocks stay together
    without = [await world.calls(10, 40.0) for _ in range(64) for world in worlds]
    assert all(world.refused for world in worlds)
    # the list of keys is looked at twice before
    assert sum(without[90:]) == 0, without
    for world in worlds:
        world.wallet.close()


async def test_when_a_day_is_used_up_the_next_one_is_seen_to(world: World) -> None:
    """A CPS that gives no more of an epoch is not asked again for it, and is for the next one."""
    await world.pass_time(6)
    ends = (EPOCH + 1) * EPOCH_SECONDS
    refused = CpsRefused("enough", status=429, retry_after=int(ends - world.wall()))
    world.cps.used_up = EPOCH, refused
    await world.calls(1_000, 20.0)
    assert world.supply._accounts[CPS].used_up == {EPOCH}
    asked = len(world.cps.signers)
    await world.calls(1_000, 20.0)
    assert len(world.cps.signers) == asked
    world.wall.moment = ends - 1_800
    await world.pass_time(1_000)
    assert world.wallet.count(CPS, EPOCH + 1) > 100


async def test_the_next_day_does_not_wait_for_calls_to_end(
    tmp_path: Path, authority: Authority
) -> None:
    """Calls may take for hours all that is obtained: tokens of the next epoch come all the same."""
    world = made(tmp_path, authority, low=20, high=3_000)
    await world.calls(160, 20.0)
    assert {epoch for epoch, _ in world.cps.batches} == {EPOCH}
    [latest] = [high for low, high in world.drawn if low >= NOW]
    world.wall.moment = latest
    assert await world.calls(100, 20.0) == 0
    assert world.supply._accounts[CPS].filling
    assert world.wallet.count(CPS, EPOCH + 1) >= 2 * MOST_IN_A_REQUEST
    world.wallet.close()


class Blocked(Obtaining):
    """Asks as another does, but a stranger without end."""

    def __init__(self, inner: object) -> None:
        self.inner = inner
        self.waiting = asyncio.Event()

    async def keys(self, cps: str) -> object:  # type: ignore[override]
        """The list, or nothing ever."""
        if cps == STRANGER.base:
            self.waiting.set()
            await asyncio.Event().wait()
        return await self.inner.keys(cps)  # type: ignore[attr-defined]

    async def signatures(
        self, cps: str, batch: BlindedBatch, credential: Credential
    ) -> tuple[bytes, ...]:
        """Signatures."""
        return await self.inner.signatures(cps, batch, credential)  # type: ignore[attr-defined, no-any-return]


async def test_a_silent_cps_keeps_no_other_waiting(tmp_path: Path, authority: Authority) -> None:
    """While one CPS does not answer, another one is supplied."""
    world = World(tmp_path, [long_lived(authority)], cps=[ORIGIN, STRANGER])
    blocked = Blocked(world.cps)
    world.supply.refill._obtaining = blocked

    async def on(seconds: float) -> None:
        world.clock.moment += seconds
        await asyncio.sleep(0.001)

    running = asyncio.create_task(world.supply.run(on))
    async with asyncio.timeout(30):
        await blocked.waiting.wait()
        while len(world.cps.batches) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert world.cps.asked == [CPS, CPS]
    world.wallet.close()


async def test_calls_wake_the_supply(world: World) -> None:
    """What calls make due sooner is done though the pause before it has not ended."""
    await world.pass_time(6)
    for _ in range(20):
        world.take()
    account = world.supply._accounts[CPS]
    account.rest(60.0, 1.0, world.clock.moment, hurried=True)
    before = len(world.cps.batches)
    stalled = asyncio.Event()

    async def never(_: float) -> None:
        stalled.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(world.supply.run(never))
    async with asyncio.timeout(30):
        await stalled.wait()
        world.clock.moment += 10.0
        while len(world.cps.batches) == before:
            world.take()
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Counting(MemoryLedger):
    """A CPS's ledger that tells what was issued and what was stored with."""

    issued = 0
    spent = 0

    async def spend(self, counters: Sequence[Counter], amount: int, until: float) -> int | None:
        """As ever."""
        refused = await super().spend(counters, amount, until)
        if refused is None and amount == MOST_IN_A_REQUEST:
            self.issued += amount
        elif refused is None:
            self.spent += amount
        return refused


class Far(Obtaining):
    """A CPS that is a tenth of a second away, by a clock that goes when told."""

    clock: Clock
    under_way = 0
    requests: int = 0

    async def signatures(
        self, cps: str, batch: BlindedBatch, credential: Credential
    ) -> tuple[bytes, ...]:
        """Signatures, later; one request at a time."""
        assert self.under_way == 0
        self.under_way, self.requests = 1, self.requests + 1
        self.clock.moment += 0.1
        try:
            return await super().signatures(cps, batch, credential)
        finally:
            self.under_way = 0


@asynccontextmanager
async def caller(folder: Path, url: str, clock: Clock) -> AsyncIterator[tuple[Supply, CpsClient]]:
    """Who obtains and stores over HTTP, as configured by default."""
    now = lambda: AT  # noqa: E731
    unnamed, named = (Exchange(allow_plain=True, keep=keep, now=now) for keep in (False, True))
    wallet = Wallet(folder / "wallet", clock=clock)
    far = Far(unnamed=unnamed, named=named)
    far.clock = clock
    supply = Supply(
        wallet=wallet,
        obtaining=far,
        credentials=lambda: [COMPANY],
        cps=[unnamed.origin(url)],
        now=now,
        clock=clock,
        draw=random.Random(1).uniform,
    )
    client = CpsClient(allow_plain=True, tokens=supply, now=now)
    try:
        yield supply, client
    finally:
        for each in (unnamed, named, client):
            await each.close()
        wallet.close()


async def test_a_real_cps_grants_what_fifty_calls_a_second_spend(tmp_path: Path) -> None:
    """Over HTTP, from an empty wallet, within all limits that a CPS has by default: from the first
    batch on every call is stored; granted is what is spent and what is left, and no more is left
    than may be kept; and when calls end, requests end."""
    ledger = Counting(lambda: AT)
    async with (
        desk(ledger=ledger) as (cps, _),
        caller(tmp_path, cps.url, cps.clock) as (supply, client),
    ):
        reasons, began = [], cps.clock.moment
        for number in range(600):
            await until(supply, cps.clock, began + number / 50)
            blob = sealing.dummy(os.urandom(32))
            [result] = await client.store(
                [cps.url], f"1212555{number:04}", [blob], time.monotonic() + 30
            )
            reasons.append(result.reason)
            while supply._to_stock:
                await supply._stock(supply._to_stock.pop())
            left = supply._wallet.count(cps.url, epoch_of(AT))
            assert ledger.issued == ledger.spent + left
            assert left <= HIGH + MOST_IN_A_REQUEST
        first = reasons.index(Reason.STORED)
        assert first < 350
        assert set(reasons[:first]) == {Reason.NO_TOKENS}
        assert set(reasons[first:]) == {Reason.STORED}
        assert ledger.spent == len(reasons) - first
        await until(supply, cps.clock, cps.clock.moment + 600)
        granted = ledger.issued
        assert granted - ledger.spent >= HIGH
        await until(supply, cps.clock, cps.clock.moment + 600)
        assert ledger.issued == granted


async def until(supply: Supply, clock: Clock, moment: float) -> None:
    """Let time go by, and what is due be done."""
    wait = await supply.visit_due()
    while clock.moment < moment:
        clock.moment = min(moment, clock.moment + max(wait, 0.01))
        wait = await supply.visit_due()
