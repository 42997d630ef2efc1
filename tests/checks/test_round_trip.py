"""A PASSporT there and back, through CPSs that run here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.companies import Authority
from pbx_stir.certificates import anchors
from pbx_stir.checks import round_trip
from pbx_stir.checks.finding import Finding
from pbx_stir.checks.round_trip import NOBODYS_PREFIX, try_round_trip
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.listening import listening
from pbx_stir.cps.placing import Placing
from pbx_stir.cps.settings import HOLDERS, CpsSettings
from pbx_stir.cps.store import MemoryStore
from pbx_stir.services.placement_service import Answer, StoreResult
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.wallet_files import WalletFiles
from tests.checks.setups import Setup


class WatchedStore(MemoryStore):
    """A store that tells which numbers were stored for."""

    def __init__(self) -> None:
        super().__init__(30)
        self.numbers: list[str] = []

    async def add(self, number: str, *arguments: Any, **more: Any) -> str:
        """Store."""
        self.numbers.append(number)
        return await super().add(number, *arguments, **more)


@asynccontextmanager
async def cps(
    setup: Setup, *, tokens: bool = False, retrieval: str = "open", trusts: str = ""
) -> AsyncIterator[WatchedStore]:
    """A CPS that the set-up stores at, and which trusts its authority or another."""
    current = anchors.load([trusts or str(setup.office.authority.anchor)])
    settings = CpsSettings(
        port=0, tls=False, tokens=tokens, retrieval=retrieval, anchors=lambda: current
    )
    store = WatchedStore()
    async with listening(settings, store) as url:
        setup.use(url)
        yield store


async def found(setup: Setup) -> list[Finding]:
    """What is found on the way."""
    loaded = setup.loaded
    return [one async for one in try_round_trip(loaded, loaded.values.route[0].cps[0])]


async def codes(setup: Setup) -> list[str]:
    """Their codes."""
    return [one.code for one in await found(setup)]


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("spc", [False, True])
async def test_there_and_back(setup: Setup, tokens: bool, spc: bool) -> None:
    """One PASSporT, for a number that belongs to nobody; nothing is left in our folders."""
    if spc:
        setup.certify(TnAuthList(spcs=("1234",)))
    before = sorted(setup.folder.rglob("*"))
    async with cps(setup, tokens=tokens) as store:
        assert await found(setup) == []
    [number] = store.numbers
    assert (number.startswith(NOBODYS_PREFIX), len(number)) == (True, 15)
    assert sorted(setup.folder.rglob("*")) == before


async def test_it_costs_one_token(setup: Setup) -> None:
    """Of those in the service's wallet; where that is empty it obtains some for it."""
    async with cps(setup, tokens=True):
        origin = setup.loaded.values.route[0].cps[0]
        wallet = WalletFiles(setup.folder / "state/wallet")
        assert await codes(setup) == []
        left = wallet.count(origin, epoch_of(time.time()))
        assert left > 1
        assert await codes(setup) == []
        assert wallet.count(origin, epoch_of(time.time())) == left - 1


async def test_no_tokens(setup: Setup, tmp_path: Path) -> None:
    """A CPS that does not trust our authority issues none."""
    other = Authority.new(tmp_path, "Other")
    async with cps(setup, tokens=True, trusts=str(other.anchor)) as store:
        [one] = await found(setup)
    assert one.code == "round-trip-no-tokens"
    assert "cps.trust" in one.hint
    assert store.numbers == []


async def test_a_cps_for_holders_alone(setup: Setup) -> None:
    """It is asked for a number of ours: by a service that signs, and by one that does not."""
    async with cps(setup, retrieval=HOLDERS) as store:
        [one] = await found(setup)
        assert one.code == "retrieval-holders-only"
        assert 'retrieve = "signed"' in one.hint
        assert store.numbers[1] == setup.company.first
        for way in ("signed", "subscribed"):
            setup.change("[publish]\n", f'[publish]\nretrieve = "{way}"\n')
            assert await codes(setup) == []
            setup.change(f'retrieve = "{way}"\n', "")


