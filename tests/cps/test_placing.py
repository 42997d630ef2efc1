"""Tests of pbx_stir.cps.placing: stores with the token that a call spends."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.origin import CpsUrl
from pbx_stir.cps.placing import NoToken, Placing
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import StoreResult
from pbx_stir.stir import sealing
from pbx_stir.tokens import storage_token
from pbx_stir.tokens.storage_token import Store
from pbx_stir.tokens.wallet import Unspent, Wallet
from tests.tokens.minting import CPS, EPOCH, NOW, Mint

from .other_cps import answering, http

NUMBER = "12125551234"
CREATED = http(b"", "201 Created")


@dataclass
class Purse:
    """A source of tokens that gives what it is told to, and notes what it learns."""

    given: list[Unspent | NoToken]
    asked: list[tuple[str, float]] = field(default_factory=list)
    answers: list[tuple[Unspent | None, int]] = field(default_factory=list)

    def take(self, origin: CpsUrl, now: float) -> Unspent | NoToken:
        """The next one."""
        self.asked.append((origin.base, now))
        return self.given.pop(0) if self.given else NoToken.NONE_LEFT

    def answered(self, origin: CpsUrl, token: Unspent | None, status: int) -> None:
        """Noted."""
        self.answers.append((token, status))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> list[Unspent]:
    """Four tokens."""
    wallet = Wallet(tmp_path_factory.mktemp("state") / "wallet")
    wallet.pin(CPS, Mint().listed, NOW)
    wallet.put(CPS, EPOCH, Mint().records(4), 10)
    wallet.stock(CPS, NOW)
    return [one for _ in range(4) if (one := wallet.take(CPS, NOW)) is not None]


class Scene:
    """A placing, and what its CPS was sent."""

    def __init__(self, purse: Purse | None, now: float = NOW) -> None:
        self.exchange = Exchange(allow_plain=True, now=lambda: now)
        self.placing = Placing(self.exchange, purse, blur=lambda: 0.0)
        self.requests: list[bytes] = []
        self.answer: Callable[[int], bytes | None] = lambda _: CREATED

    def reply(self, request: bytes) -> bytes | None:
        """The CPS."""
        self.requests.append(request)
        return self.answer(len(self.requests))

    async def store(self, count: int = 1, *, times: int = 1) -> StoreResult:
        """Calls, each with so many copies; what the last one came to."""
        blobs = [sealing.dummy(os.urandom(32)) for _ in range(count)]
        async with answering(self.reply) as url:
            for _ in range(times):
                give_up_at = time.monotonic() + 5
                result = await self.placing.store_at(url, NUMBER, blobs, give_up_at)
        return result

    def authorizations(self) -> list[str]:
        """The header fields that came."""
        found = [re.findall(rb"\r\nAuthorization: ([^\r]*)\r\n", one) for one in self.requests]
        return [value.decode() for values in found for value in values]


@pytest.fixture
async def scenes() -> AsyncIterator[Callable[..., Scene]]:
    """Makes scenes, and closes them."""
    made: list[Scene] = []

    def make(purse: Purse | None, now: float = NOW) -> Scene:
        made.append(Scene(purse, now))
        return made[-1]

    yield make
    for one in made:
        await one.exchange.close()


async def test_one_token_serves_all_copies(
    scenes: Callable[..., Scene], tokens: list[Unspent]
) -> None:
    """Each copy carries the call's one token, and a proof of its own for its own body."""
    purse = Purse(tokens[:1])
    scene = scenes(purse)
    result = await scene.store(3)
    assert result.reason is Reason.STORED
    assert len(purse.asked) == 1
    values = scene.authorizations()
    parsed = [storage_token.parse_authorization(value) for value in values]
    assert {token.key for token, _ in parsed} == {tokens[0].token.key}
    assert len({proof.nonce for _, proof in parsed}) == 3
    public = storage_token.load_key(tokens[0].token.key)
    bodies = [request.partition(b"\r\n\r\n")[2] for request in scene.requests]
    for (token, proof), body in zip(parsed, bodies, strict=True):
        assert proof.time == int(NOW)
        store = Store("127.0.0.1", "POST", NUMBER, "application/passport", body)
        assert storage_token.proof_holds(public, token, proof, store)
    assert purse.answers == [(tokens[0], 201)] * 3


