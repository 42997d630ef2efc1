"""Tests of pbx_stir.cps.supply: when tokens are obtained, and who gets them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pbx_stir.cps import refill
from pbx_stir.cps import supply as supplies
from pbx_stir.cps.origin import parse_cps_url
from pbx_stir.cps.placing import NoToken
from pbx_stir.errors import ConfigurationError, CpsRefused, CpsUnavailable, PbxStirError
from pbx_stir.stir.credential import Credential
from pbx_stir.tokens.epochs import EPOCH_SECONDS
from pbx_stir.tokens.exchange import MOST_IN_A_REQUEST, BlindedBatch
from pbx_stir.tokens.wallet import Unspent, Wallet
from tests.tokens.minting import CPS, EPOCH, NOW, Mint, key_list

from .conftest import Authority
from .supplied import AHEAD, ORIGIN, STRANGER, FakeObtaining, World, long_lived


@pytest.fixture
async def world(tmp_path: Path, authority: Authority) -> AsyncIterator[World]:
    """One configured CPS, one credential."""
    made = World(tmp_path, [long_lived(authority)])
    yield made
    made.wallet.close()


async def test_tokens_are_there_after_a_while(world: World) -> None:
    """A configured CPS is supplied without any call, in batches of one size, up to the mark."""
    assert world.take() is NoToken.NOT_NEEDED
    await world.pass_time(60)
    assert world.cps.batches == [(EPOCH, 32), (EPOCH, 32)]
    assert world.wallet.count(CPS, EPOCH) == 64
    token = world.take()
    assert isinstance(token, Unspent)
    assert token.token.epoch == EPOCH


async def test_how_many_are_left_is_told(world: World) -> None:
    """For today, in memory and on the disk; of configured CPSs that are known to want any."""
    assert await world.supply.left() == {}
    await world.pass_time(60)
    world.take()
    assert await world.supply.left() == {CPS: world.wallet.count(CPS, EPOCH)} == {CPS: 63}


async def test_the_list_is_fetched_twice_before_anything_is_obtained(world: World) -> None:
    """Over two connections, some time apart: one that differs is noticed before it is used."""
    await world.pass_time(1)
    assert (len(world.cps.asked), world.cps.batches) == (1, [])
    world.cps.listed = key_list(Mint(which=1), AHEAD)
    await world.pass_time(600)
    assert world.cps.batches == []
    assert len(world.cps.asked) >= 3
    assert world.take() is NoToken.NONE_LEFT
    world.cps.listed = key_list(Mint(), AHEAD)
    await world.pass_time(3_600)
    assert world.cps.batches


async def test_no_call_makes_a_request(world: World) -> None:
    """Calls take tokens; when a request is made is decided by visits at random times alone."""
    await world.pass_time(60)
    before = len(world.cps.batches)
    for _ in range(60):
        world.take()
    await asyncio.sleep(0)
    assert len(world.cps.batches) == before
    assert refill.BETWEEN_VISITS in world.drawn
    await world.pass_time(120)
    assert len(world.cps.batches) == before + 2


async def test_nothing_is_obtained_above_the_low_mark(world: World) -> None:
    """Between the marks the supply rests."""
    await world.pass_time(60)
    for _ in range(20):
        world.take()
    await world.pass_time(1_000)
    assert len(world.cps.batches) == 2


async def test_the_epoch_ahead_is_seen_to(world: World) -> None:
    """Its tokens are obtained at a random time before it begins, and serve from its beginning."""
    await world.pass_time(60)
    ends = (EPOCH + 1) * EPOCH_SECONDS
    [(low, high)] = [pair for pair in world.drawn if pair[0] >= NOW]
    assert NOW <= low < high == ends - refill.READY_SECONDS
    world.wall.moment = (low + high) / 2 - 100
    world.clock.moment += 10_000
    await world.pass_time(300)
    assert [epoch for epoch, _ in world.cps.batches] == [EPOCH, EPOCH, EPOCH + 1, EPOCH + 1]
    world.wall.moment = ends - 300.0
    await world.pass_time(301)
    token = world.take()
    assert isinstance(token, Unspent)
    assert token.token.epoch == EPOCH + 1
    await world.pass_time(400)
    assert world.wallet.count(CPS, EPOCH) == 0


async def test_a_cps_met_by_a_call_is_supplied_later(world: World) -> None:
    """The call goes without; the CPS is asked after a random time, not at once, also where it
    refuses the store, or is met again."""
    assert world.take(STRANGER) is NoToken.NOT_NEEDED
    assert world.drawn[-1] == supplies.MET_BY_A_CALL == (60.0, 3_600.0)
    await world.pass_time(30)
    world.supply.answered(STRANGER, None, 401)
    world.take(STRANGER)
    await world.pass_time(29)
    assert STRANGER.base not in world.cps.asked
    await world.pass_time(3_600)
    assert STRANGER.base in world.cps.asked
    assert isinstance(world.take(STRANGER), Unspent)


async def test_a_cps_without_tokens_is_remembered(world: World) -> None:
    """404 on its keys, or 201 to a store without: no token is looked for."""
    world.cps.listed = None
    await world.pass_time(60)
    assert world.take() is NoToken.NOT_NEEDED
    assert len(world.cps.asked) == 1
    world.take(STRANGER)
    world.supply.answered(STRANGER, None, 201)
    assert world.take(STRANGER) is NoToken.NOT_NEEDED
    # one that wants tokens from now on is asked for its keys
    world.cps.listed = key_list(Mint(), AHEAD)
    world.supply.answered(ORIGIN, None, 401)
    assert world.take() is NoToken.NONE_LEFT
    await world.pass_time(120)
    assert isinstance(world.take(), Unspent)


async def test_when_none_is_left_it_is_said(world: World) -> None:
    """A CPS that wants tokens gets no store without one."""
    await world.pass_time(60)
    world.cps.refusal = CpsUnavailable("down")
    while isinstance(world.take(), Unspent):
        await world.pass_time(1)
    assert world.take() is NoToken.NONE_LEFT


async def test_what_calls_do_not_need_may_go_elsewhere(world: World) -> None:
    """Only where it is known, and while there is more than half of the low mark."""
    assert not await world.supply.has_spare(ORIGIN)
    assert not await world.supply.has_spare(STRANGER)
    await world.pass_time(60)
    assert await world.supply.has_spare(ORIGIN)
    world.cps.refusal = CpsUnavailable("down")
    while world.wallet.count(CPS, EPOCH) > 6:
        world.take()
        await world.pass_time(1)
    assert await world.supply.has_spare(ORIGIN)
    world.take()
    assert not await world.supply.has_spare(ORIGIN)


async def test_where_no_tokens_are_wanted_stores_are_free(world: World) -> None:
    """A CPS without tokens has spare ones for everything."""
    world.cps.listed = None
    await world.pass_time(60)
    assert await world.supply.has_spare(ORIGIN)


@pytest.mark.parametrize(
    "failure", [CpsUnavailable("down"), CpsRefused("no", status=429), CpsRefused("no", status=500)]
)
async def test_failures_are_not_repeated_at_once(world: World, failure: PbxStirError) -> None:
    """A CPS that fails is asked less and less often, and supplied when it is well again."""
    world.cps.listed, world.cps.refusal = None, failure
    await world.pass_time(600)
    assert 4 <= len(world.cps.asked) <= 7
    world.cps.listed, world.cps.refusal = key_list(Mint(), AHEAD), None
    await world.pass_time(1_200)
    assert isinstance(world.take(), Unspent)


async def test_it_waits_as_long_as_it_is_told(world: World) -> None:
    """Retry-After of a CPS that has given enough."""
    world.cps.refusal = CpsRefused("enough", status=429, retry_after=5_000)
    await world.pass_time(4_900)
    assert len(world.cps.signers) == 1
    world.cps.refusal = None
    await world.pass_time(300)
    assert len(world.cps.batches) == 2


async def test_another_credential_is_tried(tmp_path: Path, authority: Authority) -> None:
    """Where one is refused the next one signs; those that have ended never do."""
    one, two = long_lived(authority), long_lived(authority, "Other")
    world = World(tmp_path, [one, two])
    world.cps.refusal = CpsRefused("who", status=401)
    await world.pass_time(100)
    assert set(world.cps.signers) == {one, two}
    world.wallet.close()


async def test_without_a_credential_there_is_no_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, with what to do."""
    world = World(tmp_path, [])
    await world.pass_time(100)
    assert world.cps.signers == []
    said = [one for one in caplog.records if one.levelname == "WARNING"]
    assert len(said) == 1
    assert "no valid credential" in said[0].getMessage()
    world.wallet.close()


