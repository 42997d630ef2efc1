"""SIP URIs that name a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.stir.sip_uri import sip_uri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:alice@example.com", "sip:alice@example.com"),
        ("SIP:Alice@Example.COM;transport=tcp", "sip:Alice@example.com"),
        ("sips:bob@[::1]:5061", "sips:bob@[::1]:5061"),
        ("sip:+12125551234@example.com", ""),
        ("sip:12125551234@example.com;user=phone", ""),
        ("12125551234", ""),
        ("tel:+12125551234", ""),
        ("sip:alice@example.com\r\n", ""),
        ("sip:a b@example.com", ""),
        ("", ""),
    ],
)
def test_a_person_is_not_a_number(text: str, uri: str) -> None:
    """A URI with a name comes out comparable; one that stands for a number does not."""
    assert sip_uri(text) == uri


@given(st.text())
def test_nothing_raises(text: str) -> None:
    """Whatever a trunk says was called, the answer is a URI or nothing."""
    assert sip_uri(text) == "" or sip_uri(text).startswith(("sip:", "sips:"))


def test_a_number_with_broken_parameters_is_nobody() -> None:
    """It is neither a number, since what it means cannot be read, nor a person."""
    for end in (";", ";user=", ";user=phone;", ";=x"):
        assert sip_uri(f"sip:+12125551234@carrier.example{end}") == ""


def test_parameters_alone_are_nobody() -> None:
    """A user part that is nothing but parameters names no person."""
    assert sip_uri("sip:;a=b@example.com") == ""
