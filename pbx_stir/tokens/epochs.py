"""Epochs: which token key is good when, and the list in which a CPS publishes its keys.

Takes times and lists, gives ``EpochKey`` values; pure. A key signs nothing but storage tokens of
its one epoch, 24 hours that begin at midnight UTC. The number of an epoch says its time, and an
epoch has one key only: a CPS that gave each sender a key of its own would know the sender again by
the key. For the same reason a sender fetches the list over the path by which it stores, not the one
by which it obtains tokens.

The list::

    {"issuer": "cps.example.net",
     "keys": [{"epoch": 20000, "not_before": 1728000000, "not_after": 1728086400,
               "public_key": "<SubjectPublicKeyInfo, base64url>"}, …]}

RFC 9474 section 6.2 forbids the algorithm identifier rsaEncryption in certificates; these are none,
and a bare key with that identifier is what every library reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from pbx_stir.errors import Malformed, MalformedToken
from pbx_stir.stir import jws

EPOCH_SECONDS: Final = 86_400
KEY_BITS: Final = 2048
PUBLIC_EXPONENT: Final = 65_537
MOST_KEYS: Final = 8
MAX_LIST_OCTETS: Final = 8_192
# some 280 billion years; what a layout of 8 octets and every JSON reader holds
LAST_EPOCH: Final = 2**53 // EPOCH_SECONDS
# a host name in lower case, or an IP address without brackets
_ISSUER: Final = re.compile(r"[a-z0-9._:-]{1,253}", re.ASCII)


@dataclass(frozen=True, slots=True)
class EpochKey:
    """The public key of one epoch, RSA-2048. Times are epoch seconds, ``not_after`` excluded."""

    epoch: int
    public: RSAPublicKey

    @property
    def not_before(self) -> int:
        """When its tokens begin to be good."""
        return self.epoch * EPOCH_SECONDS

    @property
    def not_after(self) -> int:
        """When its tokens are good no more."""
        return (self.epoch + 1) * EPOCH_SECONDS


@dataclass(frozen=True, slots=True)
class KeyList:
    """What a CPS publishes: under which name its tokens are, and its keys, oldest first."""

    issuer: str
    keys: tuple[EpochKey, ...]

    def of(self, epoch: int) -> EpochKey | None:
        """Give the key of an epoch, None where it is not published."""
        return next((key for key in self.keys if key.epoch == epoch), None)


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    """A key in the list."""

    epoch: int
    not_before: int
    not_after: int
    public_key: str


class _List(msgspec.Struct, forbid_unknown_fields=True):
    """The list."""

    issuer: str
    keys: list[_Key]


def epoch_of(now: float) -> int:
    """Give the epoch that a time in epoch seconds is in."""
    return int(now // EPOCH_SECONDS)


def format_key_list(issuer: str, keys: Iterable[EpochKey]) -> bytes:
    """Write a list."""
    listed = [
        _Key(
            key.epoch, key.not_before, key.not_after, jws.encode_segment(public_octets(key.public))
        )
        for key in keys
    ]
    return msgspec.json.encode(_List(issuer, listed))


def parse_key_list(octets: bytes) -> KeyList:
    """Read a list that a stranger published.

    Raises ``MalformedToken``: over ``MAX_LIST_OCTETS``, other members than those above, times that
    are not the epoch's, two keys of one epoch or keys out of order, a key that is not RSA-2048 with
    the exponent 65537.
    """
    if len(octets) > MAX_LIST_OCTETS:
        raise MalformedToken(f"a list of token keys over {MAX_LIST_OCTETS} octets")
    try:
        # the strict reader first: another one may see another of two members of one name
        listed = msgspec.convert(jws.read_object(octets), _List)
    except (Malformed, msgspec.ValidationError) as error:
        raise MalformedToken("not a list of token keys") from error
    if not is_issuer(listed.issuer):
        raise MalformedToken("the issuer of token keys is not a host name in lower case")
    if not 0 < len(listed.keys) <= MOST_KEYS:
        raise MalformedToken(f"a list of {len(listed.keys)} token keys, not 1 to {MOST_KEYS}")
    keys = tuple(map(_epoch_key, listed.keys))
    epochs = [key.epoch for key in keys]
    if epochs != sorted(set(epochs)):
        raise MalformedToken("token keys are not one an epoch, oldest first")
    return KeyList(listed.issuer, keys)


def is_issuer(name: str) -> bool:
    """Tell whether a CPS may call itself so: a host in lower case, without port and brackets."""
    return _ISSUER.fullmatch(name) is not None


def public_octets(public: RSAPublicKey) -> bytes:
    """Give a key as SubjectPublicKeyInfo in DER."""
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _listed(key: EpochKey) -> _Key:
    octets = jws.encode_segment(public_octets(key.public))
    return _Key(key.epoch, key.not_before, key.not_after, octets)


def _epoch_key(listed: _Key) -> EpochKey:
    if not 0 <= listed.epoch <= LAST_EPOCH:
        raise MalformedToken("an epoch out of range")
    try:
        public = serialization.load_der_public_key(jws.decode_segment(listed.public_key))
    except (Malformed, ValueError, UnsupportedAlgorithm) as error:
        raise MalformedToken("a token key cannot be read") from error
    if not isinstance(public, RSAPublicKey) or public.key_size != KEY_BITS:
        raise MalformedToken(f"a token key is not RSA with {KEY_BITS} bits")
    if public.public_numbers().e != PUBLIC_EXPONENT:
        raise MalformedToken(f"a token key has another exponent than {PUBLIC_EXPONENT}")
    key = EpochKey(listed.epoch, public)
    if (listed.not_before, listed.not_after) != (key.not_before, key.not_after):
        raise MalformedToken("a token key is good at other times than those of its epoch")
    return key
