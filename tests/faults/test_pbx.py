"""The PBX's side: manager sessions cut and stalled in the middle of holds, a PBX restarted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.front import Side
from tests.faults.table import enter, story
from tests.faults.traffic import Traffic
from tests.faults.world import World

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module")
def world(side: Side) -> Iterator[World]:
    """One CPS."""
    with World(side) as running:
        yield running


@contextlib.contextmanager
def long_holds(world: World) -> Iterator[None]:
    """Calls are held for some 200 ms."""
    world.cps.front.delay = 0.1
    try:
        yield
    finally:
        world.cps.front.delay = 0.0


@contextlib.contextmanager
def stalled(world: World) -> Iterator[None]:
    """Manager sessions stand, and pass on nothing."""
    for front in world.managers.values():
        front.stall()
    try:
        yield
    finally:
        for front in world.managers.values():
            front.go_on()


@contextlib.contextmanager
def restarted(world: World) -> Iterator[None]:
    """B's PBX dies and is started again."""
    pbx = world.pbxs["b"]
    pbx.stop(kill=True)
    pbx.start()
    pbx.wait_ready()
    yield


def cut_in_holds(names: str) -> Callable[[Traffic], None]:
    """Break off these PBXs' sessions, one after the other, each in the middle of a hold."""

    def cut(traffic: Traffic) -> None:
        for name in names:
            time.sleep(2.0)
            traffic.place()
            # outbound holds begin at once, inbound ones after them
            time.sleep(0.1 if name == "a" else 0.45)
            traffic.world.managers[name].cut()
        time.sleep(2.0)

    return cut


def test_manager_sessions_are_cut(world: World) -> None:
    """Calls in the hold pay at most their budget, those that follow nothing."""
    told = story(world, "AMI cut in mid-hold", long_holds(world), meanwhile=cut_in_holds("abab"))
    enter(told, felt="listener-down")


def test_manager_sessions_are_stalled(world: World) -> None:
    """An AMI that passes on nothing costs the calls in flight, and no later one."""
    told = story(world, "AMI black-holed", stalled(world))
    row = enter(told, settled_after=2.5, felt="listener-down")
    assert row.costs_nothing


def test_pbx_is_restarted(world: World) -> None:
    """Its own calls are lost with it; ours are served again as soon as it is there."""
    fault = restarted(world)
    told = story(world, "PBX of B restarted", fault, seconds=3, connects=False)
    enter(told, lost=f"{told.gone} calls of that PBX")
    assert told.gone
