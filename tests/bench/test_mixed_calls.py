"""The plan of mixed calls: every kind is there, no two share a row, and wrong rows are noticed."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.mixed_calls import EXPECTED, FAILED, LAST, NONE, PASSED, SHARES, is_false_pass, plan
from bench.mixed_calls import verdicts_agree as agree


def number_a(index: int) -> str:
    """A number of A."""
    return str(12_125_550_000 + index)


def number_b(index: int) -> str:
    """A number of B; there are 10,000."""
    assert 0 <= index < 10_000
    return str(13_105_550_000 + index)


def test_every_kind_is_planned_in_its_share() -> None:
    """Ten thousand calls, and all that the issue of mixed calls is about among them."""
    placed = list(plan(10_000, number_a, number_b))
    assert Counter(one.kind for one in placed) == {k: 10 * n for k, n in SHARES.items()}
    assert len(placed) == 10_000
    assert set(SHARES) | set(LAST) == set(EXPECTED)


def test_no_two_calls_share_their_rows() -> None:
    """Each row of a CDR belongs to one call, whatever its kind."""
    placed = list(plan(10_000, number_a, number_b))
    assert len({one.pair for one in placed}) == len(placed)
    assert len({one.orig for one in placed}) == len(placed)


def test_plan_is_the_same_each_time() -> None:
    """What was found once can be looked at again."""
    assert list(plan(500, number_a, number_b)) == list(plan(500, number_a, number_b))


@pytest.mark.parametrize("kind", sorted(EXPECTED))
def test_what_is_expected_agrees(kind: str) -> None:
    """By the first of its reasons; and nothing else, but for calls that were hung up."""
    rows = [(verdict, reasons[0]) for verdict, reasons in EXPECTED[kind]]
    assert agree(rows, kind)
    if kind != "hung up":
        assert not agree([*rows, (NONE, "no-passport")], kind)
        assert not agree([(FAILED, "bad-signature"), *rows[1:]], kind)
        if rows:
            assert not agree(rows[:-1], kind)


def test_a_stranger_never_passes() -> None:
    """Whatever the kind; nor do kinds that no PASSporT may vouch for."""
    assert is_false_pass([(PASSED, "verified", True)], "replayed")
    assert is_false_pass([(PASSED, "verified", False)], "spoofed")
    assert not is_false_pass([(PASSED, "contested", False), (NONE, "replayed", True)], "replayed")
