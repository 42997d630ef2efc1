"""The signature on a list or an answer is by one key, with an algorithm that will do."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID as Oid
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.stir.issuer_signature import IssuerSignature

P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
SIGNED = b"a list" * 1_000
KEYS = [P256.public_key(), P384.public_key(), RSA.public_key(), ED.public_key(), None]


@pytest.mark.parametrize(
    ("octets", "oid", "key"),
    [
        (P256.sign(SIGNED, ec.ECDSA(hashes.SHA256())), Oid.ECDSA_WITH_SHA256, 0),
        (P256.sign(SIGNED, ec.ECDSA(hashes.SHA512())), Oid.ECDSA_WITH_SHA512, 0),
        (P384.sign(SIGNED, ec.ECDSA(hashes.SHA384())), Oid.ECDSA_WITH_SHA384, 1),
        (RSA.sign(SIGNED, padding.PKCS1v15(), hashes.SHA256()), Oid.RSA_WITH_SHA256, 2),
    ],
)
def test_one_key_made_it(octets: bytes, oid: object, key: int) -> None:
    """The right key alone, and over these octets alone."""
    signature = IssuerSignature.over(SIGNED, octets, oid)  # type: ignore[arg-type]
    assert [signature.is_by(one) for one in KEYS] == [index == key for index in range(5)]
    other = IssuerSignature.over(SIGNED + b"!", octets, oid)  # type: ignore[arg-type]
    assert not any(map(other.is_by, KEYS))


@pytest.mark.parametrize(
    ("octets", "oid"),
    [
        (P256.sign(SIGNED, ec.ECDSA(hashes.SHA224())), Oid.ECDSA_WITH_SHA224),
        (P256.sign(SIGNED, ec.ECDSA(hashes.SHA256())), Oid.ECDSA_WITH_SHA384),
        (P256.sign(SIGNED, ec.ECDSA(hashes.SHA256())), Oid.RSA_WITH_SHA256),
        (RSA.sign(SIGNED, padding.PKCS1v15(), hashes.SHA224()), Oid.RSA_WITH_SHA224),
        (ED.sign(SIGNED), Oid.ED25519),
    ],
)
def test_other_algorithms_do_not_count(octets: bytes, oid: object) -> None:
    """A weak digest, another one, another kind of key, and what RFC 5758 does not know."""
    signature = IssuerSignature.over(SIGNED, octets, oid)  # type: ignore[arg-type]
    assert not any(map(signature.is_by, KEYS))


@given(st.binary(max_size=80))
def test_any_octets_are_by_nobody(octets: bytes) -> None:
    """Whatever stands for a signature, nothing is raised."""
    for oid in (Oid.ECDSA_WITH_SHA256, Oid.RSA_WITH_SHA256, Oid.DSA_WITH_SHA256):
        assert not any(map(IssuerSignature.over(SIGNED, octets, oid).is_by, KEYS))
