"""Sealing: one size, one number, one key, and nothing to tell a dummy by."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx_stir.errors import (
    Malformed,
    MalformedNumber,
    MalformedPassport,
    MalformedSealed,
    TooLarge,
)
from pbx_stir.stir import sealing

NUMBER = "12125551234"
PASSPORT = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"
PRIME = 2**255 - 19
KEY = sealing.new_private_key()
PUBLIC = sealing.public_octets(KEY)


def der(size: int, filling: int = 7) -> bytes:
    """A DER SEQUENCE of ``size`` content octets, as good as a certificate here."""
    if size < 0x80:
        return bytes((0x30, size)) + bytes([filling]) * size
    return b"\x30\x82" + size.to_bytes(2, "big") + bytes([filling]) * size


def sealed(plaintext: bytes, number: str = NUMBER) -> bytes:
    """Any plaintext, sealed as a hostile sender could."""
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    info = b"pbx-stir sealed passport v1\x00" + number.encode()
    return suite.encrypt(plaintext, X25519PublicKey.from_public_bytes(PUBLIC), info)


def is_on_curve(octets: bytes) -> bool:
    """Whether the octets may be an X25519 public key of an honest sender (RFC 7748 section 4.1)."""
    u = int.from_bytes(octets, "little")
    if u >= PRIME:
        return False
    square = (u**3 + 486662 * u**2 + u) % PRIME
    return square == 0 or pow(square, (PRIME - 1) // 2, PRIME) == 1


def test_opens_to_what_was_sealed() -> None:
    """PASSporT and certificates come out as they went in, in order, each once."""
    chain = (der(600), der(100, 1), der(600))
    opened = sealing.open_sealed(sealing.seal(PASSPORT, chain, PUBLIC, NUMBER), KEY, NUMBER)
    assert opened == sealing.Opened(PASSPORT, (der(600), der(100, 1)))


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=4092), st.integers(0, 5))
@settings(max_examples=50)
def test_always_one_size(passport: str, certificates: int) -> None:
    """Whatever is inside, a sealed PASSporT has the same number of octets."""
    blob = sealing.seal(passport, [der(900, n) for n in range(certificates)], PUBLIC, NUMBER)
    assert len(blob) == sealing.SEALED_OCTETS == 4144
    assert sealing.looks_sealed(blob)
    opened = sealing.open_sealed(blob, KEY, NUMBER)
    assert opened is not None
    assert opened.passport == passport


def test_certificates_stop_at_the_first_that_does_not_fit() -> None:
    """A chain with a hole in it helps nobody: what follows a large certificate is left out."""
    blob = sealing.seal("p" * 3000, [der(500), der(900), der(10)], PUBLIC, NUMBER)
    opened = sealing.open_sealed(blob, KEY, NUMBER)
    assert opened is not None
    assert opened.chain == (der(500),)


def test_too_large() -> None:
    """4,092 octets of PASSporT fit, one more is refused and never cut."""
    assert sealing.open_sealed(sealing.seal("p" * 4092, [], PUBLIC, NUMBER), KEY, NUMBER)
    with pytest.raises(TooLarge):
        sealing.seal("p" * 4093, [], PUBLIC, NUMBER)


def test_not_ours_is_none() -> None:
    """Another key, another number, a damaged, a short and a long blob are all just not ours."""
    blob = sealing.seal(PASSPORT, [], PUBLIC, NUMBER)
    assert sealing.open_sealed(blob, sealing.new_private_key(), NUMBER) is None
    assert sealing.open_sealed(blob, KEY, "12125551235") is None
    for position in (0, 31, 32, 4000, len(blob) - 1):
        damaged = bytearray(blob)
        damaged[position] ^= 1
        assert sealing.open_sealed(bytes(damaged), KEY, NUMBER) is None
    assert sealing.open_sealed(blob[:-1], KEY, NUMBER) is None
    assert sealing.open_sealed(blob + b"\x00", KEY, NUMBER) is None
    assert sealing.open_sealed(b"", KEY, NUMBER) is None
    assert sealing.open_sealed(bytes(sealing.SEALED_OCTETS), KEY, NUMBER) is None


@pytest.mark.parametrize(
    "plaintext",
    [
        b"\xff\xff" + bytes(4094),
        b"\x0f\xff" + b"p" * 4094,
        b"\x0f\xfe" + b"p" * 4094,
        bytes(4096),
        b"\x00\x01p\xff\xff" + bytes(4091),
        b"\x00\x01p\x00\x00" + b"x" + bytes(4090),
        b"\x00\x01p\x00\x00" + bytes(4090) + b"x",
        b"\x00\x01\xe9\x00\x00" + bytes(4091),
        b"\x00\x01p\x00\x01\x30" + bytes(4090),
        b"\x00\x01p\x00\x02\x31\x00" + bytes(4089),
        b"\x00\x01p\x00\x02\x30\x01" + bytes(4089),
        b"\x00\x01p\x00\x04\x30\x83\x00\x00" + bytes(4087),
        b"\x00\x01p\x00\x02\x30\x80" + bytes(4089),
    ],
)
def test_a_wrong_inside_is_malformed(plaintext: bytes) -> None:
    """Lengths past the end, padding that is not zero, foreign octets: said, never guessed at."""
    assert len(plaintext) == sealing.SEALED_PLAINTEXT
    with pytest.raises(MalformedSealed):
        sealing.open_sealed(sealed(plaintext), KEY, NUMBER)


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_inside_opens_or_is_malformed(front: bytes) -> None:
    """No plaintext of a hostile sender gets anything else out of us."""
    try:
        opened = sealing.open_sealed(sealed(front.ljust(4096, b"\0")), KEY, NUMBER)
    except MalformedSealed:
        return
    assert opened is not None
    assert opened.passport.isascii()


@given(st.binary(max_size=60) | st.binary(min_size=4144, max_size=4144))
def test_any_blob_is_survived(blob: bytes) -> None:
    """No octets from a CPS make opening fail."""
    assert sealing.open_sealed(blob, KEY, NUMBER) is None


@pytest.mark.parametrize(
    "public",
    [
        b"",
        PUBLIC[:-1],
        PUBLIC + b"\0",
        bytes(32),
        b"\1" + bytes(31),
        (PRIME).to_bytes(32, "little"),
        (PRIME - 1).to_bytes(32, "little"),
        PUBLIC[:-1] + bytes([PUBLIC[-1] | 0x80]),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    ],
)
def test_unusable_public_keys_are_refused(public: bytes) -> None:
    """Wrong sizes, second spellings and points of small order are not sealed to."""
    with pytest.raises(Malformed):
        sealing.seal(PASSPORT, [], public, NUMBER)


def test_arguments_are_checked() -> None:
    """A number that is not canonical and a PASSporT that is not ASCII are named errors."""
    for number in ("", "+12125551234", "1 2", "\uff11\uff12", "a"):
        with pytest.raises(MalformedNumber):
            sealing.seal(PASSPORT, [], PUBLIC, number)
        with pytest.raises(MalformedNumber):
            sealing.open_sealed(b"", KEY, number)
    with pytest.raises(MalformedPassport):
        sealing.seal("é", [], PUBLIC, NUMBER)
    with pytest.raises(ValueError):
        sealing.dummy(b"short")


def test_dummy_is_a_function_of_its_seed() -> None:
    """The same seed gives the same dummy in every worker; another seed a wholly other one."""
    one, again, two = (sealing.dummy(bytes([n]) * 32) for n in (1, 1, 2))
    assert one == again
    assert sum(a != b for a, b in zip(one, two, strict=True)) > 4000
    assert sealing.open_sealed(one, KEY, NUMBER) is None


def test_dummies_look_as_sealed_ones_do() -> None:
    """Size, possible public key and spread of octets are those of a real seal."""
    real = [sealing.seal(PASSPORT, [], PUBLIC, NUMBER) for _ in range(200)]
    fakes = [sealing.dummy(n.to_bytes(32, "big")) for n in range(200)]
    for blobs in (real, fakes):
        assert {len(blob) for blob in blobs} == {sealing.SEALED_OCTETS}
        assert all(is_on_curve(blob[:32]) for blob in blobs)
        counts = [0] * 256
        for octet in b"".join(blob[32:] for blob in blobs):
            counts[octet] += 1
        expected = sum(counts) / 256
        # Chi squared with 255 degrees of freedom: 400 is beyond one in ten million.
        assert sum((count - expected) ** 2 / expected for count in counts) < 400
        for bit in range(8):
            ones = sum(blob[0] >> bit & 1 for blob in blobs)
            assert 50 < ones < 150


def test_wire_round_trip() -> None:
    """What is written is read; it has no padding and no character outside base64url."""
    blob = sealing.dummy(bytes(32))
    text = sealing.to_wire(blob)
    assert b"=" not in text
    assert sealing.from_wire(text) == blob


@given(st.binary(max_size=300), st.integers(1, 80))
def test_wire_tolerates_folding_and_padding(blob: bytes, width: int) -> None:
    """Blanks, folded lines (RFC 8816 section 9 shows some) and padding change nothing."""
    text = sealing.to_wire(blob)
    folded = b"\r\n  ".join(text[at : at + width] for at in range(0, len(text), width))
    padded = folded + b"=" * (-len(text) % 4) + b"\n"
    if len(padded) <= sealing.MAX_WIRE_OCTETS:
        assert sealing.from_wire(padded) == blob


@pytest.mark.parametrize(
    "text",
    [b"a", b"abc+", b"ab/_", b"ab=", b"abcd=", b"ab===", b"abcd====", b"a=bc", b"ab.c", b"ab\0c",
     b"ab\xc3\xa9", b"ab\x0bcd", b"ab\xa0cd", b"aB", b"A" * 20000, b"{}"],
)  # fmt: skip
def test_wire_refuses_the_rest(text: bytes) -> None:
    """Foreign characters, wrong padding, stray bits and too much text are refused."""
    with pytest.raises(MalformedSealed):
        sealing.from_wire(text)


@given(st.binary(max_size=200))
def test_any_wire_text_is_survived(text: bytes) -> None:
    """Whatever a CPS answers, reading it gives octets or the named error."""
    with contextlib.suppress(MalformedSealed):
        assert len(sealing.from_wire(text)) <= len(text)


@given(st.binary(min_size=1, max_size=60), st.sampled_from(b"AQgwBRhxCSiyDTjz019-_"))
def test_octets_have_one_spelling(blob: bytes, last: int) -> None:
    """Whatever its last character, what is read is what would be written."""
    text = sealing.to_wire(blob)[:-1] + bytes([last])
    with contextlib.suppress(MalformedSealed):
        assert sealing.to_wire(sealing.from_wire(text)) == text


def test_rfc9180_vectors(vectors: Path) -> None:
    """The suite is RFC 9180's: its vectors open."""
    path = vectors / "rfc/rfc9180_hpke_vectors_subset.json"
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    from cryptography.hazmat.bindings._rust import openssl

    met = 0
    for vector in json.loads(path.read_text()):
        if [vector[name] for name in ("mode", "kem_id", "kdf_id", "aead_id")] != [0, 32, 1, 1]:
            continue
        first = vector["encryptions"][0]
        plaintext = openssl.hpke._decrypt_with_aad(
            suite,
            bytes.fromhex(vector["enc"] + first["ct"]),
            X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["skRm"])),
            bytes.fromhex(vector["info"]),
            bytes.fromhex(first["aad"]),
        )
        assert plaintext == bytes.fromhex(first["pt"])
        met += 1
    assert met
