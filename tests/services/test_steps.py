"""Which rejection a call shows."""

from __future__ import annotations

import pytest

from pbx_stir.services.call import Reason, Rejection
from pbx_stir.services.steps import furthest

STALE = Rejection("iat", Reason.STALE)


@pytest.mark.parametrize("url", ["https://cps", "HTTPS://cps.example", "Http://[::1]:1/x"])
def test_a_cps_that_failed_ranks_lowest(url: str) -> None:
    """However its URL is written, and whatever order they come in."""
    failed = Rejection(f"retrieve {url}", Reason.CPS_UNAVAILABLE)
    assert furthest([failed]) is failed
    assert furthest([failed, STALE]) is furthest([STALE, failed]) is STALE


def test_a_step_of_two_words_is_one() -> None:
    """The last step of all comes after those before it."""
    last = Rejection("single use", Reason.REPLAYED)
    assert furthest([STALE, last]) is last
