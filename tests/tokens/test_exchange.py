"""What a sender and a CPS send each other for tokens: both ways, strictly."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedToken
from pbx_stir.stir import jws
from pbx_stir.tokens import exchange
from pbx_stir.tokens.exchange import BlindedBatch

VALUE = jws.encode_segment(bytes(256))
PARSERS: tuple[Callable[[bytes], object], ...] = (
    exchange.parse_request,
    exchange.parse_nonce,
    lambda body: exchange.parse_signatures(body, 1),
)


def test_each_comes_back() -> None:
    """What is written is read as it was."""
    batch = BlindedBatch(20_000, (bytes(256), b"\xff" * 256))
    assert exchange.parse_request(exchange.format_request(batch)) == batch
    written = exchange.format_signatures(batch.blinded)
    assert exchange.parse_signatures(written, 2) == batch.blinded
    assert exchange.parse_nonce(exchange.format_nonce("n" * 16)) == "n" * 16


def test_the_largest_fit() -> None:
    """The bounds hold as many as may be asked for."""
    batch = BlindedBatch(20_000, (b"\xff" * 256,) * exchange.MOST_IN_A_REQUEST)
    assert exchange.parse_request(exchange.format_request(batch)) == batch


@pytest.mark.parametrize(
    "members",
    [
        {"epoch": 1},
        {"blinded": [VALUE]},
        {"epoch": "1", "blinded": [VALUE]},
        {"epoch": True, "blinded": [VALUE]},
        {"epoch": -1, "blinded": [VALUE]},
        {"epoch": 2**60, "blinded": [VALUE]},
        {"epoch": 1, "blinded": []},
        {"epoch": 1, "blinded": VALUE},
        {"epoch": 1, "blinded": [VALUE] * 33},
        {"epoch": 1, "blinded": [VALUE + "="]},
        {"epoch": 1, "blinded": [VALUE[:-2]]},
        {"epoch": 1, "blinded": [VALUE + "AA"]},
        {"epoch": 1, "blinded": [1]},
        {"epoch": 1, "blinded": [""]},
        {"epoch": 1, "blinded": [VALUE], "more": 1},
    ],
)
def test_another_request_is_malformed(members: dict[str, object]) -> None:
    """An epoch, 1 to 32 values of 256 octets, nothing besides."""
    with pytest.raises(MalformedToken):
        exchange.parse_request(json.dumps(members).encode())


def test_signatures_are_as_many_as_asked_for() -> None:
    """A CPS cannot give one more or one less."""
    written = exchange.format_signatures((bytes(256),) * 2)
    for count in (1, 3):
        with pytest.raises(MalformedToken):
            exchange.parse_signatures(written, count)


@pytest.mark.parametrize("nonce", ["", "short", "n" * 129, "n" * 15 + "ä", "n" * 15 + " "])
def test_another_nonce_is_malformed(nonce: str) -> None:
    """16 to 128 characters that every header and URL carries."""
    with pytest.raises(MalformedToken):
        exchange.parse_nonce(exchange.format_nonce(nonce))


def test_a_member_twice_is_malformed() -> None:
    """Where two readers see two objects one of them can be lied to."""
    with pytest.raises(MalformedToken):
        exchange.parse_nonce(b'{"nonce":"nnnnnnnnnnnnnnnn","nonce":"mmmmmmmmmmmmmmmm"}')


def test_a_large_body_is_malformed() -> None:
    """Nothing over the bound is read at all."""
    for parse in PARSERS:
        with pytest.raises(MalformedToken):
            parse(b" " * 20_000 + b"{}")


@given(st.binary(max_size=300))
def test_any_octets_are_malformed(octets: bytes) -> None:
    """No other exception leaves a parser."""
    for parse in PARSERS:
        with pytest.raises(MalformedToken):
            parse(octets)
