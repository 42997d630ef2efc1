"""The worked vector of docs/cps.md: sealed by the text alone, it opens here."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pbx_stir.stir import sealing

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "cps.md").read_text()
KEM_SUITE = b"KEM\x00\x20"
HPKE_SUITE = b"HPKE\x00\x20\x00\x01\x00\x01"


def documented(name: str) -> bytes:
    """A value of the vector's table."""
    found = re.search(rf"^\| {name} \| `([0-9a-f]+)` \|$", TEXT, re.MULTILINE)
    assert found, name
    return bytes.fromhex(found[1])


def extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """LabeledExtract of RFC 9180 section 4."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand of RFC 9180 section 4; one block is enough here."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labelled + b"\x01", "sha256")[:length]


def test_the_documented_vector_is_sealed_by_the_text_alone() -> None:
    """RFC 9180's steps give each documented value, and the blob opens with its certificate."""
    receiver = X25519PrivateKey.from_private_bytes(documented("receiver's private key"))
    ephemeral = X25519PrivateKey.from_private_bytes(documented("ephemeral private key"))
    enc = ephemeral.public_key().public_bytes_raw()
    assert enc == documented("encapsulated key")
    public = receiver.public_key().public_bytes_raw()
    assert public == documented("receiver's public key")

    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    prk = extract(KEM_SUITE, b"", b"eae_prk", shared)
    secret = expand(KEM_SUITE, prk, b"shared_secret", enc + public, 32)
    info = documented("info")
    assert info == b"pbx-stir sealed passport v1\x0012125551234"
    psk_id_hash = extract(HPKE_SUITE, b"", b"psk_id_hash", b"")
    context = b"\x00" + psk_id_hash + extract(HPKE_SUITE, b"", b"info_hash", info)
    base = extract(HPKE_SUITE, secret, b"secret", b"")
    key = expand(HPKE_SUITE, base, b"key", context, 16)
    nonce = expand(HPKE_SUITE, base, b"base_nonce", context, 12)
    assert key == documented("key")
    assert nonce == documented("base nonce")

    passport, certificate = b"eyJh.eyJk.c2ln", bytes.fromhex("3003020105")
    plaintext = len(passport).to_bytes(2, "big") + passport
    plaintext += len(certificate).to_bytes(2, "big") + certificate
    plaintext += bytes(4096 - len(plaintext))
    assert plaintext[:32] == documented("plaintext begins")
    blob = enc + AESGCM(key).encrypt(nonce, plaintext, b"")
    assert blob[-16:] == documented("tag")
    assert hashlib.sha256(blob).digest() == documented("SHA-256 of the blob")
    assert len(blob) == 4144
    assert hashlib.sha256(sealing.to_wire(blob)).digest() == documented("SHA-256 of the body")

    opened = sealing.open_sealed(blob, receiver, "12125551234")
    assert opened == sealing.Opened(passport.decode(), (certificate,))
    assert sealing.open_sealed(blob, receiver, "12125551235") is None
