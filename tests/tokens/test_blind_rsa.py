"""Blind RSA: the RFC's figures, and every way in which either side may be lied to."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx_stir.errors import MalformedToken, TokenRefused
from pbx_stir.tokens import blind_rsa

PRIVATE = rsa.generate_private_key(65_537, 2048)
PUBLIC = PRIVATE.public_key()
NUMBERS = PRIVATE.private_numbers()
N = NUMBERS.public_numbers.n


def sign(blinded: bytes, private: rsa.RSAPrivateNumbers = NUMBERS) -> bytes:
    """The private operation, for tests: Python's integers tell the key by their timing."""
    n = private.public_numbers.n
    signed = pow(int.from_bytes(blinded, "big"), private.d, n)
    return signed.to_bytes((n.bit_length() + 7) // 8, "big")


def blinded_message(message: bytes = b"a message") -> tuple[bytes, blind_rsa.Blinded]:
    """A message prepared and blinded with fresh randomness."""
    prepared = blind_rsa.prepare(message, secrets.token_bytes(32))
    r = secrets.randbelow(N - 1) + 1
    return prepared, blind_rsa.blind(PUBLIC, prepared, salt=secrets.token_bytes(48), r=r)


def read(path: Path) -> list[dict[str, bytes]]:
    """Test vectors in hexadecimal."""
    listed = json.loads(path.read_text())
    return [{name: bytes.fromhex(text) for name, text in one.items()} for one in listed]


def integer(octets: bytes) -> int:
    """Octets as a number, the most significant first."""
    return int.from_bytes(octets, "big")


def check_vector(vector: dict[str, bytes], prepared: bytes) -> None:
    """Recompute each step of a vector, encoding to signature."""
    n, e = integer(vector["n"]), integer(vector["e"])
    public = rsa.RSAPublicNumbers(e, n).public_key()
    inverse = integer(vector["inv"])
    encoded = blind_rsa.encode(prepared, n.bit_length() - 1, vector["salt"])
    assert integer(encoded) == integer(vector["encoded_msg"])
    if len(vector["salt"]) != blind_rsa.SALT_OCTETS:
        return
    r = pow(inverse, -1, n)
    blinded = blind_rsa.blind(public, prepared, salt=vector["salt"], r=r)
    assert blinded == blind_rsa.Blinded(vector["blinded_msg"], inverse)
    signed = pow(integer(vector["blinded_msg"]), integer(vector["d"]), n)
    assert signed == integer(vector["blind_sig"])
    assert blind_rsa.finalize(public, prepared, vector["blind_sig"], inverse) == vector["sig"]
    assert blind_rsa.holds(public, prepared, vector["sig"])


def test_the_rfc_vector_of_this_variant_holds() -> None:
    """Each step gives the figures of RFC 9474, appendix A.1."""
    for vector in read(Path(__file__).with_name("rfc9474_randomized.json")):
        prepared = blind_rsa.prepare(vector["msg"], vector["msg_prefix"])
        assert prepared == vector["prepared_msg"]
        check_vector(vector, prepared)


def test_the_rfc_vectors_of_other_variants_hold(vectors: Path) -> None:
    """Those without a randomizer go the same way; those without salt as far as the encoding."""
    for vector in read(vectors / "rfc/rfc9474_blind_rsa_vectors.json"):
        check_vector(vector, vector["msg"])


def test_wycheproof_signatures(vectors: Path) -> None:
    """The check takes and refuses what Wycheproof says, for this variant's hash and salt."""
    path = vectors / "wycheproof/rsa_pss_4096_sha384_mgf1_48_test.json"
    judged = 0
    for group in json.loads(path.read_text())["testGroups"]:
        key: dict[str, Any] = group["publicKey"]
        numbers = rsa.RSAPublicNumbers(int(key["publicExponent"], 16), int(key["modulus"], 16))
        public = numbers.public_key()
        for test in group["tests"]:
            signature, message = bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"])
            assert blind_rsa.holds(public, message, signature) is (test["result"] == "valid")
            judged += 1
    assert judged > 50


def test_a_blinded_message_comes_back_signed() -> None:
    """What is blinded, signed and finalised holds as an ordinary RSA-PSS signature."""
    prepared, blinded = blinded_message()
    assert len(blinded.blinded) == 256
    signature = blind_rsa.finalize(PUBLIC, prepared, sign(blinded.blinded), blinded.inverse)
    assert blind_rsa.holds(PUBLIC, prepared, signature)
    assert not blind_rsa.holds(PUBLIC, prepared + b".", signature)
    assert not blind_rsa.holds(PUBLIC, prepared, signature[:-1])
    assert not blind_rsa.holds(PUBLIC, prepared, b"")


def test_what_the_signer_sees_says_nothing() -> None:
    """For any message there is a blinding factor that makes the same blinded message of it."""
    _, blinded = blinded_message(b"one")
    seen = integer(blinded.blinded)
    other = blind_rsa.prepare(b"another", bytes(32))
    encoded = integer(blind_rsa.encode(other, N.bit_length() - 1, bytes(48)))
    r = pow(seen * pow(encoded, -1, N) % N, NUMBERS.d, N)
    assert blind_rsa.blind(PUBLIC, other, salt=bytes(48), r=r).blinded == blinded.blinded


@pytest.mark.parametrize("spoil", ["flip", "other key", "short", "long", "zero", "the input"])
def test_a_wrong_blind_signature_is_refused(spoil: str) -> None:
    """The client never takes what the signer did not sign (RFC 9474 section 4.4)."""
    prepared, blinded = blinded_message()
    signed = sign(blinded.blinded)
    other = rsa.generate_private_key(65_537, 2048).private_numbers()
    wrong = {
        "flip": bytes((signed[0] ^ 1,)) + signed[1:],
        "other key": sign(blinded.blinded, other),
        "short": signed[1:],
        "long": b"\0" + signed,
        "zero": bytes(256),
        "the input": blinded.blinded,
    }[spoil]
    with pytest.raises(TokenRefused):
        blind_rsa.finalize(PUBLIC, prepared, wrong, blinded.inverse)


def test_a_blinding_factor_without_inverse_is_refused() -> None:
    """A factor of n cannot be taken off again: "blinding error" (RFC 9474 section 4.2)."""
    prepared = blind_rsa.prepare(b"m", bytes(32))
    with pytest.raises(TokenRefused, match="blinding factor shares"):
        blind_rsa.blind(PUBLIC, prepared, salt=bytes(48), r=NUMBERS.p)


def test_a_message_that_shares_a_factor_is_refused() -> None:
    """ "Invalid input" (RFC 9474 section 4.2): such a key can only be a trap."""
    prepared = blind_rsa.prepare(b"m", bytes(32))
    modulus = (2**2047 // 3 | 1) * 3
    public = rsa.RSAPublicNumbers(65_537, modulus).public_key()
    salts = (trial.to_bytes(48, "big") for trial in range(1000))
    bits = modulus.bit_length() - 1
    salt = next(one for one in salts if integer(blind_rsa.encode(prepared, bits, one)) % 3 == 0)
    with pytest.raises(TokenRefused, match="encoded message shares"):
        blind_rsa.blind(public, prepared, salt=salt, r=5)


@pytest.mark.parametrize("r", [0, -1, N, N + 1])
def test_a_blinding_factor_out_of_range_is_malformed(r: int) -> None:
    """Only 1 … n - 1 blind."""
    with pytest.raises(MalformedToken):
        blind_rsa.blind(PUBLIC, bytes(33), salt=bytes(48), r=r)


@pytest.mark.parametrize("octets", [0, 31, 33])
def test_randomness_of_another_size_is_malformed(octets: int) -> None:
    """32 octets of randomizer, 48 of salt, no others."""
    with pytest.raises(MalformedToken):
        blind_rsa.prepare(b"m", bytes(octets))
    with pytest.raises(MalformedToken):
        blind_rsa.blind(PUBLIC, bytes(33), salt=bytes(octets), r=2)


def test_a_short_key_cannot_hold_the_encoding() -> None:
    """784 bits are the least for SHA-384 with its salt (RFC 8017 section 9.1.1, step 3)."""
    assert len(blind_rsa.encode(b"m", 784, bytes(48))) == 98
    with pytest.raises(MalformedToken):
        blind_rsa.encode(b"m", 776, bytes(48))


def test_the_secret_is_not_printed() -> None:
    """What links a token to its request does not come into a log by accident."""
    _, blinded = blinded_message()
    assert str(blinded.inverse) not in repr(blinded)


@settings(max_examples=20)
@given(message=st.binary(max_size=200), randomizer=st.binary(min_size=32, max_size=32))
def test_the_encoding_is_the_one_of_rfc_8017(message: bytes, randomizer: bytes) -> None:
    """A signature made from our encoding holds under another implementation's check."""
    prepared = blind_rsa.prepare(message, randomizer)
    encoded = blind_rsa.encode(prepared, N.bit_length() - 1, secrets.token_bytes(48))
    assert blind_rsa.holds(PUBLIC, prepared, sign(encoded))
