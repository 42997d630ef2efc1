"""Sealing a PASSporT and its certificates to the called party's key (RFC 8816 section 4).

Takes PASSporT text, DER certificates, raw X25519 keys and canonical numbers; gives octets, all of
one size. It never looks into a PASSporT or a certificate, and knows no network and no clock.

HPKE (RFC 9180) base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM. ``info`` is
``pbx-stir sealed passport v1``, a zero octet and the canonical number of the collection it is
stored under, so that a CPS cannot move a blob to another number. The plaintext has 4,096 octets::

    2 octets   length of the PASSporT, big-endian
               the PASSporT, full form, ASCII
    2 octets   length of all certificates together, big-endian; may be zero
               DER certificates one after the other: the leaf, its issuers, and so on
               zeros

A blob is the encapsulated key (32 octets), the ciphertext and the tag (16 octets). There is no key
identifier: whoever reads a blob at the CPS must not learn for whom it is. Receivers try their keys.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from pbx_stir.errors import Malformed, MalformedNumber, MalformedPassport, MalformedSealed, TooLarge

SUITE = "X25519/HKDF-SHA256/AES-128-GCM"
SEALED_PLAINTEXT = 4096
PUBLIC_KEY_OCTETS = 32
TAG_OCTETS = 16
SEALED_OCTETS = PUBLIC_KEY_OCTETS + SEALED_PLAINTEXT + TAG_OCTETS
DUMMY_SEED_OCTETS = 32
# What they take in base64url without padding.
WIRE_OCTETS = (SEALED_OCTETS * 4 + 2) // 3
# Twice the octets: base64url needs a third more, the rest is for folding and blanks.
MAX_WIRE_OCTETS = 2 * SEALED_OCTETS

_LENGTH_OCTETS = 2
_INFO = b"pbx-stir sealed passport v1\x00"
_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
_PROBE = X25519PrivateKey.from_private_bytes(bytes(range(PUBLIC_KEY_OCTETS)))
_FIELD_PRIME = 2**255 - 19
# A dummy's key is used once, so that its nonce may be fixed.
_DUMMY_NONCE = bytes(12)
_DUMMY_PURPOSE = b"pbx-stir dummy v2\x00"
_DUMMY_PLAINTEXT = bytes(SEALED_PLAINTEXT)
_BLANKS = b" \t\r\n"
_DER_SEQUENCE = 0x30


@dataclass(frozen=True, slots=True)
class Opened:
    """What a blob sealed to us held: PASSporT text, not parsed, DER certificates, not judged."""

    passport: str
    chain: tuple[bytes, ...]


def new_private_key() -> X25519PrivateKey:
    """Draw a key to which others seal; its public half (``public_octets``) goes into a record."""
    return X25519PrivateKey.generate()


def public_octets(private_key: X25519PrivateKey) -> bytes:
    """Give the raw 32 octets of the public half. Source: RFC 7748 section 5."""
    return private_key.public_key().public_bytes_raw()


def check_public_key(public_key: bytes) -> None:
    """Refuse what nobody can seal to: not 32 octets, not a reduced value, or of small order.

    Raises ``Malformed``. Source: RFC 9180 section 7.1.4 (the shared secret must not be zero).
    """
    if len(public_key) != PUBLIC_KEY_OCTETS:
        raise Malformed(f"a public key of {len(public_key)} octets instead of {PUBLIC_KEY_OCTETS}")
    # One key has one spelling: records are compared and blobs counted by their octets.
    if int.from_bytes(public_key, "little") >= _FIELD_PRIME:
        raise Malformed(f"public key {public_key.hex()} is not a reduced X25519 value")
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        raise Malformed(f"public key {public_key.hex()} is of small order") from error


def seal(passport: str, chain: Sequence[bytes], public_key: bytes, number: str) -> bytes:
    """Seal one copy: ``SEALED_OCTETS`` octets that only the holder of the private half can open.

    ``chain`` are DER certificates, outermost leaf first; they are put in, each once, in order, up
    to the first that does not fit. ``public_key`` is raw; ``number`` is the canonical number under
    which the copy will be stored.

    Raises ``TooLarge`` where the PASSporT alone does not fit, ``MalformedPassport`` where it is not
    ASCII, ``Malformed`` for an unusable key and ``MalformedNumber``.
    """
    plaintext = _plaintext(passport, chain)
    info = _info(number)
    check_public_key(public_key)
    return _HPKE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info)


def open_sealed(blob: bytes, private_key: X25519PrivateKey, number: str) -> Opened | None:
    """Open a blob fetched for ``number``; None where it is not sealed to this key and number.

    A dummy, a blob for another key of the number, a moved one and a damaged one are all the same
    None: there is nothing to tell them apart by.

    Raises ``MalformedSealed`` where it opens but has not the form above, and ``MalformedNumber``.
    """
    info = _info(number)
    if not looks_sealed(blob):
        return None
    try:
        plaintext = _HPKE.decrypt(blob, private_key, info)
    except (InvalidTag, ValueError):
        return None
    return _parse_plaintext(plaintext)


def looks_sealed(blob: bytes) -> bool:
    """Say whether the octets may be a sealed PASSporT. Only the length can tell."""
    return len(blob) == SEALED_OCTETS


def dummy(seed: bytes) -> bytes:
    """Make the octets of a blob that nobody can open, the same for the same 32-octet secret seed.

    It begins with the public half of a private key, as a sealed one does: only a quarter of random
    strings are possible public keys, so plain random octets would be told from real ones.
    The rest are AES-GCM's octets and tag, as a sealed one's are. Source: RFC 8816 section 6.2.
    """
    if len(seed) != DUMMY_SEED_OCTETS:
        raise ValueError(f"a dummy's seed has {DUMMY_SEED_OCTETS} octets")
    # of fixed length behind a name: a pseudorandom function, in a third of HKDF's time
    drawn = hashlib.shake_256(_DUMMY_PURPOSE + seed).digest(48)
    public = public_octets(X25519PrivateKey.from_private_bytes(drawn[:32]))
    return public + AESGCM(drawn[32:]).encrypt(_DUMMY_NONCE, _DUMMY_PLAINTEXT, None)


def to_wire(blob: bytes) -> bytes:
    """Write a blob as a body of type ``application/passport``: base64url without padding."""
    digits = binascii.b2a_base64(blob, newline=False).rstrip(b"=")
    # twice as fast as to translate
    return digits.replace(b"+", b"-").replace(b"/", b"_")


def from_wire(text: bytes) -> bytes:
    """Read a body of type ``application/passport``; blanks, folded lines and padding are tolerated.

    The length of what is in it is not checked, see ``looks_sealed``.
    Raises ``MalformedSealed`` for any other character, for more than ``MAX_WIRE_OCTETS``, and for
    base64 that is not the one spelling of its octets (RFC 4648 section 3.5).
    """
    if len(text) > MAX_WIRE_OCTETS:
        raise MalformedSealed(f"a sealed passport of more than {MAX_WIRE_OCTETS} characters")
    packed = text.translate(None, _BLANKS)
    digits = packed.rstrip(b"=")
    padding = len(packed) - len(digits)
    if padding and (padding > 2 or len(packed) % 4):
        raise MalformedSealed("wrong base64url padding")
    if b"+" in digits or b"/" in digits:
        raise MalformedSealed("base64 characters + or / in base64url")
    standard = digits.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(digits) % 4)
    try:
        blob = binascii.a2b_base64(standard, strict_mode=True)
    except binascii.Error as error:
        raise MalformedSealed("a sealed passport is not base64url") from error
    # read strictly, only the octets after the last three whole ones have more than one spelling
    whole = len(blob) // 3
    if to_wire(blob[3 * whole :]) != digits[4 * whole :]:
        raise MalformedSealed("base64url with stray bits at its end")
    return blob


def _info(number: str) -> bytes:
    """Bind the collection's number into the key schedule."""
    if not (number.isascii() and number.isdigit()):
        raise MalformedNumber(f"not a canonical number: {number[:32]!r}")
    return _INFO + number.encode("ascii")


