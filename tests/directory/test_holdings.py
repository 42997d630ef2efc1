"""Our records name what is configured and covered, neither more nor less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.directory.holdings import first_number, nameable
from pbx_stir.stir.number_set import NumberSet
from pbx_stir.stir.tnauthlist import TnAuthList

COVERED = TnAuthList(ranges=(("12125551200", 100), ("12125551300", 50)), numbers=("16465550000",))
SMALL = st.integers(0, 999)


@pytest.mark.parametrize(
    ("configured", "named"),
    [
        (["+12125551200-+12125551299"], ("12125551200-12125551299",)),
        (["+12125551250-+12125551400"], ("12125551250-12125551349",)),
        (["+12125551234"], ("12125551234",)),
        (["+1*"], ("12125551200-12125551349", "16465550000")),
        (["+121255512*", "+16465550000"], ("12125551200-12125551299", "16465550000")),
        (["+12125551200-+12125551210", "+12125551211"], ("12125551200-12125551211",)),
        (["+44*", "+4420*", "+12125559999"], ()),
        ([], ()),
    ],
)
def test_the_common_part_is_named(configured: list[str], named: tuple[str, ...]) -> None:
    """Ranges are cut to what the certificate covers; neighbours are joined; order is by number."""
    assert nameable(NumberSet.parse(configured), COVERED) == named


def test_an_spc_leaves_it_to_the_table() -> None:
    """An SPC names no numbers: all that is configured is named, but for prefixes without an end."""
    numbers = NumberSet.parse(["+12125551200-+12125551299", "+1646*"])
    assert nameable(numbers, TnAuthList(spcs=("709J",))) == ("12125551200-12125551299",)


@given(
    st.lists(st.tuples(SMALL, SMALL), max_size=4),
    st.lists(st.integers(1, 99), max_size=2),
    st.lists(st.tuples(SMALL, st.integers(2, 500)), min_size=1, max_size=4),
)
def test_a_number_is_named_exactly_if_it_is_configured_and_covered(
    spans: list[tuple[int, int]], prefixes: list[int], covered: list[tuple[int, int]]
) -> None:
    """The arithmetic gives what counting gives, leading zeros among them."""
    items = [f"{min(span):03d}-{max(span):03d}" for span in spans]
    numbers = NumberSet.parse(items + [f"{prefix}*" for prefix in prefixes])
    authority = TnAuthList(ranges=tuple((f"{start:03d}", count) for start, count in covered))
    named = NumberSet.parse(nameable(numbers, authority))
    for value in range(1000):
        number = f"{value:03d}"
        assert (number in named) == (number in numbers and authority.covers(number))


def test_the_first_number_of_what_is_named() -> None:
    """A record is put under the first of its numbers."""
    assert first_number("12125551200-12125551299") == "12125551200"
    assert first_number("12125551234") == "12125551234"
