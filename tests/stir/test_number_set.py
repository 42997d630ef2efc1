"""What pbx_stir.stir.number_set promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedNumber
from pbx_stir.stir.number_set import NumberSet


def test_singles_ranges_and_prefixes() -> None:
    """A set holds its single numbers, its ranges with both ends, and what begins with a prefix."""
    numbers = NumberSet.parse(["+12125550100", "12125551200-+12125551299", "+1646*"])
    for inside in ("12125550100", "12125551200", "12125551299", "16465550000", "1646"):
        assert inside in numbers
    for outside in ("12125550101", "12125551199", "12125551300", "121255512000", "164", ""):
        assert outside not in numbers


def test_only_canonical_numbers_can_be_in_it() -> None:
    """Text that is not canonical digits is in no set, even where its digits would be."""
    numbers = NumberSet.parse(["1*", "12125550100"])
    for text in ("+12125550100", "1212 5550100", "1\u0661", "1" * 1000, 12125550100, None):
        assert text not in numbers


def test_empty_set_holds_nothing() -> None:
    """A set made of nothing is false and holds nothing."""
    assert not NumberSet()
    assert not NumberSet.parse([])
    assert "1" not in NumberSet()


@pytest.mark.parametrize(
    "item",
    ["", "*", "+*", "-", "1-", "-1", "12-9", "9-12", "20-10", "1*2", "1-2-3", "1 - 2", "1-2*", "a",
     "+1 212", "1" * 16],
)  # fmt: skip
def test_malformed_items_are_refused(item: str) -> None:
    """Half a range, one that runs backwards or changes length, and a bare star are refused."""
    with pytest.raises(MalformedNumber):
        NumberSet.parse([item])


def test_sets_of_the_same_numbers_are_equal() -> None:
    """Two ways of writing the same numbers give equal sets with equal hashes."""
    one, other = NumberSet.parse(["10-14", "15-19"]), NumberSet.parse(["+15-19", "+10-+16"])
    assert one == other
    assert hash(one) == hash(other)


@given(st.lists(st.tuples(st.integers(100, 999), st.integers(0, 50))), st.integers(0, 1200))
def test_membership_agrees_with_counting(spans: list[tuple[int, int]], asked: int) -> None:
    """``in`` says what enumerating the ranges would say."""
    ends = [(first, min(first + more, 999)) for first, more in spans]
    numbers = NumberSet.parse([f"{first}-{last}" for first, last in ends])
    assert (str(asked) in numbers) == any(first <= asked <= last for first, last in ends)
