"""A CPS that streams to the tests of this room, and what arrives there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from .conftest import HELD, Authority, Run, Running, sealed

NUMBER, SECOND = HELD
PATH = f"/cps/{NUMBER}/ppts"
BULK = "/cps/1212*/ppts"


async def add(cps: Running, number: str = NUMBER, seconds: float = 0.001) -> str:
    """Store one a little later; give its id."""
    cps.clock.moment += seconds
    return await cps.store.add(number, sealed(), cps.clock.moment)


@contextlib.asynccontextmanager
async def running(run: Run, authority: Authority, **settings: object) -> AsyncIterator[Running]:
    """A CPS that trusts the lab's authority."""
    async with run(anchors=lambda: authority.anchors, **settings) as cps:
        yield cps
