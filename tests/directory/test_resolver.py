"""A number's CPSs and keys: routes first, then records, looked up once and kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pbx_stir.directory import resolver as room
from pbx_stir.directory.resolver import IDLE_SECONDS, REFRESH_SECONDS
from pbx_stir.directory.routes import Route, Sealing, Served
from pbx_stir.errors import CpsUnavailable
from pbx_stir.services.call import Reason
from tests.directory.resolving import NUMBER, ONE, TWO, Clock, Cps, Make, ask


async def test_without_a_route_there_is_no_cps(make: Make, clock: Clock, cps: Cps) -> None:
    """Nobody is asked for a number that no route serves."""
    found = await ask(make(), clock, "4420555")
    assert (found.reason, found.cps, found.keys) == (Reason.NO_CPS, (), ())
    assert cps.asked == []


async def test_pinned_keys_need_no_record(make: Make, clock: Clock, cps: Cps, new_key: Any) -> None:
    """Configuration comes first: its keys are taken, and nobody is asked."""
    key = new_key()
    found = await ask(make(Route("1212", (ONE,), keys=(key,))), clock)
    assert (found.reason, found.cps, found.keys) == (None, (ONE,), (key,))
    assert cps.asked == []


async def test_an_unsealed_route_needs_no_key(make: Make, clock: Clock, cps: Cps) -> None:
    """Where the configuration says that nothing is sealed, nobody is asked for keys."""
    found = await ask(make(Route("1212", (ONE,), Sealing.NONE)), clock)
    assert (found.reason, found.cps, found.keys, found.sealed) == (None, (ONE,), (), False)
    assert cps.asked == []


async def test_the_keys_of_all_cps_are_joined(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """Every CPS of the route is asked; the keys of all signers are taken."""
    keys = new_key(), new_key()
    cps.tokens = {
        ONE: (lab.record(alice, keys[0]),),
        TWO: (lab.record(lab.credential("Bob"), keys[1]),),
    }
    found = await ask(make(), clock)
    assert (found.reason, found.cps, set(found.keys)) == (None, (ONE, TWO), set(keys))


async def test_a_second_call_asks_nobody(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """What was looked up is kept until the record expires, also when nobody refreshes it."""
    cps.tokens = {ONE: (lab.record(alice, new_key()),)}
    resolver = make()
    first = await ask(resolver, clock)
    asked = len(cps.asked)
    clock.passed = 86_400 - 1
    assert await ask(resolver, clock) == first
    assert len(cps.asked) == asked
    clock.passed = 86_401
    assert (await ask(resolver, clock)).reason is Reason.BAD_RECORD


async def test_calls_at_the_same_time_share_a_look_up(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """Ten calls to one number are one question; who gives up gets what is known."""
    cps.tokens = {ONE: (lab.record(alice, new_key()),)}
    cps.gate.clear()
    resolver = make(Route("1212", (ONE,)))
    waiting = [asyncio.create_task(ask(resolver, clock)) for _ in range(10)]
    late = await resolver.destination(NUMBER, clock.monotonic())
    assert late.reason is Reason.CPS_UNAVAILABLE
    cps.gate.set()
    assert all(found.keys for found in await asyncio.gather(*waiting))
    assert len(cps.asked) == 1


async def test_refreshing_happens_off_the_call_path(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """What is due is looked up again by the background work, and a tombstone is learned of."""
    cps.tokens = {ONE: (lab.record(alice, new_key(), serial=1),)}
    resolver = make(Route("1212", (ONE,)))
    await ask(resolver, clock)
    clock.passed = REFRESH_SECONDS - 1
    assert await resolver.refresh_due() == 0
    clock.passed = REFRESH_SECONDS
    cps.tokens = {ONE: (lab.record(alice, serial=2),)}
    assert await resolver.refresh_due() == 1
    asked = len(cps.asked)
    assert (await ask(resolver, clock)).reason is Reason.NO_KEY
    assert len(cps.asked) == asked == 2


async def test_a_failing_refresh_keeps_what_there_is(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """A CPS that is down, or that lost its records, does not take keys away before they expire."""
    cps.tokens = {ONE: (lab.record(alice, new_key()),)}
    resolver = make(Route("1212", (ONE,)))
    first = await ask(resolver, clock)
    for answer in (CpsUnavailable("down"), None):
        cps.errors = {ONE: answer} if answer else {}
        cps.tokens = {}
        clock.passed += REFRESH_SECONDS
        assert await resolver.refresh_due() == 1
        assert await ask(resolver, clock) == first


async def test_who_is_no_longer_called_is_forgotten(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """After a day without a call the CPS is no longer asked."""
    cps.tokens = {ONE: (lab.record(alice, new_key(), seconds=7 * 86_400),)}
    resolver = make(Route("1212", (ONE,)))
    await ask(resolver, clock)
    clock.passed = IDLE_SECONDS + 1
    assert await resolver.refresh_due() == 0
    assert len(cps.asked) == 1


async def test_memory_is_bounded(
    make: Make, clock: Clock, cps: Cps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number least called goes first."""
    monkeypatch.setattr(room, "MOST_NUMBERS", 2)
    resolver = make(Route("1212", (ONE,)))
    for last in (1, 2, 1, 3, 1):
        await ask(resolver, clock, f"1212{last}")
    assert [number for _, number in cps.asked] == ["12121", "12122", "12123"]


async def test_it_refreshes_at_random_times(make: Make, cps: Cps) -> None:
    """The background work pauses for drawn times, for ever."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await make().run(pause)
    assert pauses == [5.0] * 3


def test_our_own_cps_come_from_configuration(make: Make) -> None:
    """Where others store for our numbers."""
    resolver = make(Route("1", (ONE,)), served=[Served(frozenset({NUMBER}), (TWO,))])
    assert resolver.own_cps(NUMBER) == (TWO,)
    assert resolver.own_cps("12125550000") == (ONE,)


async def test_after_close_nothing_is_under_way(make: Make, clock: Clock, cps: Cps) -> None:
    """Who still waits is told that the CPS cannot be asked."""
    cps.gate.clear()
    resolver = make()
    waiting = asyncio.create_task(ask(resolver, clock))
    await asyncio.sleep(0)
    await resolver.close()
    assert (await waiting).reason is Reason.CPS_UNAVAILABLE
