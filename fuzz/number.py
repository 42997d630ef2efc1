"""Telephone numbers, as PBXs, trunks, paths and configuration write them."""

from __future__ import annotations

from pbx_stir.errors import ConfigurationError, MalformedNumber
from pbx_stir.stir import number
from pbx_stir.stir.number import NumberRules, NumberSet
from pbx_stir.stir.sip_uri import sip_uri

_RULES = (
    NumberRules(),
    *(NumberRules(country_code=one) for one in ("1", "44", "49", "39", "7", "33", "34", "852")),
    NumberRules(country_code="1", strip="9"),
    NumberRules(country_code="33", max_digits=20),
)
SEEDS = (
    b"+12125551234",
    b"(212) 555-1234",
    b"tel:+1-212-555-1234;tgrp=a;trunk-context=b.example",
    b"sip:+12125551234;npdi@a.example:5060;user=phone",
    b"sip:alice@example.com",
    b"00442071234567",
    b"9011442071234567",
    b'"Anonymous" <sip:anonymous@anonymous.invalid>',
    b"urn:service:sos",
    b"2.222.555.2222",
    b"+12125551200-+12125551299",
    b"+1212555*",
    b"*67#",
)


def one(octets: bytes) -> None:
    """Read it in every way."""
    text = octets[:1_200].decode("utf-8", "surrogateescape")
    assert number.is_anonymous(text) in (True, False)
    assert number.is_emergency(text) in (True, False)
    assert sip_uri(sip_uri(text)) == sip_uri(text)
    for rules in _RULES:
        _candidates(text, rules)
    for strict in (number.canonical, number.from_cps_path):
        try:
            found = strict(text)
        except MalformedNumber:
            continue
        assert strict(found) == found
        assert found.isascii()
        assert found.isdigit()
        assert len(found) <= 15
    try:
        held = NumberSet.parse([text])
    except (MalformedNumber, ConfigurationError):
        return
    assert ("12125551234" in held) in (True, False)


def _candidates(text: str, rules: NumberRules) -> None:
    try:
        found = number.candidates(text, rules)
    except MalformedNumber:
        return
    assert 1 <= len(found) <= 3
    assert len(set(found)) == len(found)
    assert number.outbound(text, rules) == found[0]
    # digits are never put together out of other text: each is in what was written, in its order
    for canonical in found:
        assert canonical.isascii()
        assert canonical.isdigit()
        assert len(canonical) <= rules.max_digits
        tail = canonical.removeprefix(rules.country_code)
        written = "".join(one for one in text if one.isdigit())
        assert canonical in written or tail in written
        if not canonical.startswith("0"):
            assert number.candidates("+" + canonical, rules)[-1:] == (canonical,)
