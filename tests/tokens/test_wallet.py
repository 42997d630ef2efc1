"""Tests of pbx_stir.tokens.wallet: tokens for calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError, TokenRefused
from pbx_stir.tokens import storage_token
from pbx_stir.tokens.epochs import EPOCH_SECONDS
from pbx_stir.tokens.storage_token import Store
from pbx_stir.tokens.wallet import Unspent, Wallet, signed, want

from .minting import CPS, EPOCH, ISSUER, NOW, Mint, key_list


def filled(folder: Path, count: int, **settings: int) -> Wallet:
    """A wallet with tokens of the current epoch on the disk."""
    wallet = Wallet(folder / "wallet", **settings)
    wallet.pin(CPS, Mint().listed, NOW)
    wallet.put(CPS, EPOCH, Mint().records(count), 1000)
    return wallet


def drained(wallet: Wallet, now: float = NOW) -> list[Unspent]:
    """All that memory gives."""
    return list(iter(lambda: wallet.take(CPS, now), None))


def test_a_token_is_good_at_the_cps(tmp_path: Path) -> None:
    """What the wallet gives passes the checks of token and proof, for that store alone."""
    wallet = filled(tmp_path, 1)
    wallet.stock(CPS, NOW)
    token = wallet.take(CPS, NOW)
    assert token is not None
    value = token.authorization(
        host=ISSUER, number="1212", content_type="a/b", body=b"x", now=NOW, nonce=bytes(16)
    )
    parsed, proof = storage_token.parse_authorization(value)
    public = storage_token.load_key(parsed.key)
    key = Mint().key.public
    assert parsed.epoch == EPOCH
    assert storage_token.blind_rsa.holds(key, parsed.prepared(ISSUER), parsed.signature)
    store = Store(ISSUER, "POST", "1212", "a/b", b"x")
    assert storage_token.proof_holds(public, parsed, proof, store)
    other = Store(ISSUER, "POST", "1213", "a/b", b"x")
    assert not storage_token.proof_holds(public, parsed, proof, other)
    assert "private" not in repr(token)


def test_each_token_is_given_once(tmp_path: Path) -> None:
    """Through memory, disk, a clean end and a restart: no token twice, none lost."""
    wallet = filled(tmp_path, 12, ready=5)
    assert wallet.take(CPS, NOW) is None
    assert wallet.stock(CPS, NOW) == 5
    assert wallet.count(CPS, EPOCH) == 12
    keys = [token.token.key for token in drained(wallet)]
    assert len(keys) == 5
    wallet.stock(CPS, NOW)
    wallet.close()
    assert drained(wallet) == []
    assert wallet.stock(CPS, NOW) == 0
    again = Wallet(tmp_path / "wallet")
    assert again.count(CPS, EPOCH) == 7
    again.stock(CPS, NOW)
    keys += [token.token.key for token in drained(again)]
    assert len(set(keys)) == len(keys) == 12


def test_a_crash_loses_what_was_in_memory(tmp_path: Path) -> None:
    """What had been brought into memory is not given out again by whoever comes after."""
    crashed = filled(tmp_path, 8, ready=4)
    crashed.stock(CPS, NOW)
    held = {token.token.key for token in drained(crashed)}
    after = Wallet(tmp_path / "wallet", ready=100)
    after.stock(CPS, NOW)
    assert {token.token.key for token in drained(after)}.isdisjoint(held)


def test_two_processes_never_share_a_token(tmp_path: Path) -> None:
    """Two wallets over one directory give different tokens."""
    one = filled(tmp_path, 10, ready=4)
    two = Wallet(tmp_path / "wallet", ready=4)
    one.stock(CPS, NOW)
    two.stock(CPS, NOW)
    keys = [token.token.key for token in drained(one) + drained(two)]
    assert len(set(keys)) == len(keys) == 8


def test_only_tokens_of_the_time_are_given(tmp_path: Path) -> None:
    """Of an epoch that is over nothing is given; the next one is ready before it begins."""
    wallet = Wallet(tmp_path / "wallet", clock=lambda: moment)
    moment = NOW
    wallet.pin(CPS, key_list(Mint(), Mint(EPOCH + 1, 1)), NOW)
    for mint in (Mint(), Mint(EPOCH + 1, 1)):
        wallet.put(CPS, mint.epoch, mint.records(3), 100)
    turn = (EPOCH + 1) * EPOCH_SECONDS
    assert wallet.stock(CPS, turn - 700) == 3
    assert wallet.take(CPS, turn) is None
    wallet.stock(CPS, turn - 500)
    before, after = wallet.take(CPS, turn - 1), wallet.take(CPS, turn)
    assert before is not None
    assert after is not None
    assert (before.token.epoch, after.token.epoch) == (EPOCH, EPOCH + 1)
    moment = turn + 1000
    wallet.wipe(moment)
    assert wallet.in_memory(CPS, EPOCH) == 0
    assert wallet.take(CPS, turn - 1) is None
    assert wallet.take(CPS, turn) is not None


def test_a_clock_that_was_set_forth_and_back_wipes_nothing(tmp_path: Path) -> None:
    """Two days ahead for some minutes: tokens on disk and in memory stay, and their key."""
    moment = NOW
    wallet = Wallet(tmp_path / "wallet", ready=4, clock=lambda: moment)
    wallet.pin(CPS, Mint().listed, NOW)
    wallet.put(CPS, EPOCH, Mint().records(10), 100)
    wallet.stock(CPS, NOW)
    wallet.wipe(NOW)
    for _ in range(4):
        moment += 60
        ahead = moment + 2 * EPOCH_SECONDS
        assert wallet.take(CPS, ahead) is None
        assert wallet.pin(CPS, Mint().listed, ahead).keys == ()
        assert wallet.wipe(ahead) == 0
        wallet.stock(CPS, ahead)
    assert wallet.wipe(moment) == 0
    assert wallet.count(CPS, EPOCH) == 10
    with pytest.raises(TokenRefused):
        wallet.pin(CPS, key_list(Mint(which=1)), moment)
    assert len(drained(wallet, moment)) == 4
    assert wallet.stock(CPS, moment) == 4


def test_a_damaged_token_is_left_out(tmp_path: Path) -> None:
    """Octets that are no token under the pinned key never reach a store."""
    wallet = filled(tmp_path, 0)
    [good, bad] = Mint().records(2)
    other_key = Mint(which=1).records(1)
    junk = [bytes(319) + b"\x01", b"\xff" * 320, bad[:-1] + bytes([bad[-1] ^ 1])]
    wallet.put(CPS, EPOCH, [good, *other_key, *junk], 100)
    wallet.stock(CPS, NOW)
    assert [each.token.signature for each in drained(wallet)] == [good[-256:]]


def test_the_order_is_not_that_of_obtaining(tmp_path: Path) -> None:
    """Tokens are given in another order than they were put in."""
    made = Mint().records(24)
    wallet = filled(tmp_path, 0)
    wallet.put(CPS, EPOCH, made, 100)
    wallet.stock(CPS, NOW)
    given = [each.token.signature for each in drained(wallet)]
    order = [record[-256:] for record in made]
    assert sorted(given) == sorted(order)
    assert given not in (order, order[::-1])


def test_one_token_may_serve_several_calls(tmp_path: Path) -> None:
    """Where that is configured; a token that the CPS wants no more serves no further call."""
    wallet = filled(tmp_path, 3, calls_per_token=2)
    wallet.stock(CPS, NOW)
    keys = []
    for _ in range(3):
        token = wallet.take(CPS, NOW)
        assert token is not None
        keys.append(token.token.key)
    assert keys[0] == keys[1] != keys[2]
    wallet.discard(CPS)
    token = wallet.take(CPS, NOW)
    assert token is not None
    assert token.token.key not in keys
    # nor does one go on into another epoch
    assert wallet.take(CPS, NOW + EPOCH_SECONDS) is None


def test_memory_is_filled_when_half_of_it_is_gone(tmp_path: Path) -> None:
    """The disk is not asked for every token."""
    wallet = filled(tmp_path, 20, ready=8)
    assert wallet.is_low(CPS, NOW)
    wallet.stock(CPS, NOW)
    for left in (7, 6, 5):
        wallet.take(CPS, NOW)
        assert not wallet.is_low(CPS, NOW)
        assert wallet.stock(CPS, NOW) == left
    wallet.take(CPS, NOW)
    assert wallet.is_low(CPS, NOW)
    assert wallet.stock(CPS, NOW) == 8


def test_a_wrong_signature_is_noticed() -> None:
    """A CPS that signs with another key than it publishes, or not at all, is refused."""
    wanted = want(ISSUER, Mint().key)
    for signature in (Mint(which=1).sign(wanted.blinded.blinded), bytes(256), bytes(255)):
        with pytest.raises(TokenRefused):
            signed(wanted, Mint().key, signature)


def test_no_two_requests_are_alike() -> None:
    """What is blinded is drawn anew for each token."""
    many = [want(ISSUER, Mint().key) for _ in range(5)]
    assert len({each.blinded.blinded for each in many}) == 5
    assert len({each.blinded.inverse for each in many}) == 5
    assert "…" in repr(many[0]) or "Wanted()" in repr(many[0])


def test_a_wallet_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """An open directory is refused when the wallet is made."""
    (tmp_path / "wallet").mkdir(mode=0o755)
    (tmp_path / "wallet").chmod(0o755)
    with pytest.raises(ConfigurationError, match="mode 755"):
        Wallet(tmp_path / "wallet")
