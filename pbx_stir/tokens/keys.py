"""The CPS's token keys in use: what of them is published, and what signs and counts.

Takes keys from where they are kept and gives them by epoch, from memory. ``prepare`` looks for new
ones; it belongs into a thread, and once a minute is often enough.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Protocol

from pbx_stir.tokens.epochs import EpochKey, epoch_of, format_key_list
from pbx_stir.tokens.key_files import SecretKey
from pbx_stir.tokens.raw_rsa import RawSigner

TAG_OCTETS = 16


class KeySource(Protocol):
    """Where keys are kept: ``key_files.KeyFiles`` or ``key_files.MemoryKeys``."""

    def prepare(self, now: float) -> tuple[SecretKey, ...]:
        """Make, forget and give keys, oldest first. Raises ``ConfigurationError``."""
        ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key of one epoch, ready for work."""

    public: EpochKey
    signer: RawSigner = field(repr=False)
    secret: bytes = field(repr=False)

    def hidden(self, purpose: str, *parts: bytes, octets: int = TAG_OCTETS) -> bytes:
        """Give up to 64 octets that stand for ``parts`` in this epoch, and tell nothing of them."""
        written = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        named = purpose.encode("ascii") + b"\0" + written
        return hmac.digest(self.secret, named, "sha512")[:octets]


class TokenKeys:
    """The keys of a CPS whose tokens bear the name ``issuer``."""

    def __init__(self, source: KeySource, issuer: str) -> None:
        self.issuer = issuer
        self._source = source
        self._keys: dict[int, SigningKey] = {}
        self._listed = b""
        self._listed_epoch = -1

    def prepare(self, now: float) -> None:
        """Take over what the source has. Raises ``ConfigurationError``; what was there stays."""
        found = self._source.prepare(now)
        self._keys = {
            key.epoch: self._keys.get(key.epoch)
            or SigningKey(key.public, RawSigner(key.private), key.secret)
            for key in found
        }
        self._listed_epoch = -1

    def of(self, epoch: int) -> SigningKey | None:
        """Give the key of an epoch, None where there is none, or none any more."""
        return self._keys.get(epoch)

    def listed(self, now: float) -> bytes:
        """Give the list that is published: of this epoch and later ones."""
        current = epoch_of(now)
        if current != self._listed_epoch:
            keys = [key.public for epoch, key in sorted(self._keys.items()) if epoch >= current]
            self._listed = format_key_list(self.issuer, keys)
            self._listed_epoch = current
        return self._listed
