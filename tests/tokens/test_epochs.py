"""Epochs and the list of token keys: both ways, and nothing but what it must be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedToken
from pbx_stir.stir import jws
from pbx_stir.tokens import epochs

PUBLIC = rsa.generate_private_key(65_537, 2048).public_key()
KEYS = (epochs.EpochKey(20_000, PUBLIC), epochs.EpochKey(20_001, PUBLIC))
LIST = epochs.format_key_list("cps.example.net", KEYS)


def changed(**members: Any) -> bytes:
    """The list with the first key's members replaced, or taken away where they are None."""
    listed = json.loads(LIST)
    for name, value in members.items():
        if value is None:
            del listed["keys"][0][name]
        else:
            listed["keys"][0][name] = value
    return json.dumps(listed).encode()


def spki(key: Any) -> str:
    """Any public key as the list has them."""
    return jws.encode_segment(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def test_an_epoch_is_a_day_in_utc() -> None:
    """Epochs begin at midnight UTC, and a moment belongs to one."""
    assert epochs.epoch_of(0) == 0
    assert epochs.epoch_of(86_399.999) == 0
    assert epochs.epoch_of(86_400) == 1
    assert (KEYS[0].not_before, KEYS[0].not_after) == (1_728_000_000, 1_728_086_400)


def test_a_list_comes_back() -> None:
    """What is written is read as it was."""
    read = epochs.parse_key_list(LIST)
    assert read.issuer == "cps.example.net"
    assert [key.epoch for key in read.keys] == [20_000, 20_001]
    assert read.of(20_001) == read.keys[1]
    assert read.of(20_002) is None
    assert all(key.public.public_numbers() == PUBLIC.public_numbers() for key in read.keys)


def test_the_form_is_the_documented_one() -> None:
    """A stranger's client finds the members that the documents name."""
    listed = json.loads(LIST)
    assert set(listed) == {"issuer", "keys"}
    assert listed["keys"][0] == {
        "epoch": 20_000,
        "not_before": 1_728_000_000,
        "not_after": 1_728_086_400,
        "public_key": spki(PUBLIC),
    }


@pytest.mark.parametrize(
    "members",
    [
        {"epoch": "20000"},
        {"epoch": True},
        {"epoch": 20_000.5},
        {"epoch": -1},
        {"epoch": 2**70},
        {"epoch": 20_001},
        {"epoch": None},
        {"not_before": 1_728_000_001},
        {"not_after": 1_728_086_399},
        {"not_after": None},
        {"public_key": ""},
        {"public_key": "AAAA"},
        {"public_key": spki(PUBLIC) + "="},
        {"public_key": spki(rsa.generate_private_key(65_537, 3072).public_key())},
        {"public_key": spki(rsa.generate_private_key(65_537, 1024).public_key())},
        {"public_key": spki(rsa.generate_private_key(3, 2048).public_key())},
        {"public_key": spki(ec.generate_private_key(ec.SECP256R1()).public_key())},
        {"extra": 1},
    ],
)
def test_a_wrong_key_is_malformed(members: dict[str, Any]) -> None:
    """Each member has its type, its range and its relation to the others."""
    with pytest.raises(MalformedToken):
        epochs.parse_key_list(changed(**members))


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b"{}",
        b'{"issuer":"a","keys":[]}',
        LIST + b"x",
        LIST[:-1],
        LIST.replace(b"cps.example.net", b"CPS.example.net"),
        LIST.replace(b"cps.example.net", b""),
        LIST.replace(b"cps.example.net", b"a" * 254),
        LIST.replace(b"cps.example.net", b"a/b"),
        LIST.replace(b'"keys"', b'"x":1,"keys"'),
        LIST.replace(b'"issuer"', b'"issuer":"other","issuer"'),
        epochs.format_key_list("a", KEYS[::-1]),
        epochs.format_key_list("a", (KEYS[0], KEYS[0])),
        epochs.format_key_list("a", [epochs.EpochKey(each, PUBLIC) for each in range(9)]),
        LIST + b" " * epochs.MAX_LIST_OCTETS,
    ],
)
def test_a_wrong_list_is_malformed(octets: bytes) -> None:
    """One issuer, one key an epoch, oldest first, bounded, nothing besides."""
    with pytest.raises(MalformedToken):
        epochs.parse_key_list(octets)


@given(st.binary(max_size=400))
def test_any_octets_are_a_list_or_malformed(octets: bytes) -> None:
    """No other exception leaves the parser."""
    with pytest.raises(MalformedToken):
        epochs.parse_key_list(octets)


@given(at=st.integers(0, len(LIST) - 1), octet=st.integers(0, 255))
def test_a_changed_list_is_a_list_or_malformed(at: int, octet: int) -> None:
    """Also close to the real form no other exception leaves the parser."""
    spoilt = LIST[:at] + bytes((octet,)) + LIST[at + 1 :]
    try:
        read = epochs.parse_key_list(spoilt)
    except MalformedToken:
        return
    assert all(key.public.key_size == 2048 for key in read.keys)
