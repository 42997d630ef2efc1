"""Tests of pbx_stir.cps.obtaining, and of the sender's whole side against a real CPS."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pbx_stir.certificates import issuing
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.listening import listening
from pbx_stir.cps.obtaining import Obtaining
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.supply import Supply
from pbx_stir.errors import CpsRefused, CpsUnavailable, MalformedToken, UrlRefused
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import StoreResult
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import sealing
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.exchange import BlindedBatch
from pbx_stir.tokens.wallet import Wallet, signed, want

from .conftest import private_pem
from .other_cps import answering, http

NUMBER = "12125551234"


class Trusted:
    """An authority of today, and a company's credential by it."""

    def __init__(self) -> None:
        now = time.time()
        root, root_key = issuing.new_root("Lab", now - 1000, 30)
        self.anchors = Anchors.of([root])
        key = issuing.new_key()
        leaf = issuing.issue_leaf(
            root, root_key, key.public_key(), "Company", TnAuthList(numbers=("1212",)), now, 20
        )
        pem = leaf.public_bytes(serialization.Encoding.PEM)
        url = "https://cert.example.com/c.pem"
        self.credential: Credential = credentials.load(pem, private_pem(key), x5u=url)


@pytest.fixture(scope="module")
def trusted() -> Trusted:
    """One for all tests."""
    return Trusted()


@asynccontextmanager
async def real(trusted: Trusted, **settings: object) -> AsyncIterator[str]:
    """A CPS that issues tokens, with the clock of the day."""
    chosen = CpsSettings(
        **({"port": 0, "tls": False, "anchors": lambda: trusted.anchors} | settings)
    )
    async with listening(chosen, chosen.new_store(), time.time) as url:
        yield url


@asynccontextmanager
async def asking() -> AsyncIterator[Obtaining]:
    """What asks, with exchanges of its own."""
    unnamed, named = Exchange(allow_plain=True, keep=False), Exchange(allow_plain=True)
    yield Obtaining(unnamed=unnamed, named=named)
    await unnamed.close()
    await named.close()


@dataclass
class Sender:
    """A sender: its wallet, its supply, and its client."""

    wallet: Wallet
    supply: Supply
    client: CpsClient

    async def store(self, url: str, copies: int = 1) -> StoreResult:
        """One call."""
        blobs = [sealing.dummy(os.urandom(32)) for _ in range(copies)]
        [result] = await self.client.store([url], NUMBER, blobs, time.monotonic() + 10)
        return result

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Visit until something is so."""
        async with asyncio.timeout(30):
            while not is_so():
                await self.supply.visit_due()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def sending(
    folder: Path, url: str, credential: Credential, wrong_by: float = 0.0
) -> AsyncIterator[Sender]:
    """A sender whose clock may be wrong, and that does not wait between its requests."""
    now = lambda: time.time() + wrong_by  # noqa: E731
    unnamed, named = (Exchange(allow_plain=True, keep=keep, now=now) for keep in (False, True))
    wallet = Wallet(folder / "wallet")
    supply = Supply(
        wallet=wallet,
        obtaining=Obtaining(unnamed=unnamed, named=named),
        credentials=lambda: [credential],
        cps=[unnamed.origin(url)],
        low=8,
        high=32,
        now=now,
        draw=lambda low, high: low if high > 1000 else low / 100,
    )
    client = CpsClient(allow_plain=True, tokens=supply, now=now)
    yield Sender(wallet, supply, client)
    for each in (unnamed, named, client):
        await each.close()
    wallet.close()


async def test_tokens_of_a_real_cps_store(tmp_path: Path, trusted: Trusted) -> None:
    """Keys, a batch, stores with eight copies each; a token serves one call."""
    async with (
        real(trusted, stores_per_token=8) as url,
        sending(tmp_path, url, trusted.credential) as sender,
    ):
        assert (await sender.store(url)).reason is Reason.NO_TOKENS
        epoch = epoch_of(time.time())
        await sender.until(lambda: sender.wallet.in_memory(url, epoch) > 0)
        before = sender.wallet.count(url, epoch)
        for _ in range(5):
            result = await sender.store(url, 8)
            assert result.reason is Reason.STORED, result
        assert sender.wallet.count(url, epoch) == before - 5


@pytest.mark.parametrize("wrong_by", [-90.0, 45.0])
async def test_a_wrong_clock_does_not_spoil_it(
    tmp_path: Path, trusted: Trusted, wrong_by: float
) -> None:
    """A sender whose clock is beyond the CPS's window obtains and spends all the same."""
    async with real(trusted) as url, sending(tmp_path, url, trusted.credential, wrong_by) as sender:
        epoch = epoch_of(time.time())
        await sender.until(lambda: sender.wallet.in_memory(url, epoch) > 0)
        # its first store learns the time, as a key list would over the same connections
        results = [await sender.store(url) for _ in range(2)]
        assert results[1].reason is Reason.STORED, results


