"""Blind RSA signatures, the client's side and the check: RSABSSA-SHA384-PSS-Randomized (RFC 9474).

Takes messages, public keys and randomness, gives blinded messages and signatures. Pure: salt,
blinding factor and randomizer are the caller's, from a cryptographic source, fresh each time. The
private operation is not here (``tokens.raw_rsa``); in Python's integers it would tell the key by
its timing. What is computed here in Python's integers is the client's own, once a token.

Source: RFC 9474 sections 4.1, 4.2, 4.4, 4.5; RFC 8017 section 9.1.1 (EMSA-PSS-ENCODE).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from pbx_stir.errors import MalformedToken, TokenRefused

RANDOMIZER_OCTETS: Final = 32
SALT_OCTETS: Final = 48
_HASH_OCTETS: Final = 48
_PADDING: Final = padding.PSS(padding.MGF1(hashes.SHA384()), SALT_OCTETS)
_HASH: Final = hashes.SHA384()


@dataclass(frozen=True, slots=True)
class Blinded:
    """What goes to the signer, as long as the modulus, and the secret that takes it off again."""

    blinded: bytes
    inverse: int

    def __repr__(self) -> str:
        return "Blinded(…)"


def prepare(message: bytes, randomizer: bytes) -> bytes:
    """Put 32 random octets before a message. Source: RFC 9474 section 4.1, PrepareRandomize.

    Raises ``MalformedToken`` for another number of octets.
    """
    if len(randomizer) != RANDOMIZER_OCTETS:
        raise MalformedToken(f"a randomizer of {len(randomizer)} octets, not {RANDOMIZER_OCTETS}")
    return randomizer + message


def blind(public: RSAPublicKey, prepared: bytes, *, salt: bytes, r: int) -> Blinded:
    """Blind a prepared message for a signer. Source: RFC 9474 section 4.2.

    ``salt`` is 48 random octets, ``r`` uniform in 1 … n - 1.
    Raises ``MalformedToken`` for others, and ``TokenRefused`` for the RFC's "blinding error" and
    "invalid input": ``r`` or the encoded message shares a factor with n, which never happens under
    a key that is well made.
    """
    numbers = public.public_numbers()
    if len(salt) != SALT_OCTETS:
        raise MalformedToken(f"a salt of {len(salt)} octets, not {SALT_OCTETS}")
    if not 0 < r < numbers.n:
        raise MalformedToken("a blinding factor out of its range")
    encoded = int.from_bytes(encode(prepared, numbers.n.bit_length() - 1, salt), "big")
    if math.gcd(encoded, numbers.n) != 1:
        raise TokenRefused("the encoded message shares a factor with the token key")
    try:
        inverse = pow(r, -1, numbers.n)
    except ValueError:
        raise TokenRefused("the blinding factor shares a factor with the token key") from None
    blinded = encoded * pow(r, numbers.e, numbers.n) % numbers.n
    return Blinded(blinded.to_bytes(_octets(public), "big"), inverse)


def finalize(public: RSAPublicKey, prepared: bytes, blind_signature: bytes, inverse: int) -> bytes:
    """Take the blinding off a signature and check it. Source: RFC 9474 section 4.4.

    Raises ``TokenRefused`` where the signer has not signed what it was given.
    """
    modulus = public.public_numbers().n
    octets = _octets(public)
    if len(blind_signature) != octets:
        raise TokenRefused(f"a blind signature of {len(blind_signature)} octets, not {octets}")
    signature = int.from_bytes(blind_signature, "big") * inverse % modulus
    signed = signature.to_bytes(octets, "big")
    if not holds(public, prepared, signed):
        raise TokenRefused("the blind signature is not valid")
    return signed


def holds(public: RSAPublicKey, prepared: bytes, signature: bytes) -> bool:
    """Tell whether a signature over a prepared message holds. Source: RFC 9474 section 4.5."""
    try:
        public.verify(signature, prepared, _PADDING, _HASH)
    except InvalidSignature:
        return False
    return True


def encode(message: bytes, bits: int, salt: bytes) -> bytes:
    """Encode a message in at most ``bits`` bits, SHA-384 and MGF1 with SHA-384.

    Raises ``MalformedToken`` where a key is too short for it. Source: RFC 8017 section 9.1.1.
    """
    octets = (bits + 7) // 8
    room = octets - len(salt) - _HASH_OCTETS - 2
    if room < 0:
        raise MalformedToken("a key too short for SHA-384 and its salt")
    hashed = hashlib.sha384(bytes(8) + hashlib.sha384(message).digest() + salt).digest()
    block = bytes(room) + b"\x01" + salt
    mask = _mgf1(hashed, len(block))
    masked = bytearray(one ^ other for one, other in zip(block, mask, strict=True))
    masked[0] &= 0xFF >> (8 * octets - bits)
    return bytes(masked) + hashed + b"\xbc"


def _mgf1(seed: bytes, octets: int) -> bytes:
    """Stretch a seed. Source: RFC 8017 appendix B.2.1."""
    blocks = -(-octets // _HASH_OCTETS)
    stretched = b"".join(
        hashlib.sha384(seed + counter.to_bytes(4, "big")).digest() for counter in range(blocks)
    )
    return stretched[:octets]


def _octets(public: RSAPublicKey) -> int:
    return (public.key_size + 7) // 8
