"""Whether a store may be made: each reason to refuse, in its order, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import StoreUnavailable, TokenRefused
from pbx_stir.stir import jws
from pbx_stir.tokens import blind_rsa, storage_token
from pbx_stir.tokens.checker import MOST_KNOWN, TokenChecker, host_name
from pbx_stir.tokens.epochs import EPOCH_SECONDS
from pbx_stir.tokens.key_files import COUNTED_SECONDS
from pbx_stir.tokens.ledger import Counter, MemoryLedger
from tests.tokens.spending import EPOCH, NAME, NOW, NUMBER, TYPE, Purse, purse, token_keys

BODY = b"a sealed passport"
MIDNIGHT = float((EPOCH + 1) * EPOCH_SECONDS)


@dataclass
class Desk:
    """A checker with its ledger; the time is what ``now`` says."""

    now: float = NOW
    of_token: int = 16
    of_number: int = 16
    ledger: MemoryLedger = field(init=False)
    checker: TokenChecker = field(init=False)

    def __post_init__(self) -> None:
        self.keys = token_keys(self.now)
        self.ledger = MemoryLedger(lambda: self.now)
        self.restart()

    def restart(self) -> None:
        """A checker that knows no token yet."""
        self.checker = TokenChecker(
            self.keys,
            self.ledger,
            {NAME, "127.0.0.1", "::1"},
            stores_per_token=self.of_token,
            stores_per_token_and_number=self.of_number,
        )

    async def store(
        self, authorization: str, host: str = NAME, number: str = NUMBER, body: bytes = BODY
    ) -> str:
        """What a server does with a store."""
        presented = self.checker.read([authorization], [host], self.now)
        return await self.checker.spend(presented, number, TYPE, body)


async def refused(desk: Desk, authorization: str, **store: object) -> TokenRefused:
    """The refusal of a store that must not be made."""
    with pytest.raises(TokenRefused) as caught:
        await desk.store(authorization, **store)  # type: ignore[arg-type]
    return caught.value


async def test_a_token_and_its_proof_make_a_store() -> None:
    """Sixteen, each with a proof of its own, all under one name that is not the token's."""
    desk, token = Desk(), purse()
    owners = {await desk.store(token.authorization(BODY)) for _ in range(16)}
    assert len(owners) == 1
    assert token.token.key.hex() not in owners.pop()
    assert (await refused(desk, token.authorization(BODY))).status == 429


async def test_two_tokens_are_two_owners() -> None:
    """Nothing says that two tokens are one sender's."""
    desk = Desk()
    assert await desk.store(purse().authorization(BODY)) != await desk.store(
        purse().authorization(BODY)
    )


async def test_over_quota_for_a_number() -> None:
    """A token may be good for more numbers than stores of one number."""
    desk, token = Desk(of_number=2), purse()
    for _ in range(2):
        await desk.store(token.authorization(BODY))
    error = await refused(desk, token.authorization(BODY))
    assert (error.status, error.retry_after) == (429, 1)
    assert "for this number" in error.message
    other = "12125551235"
    await desk.store(token.authorization(BODY, number=other), number=other)


async def test_a_reported_entry_counts_twice() -> None:
    """Once more than it did, however often it is reported; half as many stores are the least."""
    desk, token = Desk(of_token=4, of_number=4), purse()
    owner = await desk.store(token.authorization(BODY))
    for _ in range(5):
        await desk.checker.report(owner, NUMBER, "one")
    await desk.store(token.authorization(BODY))
    await desk.checker.report(owner, NUMBER, "two")
    assert (await refused(desk, token.authorization(BODY))).status == 429
    await desk.store(purse().authorization(BODY))


async def test_a_report_reaches_one_number_where_numbers_have_limits() -> None:
    """What the token stores for others goes on."""
    desk, token = Desk(of_token=16, of_number=2), purse()
    owner = await desk.store(token.authorization(BODY))
    await desk.checker.report(owner, NUMBER, "one")
    assert (await refused(desk, token.authorization(BODY))).status == 429
    other = "12125551235"
    for _ in range(2):
        await desk.store(token.authorization(BODY, number=other), number=other)


