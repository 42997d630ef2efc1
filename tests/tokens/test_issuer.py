"""Issuing tokens: who gets some, how many, and that cheap checks come before dear ones."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates import issuing
from pbx_stir.errors import (
    CertificateRevoked,
    MalformedToken,
    StoreUnavailable,
    TokenRefused,
    Unavailable,
)
from pbx_stir.stir import jws
from pbx_stir.stir.certificate import Path
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import RETRIEVAL
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens import exchange, issuer
from pbx_stir.tokens.epochs import EPOCH_SECONDS, KeyList
from pbx_stir.tokens.issuer import Issuer, IssuingLimits, SigningPool, new_nonce, nonce_holds
from pbx_stir.tokens.ledger import Counter, MemoryLedger
from pbx_stir.tokens.wallet import signed, want
from tests.tokens.signers import Authority
from tests.tokens.spending import EPOCH, NAME, NOW, batch, token_keys, token_request

ROOT = Authority()
COMPANY = ROOT.credential()
N = 2**2048


class Desk:
    """An issuer that trusts ``ROOT``; the time is what ``now`` says."""

    def __init__(self, pool: SigningPool, limits: IssuingLimits | None = None) -> None:
        self.now = NOW
        self.keys = token_keys()
        self.pool = pool
        self.ledger = MemoryLedger(lambda: self.now)
        self.revoked = False
        self.issuer = Issuer(
            self.keys,
            self.ledger,
            {NAME, "127.0.0.1"},
            lambda: ROOT.anchors,
            pool=pool,
            limits=limits,
            check_path=self._check,
        )

    def _check(self, path: Path, now: float) -> None:
        if self.revoked:
            raise CertificateRevoked("the certificate is revoked")

    async def issue(
        self,
        wanted: exchange.BlindedBatch | None = None,
        credential: Credential = COMPANY,
        nonce: str = "",
        **request: object,
    ) -> tuple[bytes, ...]:
        """Ask for a batch as a sender does."""
        asked = wanted or batch()
        body = exchange.format_request(asked)
        value = token_request(
            credential,
            nonce or new_nonce(self.keys, self.now),
            body,
            **request,  # type: ignore[arg-type]
        )
        answered = await self.answer([value], body)
        return exchange.parse_signatures(answered, len(asked.blinded))

    async def answer(self, values: Sequence[str], body: bytes) -> bytes:
        """What a server does with a request."""
        read = self.issuer.read(values, self.now)
        return await self.issuer.issue(read, body, self.now)


@pytest.fixture
def pool() -> Iterator[SigningPool]:
    """One signing thread."""
    made = SigningPool(1)
    yield made
    made.close()


@pytest.fixture
def desk(pool: SigningPool) -> Desk:
    """An issuer with the usual limits."""
    return Desk(pool)


async def refused(desk: Desk, **request: object) -> TokenRefused:
    """The refusal of a request that gets nothing."""
    with pytest.raises(TokenRefused) as caught:
        await desk.issue(**request)  # type: ignore[arg-type]
    return caught.value


async def test_a_batch_is_signed_whole_and_in_order(desk: Desk) -> None:
    """What a sender blinded becomes as many tokens that hold."""
    key = KeyList(NAME, tuple(each.public for each in _signing(desk))).of(EPOCH)
    assert key is not None
    wanted = [want(NAME, key) for _ in range(5)]
    blinded = exchange.BlindedBatch(EPOCH, tuple(each.blinded.blinded for each in wanted))
    signatures = await desk.issue(blinded)
    for each, signature in zip(wanted, signatures, strict=True):
        assert signed(each, key, signature)


def _signing(desk: Desk) -> list[issuer.SigningKey]:
    return [key for key in map(desk.keys.of, (EPOCH, EPOCH + 1)) if key is not None]


async def test_the_most_are_signed_and_one_more_is_not(desk: Desk) -> None:
    """32 in one request."""
    assert len(await desk.issue(batch(32))) == 32
    with pytest.raises(MalformedToken):
        await desk.issue(batch(33))


async def test_tokens_of_the_next_epoch_are_to_be_had_ahead(desk: Desk) -> None:
    """Midnight finds wallets full; other epochs have none."""
    assert await desk.issue(batch(1, EPOCH + 1))
    for epoch in (EPOCH - 1, EPOCH + 2, 0):
        assert (await refused(desk, wanted=batch(1, epoch))).status == 409


async def test_a_nonce_is_good_once(desk: Desk) -> None:
    """Used again it is 409, also at the same time."""
    nonce = new_nonce(desk.keys, NOW)
    found = await asyncio.gather(
        *(desk.issue(nonce=nonce) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, tuple) for each in found) == 1
    assert {each.status for each in found if isinstance(each, TokenRefused)} == {409}


async def test_a_nonce_is_good_once_for_all_epochs(desk: Desk) -> None:
    """It does not serve a second time for tokens of the epoch ahead."""
    nonce = new_nonce(desk.keys, NOW)
    assert await desk.issue(batch(1, EPOCH), nonce=nonce)
    error = await refused(desk, wanted=batch(1, EPOCH + 1), nonce=nonce)
    assert (error.status, "nonce" in error.message) == (409, True)


async def test_a_nonce_is_ours_and_young(desk: Desk) -> None:
    """Another CPS's, a changed one, an invented one and an old one are refused."""
    ours = new_nonce(desk.keys, NOW)
    other = new_nonce(token_keys(which=1), NOW)
    changed = jws.encode_segment(jws.decode_segment(ours)[:-1] + b"\0")
    for nonce in (other, changed, "n" * 43, "n" * 16):
        error = await refused(desk, nonce=nonce)
        assert (error.status, "nonce" in error.message) == (401, True)
    desk.now = NOW + 61
    assert "nonce" in (await refused(desk, nonce=ours, now=desk.now)).message