async def test_what_does_not_hold_is_not_kept(world: World) -> None:
    """Signatures by another key than the published one go nowhere."""
    world.cps.mints[EPOCH] = Mint(which=1)
    await world.pass_time(100)
    assert world.wallet.count(CPS, EPOCH) == 0
    assert world.take() is NoToken.NONE_LEFT


async def test_one_process_obtains_for_all(world: World) -> None:
    """While another process is at it nothing is asked for; its tokens are found on the disk."""
    other = Wallet(world.folder / "wallet")
    turn = other.files.begin_filling(CPS)
    assert turn is not None
    await world.pass_time(100)
    assert world.cps.batches == []
    other.put(CPS, EPOCH, Mint().records(20), 100)
    other.files.end_filling(turn)
    await world.pass_time(60)
    assert isinstance(world.take(), Unspent)
    assert world.cps.batches == []


async def test_a_spent_token_in_use_is_dropped(tmp_path: Path, authority: Authority) -> None:
    """401 and 429 to a store end the use of a token for several calls; 201 does not."""
    world = World(tmp_path, [long_lived(authority)])
    world.wallet._calls_per_token = 3
    await world.pass_time(60)
    first = world.take()
    assert isinstance(first, Unspent)
    world.supply.answered(ORIGIN, first, 201)
    assert world.take() is first
    world.supply.answered(ORIGIN, first, 429)
    assert world.take() is not first
    world.wallet.close()


