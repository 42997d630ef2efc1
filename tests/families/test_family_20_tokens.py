"""Family 20: what is done with storage tokens, by senders, by CPSs and by who listens."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pbx_stir.errors import TokenRefused
from pbx_stir.tokens import blind_rsa, exchange
from pbx_stir.tokens.epochs import EPOCH_SECONDS, EpochKey
from pbx_stir.tokens.exchange import BlindedBatch
from pbx_stir.tokens.ledger import MemoryLedger
from pbx_stir.tokens.wallet import signed, want
from tests.cps.conftest import sealed
from tests.cps.desk import HOST, desk, detail
from tests.tokens.spending import (
    EPOCH,
    NAME,
    NOW,
    FixedKeys,
    Purse,
    batch,
    purse,
    secret_key,
    signer,
)


async def test_family_20_tokens_double_spend() -> None:
    """The same store twice: the second is 409, with whatever header around it."""
    token, wire = purse(), sealed()
    value = token.authorization(wire, host=HOST)
    async with desk() as (cps, sender):
        assert (await sender.send(wire, Authorization=value))[0] == 201
        assert (await sender.send(wire, Authorization=value))[0] == 409
        parameters = value.removeprefix("StorageToken ").split(", ")
        turned = "StorageToken " + ", ".join(reversed(parameters))
        assert (await sender.send(wire, Authorization=turned))[0] == 409
        assert len(cps.store) == 1


async def test_family_20_tokens_double_spend_at_the_same_time() -> None:
    """Of twenty at once one is taken."""
    token, wire = purse(), sealed()
    value = token.authorization(wire, host=HOST)
    async with desk() as (cps, sender):
        found = await asyncio.gather(*(sender.send(wire, Authorization=value) for _ in range(20)))
        assert sorted(said[0] for said in found) == [201] + [409] * 19
        assert len(cps.store) == 1


async def test_family_20_tokens_quota_at_the_same_time() -> None:
    """Of forty stores with one token at once sixteen are taken."""
    token = purse()
    async with desk() as (cps, sender):
        found = await asyncio.gather(*(sender.store(token) for _ in range(40)))
        assert sorted(said[0] for said in found) == [201] * 16 + [429] * 24
        assert len(cps.store) == 16


async def test_family_20_tokens_double_spend_at_two_workers() -> None:
    """Workers that share keys and ledger are one: neither proof nor quota begins anew."""
    shared = MemoryLedger(lambda: NOW)
    token, wire = purse(), sealed()
    value = token.authorization(wire, host=HOST)
    settings = {"ledger": shared, "stores_per_token": 3}
    async with desk(**settings) as (_, one), desk(**settings) as (_, other):
        assert (await one.send(wire, Authorization=value))[0] == 201
        assert (await other.send(wire, Authorization=value))[0] == 409
        assert (await other.store(token))[0] == 201
        assert (await one.store(token))[0] == 201
        assert (await other.store(token))[0] == 429


async def test_family_20_tokens_double_spend_after_a_restart(tmp_path: Path) -> None:
    """A CPS that was killed and comes back with its keys has not forgotten what was spent."""
    settings = {"state_dir": str(tmp_path), "stores_per_token": 2}
    token, wire = purse(), sealed()
    value = token.authorization(wire, host=HOST)
    async with desk(**settings) as (_, sender):
        assert (await sender.send(wire, Authorization=value))[0] == 201
    for status in (409, 409):
        async with desk(**settings) as (_, sender):
            assert (await sender.send(wire, Authorization=value))[0] == status
    async with desk(**settings) as (_, sender):
        assert (await sender.store(token))[0] == 201
    async with desk(**settings) as (_, sender):
        assert (await sender.store(token))[0] == 429


async def test_family_20_tokens_over_quota_for_a_destination() -> None:
    """One number takes as much of a token as it may; others still do (RFC 8816 section 7.5)."""
    token = purse()
    async with desk(stores_per_token_and_number=2) as (_, sender):
        for status in (201, 201, 429):
            assert (await sender.store(token))[0] == status
        other, wire = "12125559999", sealed()
        value = token.authorization(wire, host=HOST, number=other)
        headers = {"Authorization": value, "Content_Type": "application/passport"}
        status, _, _ = await sender.ask("POST", f"/cps/{other}/ppts", wire, **headers)
        assert status == 201


async def test_family_20_tokens_of_an_epoch_that_is_over() -> None:
    """Yesterday's token, tomorrow's, and yesterday's with today's time: all 401."""
    async with desk() as (_, sender):
        for token in (purse(EPOCH - 1), purse(EPOCH + 1), purse(EPOCH - 1).changed(epoch=EPOCH)):
            said = await sender.store(token)
            assert said[0] == 401
        early = purse(EPOCH - 1)
        assert (await sender.store(early, now=NOW - EPOCH_SECONDS))[0] == 401


async def test_family_20_tokens_for_another_cps() -> None:
    """A's token at B, and B that hands on to A what it was sent."""
    async with desk() as (_, a), desk(token_keys=FixedKeys(1)) as (_, b):
        of_a, of_b = purse(which=0), purse(which=1)
        assert "signed" in detail(await b.store(of_a))
        assert "signed" in detail(await a.store(of_b))
        assert (await a.store(of_a))[0] == (await b.store(of_b))[0] == 201
        # same key, another name: what is signed says whose token it is
        assert "signed" in detail(await a.store(purse(issuer="b.example")))
        wire = sealed()
        value = of_a.authorization(wire, host="b.example")
        assert "proof" in detail(await a.send(wire, Authorization=value))
        said = await a.send(wire, Authorization=value, Host="b.example")
        assert (said[0], "host" in detail(said)) == (401, True)