async def test_a_cps_of_others_for_holders_alone(setup: Setup) -> None:
    """What cannot be seen there is said."""
    async with cps(setup, retrieval=HOLDERS):
        setup.drop("[publish]")
        [one] = await found(setup)
    assert (one.code, one.severity.value) == ("round-trip-unseen", "note")


async def test_a_cps_that_loses_it(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it took it, and has nothing but dummies."""
    monkeypatch.setattr(round_trip, "_PAUSE_SECONDS", 0.01)

    async def forget(self: object, number: str, *_: object, **__: object) -> str:
        return "A" * 22

    async with cps(setup):
        monkeypatch.setattr(WatchedStore, "add", forget)
        assert await codes(setup) == ["round-trip-lost"]


async def test_a_cps_that_shows_it_late(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several machines may need a moment."""
    monkeypatch.setattr(round_trip, "_PAUSE_SECONDS", 0.01)
    asked: list[str] = []
    retrieve = CpsClient._retrieve_from

    async def late(self: CpsClient, cps: str, number: str, give_up_at: float) -> Answer:
        asked.append(number)
        if len(asked) == 1:
            return Answer(cps, number, ())
        return await retrieve(self, cps, number, give_up_at)

    monkeypatch.setattr(CpsClient, "_retrieve_from", late)
    async with cps(setup):
        assert await codes(setup) == []
    assert len(asked) == 2


async def test_a_cps_that_refuses(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own words; and one that breaks down meanwhile."""
    from pbx_stir.cps.answers import Failure

    for status, code in ((429, "round-trip-refused"), (503, "cps-unreachable")):

        async def fail(self: object, *_: object, status: int = status, **__: object) -> str:
            raise Failure(status, "no room today")

        async with cps(setup):
            monkeypatch.setattr(WatchedStore, "add", fail)
            [one] = await found(setup)
        assert (one.code, "no room today" in one.what) == (code, True)


async def test_what_we_would_not_verify_ourselves(setup: Setup, tmp_path: Path) -> None:
    """A provider's code is not accepted here; whom we do not trust has a finding elsewhere."""
    setup.certify(TnAuthList(spcs=("1234",)))
    setup.change("[verification]", '[verification]\nspc = "refuse"')
    async with cps(setup):
        [one] = await found(setup)
        assert (one.code, "number-not-covered" in one.what) == ("round-trip-unverified", True)
        setup.certify(setup.company.numbers, Authority.new(tmp_path, "Foreign"))
        assert await codes(setup) == []


async def test_nobody_to_sign(setup: Setup) -> None:
    """Each reason is said, as a note: what is wrong has its own finding."""
    async with cps(setup) as store:
        setup.certify(TnAuthList(ranges=(("13105552000", 100),)))
        [one] = await found(setup)
        assert (one.code, one.severity.value) == ("round-trip-skipped", "note")
        assert "no certificate covers" in one.what
        setup.drop("[[credential]]")
        [one] = await found(setup)
        assert "no certificate that is valid" in one.what
    assert store.numbers == []


async def test_a_wallet_that_another_process_fills(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else obtains tokens then: it waits for its turn, for a while."""
    monkeypatch.setattr(round_trip, "_TURN_SECONDS", 0.01)
    async with cps(setup, tokens=True):
        origin = setup.loaded.values.route[0].cps[0]
        wallet = WalletFiles(setup.folder / "state/wallet")
        turn = await asyncio.to_thread(wallet.begin_filling, origin)
        assert turn is not None
        assert await codes(setup) == ["round-trip-no-tokens"]
        store = Placing.store_at

        async def stored(self: Placing, *arguments: Any) -> StoreResult:
            result = await store(self, *arguments)
            if open_turns:
                wallet.end_filling(open_turns.pop())
            return result

        open_turns = [turn]
        monkeypatch.setattr(Placing, "store_at", stored)
        assert await codes(setup) == []