async def test_without_a_token_nothing_is_sent(scenes: Callable[..., Scene]) -> None:
    """Where the CPS wants tokens and none is left, that is the result, at once."""
    scene = scenes(Purse([]))
    result = await scene.store(2)
    assert result.reason is Reason.NO_TOKENS
    assert "no storage token is left" in result.detail
    assert scene.requests == []


@pytest.mark.parametrize("known", [True, False])
async def test_a_cps_without_tokens_gets_none(scenes: Callable[..., Scene], known: bool) -> None:
    """No header field where none is needed, or no wallet is there; its answer is noted."""
    purse = Purse([NoToken.NOT_NEEDED]) if known else None
    scene = scenes(purse)
    assert (await scene.store()).reason is Reason.STORED
    assert scene.authorizations() == []
    assert purse is None or purse.answers == [(None, 201)]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("401 Who", Reason.NO_TOKENS),
        ("409 Before", Reason.CPS_REFUSED),
        ("429 Many", Reason.CPS_REFUSED),
        ("503 Later", Reason.CPS_UNAVAILABLE),
    ],
)
async def test_refusals_have_their_reasons(
    scenes: Callable[..., Scene], tokens: list[Unspent], status: str, reason: Reason
) -> None:
    """What a CPS says of a token; the source of tokens learns it."""
    purse = Purse(tokens[:1])
    scene = scenes(purse)
    scene.answer = lambda _: http(b'{"detail":"because"}', status)
    result = await scene.store()
    assert (result.reason, "because" in result.detail) == (reason, True)
    assert purse.answers == [(tokens[0], int(status[:3]))]


async def test_a_store_that_was_made_before_is_stored(
    scenes: Callable[..., Scene], tokens: list[Unspent]
) -> None:
    """Sent again after its kept connection was closed, and refused as used: it is there."""
    scene = scenes(Purse(tokens[:2]))

    def answer(count: int) -> bytes | None:
        # the second is read, and its connection closed; the third is the second again
        return {1: CREATED, 2: None}.get(count, http(b"", "409 Used before"))

    scene.answer = answer
    assert (await scene.store(times=2)).reason is Reason.STORED
    assert len(scene.requests) == 3
    assert scene.requests[1] == scene.requests[2]


async def test_the_proof_has_the_time_of_the_cps(
    scenes: Callable[..., Scene], tokens: list[Unspent]
) -> None:
    """With a clock that is wrong by ten minutes the second store has the CPS's time already."""
    purse = Purse(tokens[:2])
    scene = scenes(purse, 784111777.0 + 600)
    scene.answer = lambda _: http(b"", "201 Created", "Date: Sun, 06 Nov 1994 08:49:37 GMT")
    await scene.store(times=2)
    times = [storage_token.parse_authorization(one)[1].time for one in scene.authorizations()]
    assert times == [784111777 + 600, 784111777]
    assert [int(now) for _, now in purse.asked] == times


async def test_times_are_blurred(scenes: Callable[..., Scene], tokens: list[Unspent]) -> None:
    """A proof's time is some seconds away from ours, for all copies of a call alike."""
    seen = set()
    for _ in range(12):
        scene = scenes(Purse(tokens[:1]))
        scene.placing = Placing(scene.exchange, scene.placing._tokens)
        await scene.store(2)
        values = scene.authorizations()
        [time_shown] = {storage_token.parse_authorization(one)[1].time for one in values}
        assert abs(time_shown - NOW) <= 6
        seen.add(time_shown)
    assert len(seen) > 2


@pytest.mark.parametrize("url", ["nonsense", "http://192.0.2.1", "https://["])
async def test_nothing_raises(tokens: list[Unspent], url: str) -> None:
    """A URL that is none costs no token, and is a result."""
    purse = Purse(tokens[:1])
    placing = Placing(Exchange(), purse)
    result = await placing.store_at(url, NUMBER, [b"x"], time.monotonic() + 5)
    assert result.reason is Reason.CPS_UNAVAILABLE
    assert purse.asked == []


async def test_nothing_to_store_costs_nothing(tokens: list[Unspent]) -> None:
    """No copy, no token."""
    purse = Purse(tokens[:1])
    result = await Placing(Exchange(), purse).store_at(CPS, NUMBER, [], 0.0)
    assert (result.reason, purse.asked) == (Reason.STORED, [])
