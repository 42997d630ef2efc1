"""Storage tokens and proofs: what is signed, what the header holds, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedToken
from pbx_stir.stir import jws
from pbx_stir.tokens import storage_token
from pbx_stir.tokens.storage_token import Proof, StorageToken, Store

PRIVATE = ec.generate_private_key(ec.SECP256R1())
TOKEN = StorageToken(
    20_000, storage_token.key_octets(PRIVATE.public_key()), bytes(range(32)), bytes(range(256))
)
STORE = Store("cps.example.net", "POST", "12125551234", "application/passport", b"sealed")
NOW = 20_000 * 86_400 + 7.25
PROOF = storage_token.prove(PRIVATE, TOKEN, STORE, now=NOW, nonce=bytes(16))
VALUE = storage_token.format_authorization(TOKEN, PROOF)


def test_a_token_and_its_proof_come_back() -> None:
    """What is written is read as it was."""
    assert storage_token.parse_authorization(VALUE) == (TOKEN, PROOF)
    assert len(VALUE) < storage_token.MAX_HEADER_OCTETS


def test_the_message_is_laid_out_as_documented() -> None:
    """Purpose, audience with its length, epoch in eight octets, key."""
    assert storage_token.message("cps.example.net", 20_000, TOKEN.key) == (
        b"pbx-stir storage token v1\0\x00\x0fcps.example.net"
        b"\x00\x00\x00\x00\x00\x00\x4e\x20" + TOKEN.key
    )
    assert TOKEN.prepared("a") == bytes(range(32)) + storage_token.message("a", 20_000, TOKEN.key)


def test_the_proof_input_is_laid_out_as_documented() -> None:
    """Purpose, four texts with their lengths, epoch, time, nonce, key, SHA-256 of the body."""
    assert storage_token.proof_input(STORE, TOKEN, int(NOW), b"n" * 16) == (
        b"pbx-stir storage proof v1\0"
        b"\x00\x0fcps.example.net\x00\x04POST\x00\x0b12125551234\x00\x14application/passport"
        + (20_000).to_bytes(8, "big")
        + int(NOW).to_bytes(8, "big")
        + b"n" * 16
        + TOKEN.key
        + hashlib.sha256(b"sealed").digest()
    )


def test_a_proof_is_for_one_store_only() -> None:
    """Host, method, number, type, body, epoch, time, nonce and key are all bound."""
    public = PRIVATE.public_key()
    assert storage_token.proof_holds(public, TOKEN, PROOF, STORE)
    for name, value in {
        "host": "cps.example.org",
        "method": "PUT",
        "number": "12125551235",
        "content_type": "text/plain",
        "body": b"other",
    }.items():
        assert not storage_token.proof_holds(public, TOKEN, PROOF, replace(STORE, **{name: value}))
    assert not storage_token.proof_holds(public, replace(TOKEN, epoch=20_001), PROOF, STORE)
    for changed in (
        replace(PROOF, time=PROOF.time + 1),
        replace(PROOF, nonce=b"n" * 16),
        replace(PROOF, signature=bytes(64)),
        replace(PROOF, signature=PROOF.signature[::-1]),
    ):
        assert not storage_token.proof_holds(public, TOKEN, changed, STORE)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert not storage_token.proof_holds(other, TOKEN, PROOF, STORE)


@given(fields=st.lists(st.text(max_size=6), min_size=8, max_size=8))
def test_two_stores_are_never_the_same_octets(fields: list[str]) -> None:
    """What is moved from one field to the next is another store."""
    one, other = Store(*fields[:4], b""), Store(*fields[4:], b"")
    inputs = [storage_token.proof_input(each, TOKEN, 1, bytes(16)) for each in (one, other)]
    assert (inputs[0] == inputs[1]) is (one == other)


def test_parameters_come_in_any_order_and_with_blanks() -> None:
    """RFC 9110 section 11: any order, blanks around commas and "=", names of any case."""
    parameters = VALUE.removeprefix("StorageToken ").split(", ")
    turned = "storagetoken  " + " ,".join(
        "{} = {}".format(*one.split("=", 1)) for one in reversed(parameters)
    )
    assert storage_token.parse_authorization(turned) == (TOKEN, PROOF)
    unquoted = VALUE.replace('"', "").replace("epoch", "EPOCH")
    assert storage_token.parse_authorization(unquoted) == (TOKEN, PROOF)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "StorageToken",
        "StorageToken ",
        "Bearer " + VALUE.partition(" ")[2],
        VALUE + ",",
        VALUE + ', extra="1"',
        VALUE + ', epoch="20000"',
        VALUE.replace('epoch="20000"', 'epoch="5", epoch="5"'),
        VALUE.replace('epoch="20000", ', ""),
        VALUE.replace('epoch="20000"', 'epoch="020000"'),
        VALUE.replace('epoch="20000"', 'epoch="-1"'),
        VALUE.replace('epoch="20000"', 'epoch=""'),
        VALUE.replace('epoch="20000"', 'epoch="9007199254740993"'),
        VALUE.replace('epoch="20000"', "epoch=\"'20000'\""),
        VALUE.replace('epoch="20000"', 'epoch="20000'),
        VALUE.replace('epoch="20000"', "epoch"),
        VALUE.replace('time="', 'time="x'),
        VALUE.replace('nonce="', 'nonce="A'),
        VALUE.replace('nonce="AA', 'nonce="'),
        VALUE.replace('nonce="AA', 'nonce="+A'),
        VALUE.replace('proof="', 'proof="AAAA'),
        VALUE.replace('key="', 'key="AAAA'),
        VALUE.replace('signature="', 'signature="AAAA'),
        VALUE.replace('randomizer="', 'randomizer="AAAA'),
        VALUE + " " * 1024,
        VALUE.replace('epoch="20000"', 'epoch="\uff12\uff10\uff10\uff10\uff10"'),
    ],
)
def test_another_form_is_malformed(value: str) -> None:
    """Each parameter once, of its size and alphabet, and none besides."""
    with pytest.raises(MalformedToken):
        storage_token.parse_authorization(value)


@given(st.text(max_size=300))
def test_any_text_is_malformed(text: str) -> None:
    """No other exception leaves the parser."""
    for value in (text, "StorageToken " + text):
        with pytest.raises(MalformedToken):
            storage_token.parse_authorization(value)


@given(at=st.integers(0, len(VALUE) - 1), character=st.characters())
def test_a_changed_header_is_another_one_or_malformed(at: int, character: str) -> None:
    """Close to the real form nothing else leaves the parser, and what it reads it also writes."""
    changed = VALUE[:at] + character + VALUE[at + 1 :]
    try:
        read = storage_token.parse_authorization(changed)
    except MalformedToken:
        return
    assert storage_token.parse_authorization(storage_token.format_authorization(*read)) == read


@pytest.mark.parametrize("octets", [b"", bytes(33), b"\x02" + b"\xff" * 32, b"\x05" + bytes(32)])
def test_what_is_no_point_is_malformed(octets: bytes) -> None:
    """A key is a compressed point on P-256 (SEC 1 section 2.3.4)."""
    with pytest.raises(MalformedToken):
        storage_token.load_key(octets)


def test_a_key_comes_back() -> None:
    """33 octets are the whole key."""
    read = storage_token.load_key(TOKEN.key)
    assert read.public_numbers() == PRIVATE.public_key().public_numbers()


def test_what_cannot_be_signed_is_malformed() -> None:
    """Texts over 65,535 octets, numbers over 64 bits and other sizes have no layout."""
    with pytest.raises(MalformedToken):
        storage_token.message("a" * 65_536, 1, TOKEN.key)
    with pytest.raises(MalformedToken):
        storage_token.message("a", -1, TOKEN.key)
    with pytest.raises(MalformedToken):
        storage_token.message("a", 1, TOKEN.key[1:])
    with pytest.raises(MalformedToken):
        storage_token.proof_input(STORE, TOKEN, 2**64, bytes(16))
    with pytest.raises(MalformedToken):
        storage_token.proof_input(STORE, TOKEN, 1, bytes(15))


def test_a_signature_is_r_and_s() -> None:
    """64 octets, as in a JWS, not DER."""
    assert len(PROOF.signature) == jws.SIGNATURE_OCTETS
    assert Proof(1, bytes(16), bytes(64)) == Proof(1, bytes(16), bytes(64))