async def test_a_cps_without_tokens_needs_none(tmp_path: Path, trusted: Trusted) -> None:
    """Its key list is not there, and stores go without."""
    async with (
        real(trusted, tokens=False) as url,
        sending(tmp_path, url, trusted.credential) as sender,
    ):
        await sender.supply.visit_due()
        assert (await sender.store(url)).reason is Reason.STORED


async def test_what_one_may_have_ends(trusted: Trusted) -> None:
    """Beyond the limit of a leaf it is 429, with the time at which there is more."""
    async with real(trusted, tokens_per_leaf=40) as url, asking() as obtaining:
        listed = await obtaining.keys(url)
        assert listed is not None
        key = listed.of(epoch_of(time.time()))
        assert key is not None
        wanted = [want(listed.issuer, key) for _ in range(32)]
        batch = BlindedBatch(key.epoch, tuple(each.blinded.blinded for each in wanted))
        signatures = await obtaining.signatures(url, batch, trusted.credential)
        for each, signature in zip(wanted, signatures, strict=True):
            assert len(signed(each, key, signature)) == 320
        with pytest.raises(CpsRefused) as refused:
            await obtaining.signatures(url, batch, trusted.credential)
        assert refused.value.status == 429
        assert 0 < refused.value.retry_after <= 86_400


async def test_strangers_get_nothing(trusted: Trusted) -> None:
    """A credential of an authority that the CPS does not know is 401."""
    async with real(trusted) as url, asking() as obtaining:
        batch = BlindedBatch(epoch_of(time.time()), (bytes(255) + b"\x02",))
        with pytest.raises(CpsRefused) as refused:
            await obtaining.signatures(url, batch, Trusted().credential)
        assert refused.value.status == 401


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http(b"{}"), MalformedToken),
        (http(b"[" * 5000), MalformedToken),
        (http(b"x" * 100_000), CpsUnavailable),
        (http(b"", "503 Later"), CpsUnavailable),
        (http(b"", "403 No"), CpsRefused),
        (http(b"", "302 Found", "Location: http://127.0.0.1:1/"), CpsUnavailable),
        (b"junk\r\n\r\n", CpsUnavailable),
    ],
)
async def test_hostile_answers_are_told_apart(
    trusted: Trusted, answer: bytes, error: type[Exception]
) -> None:
    """Whatever is answered, one of the errors that are promised is raised."""
    async with answering(lambda _: answer) as url, asking() as obtaining:
        with pytest.raises(error):
            await obtaining.keys(url)
        with pytest.raises(error):
            await obtaining.signatures(url, BlindedBatch(1, (bytes(256),)), trusted.credential)


async def test_no_tokens_at_all_is_none() -> None:
    """404 says that the CPS issues none; a URL that is none is refused."""
    async with answering(lambda _: http(b"", "404 No")) as url, asking() as obtaining:
        assert await obtaining.keys(url) is None
        with pytest.raises(UrlRefused):
            await obtaining.keys("gopher://x")


async def test_too_few_signatures_are_refused(trusted: Trusted) -> None:
    """As many as were asked for, or none are taken."""

    def reply(request: bytes) -> bytes:
        if request.startswith(b"GET"):
            return http(b'{"nonce":"0123456789abcdef"}')
        return http(b'{"signatures":["' + b"A" * 342 + b'"]}', "201 Created")

    async with answering(reply) as url, asking() as obtaining:
        with pytest.raises(MalformedToken, match="1 blind signatures for 2"):
            await obtaining.signatures(
                url, BlindedBatch(1, (bytes(256), bytes(256))), trusted.credential
            )