async def test_a_restart_finds_its_tokens_before_any_answer(world: World) -> None:
    """Tokens of an earlier run serve while the CPS has not been heard yet."""
    await world.pass_time(60)
    world.wallet.close()
    again = World(world.folder, [])
    again.cps.listed, again.cps.refusal = None, CpsUnavailable("down")
    running = asyncio.create_task(again.supply.run(lambda _: asyncio.sleep(0.01)))
    async with asyncio.timeout(5):
        while not isinstance(again.take(), Unspent):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    again.wallet.close()


async def test_a_command_has_tokens_now(world: World) -> None:
    """``ready`` obtains a batch where there is none, and nothing where there are some, or where
    none are needed; it raises what went wrong."""
    assert await world.supply.ready(ORIGIN) == 32
    assert isinstance(world.take(), Unspent)
    assert await world.supply.ready(ORIGIN) == 0
    assert world.cps.batches == [(EPOCH, 32)]
    world.cps.refusal = CpsUnavailable("down")
    with pytest.raises(CpsUnavailable):
        await world.supply.ready(STRANGER)
    world.cps.listed, world.cps.refusal = None, None
    assert await world.supply.ready(STRANGER) == 0


async def test_many_strangers_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many CPSs calls meet, few are supplied, the configured ones among them."""
    monkeypatch.setattr(supplies, "MOST_CPS", 8)
    for index in range(50):
        world.take(parse_cps_url(f"https://cps{index}.example"))
    assert len(world.supply._accounts) == 8
    assert CPS in world.supply._accounts


@pytest.mark.parametrize(("low", "high"), [(0, 10), (20, 10)])
def test_marks_are_checked(tmp_path: Path, authority: Authority, low: int, high: int) -> None:
    """A low mark that is none, or above the high one, is refused."""
    with pytest.raises(ConfigurationError, match="low mark"):
        World(tmp_path, [], low=low, high=high)


async def test_a_disk_that_is_gone_does_not_end_the_supply(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, calls go on with what memory has, and it is tried again."""
    await world.pass_time(60)
    world.wallet.files.directory.rename(world.folder / "elsewhere")
    await world.pass_time(120)
    assert "cannot write" in caplog.text
    assert isinstance(world.take(), Unspent)
    (world.folder / "elsewhere").rename(world.wallet.files.directory)
    await world.pass_time(200)
    assert isinstance(world.take(), Unspent)


async def test_the_disk_is_asked_in_threads_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is slow holds up no call: the event loop never looks how much lies there."""
    count, threads = world.wallet.files.count, set()

    def counted(cps: str, epoch: int) -> int:
        threads.add(threading.get_ident())
        return count(cps, epoch)

    monkeypatch.setattr(world.wallet.files, "count", counted)
    assert await world.calls(60, 5.0) < 60
    assert world.cps.batches
    assert threads
    assert threading.get_ident() not in threads


async def test_a_turn_that_nobody_waits_for_is_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is ended while the folder is locked leaves no lock behind: another one has its turn."""
    files, asked, given = world.wallet.files, asyncio.Event(), threading.Event()
    loop, begin = asyncio.get_running_loop(), files.begin_filling

    def begun(cps: str) -> int | None:
        loop.call_soon_threadsafe(asked.set)
        try:
            return begin(cps)
        finally:
            given.set()

    await world.pass_time(3)
    with monkeypatch.context() as patched, files._disk.locked():
        patched.setattr(files, "begin_filling", begun)
        world.clock.moment += 60.0
        running = asyncio.create_task(world.supply.run())
        async with asyncio.timeout(30):
            await asked.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert await asyncio.to_thread(given.wait, 30)
    async with asyncio.timeout(30):
        while (turn := await asyncio.to_thread(begin, CPS)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    files.end_filling(turn)


class Slow(FakeObtaining):
    """Signs when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = asyncio.Event()
        self.let = asyncio.Event()

    async def signatures(
        self, cps: str, batch: BlindedBatch, credential: Credential
    ) -> tuple[bytes, ...]:
        """Signatures, later."""
        self.waiting.set()
        await self.let.wait()
        return await super().signatures(cps, batch, credential)


@pytest.mark.parametrize(("seconds", "kept"), [(30.0, MOST_IN_A_REQUEST), (0.01, 0)])
async def test_tokens_that_are_being_granted_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: float, kept: int
) -> None:
    """At the end of a supply: the CPS has counted them, so they go to the disk. But it is waited
    for no longer than a moment, and another one has its turn then."""
    monkeypatch.setattr(refill, "LET_END_SECONDS", seconds)
    slow = world.supply.refill._obtaining = Slow()
    await world.pass_time(3)
    world.clock.moment += 60.0
    running = asyncio.create_task(world.supply.run())
    async with asyncio.timeout(60):
        await slow.waiting.wait()
        running.cancel()
        if kept:
            # the end is under way before the answer is
            await asyncio.sleep(0)
            slow.let.set()
        await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert world.wallet.count(CPS, EPOCH) == kept
    turn = world.wallet.files.begin_filling(CPS)
    assert turn is not None
    world.wallet.files.end_filling(turn)
