"""How numbers stand in the call log."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.call_log import shortened
from pbx_stir.call_log.numbers import hide_digits, style


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("12125551234", "1212555xxxx"),
        ("+1 (212) 555-1234", "+1 (212) 555-xxxx"),
        ("tel:+12125551234;ext=99", "tel:+1212555xxxx;ext=xx"),
        ("sip:4210@10.1.2.3", "sip:xxxx@xx.x.x.x"),
        ("1.2.1.2.5.5.5.1.2.3.4", "1.2.1.2.5.5.5.x.x.x.x"),
        ("4210", "xxxx"),
        ("123456", "xxxxxx"),
        ("1234567", "123xxxx"),
        ("\u0967\u0968\u0969\u096a5678", "\u0967\u0968\u0969\u096axxxx"),
        ("anonymous", "anonymous"),
        ("", ""),
    ],
)
def test_a_short_number_lacks_its_end(number: str, shown: str) -> None:
    """Four digits of a number that could be dialled, all of a short one, however written."""
    assert shortened(number) == shown


@given(
    st.from_regex(r"\+?[0-9]{7,15}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Nd", "Cs"]), max_size=20),
    st.sampled_from(["", "-", " ", ".", ") "]),
)
def test_no_number_gets_through(number: str, around: str, separator: str) -> None:
    """Grouped in whatever way, its last four digits are gone."""
    grouped = separator.join(number)
    shown = hide_digits(f"{around}{grouped}{around}")
    # what is left of the digits is at most all but the last four
    assert re.sub(r"[^0-9]", "", shown) in number[:-4] or len(re.sub(r"\D", "", shown)) <= 11
    assert number[-4:] not in re.sub(r"[^0-9x]", "", shown)
    assert sum(one == "x" for one in shown) >= 4


KEY = bytes(range(32))


def test_equal_numbers_have_equal_hashes() -> None:
    """However they are written; another number, or another key, gives another hash."""
    hashed = style("hash", KEY)
    once = hashed.number("12125551234")
    assert re.fullmatch(r"h:[bcdfghjklmnpqrst]{16}", once)
    assert hashed.number("+1 (212) 555-1234") == once
    assert hashed.text("signed for 1.2.1.2.5.5.5.1.2.3.4 here") == f"signed for {once} here"
    assert hashed.number("12125551235") != once
    assert style("hash", bytes(32)).number("12125551234") != once


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_what_is_hashed_has_no_digits_left(text: str) -> None:
    """And is not hashed again: a detail is written twice."""
    hashed = style("hash", KEY)
    shown = hashed.number(text)
    assert not any(one.isdecimal() for one in shown)
    assert hashed.text(shown) == shown
    assert hashed.number(shown) == shown


def test_a_style_needs_its_key() -> None:
    """A hash without a key protects nothing: every number can be tried."""
    for name, key in (("hash", b""), ("hash", b"short"), ("none", KEY)):
        with pytest.raises(ValueError, match="no style"):
            style(name, key)
