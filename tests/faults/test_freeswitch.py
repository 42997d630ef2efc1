"""A FreeSWITCH that is called: event socket cut in holds, listener frozen, FreeSWITCH restarted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.front import Side
from tests.faults.table import enter, story
from tests.faults.test_listener import frozen
from tests.faults.test_pbx import cut_in_holds, long_holds, restarted, stalled
from tests.faults.world import World, called_freeswitch

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module")
def world(side: Side) -> Iterator[World]:
    """A's PBX is an Asterisk, B's a FreeSWITCH."""
    yield from called_freeswitch(side)


def test_event_socket_is_cut(world: World) -> None:
    """Calls in the hold pay at most their budget, those that follow nothing."""
    fault = long_holds(world)
    told = story(world, "FreeSWITCH: event socket cut", fault, meanwhile=cut_in_holds("bb"))
    enter(told, felt="timeout")


def test_event_socket_is_stalled(world: World) -> None:
    """An event socket that passes on nothing costs the calls in flight, and no later one."""
    told = story(world, "FreeSWITCH: event socket black-holed", stalled(world))
    row = enter(told, settled_after=2.5, felt="listener-down")
    assert row.costs_nothing


def test_listener_is_frozen(world: World) -> None:
    """As with Asterisk: those until the first has timed out, then none."""
    told = story(world, "FreeSWITCH: listeners frozen", frozen(world, "ab"))
    row = enter(told, settled_after=2.5, felt="listener-down")
    assert row.costs_nothing


def test_freeswitch_is_restarted(world: World) -> None:
    """Its own calls are lost with it; ours are served again as soon as it is there."""
    told = story(world, "FreeSWITCH restarted", restarted(world), seconds=3, connects=False)
    enter(told, lost=f"{told.gone} calls of that PBX")
    assert told.gone
