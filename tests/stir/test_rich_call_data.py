"""Rich call data (RFC 9795): the name that was signed, or none."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates import issuing
from pbx_stir.errors import MalformedPassport
from pbx_stir.stir import jws, passport, rich_call_data
from pbx_stir.stir.passport import Passport

KEY = issuing.new_key()
CARD = ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "Q Branch"]]]


def token(ppt: str = "rcd", **claims: object) -> Passport:
    return passport.sign(
        orig="12125551234",
        dest=["13105552000"],
        iat=1_800_000_000,
        x5u="https://certificates.example.com/a.pem",
        key=KEY,
        ppt=ppt,
        extra=claims,
    )


def digest(value: object, name: str = "sha256") -> str:
    octets = hashlib.new(name, jws.canonical_octets(value)).digest()
    return f"{name}-{base64.b64encode(octets).decode().rstrip('=')}"


def test_a_name_and_a_reason() -> None:
    """What is signed is given, as it is worded."""
    found = rich_call_data.read(token(rcd={"nam": "Q Branch"}, crn="Appointment"))
    assert (found.name, found.reason) == ("Q Branch", "Appointment")


def test_a_base_passport_may_carry_it_or_not() -> None:
    """rcd is a claim of any PASSporT; where it is missing, nothing is said."""
    assert rich_call_data.read(token("", rcd={"nam": "A"})).name == "A"
    assert rich_call_data.read(token("")).name == ""


def test_digests_that_agree() -> None:
    """rcdi holds what stands in the PASSporT; what a URL names is not fetched, and not shown."""
    for name in ("sha256", "sha384", "sha512"):
        rcdi = {"/jcd": digest(CARD, name), "/icn": "sha256-AAAA"}
        rcd = {"nam": "A", "jcd": CARD, "icn": "https://example.com/i.png"}
        assert rich_call_data.read(token(rcd=rcd, rcdi=rcdi)).name == "A"
    remote = {"/jcl": "sha256-AAAA", "/jcl/1/2/3": "sha256-AAAA"}
    rcd = {"nam": "A", "jcl": "https://example.com/card.json"}
    assert rich_call_data.read(token(rcd=rcd, rcdi=remote)).name == "A"


WRONG: dict[str, dict[str, object]] = {
    "no rcd": {},
    "not an object": {"rcd": "A"},
    "no name": {"rcd": {}},
    "a name that is no text": {"rcd": {"nam": 5}},
    "a name without end": {"rcd": {"nam": "A" * 300}},
    "two cards": {"rcd": {"nam": "A", "jcd": CARD, "jcl": "https://example.com/"}},
    "a card that is none": {"rcd": {"nam": "A", "jcd": "card"}},
    "a picture that is no URL text": {"rcd": {"nam": "A", "icn": 5}},
    "another card than was signed for": {
        "rcd": {"nam": "A", "jcd": CARD},
        "rcdi": {"/jcd": digest([])},
    },
    "a digest of nothing": {"rcd": {"nam": "A"}, "rcdi": {"/jcd": digest(CARD)}},
    "a digest of an unknown kind": {"rcd": {"nam": "A", "jcd": CARD}, "rcdi": {"/jcd": "md5-AA"}},
    "a digest that is no text": {"rcd": {"nam": "A", "jcd": CARD}, "rcdi": {"/jcd": 5}},
    "no digests": {"rcd": {"nam": "A"}, "rcdi": {}},
    "digests that are none": {"rcd": {"nam": "A"}, "rcdi": []},
    "a reason that is no text": {"rcd": {"nam": "A"}, "crn": 5},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_malformed(name: str) -> None:
    """No name is better than one that was not signed so."""
    with pytest.raises(MalformedPassport):
        rich_call_data.read(token(**WRONG[name]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
        lambda one: (
            st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=9), one, max_size=3)
        ),
    ),
    st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3),
)
def test_nothing_else_is_raised(rcd: object, rcdi: dict[str, str]) -> None:
    """Whatever the claims hold, the answer is data or one error."""
    try:
        rich_call_data.read(token(rcd=rcd, rcdi=rcdi))
    except MalformedPassport:
        pass
