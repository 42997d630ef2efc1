"""Family 6: another algorithm than ES256, or a key from somewhere else than x5u."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.families.hostile import DROP, FORGE, Court, Judging, b64, token


@pytest.mark.parametrize(
    "alg",
    [
        DROP, "", "none", "None", "NONE", "HS256", "HS512", "RS256", "PS256", "ES384", "ES512",
        "ES256K", "EdDSA", "es256", "Es256", "ES256 ", " ES256", "ES-256", None, 256, True,
        ["ES256"], {"ES256": 1}, "\uff25S256",
    ],
)  # fmt: skip
def test_family_06_alg_of_another_name(court: Court, judging: Judging, alg: object) -> None:
    """ES256 by letter case, whatever the signature: here it would hold."""
    judging.refuses("malformed", token(court.key, header={"alg": alg}))


@pytest.mark.parametrize("signature", [b"", b"\0", b"\0" * 64])
def test_family_06_alg_none(court: Court, judging: Judging, signature: bytes) -> None:
    """Nothing signed nothing."""
    text = token(court.key, header={"alg": "none"}, signature=signature)
    judging.refuses("malformed", text)


def _public(court: Court) -> bytes:
    return court.alice.cert.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_family_06_alg_public_key_as_secret(court: Court, judging: Judging) -> None:
    """HMAC with what everybody knows, under its own name and under ours."""
    for alg, reason in (("HS256", "malformed"), ("ES256", "malformed")):
        signed = token(court.key, header={"alg": alg}).rpartition(".")[0]
        mac = hmac.new(_public(court), signed.encode(), hashlib.sha256).digest()
        judging.refuses(reason, f"{signed}.{b64(mac)}")
    # of the right length it is well-formed, and does not hold
    signed = token(court.key).rpartition(".")[0]
    mac = hmac.new(_public(court), signed.encode(), hashlib.sha512).digest()
    judging.refuses("bad-signature", f"{signed}.{b64(mac)}")


def test_family_06_alg_other_kinds_of_keys(court: Court, judging: Judging) -> None:
    """RSA, Ed25519 and larger curves sign well, but no ES256."""
    signed = token(court.key).rpartition(".")[0]
    big = rsa.generate_private_key(65537, 2048)
    made = big.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    judging.refuses("malformed", f"{signed}.{b64(made)}")
    ed = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(signed.encode())
    judging.refuses("bad-signature", f"{signed}.{b64(ed)}")
    large = ec.derive_private_key(99, ec.SECP384R1())
    r, s = decode_dss_signature(large.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    judging.refuses("malformed", f"{signed}.{b64(r.to_bytes(48, 'big') + s.to_bytes(48, 'big'))}")


def test_family_06_alg_leaf_of_another_curve(court: Court, judging: Judging) -> None:
    """A leaf that is not P-256 signs no PASSporT, also where its signature has 64 octets."""
    for curve in (ec.SECP256K1(), ec.SECP384R1()):
        leaf = FORGE.leaf(court.ca, "Other curve", key=FORGE.key(curve))
        text = court.signed(leaf, court.ca, signature=bytes(63) + b"\x01")
        judging.refuses("certificate-untrusted", text)


def test_family_06_alg_key_in_the_header(court: Court, judging: Judging) -> None:
    """A key that a token brings along is not looked at: x5u says who signed."""
    mallory = FORGE.leaf(court.ca, "Mallory", tn=FORGE.numbers("19995550000"))
    numbers = mallory.cert.public_key().public_numbers()
    jwk = {
        "kty": "EC", "crv": "P-256",
        "x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big")),
    }  # fmt: skip
    own = FORGE.leaf(None, "Alice")
    for header, key in (
        ({"jwk": jwk}, mallory.key),
        ({"x5c": [base64.b64encode(mallory.der).decode()]}, mallory.key),
        ({"x5c": [base64.b64encode(own.der).decode()]}, own.key),
        ({"jku": "https://certificates.example.com/jwks"}, mallory.key),
        ({"kid": "mallory", "jwk": json.dumps(jwk)}, mallory.key),
    ):
        judging.refuses("bad-signature", token(court.key, header=header, key=key))


def test_family_06_alg_honest(court: Court, judging: Judging) -> None:
    """ES256 under x5u's key passes, also where the header names another one."""
    judging.passes(token(court.key))
    mallory = FORGE.leaf(court.ca, "Mallory")
    judging.passes(
        token(court.key, header={"x5c": [base64.b64encode(mallory.der).decode()], "kid": "x"})
    )
