"""Providers' codes: accepted for PASSporTs by policy, for numbers by the table alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.stir.spc import SpcPolicy

TABLE = {"1212": frozenset({"A", "B"}), "12125551": frozenset({"C"}), "44": frozenset({"D"})}


def test_accept_is_for_passports_only() -> None:
    """By default any code may sign PASSporTs, and no code has a number."""
    assert SpcPolicy().accepts(("1234",), "12125551234")
    assert not SpcPolicy().authorises(("1234",), "12125551234", "12125551234")


def test_the_longest_prefix_decides_alone() -> None:
    """A ported block is its new provider's and no more the old one's."""
    policy = SpcPolicy(accept=False, table=TABLE)
    assert policy.accepts(("A",), "12125550000")
    assert not policy.accepts(("A",), "12125551000")
    assert policy.accepts(("Z", "C"), "12125551000")
    assert not policy.accepts(("A",), "13125550000")
    assert not policy.accepts((), "12125550000")
    assert not policy.accepts(("a",), "12125550000")


def test_ranges() -> None:
    """A range is a code's where every number of it is, to the last."""
    policy = SpcPolicy(table=TABLE)
    assert policy.authorises(("B",), "12125550000", "12125550999")
    assert not policy.authorises(("B",), "12125550000", "12125551000")
    assert not policy.authorises(("B",), "12125550000", "12125559999")
    assert policy.authorises(("B", "C"), "12125550000", "12125559999")
    assert policy.authorises(("B", "C"), "12120000000", "12129999999")
    assert not policy.authorises(("B", "C"), "12119999999", "12120000000")
    assert not policy.authorises(("B", "C"), "12129999999", "12130000000")


def test_prefixes_are_digits() -> None:
    """A table with anything else for a prefix is refused."""
    for prefix in ("", "+1", "1x", "\uff11"):
        with pytest.raises(ValueError):
            SpcPolicy(table={prefix: frozenset()})


@given(
    table=st.dictionaries(
        st.text("019", min_size=1, max_size=4), st.sets(st.sampled_from("AB")).map(frozenset)
    ),
    ends=st.tuples(st.integers(0, 999), st.integers(0, 999)).map(sorted),
)
def test_arithmetic_agrees_with_counting(table: dict[str, frozenset[str]], ends: list[int]) -> None:
    """What is computed for a range is what asking for each number gives."""
    policy = SpcPolicy(accept=False, table=table)
    each = all(policy.accepts(("A",), f"{n:03}") for n in range(ends[0], ends[1] + 1))
    assert policy.authorises(("A",), f"{ends[0]:03}", f"{ends[1]:03}") is each
