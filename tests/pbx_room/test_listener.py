"""When a PBX is asked again: soon while it may be restarting, seldom when it is gone for longer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.pbx.listener import Timing

TIMING = Timing()
JITTER = st.floats(0, 1)


@given(JITTER)
def test_a_restart_is_waited_for_at_short_intervals(jitter: float) -> None:
    """Whatever has failed in its first seconds: a call that is placed after it is served."""
    waits = [TIMING.pause(failures, jitter) for failures in range(8)]
    assert set(waits) == {TIMING.first_retry}


@given(st.integers(0, 10_000), JITTER)
def test_no_wait_is_longer_than_the_last(failures: int, jitter: float) -> None:
    """Nor shorter than the first."""
    assert TIMING.first_retry <= TIMING.pause(failures, jitter) <= TIMING.last_retry


@given(JITTER)
def test_a_pbx_that_is_gone_is_asked_seldom(jitter: float) -> None:
    """And not by two listeners at the same moments."""
    assert TIMING.pause(100, jitter) >= TIMING.last_retry / 2
    assert TIMING.pause(100, 0.0) < TIMING.pause(100, 0.5) < TIMING.pause(100, 1.0)
