"""A client of call placement services for tests, and what is asked of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

from pbx_stir.cps.client import CpsClient
from pbx_stir.services.placement_service import Answer
from pbx_stir.stir import sealing

NUMBER = "12125551234"


def blob() -> bytes:
    """Sealed octets."""
    return sealing.dummy(os.urandom(32))


def soon(seconds: float = 5.0) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def running() -> list[str]:
    """Tasks of a client."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [each for each in names if "CpsClient" in each or "Client" in each]


@contextlib.asynccontextmanager
async def plain_client(**settings: object) -> AsyncIterator[CpsClient]:
    """A client that may speak http to loopback; afterwards nothing of it is left running."""
    client = CpsClient(allow_plain=True, **settings)
    try:
        yield client
    finally:
        await client.close()
    assert not running()


async def retrieved(client: CpsClient, *cps: str, seconds: float = 5.0) -> list[Answer]:
    """All answers."""
    wanted = [(each, NUMBER) for each in cps]
    return [answer async for answer in client.retrieve(wanted, soon(seconds))]
