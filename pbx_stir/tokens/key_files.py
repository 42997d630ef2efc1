"""The CPS's private token keys on disk: one small file an epoch, readable by us alone.

Takes a directory and the time; gives the keys of the epochs that tokens may be of. They are made
ahead, so that they can be published ahead; several workers of one machine share them, whichever
comes first makes one. With each goes a secret of the epoch, under whose HMACs the ledger counts.

A key is erased soon after its epoch: then nobody, the CPS's owner included, can make tokens of that
day any more, or tell by the secret which stores of that day were made with one token. Erased means
overwritten and removed: a journal, a snapshot or a worn-levelled disk may still hold the octets.
No step of the clock erases a key, unless the clock keeps to it: see ``passed``.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pbx_stir.errors import ConfigurationError
from pbx_stir.private_files import PrivateFolder
from pbx_stir.tokens.epochs import KEY_BITS, PUBLIC_EXPONENT, EpochKey, epoch_of
from pbx_stir.tokens.passed import Passed

# the current epoch, and the next
EPOCHS_AHEAD: Final = 1
# stores of the last seconds of an epoch are still on their way then
GRACE_SECONDS: Final = 120
# so long after an epoch all of it that is counted stays: by then its key is gone from memory too,
# or a clock that is set back into the epoch would find the key and no counts
COUNTED_SECONDS: Final = 900.0
SECRET_OCTETS: Final = 32

_SUFFIX: Final = ".key"
_MOST_OCTETS: Final = 8_192


@dataclass(frozen=True, slots=True)
class SecretKey:
    """The private key of an epoch, and the epoch's secret for HMACs."""

    epoch: int
    private: rsa.RSAPrivateKey = field(repr=False)
    secret: bytes = field(repr=False)

    @property
    def public(self) -> EpochKey:
        """What is published of it."""
        return EpochKey(self.epoch, self.private.public_key())


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key file holds, as JSON; both in base64, the key as PKCS #8."""

    version: int
    private: str
    secret: str


class MemoryKeys:
    """Keys of one process without a directory of its own, gone with it, and tokens with them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` never steps."""
        self._passed = Passed(clock)
        self._keys: dict[int, SecretKey] = {}

    def prepare(self, now: float) -> tuple[SecretKey, ...]:
        """Make what is missing, forget what is over, give the rest, oldest first."""
        wanted, oldest = wanted_epochs(now), wanted_epochs(self._passed(now)).start
        self._keys = {epoch: key for epoch, key in self._keys.items() if epoch >= oldest}
        for epoch in wanted:
            self._keys[epoch] = self._keys.get(epoch) or _new(epoch)
        return tuple(self._keys[epoch] for epoch in wanted)


class KeyFiles:
    """A directory of keys. Several processes may use it at the same time."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Open ``directory``, made with mode 0700 where it is missing; ``clock`` never steps.

        Raises ``ConfigurationError`` where others may enter it or it cannot be used.
        """
        self._directory = directory
        self._folder = PrivateFolder(directory, holds="our keys")
        self._passed = Passed(clock)

    def prepare(self, now: float) -> tuple[SecretKey, ...]:
        """Make what is missing, erase what is over, give the rest, oldest first.

        It takes as long as keys take to be made, a good part of a second at worst: not for an
        event loop. Raises ``ConfigurationError`` that names the file where a key is readable by
        others, is not ours, or is broken.
        """
        # readers hold the lock too: none meets a key that is being made
        with self._folder.locked():
            found = self._found()
            wanted, oldest = wanted_epochs(now), wanted_epochs(self._passed(now)).start
            # later ones stay: where the clock was set back, they are good again soon
            for epoch in sorted(one for one in found if one < oldest):
                self._folder.erase(found[epoch])
            self._folder.tidy()
            return tuple(self._key(epoch, found.get(epoch)) for epoch in wanted)

    def _found(self) -> dict[int, Path]:
        names = {
            path.name.removesuffix(_SUFFIX): path for path in self._directory.glob("*" + _SUFFIX)
        }
        return {
            int(name): path for name, path in names.items() if name.isascii() and name.isdigit()
        }

    def _key(self, epoch: int, path: Path | None) -> SecretKey:
        if path is not None:
            return self._read(epoch, path)
        key = _new(epoch)
        private = key.private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        stored = _Stored(
            1, *(base64.b64encode(one).decode("ascii") for one in (private, key.secret))
        )
        self._folder.write(self._directory / f"{epoch}{_SUFFIX}", msgspec.json.encode(stored))
        return key

    def _read(self, epoch: int, path: Path) -> SecretKey:
        octets = self._folder.read(path, _MOST_OCTETS) or b""
        try:
            stored = msgspec.json.decode(octets, type=_Stored)
            private = serialization.load_der_private_key(
                base64.b64decode(stored.private, validate=True), None
            )
            secret = base64.b64decode(stored.secret, validate=True)
            if stored.version != 1 or len(secret) != SECRET_OCTETS:
                raise ValueError("another form")
            if not isinstance(private, rsa.RSAPrivateKey) or private.key_size != KEY_BITS:
                raise ValueError("another kind of key")
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(
                f"{path} is not a token key",
                hint="remove it; tokens of that day are then refused",
            ) from error
        return SecretKey(epoch, private, secret)


def wanted_epochs(now: float) -> range:
    """Give the epochs whose keys are held at ``now``: what is not quite over, to the next."""
    return range(epoch_of(now - GRACE_SECONDS), epoch_of(now) + EPOCHS_AHEAD + 1)


def _new(epoch: int) -> SecretKey:
    private = rsa.generate_private_key(PUBLIC_EXPONENT, KEY_BITS)
    return SecretKey(epoch, private, secrets.token_bytes(SECRET_OCTETS))
