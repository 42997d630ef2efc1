"""Both ends of storage tokens for tests: a CPS's keys, tokens made at once, requests for some."""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import TOKEN_REQUEST
from pbx_stir.tokens import blind_rsa, exchange, storage_token
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.key_files import MemoryKeys, SecretKey, wanted_epochs
from pbx_stir.tokens.keys import TokenKeys
from pbx_stir.tokens.raw_rsa import RawSigner
from pbx_stir.tokens.storage_token import StorageToken, Store
from tests.cps.signing import authorization

# some hours into epoch 20833
NOW = 1_800_000_000.0
EPOCH = epoch_of(NOW)
NAME = "localhost"
NUMBER = "12125551234"
TYPE = "application/passport"


@functools.cache
def _made(epoch: int, which: int) -> SecretKey:
    assert which >= 0
    return {key.epoch: key for key in MemoryKeys().prepare(epoch * 86_400 + 3_600.0)}[epoch]


def secret_key(epoch: int, which: int = 0) -> SecretKey:
    """The key of an epoch; ``which`` tells CPSs apart. Made once a test run."""
    return _made(epoch, which)


@dataclass
class FixedKeys:
    """A source that makes no key twice, and counts how often it was asked."""

    which: int = 0
    asked: int = 0

    def prepare(self, now: float) -> tuple[SecretKey, ...]:
        """See ``KeySource``."""
        self.asked += 1
        return tuple(secret_key(epoch, self.which) for epoch in wanted_epochs(now))


def token_keys(now: float = NOW, *, which: int = 0, issuer: str = NAME) -> TokenKeys:
    """Keys that are ready."""
    keys = TokenKeys(FixedKeys(which), issuer)
    keys.prepare(now)
    return keys


@dataclass(frozen=True)
class Purse:
    """One token and K_temp."""

    token: StorageToken
    private: ec.EllipticCurvePrivateKey = field(repr=False)

    def authorization(
        self,
        body: bytes,
        *,
        host: str = NAME,
        number: str = NUMBER,
        content_type: str = TYPE,
        now: float = NOW,
        nonce: bytes | None = None,
    ) -> str:
        """The header of one store."""
        store = Store(host, "POST", number, content_type, body)
        drawn = nonce or secrets.token_bytes(16)
        proof = storage_token.prove(self.private, self.token, store, now=now, nonce=drawn)
        return storage_token.format_authorization(self.token, proof)

    def changed(self, **members: object) -> Purse:
        """The same with another token."""
        return replace(self, token=replace(self.token, **members))  # type: ignore[arg-type]


def purse(epoch: int = EPOCH, *, which: int = 0, issuer: str = NAME) -> Purse:
    """A token as a CPS would have signed it, made without blinding."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = storage_token.key_octets(private.public_key())
    unsigned = StorageToken(epoch, public, secrets.token_bytes(32), bytes(256))
    encoded = blind_rsa.encode(unsigned.prepared(issuer), 2047, secrets.token_bytes(48))
    signature = signer(epoch, which).sign(encoded)
    return Purse(replace(unsigned, signature=signature), private)


def signer(epoch: int, which: int = 0) -> RawSigner:
    """Signs for an epoch."""
    return RawSigner(secret_key(epoch, which).private)


def batch(count: int = 1, epoch: int = EPOCH) -> exchange.BlindedBatch:
    """Numbers as blinded messages are."""
    drawn = tuple(b"\x01" + secrets.token_bytes(255) for _ in range(count))
    return exchange.BlindedBatch(epoch, drawn)


def token_request(credential: Credential, nonce: str, body: bytes, **how: object) -> str:
    """The header of a request for tokens; ``how`` is what is signed otherwise."""
    terms = {
        "typ": TOKEN_REQUEST,
        "audience": NAME,
        "method": "POST",
        "path": exchange.TOKENS_PATH,
        "now": NOW,
        "body": body,
        "nonce": nonce,
    }
    return authorization(credential, **(terms | how))  # type: ignore[arg-type]