def test_a_nonce_needs_no_memory() -> None:
    """It is good for 60 s at every worker that has the keys, and across midnight."""
    keys, worker = token_keys(), token_keys()
    nonce = new_nonce(keys, NOW)
    assert new_nonce(keys, NOW) != nonce
    assert 16 <= len(nonce) <= 128
    assert nonce_holds(worker, nonce, NOW + 60)
    assert not nonce_holds(worker, nonce, NOW + 61)
    assert not nonce_holds(worker, nonce, NOW - 3)
    midnight = float((EPOCH + 1) * EPOCH_SECONDS)
    late = new_nonce(keys, midnight - 1)
    worker.prepare(midnight + 30)
    assert nonce_holds(worker, late, midnight + 30)


def test_without_a_key_there_is_no_nonce() -> None:
    """A CPS whose keys are of other days says so."""
    with pytest.raises(Unavailable):
        new_nonce(token_keys(), NOW + 10 * EPOCH_SECONDS)


@given(st.text(max_size=60))
def test_any_text_is_no_nonce(text: str) -> None:
    """Nothing but no comes of it."""
    assert not nonce_holds(token_keys(), text, NOW)


async def test_the_nonce_comes_before_any_signature(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has no nonce of ours costs us no signature check."""

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(issuer, "read_request", never)
    assert (await refused(desk, nonce="n" * 43)).status == 401


@pytest.mark.parametrize(
    "request_",
    [
        {"audience": "other.example"},
        {"audience": "localhost:8480"},
        {"method": "PUT"},
        {"path": "/cps/tokens?x"},
        {"path": "/cps/tokens/"},
        {"now": NOW - 31},
        {"now": NOW + 31},
        {"typ": RETRIEVAL},
        {"typ": "passport"},
    ],
)
async def test_a_request_for_something_else_is_refused(
    desk: Desk, request_: dict[str, object]
) -> None:
    """Another CPS, method, path, time, or purpose of the signature: 401."""
    assert (await refused(desk, **request_)).status == 401


async def test_the_body_is_the_one_that_was_signed(desk: Desk) -> None:
    """Who changes the blinded messages on the way gets nothing."""
    body = exchange.format_request(batch())
    value = token_request(COMPANY, new_nonce(desk.keys, NOW), body)
    with pytest.raises(TokenRefused, match="another body"):
        await desk.answer([value], exchange.format_request(batch()))


async def test_a_signature_that_does_not_hold_is_refused(desk: Desk) -> None:
    """The header's JWS is checked under its own leaf before anything is looked up."""
    body = exchange.format_request(batch())
    value = token_request(COMPANY, new_nonce(desk.keys, NOW), body)
    for spoilt in (value[:-4] + "AAAA", value[:-1], "StirCredential x", "Bearer x", ""):
        with pytest.raises(TokenRefused) as caught:
            await desk.answer([spoilt], body)
        assert caught.value.status == 401
    for values in ([], [value, value]):
        with pytest.raises(TokenRefused):
            await desk.answer(values, body)


async def test_a_stranger_gets_nothing(desk: Desk) -> None:
    """No path to an anchor, an expired leaf, one that lists more than its authority had."""
    assert (await refused(desk, credential=Authority().credential())).status == 401
    expired = ROOT.credential(begins=NOW - 900_000, days=5)
    assert "expired" in (await refused(desk, credential=expired)).message
    desk.revoked = True
    assert "revoked" in (await refused(desk)).message


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"epoch":20833,"blinded":["A"]}'])
async def test_a_body_that_is_none_is_malformed(desk: Desk, body: bytes) -> None:
    """400, not 401: the signer was shown."""
    value = token_request(COMPANY, new_nonce(desk.keys, NOW), body)
    with pytest.raises(MalformedToken):
        await desk.answer([value], body)


async def test_blinded_messages_beyond_n_are_refused(desk: Desk) -> None:
    """Any of them refuses the whole batch, and nothing is spent by it."""
    [current, _] = _signing(desk)
    n = current.public.public.public_numbers().n
    nonce = new_nonce(desk.keys, NOW)
    for number in (0, 1, n - 1, n, n + 1, N - 1):
        bad = batch(3)
        spoilt = replace(bad, blinded=(*bad.blinded[:2], number.to_bytes(256, "big")))
        with pytest.raises(MalformedToken):
            await desk.issue(spoilt, nonce=nonce)
    assert len(desk.ledger) == 0
    assert await desk.issue(nonce=nonce)


