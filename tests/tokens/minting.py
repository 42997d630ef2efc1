"""A CPS's side of tokens for tests: keys of epochs, and blind signatures by plain ``pow``."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from pbx_stir.tokens.epochs import EPOCH_SECONDS, EpochKey, KeyList
from pbx_stir.tokens.wallet import signed, want

ISSUER = "cps.example.net"
CPS = "https://cps.example.net"
EPOCH = 20_833
# some hours into the epoch
NOW = EPOCH * EPOCH_SECONDS + 30_000.0


@functools.cache
def private_key(which: int = 0) -> rsa.RSAPrivateKey:
    """One of a few keys; made once a test run, since that takes a while."""
    assert which >= 0
    return rsa.generate_private_key(65_537, 2048)


@dataclass(frozen=True)
class Mint:
    """Signs for an epoch."""

    epoch: int = EPOCH
    which: int = 0
    issuer: str = ISSUER

    @property
    def key(self) -> EpochKey:
        """The public half."""
        return EpochKey(self.epoch, private_key(self.which).public_key())

    @property
    def listed(self) -> KeyList:
        """A list with this key alone."""
        return KeyList(self.issuer, (self.key,))

    def sign(self, blinded: bytes) -> bytes:
        """A blind signature."""
        own = private_key(self.which).private_numbers()
        message = int.from_bytes(blinded, "big")
        # by the Chinese remainder theorem: four times as fast
        one, two = pow(message, own.dmp1, own.p), pow(message, own.dmq1, own.q)
        return (two + own.q * (own.iqmp * (one - two) % own.p)).to_bytes(256, "big")

    def records(self, count: int) -> list[bytes]:
        """Finished records for a wallet."""
        wanted = [want(self.issuer, self.key) for _ in range(count)]
        return [signed(each, self.key, self.sign(each.blinded.blinded)) for each in wanted]


def key_list(*mints: Mint) -> KeyList:
    """The keys of several epochs in one list."""
    return KeyList(mints[0].issuer, tuple(each.key for each in mints))
