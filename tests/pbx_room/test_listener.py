"""When a PBX is asked again: soon while it may be restarting, seldom when it is gone for longer."""

from __future__ import annotations

from typing import NoReturn

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import PbxUnavailable
from pbx_stir.pbx.ami import AsteriskSettings, LoginRefused
from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.pbx.listener import Timing
from tests.pbx_room.desk import Desk

TIMING = Timing()
JITTER = st.floats(0, 1)


class Asked(AsteriskPbx):
    """A listener at a PBX of which every attempt fails; ``waited`` says after how many of them."""

    def __init__(self, error: PbxUnavailable) -> None:
        super().__init__(AsteriskSettings("pbx", "127.0.0.1", 1, "pbx-stir", "secret"), Desk())
        self.waited: list[int] = []
        self.error = error

    async def _open(self) -> NoReturn:
        raise self.error

    async def _pause(self, failures: int) -> None:
        self.waited.append(failures)
        if len(self.waited) == 12:
            self._stopped.set()


async def test_a_restart_is_waited_for_at_short_intervals() -> None:
    """Ten attempts do not count, whatever has failed: a call that is placed soon is served."""
    asked = Asked(PbxUnavailable("connection refused"))
    await asked.run()
    assert asked.waited == list(range(-9, 3))
    waits = {TIMING.pause(failures, 1.0) for failures in asked.waited[:10]}
    assert waits == {TIMING.first_retry}


async def test_a_wrong_secret_is_not_tried_often() -> None:
    """Each attempt counts: many in a row would look like somebody who guesses."""
    asked = Asked(LoginRefused("Authentication failed"))
    await asked.run()
    assert asked.waited == list(range(1, 13))


@given(st.integers(-20, 10_000), JITTER)
def test_no_wait_is_longer_than_the_last(failures: int, jitter: float) -> None:
    """Nor shorter than the first."""
    assert TIMING.first_retry <= TIMING.pause(failures, jitter) <= TIMING.last_retry


@given(JITTER)
def test_a_pbx_that_is_gone_is_asked_seldom(jitter: float) -> None:
    """And not by two listeners at the same moments."""
    assert TIMING.pause(100, jitter) >= TIMING.last_retry / 2
    assert TIMING.pause(100, 0.0) < TIMING.pause(100, 0.5) < TIMING.pause(100, 1.0)
