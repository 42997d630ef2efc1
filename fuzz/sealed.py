"""Sealed PASSporTs: as text on the wire, as blobs, and as plaintexts rightly sealed to us."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from fuzz import seeds
from pbx_stir.errors import Malformed, MalformedSealed
from pbx_stir.stir import sealing

_KEY = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
_PUBLIC = sealing.public_octets(_KEY)
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
_INFO = b"pbx-stir sealed passport v1\x00" + seeds.BOB.encode()
_BLOB = sealing.seal(seeds.BASE.token, seeds.DERS, _PUBLIC, seeds.BOB)
_PLAIN = _SUITE.decrypt(_BLOB, _KEY, _INFO)
# the first octet says what the others are
SEEDS = (
    b"\x00" + sealing.to_wire(_BLOB),
    b"\x01" + _BLOB,
    b"\x02" + _PLAIN.rstrip(b"\x00"),
    b"\x02\x00\x05a.b.c\x00\x00",
    b"\x03" + _PUBLIC,
)


def one(octets: bytes) -> None:
    """Read it, open it."""
    kind, rest = octets[0] if octets else 0, octets[1:]
    try:
        _KINDS[kind % len(_KINDS)](rest)
    except MalformedSealed:
        pass


def _wire(octets: bytes) -> None:
    blob = sealing.from_wire(octets)
    assert sealing.from_wire(sealing.to_wire(blob)) == blob
    _blob(blob)


def _blob(octets: bytes) -> None:
    opened = sealing.open_sealed(octets, _KEY, seeds.BOB)
    # nobody makes a blob that opens but who knows the number, and of the one size
    assert opened is None or sealing.looks_sealed(octets)
    assert sealing.open_sealed(octets, _KEY, seeds.CAROL) is None


def _plaintext(octets: bytes) -> None:
    plain = octets[: sealing.SEALED_PLAINTEXT].ljust(sealing.SEALED_PLAINTEXT, b"\x00")
    blob = _SUITE.encrypt(plain, _KEY.public_key(), _INFO)
    opened = sealing.open_sealed(blob, _KEY, seeds.BOB)
    assert opened is not None
    assert opened.passport.isascii()
    again = sealing.seal(opened.passport, opened.chain, _PUBLIC, seeds.BOB)
    found = sealing.open_sealed(again, _KEY, seeds.BOB)
    # each certificate once
    assert found is not None
    assert found.passport == opened.passport
    assert found.chain == tuple(dict.fromkeys(opened.chain))


def _public(octets: bytes) -> None:
    try:
        sealing.check_public_key(octets)
    except Malformed:
        return
    assert sealing.looks_sealed(sealing.seal("a.b.c", (), octets, seeds.BOB))


_KINDS = (_wire, _blob, _plaintext, _public)