async def test_a_leaf_has_its_limit(pool: SigningPool) -> None:
    """Per key and epoch; a batch that passes the limit is refused whole."""
    desk = Desk(pool, IssuingLimits(per_leaf=5))
    await desk.issue(batch(4))
    error = await refused(desk, wanted=batch(2))
    assert error.status == 429
    assert error.retry_after == (EPOCH + 1) * EPOCH_SECONDS - NOW
    await desk.issue(batch(1))
    assert (await refused(desk)).status == 429
    await desk.issue(batch(5, EPOCH + 1))
    await desk.issue(batch(5), ROOT.credential(name="Another"))


async def test_a_new_certificate_for_the_same_key_gets_no_more(pool: SigningPool) -> None:
    """The limit is the key's."""
    desk = Desk(pool, IssuingLimits(per_leaf=5))
    key: ec.EllipticCurvePrivateKey = issuing.new_key()
    await desk.issue(batch(5), ROOT.credential(key=key))
    again = ROOT.credential(key=key, name="Another", begins=NOW - 500)
    assert (await refused(desk, credential=again)).status == 429


async def test_an_authority_has_its_limit(pool: SigningPool) -> None:
    """However many leaves it makes, or authorities below itself; others go on."""
    desk = Desk(pool, IssuingLimits(per_issuer=5))
    seller = Authority(ROOT, "Seller")
    await desk.issue(batch(3), seller.credential())
    assert (await refused(desk, wanted=batch(3), credential=seller.credential())).status == 429
    below = Authority(seller, "Below")
    await desk.issue(batch(2), below.credential())
    assert (await refused(desk, credential=Authority(seller, "More").credential())).status == 429
    await desk.issue(batch(5), Authority(ROOT, "Honest").credential())
    # the anchor counts where it issued the leaf itself
    await desk.issue(batch(5), ROOT.credential())
    assert (await refused(desk, credential=ROOT.credential())).status == 429


async def test_a_provider_has_its_limit(pool: SigningPool) -> None:
    """All leaves with its code together, whoever issued them."""
    desk = Desk(pool, IssuingLimits(per_spc=5))
    one, other = Authority(ROOT, "One"), Authority(ROOT, "Other")
    await desk.issue(batch(5), one.credential(TnAuthList(spcs=("709J",))))
    error = await refused(desk, credential=other.credential(TnAuthList(spcs=("709J",))))
    assert error.status == 429
    await desk.issue(batch(5), one.credential(TnAuthList(spcs=("710J",))))


async def test_no_room_is_503_and_costs_nothing(desk: Desk) -> None:
    """A request that finds signing busy keeps its nonce and its quota."""
    small = SigningPool(1, most_waiting=1)
    desk.issuer._pool = small
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def sign(self, blinded: bytes) -> bytes:
            begun.set()
            assert go_on.wait(10)
            return blinded

    small.take_room()
    work = asyncio.create_task(small.sign(Slow(), [bytes(256)]))  # type: ignore[arg-type]
    await asyncio.to_thread(begun.wait, 10)
    nonce = new_nonce(desk.keys, NOW)
    with pytest.raises(Unavailable, match="busy"):
        await desk.issue(nonce=nonce)
    assert len(desk.ledger) == 0
    go_on.set()
    await work
    await asyncio.sleep(0)
    assert await desk.issue(nonce=nonce)
    small.close()


async def test_who_gives_up_leaves_its_room(desk: Desk) -> None:
    """A client that hangs up while its batch is signed takes no place for ever."""
    small = SigningPool(1, most_waiting=2)
    desk.issuer._pool = small
    for _ in range(5):
        work = asyncio.create_task(desk.issue(batch(8)))
        await asyncio.sleep(0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    async with asyncio.timeout(10):
        while small._taken:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    small.close()


async def test_a_pool_that_has_ended_says_so(desk: Desk) -> None:
    """503, and the room is free."""
    desk.pool.close()
    with pytest.raises(Unavailable):
        await desk.issue()
    assert desk.pool._taken == 0


async def test_a_ledger_that_is_lost_issues_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be counted is not given, and takes no room."""

    async def lost(counters: Sequence[Counter], amount: int, until: float) -> int | None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(desk.ledger, "spend", lost)
    with pytest.raises(StoreUnavailable):
        await desk.issue()
    assert desk.pool._taken == 0


async def test_the_answer_is_the_documented_one(desk: Desk) -> None:
    """One object, one member, base64url of 256 octets each."""
    body = exchange.format_request(batch(2))
    value = token_request(COMPANY, new_nonce(desk.keys, NOW), body)
    answered = json.loads(await desk.answer([value], body))
    assert list(answered) == ["signatures"]
    assert [len(jws.decode_segment(each)) for each in answered["signatures"]] == [256, 256]