@pytest.mark.parametrize("owner", ["", "00", "00000000" + "ab" * 8, "ffffffff" + "ab" * 48])
async def test_a_report_on_what_no_token_stored_does_nothing(owner: str) -> None:
    """An entry of another time, or of a service without tokens, is nobody's."""
    desk = Desk()
    await desk.checker.report(owner, NUMBER, "one")
    assert len(desk.ledger) == 0


async def test_a_refused_store_costs_the_token_nothing_of_its_quota() -> None:
    """All or nothing: the number's limit does not use the token's up."""
    desk, token = Desk(of_token=3, of_number=1), purse()
    await desk.store(token.authorization(BODY))
    for _ in range(5):
        await refused(desk, token.authorization(BODY))
    for number in ("12125551235", "12125551236"):
        await desk.store(token.authorization(BODY, number=number), number=number)


async def test_a_proof_is_good_once() -> None:
    """The same store again is 409, also of two at the same time, also with s turned over."""
    desk, token = Desk(), purse()
    value = token.authorization(BODY, nonce=bytes(16))
    found = await asyncio.gather(*(desk.store(value) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(each, str) for each in found) == 1
    assert all(each.status == 409 for each in found if isinstance(each, TokenRefused))
    # (r, n - s) holds where (r, s) does, and is made of it by anybody
    parsed, proof = storage_token.parse_authorization(value)
    r, s = jws.scalars(proof.signature)
    turned = r.to_bytes(32, "big") + (jws.GROUP_ORDER - s).to_bytes(32, "big")
    again = storage_token.Proof(proof.time, proof.nonce, turned)
    assert (await refused(desk, storage_token.format_authorization(parsed, again))).status == 409


@pytest.mark.parametrize("late", [0.0, 30.0, 59.0, 60.0, 61.0, 66.0])
async def test_a_proof_is_never_good_twice(late: float) -> None:
    """From its first second to its last it is known, or out of its window."""
    desk, token = Desk(), purse()
    value = token.authorization(BODY, now=NOW + 30)
    presented = desk.checker.read([value], [NAME], desk.now)
    await desk.store(value)
    desk.now = NOW + late
    assert (await refused(desk, value)).status in (401, 409)
    # also where its headers came in time and its body dripped in for seconds
    with pytest.raises(TokenRefused):
        await desk.checker.spend(presented, NUMBER, TYPE, BODY)


@pytest.mark.parametrize("off", [-31, 31, -86_400, 3_600])
async def test_a_stale_proof_is_refused(off: int) -> None:
    """More than 30 s either way is another time."""
    error = await refused(Desk(), purse().authorization(BODY, now=NOW + off))
    assert (error.status, "time" in error.message) == (401, True)


@pytest.mark.parametrize("off", [-30, -29, 29, 30])
async def test_a_fresh_proof_is_taken(off: int) -> None:
    """30 s either way is now."""
    await Desk().store(purse().authorization(BODY, now=NOW + off))


async def test_a_token_of_another_epoch_is_refused() -> None:
    """Yesterday's, tomorrow's, and those whose key is long gone or not made."""
    desk = Desk()
    for epoch in (EPOCH - 1, EPOCH + 1):
        assert (await refused(desk, purse(epoch).authorization(BODY))).status == 401
    for epoch in (0, EPOCH - 400, EPOCH + 400):
        value = purse().changed(epoch=epoch).authorization(BODY)
        assert "epoch" in (await refused(desk, value)).message


async def test_at_midnight_the_proof_says_the_epoch() -> None:
    """A store that was under way is not late, and the next day's tokens wait for their day."""
    desk = Desk(now=MIDNIGHT + 20)
    await desk.store(purse(EPOCH).authorization(BODY, now=MIDNIGHT - 1))
    await desk.store(purse(EPOCH + 1).authorization(BODY, now=MIDNIGHT))
    for epoch, moment in ((EPOCH, MIDNIGHT), (EPOCH + 1, MIDNIGHT - 1)):
        value = purse(epoch).authorization(BODY, now=moment)
        assert (await refused(desk, value)).status == 401
    desk.now = MIDNIGHT + 31
    value = purse(EPOCH).authorization(BODY, now=MIDNIGHT - 1)
    assert (await refused(desk, value)).status == 401


async def test_a_token_of_another_cps_is_refused() -> None:
    """Of another key, of another name under the same key, or used by whom it was shown."""
    desk = Desk()
    assert (await refused(desk, purse(which=1).authorization(BODY))).status == 401
    assert (await refused(desk, purse(issuer="other").authorization(BODY))).status == 401
    error = await refused(desk, purse().authorization(BODY, host="other"), host="other")
    assert "host" in error.message
    # a CPS that passes on what it was sent has no proof for us
    error = await refused(desk, purse().authorization(BODY, host="other"))
    assert "proof" in error.message


async def test_a_token_that_was_not_signed_is_refused() -> None:
    """Each member of a token is under the CPS's signature."""
    desk, token = Desk(), purse()
    other = purse()
    for spoilt in (
        token.changed(randomizer=bytes(32)),
        token.changed(signature=bytes(256)),
        token.changed(signature=other.token.signature),
        Purse(other.token, token.private).changed(key=token.token.key),
    ):
        error = await refused(desk, spoilt.authorization(BODY))
        assert (error.status, "not signed" in error.message) == (401, True)


async def test_a_signed_key_that_is_no_point_is_refused() -> None:
    """Who blinds garbage gets it signed, and can do nothing with it."""
    desk = Desk()
    token = storage_token.StorageToken(EPOCH, b"\x02" + b"\xff" * 32, bytes(32), bytes(256))
    encoded = blind_rsa.encode(token.prepared(NAME), 2047, bytes(48))
    signing = desk.keys.of(EPOCH)
    assert signing is not None
    signed = Purse(token, purse().private).changed(signature=signing.signer.sign(encoded))
    assert "point" in (await refused(desk, signed.authorization(BODY))).message


async def test_a_proof_is_for_this_store_only() -> None:
    """Another number, another body, or another key is 401, and costs the token nothing."""
    desk, token = Desk(of_token=1), purse()
    thief = Purse(token.token, purse().private)
    assert (await refused(desk, token.authorization(BODY), number="12125551235")).status == 401
    assert (await refused(desk, token.authorization(BODY), body=b"another")).status == 401
    assert (await refused(desk, thief.authorization(BODY))).status == 401
    await desk.store(token.authorization(BODY))


async def test_one_token_one_header() -> None:
    """None is none, and two are not tried one after the other."""
    desk = Desk()
    value = purse().authorization(BODY)
    for values in ([], [value, value], ["Bearer x"], ["StorageToken x"]):
        with pytest.raises(TokenRefused) as caught:
            desk.checker.read(values, [NAME], NOW)
        assert caught.value.status == 401


async def test_a_token_that_is_known_needs_no_rsa(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that stores several times is checked once; another token for it is checked anew."""
    desk, token = Desk(), purse()
    asked: list[bytes] = []
    holds = blind_rsa.holds

    def counted(public: object, prepared: bytes, signature: bytes) -> bool:
        asked.append(prepared)
        return holds(public, prepared, signature)  # type: ignore[arg-type]

    monkeypatch.setattr(blind_rsa, "holds", counted)
    for _ in range(5):
        await desk.store(token.authorization(BODY))
    assert len(asked) == 1
    await refused(desk, token.changed(randomizer=bytes(32)).authorization(BODY))
    assert len(asked) == 2
    desk.restart()
    await desk.store(token.authorization(BODY))
    assert len(asked) == 3


async def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes, and is checked again when it comes again."""
    assert MOST_KNOWN >= 1024
    monkeypatch.setattr("pbx_stir.tokens.checker.MOST_KNOWN", 2)
    desk = Desk()
    tokens = [purse() for _ in range(3)]
    for token in tokens * 2:
        await desk.store(token.authorization(BODY))


async def test_counts_outlive_a_restart() -> None:
    """Where the ledger is kept a token does not begin anew."""
    desk, token = Desk(of_token=2), purse()
    value = token.authorization(BODY)
    await desk.store(value)
    desk.restart()
    assert (await refused(desk, value)).status == 409
    await desk.store(token.authorization(BODY))
    assert (await refused(desk, token.authorization(BODY))).status == 429


class Recording:
    """A ledger that shows what it is told."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    async def once(self, key: bytes, seconds: float) -> bool:
        """Remember a key."""
        assert seconds >= 60
        self.keys.append(key)
        return True

    async def spend(self, counters: Sequence[Counter], amount: int, until: float) -> int | None:
        """Remember keys."""
        assert amount == 1
        assert MIDNIGHT <= until <= MIDNIGHT + COUNTED_SECONDS
        self.keys.extend(counter.key for counter in counters)
        return None


async def test_the_ledger_learns_nothing() -> None:
    """Keys of 32 octets, alike at their beginning within one spend, and of no visible meaning."""
    ledger, token = Recording(), purse()
    checker = TokenChecker(token_keys(), ledger, {NAME}, stores_per_token_and_number=2)
    presented = checker.read([token.authorization(BODY)], [NAME], NOW)
    owner = await checker.spend(presented, NUMBER, TYPE, BODY)
    assert bytes.fromhex(owner) not in b"".join(ledger.keys)
    assert [len(key) for key in ledger.keys] == [32, 32, 32]
    assert len({key[:16] for key in ledger.keys}) == 1
    assert len(set(ledger.keys)) == 3
    seen = b"".join(ledger.keys)
    for secret in (NUMBER.encode(), token.token.key, token.token.key[1:17]):
        assert secret not in seen


async def test_a_store_that_cannot_be_counted_is_not_made() -> None:
    """A ledger that is lost or full is 503, never a free store."""

    class Lost(Recording):
        async def spend(self, counters: Sequence[Counter], amount: int, until: float) -> int | None:
            raise StoreUnavailable("gone")

    checker = TokenChecker(token_keys(), Lost(), {NAME})
    presented = checker.read([purse().authorization(BODY)], [NAME], NOW)
    with pytest.raises(StoreUnavailable):
        await checker.spend(presented, NUMBER, TYPE, BODY)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8480", "localhost"),
        ("localhost.", "localhost"),
        ("127.0.0.1:8480", "127.0.0.1"),
        ("[::1]:8480", "::1"),
        ("[::1]", "::1"),
        ("[::1", ""),
        ("[::1]x", ""),
        ("::1", ""),
        ("a:b:c", ""),
        ("", ""),
    ],
)
def test_a_host_is_its_name(host: str, name: str) -> None:
    """In lower case, without port, brackets and final dot."""
    assert host_name(host) == name


@given(st.text(max_size=30))
def test_any_host_has_a_name_or_none(host: str) -> None:
    """Nothing but a text comes of it."""
    assert isinstance(host_name(host), str)


@given(st.text(max_size=200), st.text(max_size=30))
def test_any_header_is_refused(value: str, host: str) -> None:
    """Nothing but a refusal comes of what is no token."""
    checker = TokenChecker(token_keys(), Recording(), {NAME})
    for each in (value, "StorageToken " + value):
        with pytest.raises(TokenRefused):
            checker.read([each], [host], NOW)


async def test_counts_outlive_the_key_of_their_epoch() -> None:
    """A clock that is set back into an epoch finds either no key, or what its tokens have spent."""
    desk = Desk(now=MIDNIGHT - 10, of_token=1)
    token = purse()
    await desk.store(token.authorization(BODY, now=desk.now))
    # the key is still there, since it is looked after once a minute
    desk.now = MIDNIGHT + 170
    await desk.ledger.once(bytes(32), 1.0)
    desk.now = MIDNIGHT - 5
    desk.restart()
    caught = await refused(desk, token.authorization(BODY, now=desk.now))
    assert caught.status == 429
