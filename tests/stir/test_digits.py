"""What pbx_stir.stir.digits promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedNumber
from pbx_stir.stir.digits import canonical, from_cps_path, inside, joined


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12125551234", "12125551234"), ("+12125551234", "12125551234"), ("0", "0"), ("007", "007")],
)
def test_canonical_reads_digits(text: str, expected: str) -> None:
    """Digits with at most one leading plus are given without it; leading zeros stand."""
    assert canonical(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "+", "++1", "1+", "1-2", "1 2", " 1", "1\n", "*67", "12#", "1" * 16, "\u0661\u0662", "a",
     "\uff11", "1.0", "1e3", "\x001", "1" * 100_000],
)  # fmt: skip
def test_canonical_refuses_the_rest(text: str) -> None:
    """Separators, signs, other scripts' digits and a sixteenth digit are MalformedNumber."""
    with pytest.raises(MalformedNumber):
        canonical(text)


def test_more_digits_where_configured() -> None:
    """A number of more than 15 digits is read only up to the limit given."""
    assert canonical("1" * 17, max_digits=17) == "1" * 17
    with pytest.raises(MalformedNumber, match="more than 17"):
        canonical("1" * 18, max_digits=17)


@given(st.text())
def test_canonical_gives_ascii_digits_or_refuses(text: str) -> None:
    """Whatever the text: 1 to 15 ASCII digits that it consists of, or MalformedNumber."""
    try:
        found = canonical(text)
    except MalformedNumber:
        return
    assert found in {text, text.removeprefix("+")}
    assert set(found) <= set("0123456789")
    assert 1 <= len(found) <= 15


@pytest.mark.parametrize("segment", ["2.222.555.2222", "+22225552222", "22225552222"])
def test_cps_path_forms_are_one_key(segment: str) -> None:
    """Dotted as in RFC 8816, with plus, and plain digits are one collection."""
    assert from_cps_path(segment) == "22225552222"


@pytest.mark.parametrize(
    "segment",
    ["", ".", "1.", ".1", "1..2", "..", "%2B1", "1/2", "1-2", "+", "+.1", "1\n", "1" * 16],
)
def test_cps_path_refuses_the_rest(segment: str) -> None:
    """Stray dots, escapes not yet decoded, slashes and separators are MalformedNumber."""
    with pytest.raises(MalformedNumber):
        from_cps_path(segment)


def test_intervals_join_what_overlaps_or_touches() -> None:
    """Spans of one digit count that touch or overlap become one; other lengths stay apart."""
    union = joined([(3, 100, 109), (3, 110, 110), (3, 105, 107), (3, 112, 115), (4, 100, 109)])
    assert union == {3: ((100, 110), (112, 115)), 4: ((100, 109),)}
    assert inside(union, 3, 100, 110)
    assert not inside(union, 3, 100, 111)
    assert not inside(union, 3, 111, 111)
    assert not inside(union, 5, 100, 100)