async def test_family_20_tokens_stolen_with_a_store() -> None:
    """Who reads a store on the way has no K_temp: nothing else can be stored with its token."""
    token = purse()
    thief = Purse(token.token, purse().private)
    async with desk() as (_, sender):
        assert (await sender.store(token))[0] == 201
        assert (await sender.store(thief))[0] == 401
        value = token.authorization(sealed(), host=HOST)
        assert (await sender.send(sealed(), Authorization=value))[0] == 401


def test_family_20_tokens_with_an_invalid_blind_signature() -> None:
    """The sender checks what it gets before it is a token (RFC 9474 section 4.4)."""
    key = EpochKey(EPOCH, secret_key(EPOCH).private.public_key())
    wanted = want(NAME, key)
    right = signer(EPOCH).sign(wanted.blinded.blinded)
    assert signed(wanted, key, right)
    for wrong in (
        bytes(256),
        right[:-1] + bytes((right[-1] ^ 1,)),
        right[1:],
        right + b"\0",
        wanted.blinded.blinded,
        signer(EPOCH, 1).sign(b"\x01" + wanted.blinded.blinded[1:]),
    ):
        with pytest.raises(TokenRefused):
            signed(wanted, key, wrong)


def test_family_20_tokens_with_a_blind_that_has_no_inverse() -> None:
    """A factor of n as blinding factor is refused: it could not be taken off again."""
    private = secret_key(EPOCH).private
    prepared = blind_rsa.prepare(b"m", secrets.token_bytes(32))
    for r in (private.private_numbers().p, private.private_numbers().q):
        with pytest.raises(TokenRefused):
            blind_rsa.blind(private.public_key(), prepared, salt=bytes(48), r=r)


async def test_family_20_tokens_blinded_beyond_n() -> None:
    """A number from n on is no blinded message: 400, for the whole batch, and none is signed."""
    public = secret_key(EPOCH).private.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    n = public.public_numbers().n
    async with desk(tokens_per_leaf=2) as (_, sender):
        for number in (n, n + 1, 2**2048 - 1, 0, 1, n - 1):
            wanted = BlindedBatch(EPOCH, (batch().blinded[0], number.to_bytes(256, "big")))
            said = await sender.issue(wanted)
            assert (said[0], "signatures" in said[2].decode()) == (400, False)
        assert (await sender.issue(batch(2)))[0] == 201


async def test_family_20_tokens_over_quota_of_issuing() -> None:
    """All or nothing: a batch over the limit gets none, one that fits gets all."""
    async with desk(tokens_per_leaf=3) as (_, sender):
        for count, status in ((4, 429), (2, 201), (2, 429), (1, 201), (1, 429)):
            said = await sender.issue(batch(count))
            assert said[0] == status
            if status == 201:
                assert len(exchange.parse_signatures(said[2], count)) == count