def _plaintext(passport: str, chain: Iterable[bytes]) -> bytes:
    """Lay out the one-size plaintext."""
    try:
        text = passport.encode("ascii")
    except UnicodeEncodeError as error:
        raise MalformedPassport("a passport to seal is not ascii") from error
    room = SEALED_PLAINTEXT - 2 * _LENGTH_OCTETS - len(text)
    if room < 0:
        raise TooLarge(
            f"a passport of {len(text)} octets does not fit into the sealed size",
            hint=f"at most {SEALED_PLAINTEXT - 2 * _LENGTH_OCTETS} octets fit",
        )
    certificates = b""
    for der in dict.fromkeys(chain):
        if len(certificates) + len(der) > room:
            break
        certificates += der
    return b"".join(
        (
            len(text).to_bytes(_LENGTH_OCTETS, "big"),
            text,
            len(certificates).to_bytes(_LENGTH_OCTETS, "big"),
            certificates,
        )
    ).ljust(SEALED_PLAINTEXT, b"\x00")


def _parse_plaintext(plaintext: bytes) -> Opened:
    """Read the layout back, strictly: whoever holds our public key may have written anything."""
    text, rest = _take(plaintext)
    certificates, rest = _take(rest)
    if rest.strip(b"\x00"):
        raise MalformedSealed("a sealed passport's padding is not zero")
    try:
        passport = text.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedSealed("a sealed passport is not ascii") from error
    if not passport:
        raise MalformedSealed("a sealed passport is empty")
    return Opened(passport, tuple(_split_der(certificates)))


def _take(octets: bytes) -> tuple[bytes, bytes]:
    """Take one length and its octets from the front; give these and the rest."""
    length = int.from_bytes(octets[:_LENGTH_OCTETS], "big")
    end = _LENGTH_OCTETS + length
    if len(octets) < max(end, _LENGTH_OCTETS):
        raise MalformedSealed("a length inside a sealed passport points past its end")
    return octets[_LENGTH_OCTETS:end], octets[end:]


def _split_der(octets: bytes) -> Iterable[bytes]:
    """Split DER SEQUENCEs that stand one after the other (X.690 section 8.1.3)."""
    while octets:
        end = _der_end(octets)
        if octets[0] != _DER_SEQUENCE or not 0 < end <= len(octets):
            raise MalformedSealed("what follows a sealed passport is not der certificates")
        yield octets[:end]
        octets = octets[end:]


def _der_end(octets: bytes) -> int:
    """Tell where the DER value at the front ends; 0 where its length cannot be read."""
    if len(octets) < 2:
        return 0
    first = octets[1]
    if first < 0x80:
        return 2 + first
    count = first - 0x80
    # 4,096 octets need two length octets at most.
    if count not in (1, 2) or len(octets) < 2 + count:
        return 0
    return 2 + count + int.from_bytes(octets[2 : 2 + count], "big")
