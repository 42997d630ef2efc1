"""However many ask for one thing at the same time, it is done once."""

from __future__ import annotations

import asyncio

import pytest

from pbx_stir.certificates.single_flight import SingleFlight
from pbx_stir.errors import Unavailable, UrlRefused


class Work:
    """Work that ends when it is told to, and counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.end = asyncio.Event()

    async def __call__(self) -> int:
        """Begin, and end when told to."""
        self.begun += 1
        await self.end.wait()
        return self.begun


def flights(most: int = 8) -> SingleFlight[str, int]:
    """At a clock that stands still at 100."""
    return SingleFlight(most=most, clock=lambda: 100.0)


async def test_those_who_ask_meanwhile_share_the_work() -> None:
    """Ten ask, one piece of work is done, all have its result; later there is a new one."""
    work = Work()
    under_way = flights()
    asking = [asyncio.create_task(under_way.join("a", work, 1000.0)) for _ in range(10)]
    await asyncio.sleep(0)
    work.end.set()
    assert await asyncio.gather(*asking) == [1] * 10
    assert len(under_way) == 0
    assert await under_way.join("a", work, 1000.0) == 2


async def test_who_gives_up_leaves_and_the_work_goes_on() -> None:
    """At the moment to give up there is Unavailable, and the others still get the result."""
    work = Work()
    under_way = flights()
    patient = asyncio.create_task(under_way.join("a", work, 1000.0))
    with pytest.raises(Unavailable):
        await under_way.join("a", work, 99.0)
    work.end.set()
    assert await patient == 1
    assert work.begun == 1


async def test_a_failure_is_for_all_that_wait() -> None:
    """What the work raises, all raise."""

    async def refuse() -> int:
        raise UrlRefused("no")

    under_way = flights()
    found = await asyncio.gather(
        *(under_way.join("a", refuse, 1000.0) for _ in range(3)), return_exceptions=True
    )
    assert [type(each) for each in found] == [UrlRefused] * 3


async def test_the_work_under_way_is_bounded() -> None:
    """Beyond the bound nothing is begun; what is under way may still be joined."""
    work = Work()
    under_way = flights(most=1)
    first = asyncio.create_task(under_way.join("a", work, 1000.0))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await under_way.join("b", work, 1000.0)
    assert under_way.launch("b", work) is None
    second = asyncio.create_task(under_way.join("a", work, 1000.0))
    await asyncio.sleep(0)
    work.end.set()
    assert await asyncio.gather(first, second) == [1, 1]


async def test_closing_breaks_off() -> None:
    """After close nothing is left, and who waited is told."""
    under_way = flights()
    waiting = asyncio.create_task(under_way.join("a", Work(), 1000.0))
    await asyncio.sleep(0)
    await under_way.close()
    with pytest.raises(Unavailable):
        await waiting
    assert len(under_way) == 0
