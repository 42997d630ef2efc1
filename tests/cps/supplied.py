"""A supply of storage tokens with all it needs: clocks, a wallet, and a CPS that is not there."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from pbx_stir.cps.origin import CpsUrl, parse_cps_url
from pbx_stir.cps.placing import NoToken
from pbx_stir.cps.supply import Supply
from pbx_stir.errors import PbxStirError
from pbx_stir.stir.credential import Credential
from pbx_stir.tokens.epochs import KeyList
from pbx_stir.tokens.exchange import BlindedBatch
from pbx_stir.tokens.raw_rsa import RawSigner
from pbx_stir.tokens.wallet import Unspent, Wallet
from tests.tokens.minting import CPS, EPOCH, NOW, Mint, key_list, private_key

from .conftest import Authority, Clock

ORIGIN = parse_cps_url(CPS)
STRANGER = parse_cps_url("https://stranger.example")
AHEAD = Mint(EPOCH + 1, 1)


@functools.cache
def signer(which: int) -> RawSigner:
    """What signs for a mint, as quickly as a CPS."""
    return RawSigner(private_key(which))


class FakeObtaining:
    """A CPS as ``Obtaining`` shows it; what it is to say stands in ``listed`` and ``refusal``."""

    def __init__(self) -> None:
        self.listed: KeyList | None = key_list(Mint(), AHEAD)
        self.refusal: PbxStirError | None = None
        self.mints = {EPOCH: Mint(), EPOCH + 1: AHEAD}
        self.asked: list[str] = []
        self.batches: list[tuple[int, int]] = []
        self.signers: list[Credential] = []
        # of which epoch there is no more to be had, and what is said then
        self.used_up: tuple[int, PbxStirError] | None = None

    async def keys(self, cps: str) -> KeyList | None:
        """The list."""
        self.asked.append(cps)
        if self.refusal is not None and self.listed is None:
            raise self.refusal
        return self.listed

    async def signatures(
        self, cps: str, batch: BlindedBatch, credential: Credential
    ) -> tuple[bytes, ...]:
        """Signatures, or the refusal."""
        self.signers.append(credential)
        if self.refusal is not None:
            raise self.refusal
        if self.used_up is not None and self.used_up[0] == batch.epoch:
            raise self.used_up[1]
        self.batches.append((batch.epoch, len(batch.blinded)))
        raw = signer(self.mints[batch.epoch].which)
        return tuple(raw.sign(one) for one in batch.blinded)


class World:
    """A supply, its clocks, its CPS and its wallet. Draws always give the middle."""

    def __init__(self, folder: Path, credentials: Sequence[Credential], **settings: object) -> None:
        self.folder = folder
        self.wall = Clock(NOW)
        self.clock = Clock(0.0)
        self.cps = FakeObtaining()
        self.drawn: list[tuple[float, float]] = []
        self.wallet = Wallet(folder / "wallet", clock=self.clock)
        marks: dict[str, int] = {"low": 10, "high": 40}
        self.supply = Supply(
            wallet=self.wallet,
            obtaining=self.cps,
            credentials=lambda: credentials,
            now=self.wall,
            clock=self.clock,
            draw=self.draw,
            **{"cps": [ORIGIN], **marks, **settings},
        )

    def draw(self, low: float, high: float) -> float:
        """The middle."""
        self.drawn.append((low, high))
        return (low + high) / 2

    async def pass_time(self, seconds: float) -> None:
        """Let time go by, and what is due be done."""
        until = self.clock.moment + seconds
        wait = await self.supply.visit_due()
        while self.clock.moment < until:
            step = min(max(wait, 0.01), until - self.clock.moment)
            self.clock.moment += step
            self.wall.moment += step
            wait = await self.supply.visit_due()

    async def calls(self, count: int, a_second: float) -> int:
        """So many calls, evenly; gives how many of them found no token."""
        began, without = self.clock.moment, 0
        for number in range(1, count + 1):
            await self.pass_time(began + number / a_second - self.clock.moment)
            without += not isinstance(self.take(), Unspent)
            while self.supply._to_stock:
                await self.supply._stock(self.supply._to_stock.pop())
        return without

    def take(self, origin: CpsUrl = ORIGIN) -> Unspent | NoToken:
        """A call."""
        return self.supply.take(origin, self.wall())


def long_lived(authority: Authority, name: str = "Company") -> Credential:
    """A credential; its dates are around those of the tokens."""
    return authority.credential("12125551200", name=name)
