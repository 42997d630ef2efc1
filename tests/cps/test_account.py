"""Tests of pbx_stir.cps.account: when a CPS is seen to next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.account import SHORTEST_SECONDS, Account

SHARES = st.floats(0, 1)


@given(st.floats(1, 60), SHARES, st.lists(SHARES, max_size=20))
def test_a_rest_is_cut_short_and_never_drawn_out(
    seconds: float, share: float, later: list[float]
) -> None:
    """To the smallest share that there was, however often it is said, and not to nothing."""
    account = Account("u", 0.0)
    account.visit(99.9)
    account.rest(seconds, share, 100.0, hurried=False)
    for each in later:
        before = account.due
        assert account.hurry(each) == (account.due < before)
    assert account.due == max(99.9 + SHORTEST_SECONDS, 100.0 + seconds * min([share, *later]))


def test_what_must_pass_passes() -> None:
    """A wait after a failure, or before keys are looked at again, is not cut short."""
    account = Account("u", 0.0)
    account.rest(60.0, 1.0, 90.0, hurried=True)
    account.wait(20.0, 100.0)
    assert not account.hurry(0.001)
    assert account.due == 120.0


def test_a_visit_is_not_cut_short() -> None:
    """While it is under way nothing is due sooner."""
    account = Account("u", 0.0)
    account.rest(60.0, 1.0, 90.0, hurried=True)
    account.visit(150.0)
    assert not account.hurry(0.001)
