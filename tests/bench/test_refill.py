"""Tests of bench.refill: calls from an empty wallet."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from bench.cps_world import World
from bench.refill import Refilled, refilled
from pbx_stir.services.call import Reason


def test_calls_are_stored_after_a_while(tmp_path: Path) -> None:
    """Against a real CPS: first without tokens, then with, and the line says how many."""
    world = World(tmp_path)
    cores = tuple(os.sched_getaffinity(0))

    def over(found: Refilled) -> bool:
        return found.reasons[Reason.STORED.value] >= 3

    with world.cps(tls=True, tokens=True, processors=cores) as cps:
        found = asyncio.run(refilled(world, cps.port, a_second=10, seconds=60, over=over))
    without = found.reasons[Reason.NO_TOKENS.value]
    assert over(found)
    assert without > 0
    assert f"10 calls a second: {without} of {found.reasons.total()}" in found.line(10)
