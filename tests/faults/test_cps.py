"""A CPS that refuses, is silent, slow, talks garbage, fails, shows an ended certificate, is one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.faults.front import Side, StandIn, garbage, http
from tests.faults.machine import black_hole
from tests.faults.table import enter, story
from tests.faults.world import Layout, World

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module")
def world(side: Side) -> Iterator[World]:
    """One CPS."""
    with World(side) as running:
        yield running


@contextlib.contextmanager
def stopped(world: World, index: int = 0) -> Iterator[None]:
    """A CPS that is not there: the kernel refuses connections."""
    cps = world.cpss[index]
    cps.service.stop()
    cps.front.refuse()
    try:
        yield
    finally:
        cps.start()
        cps.front.open()


@contextlib.contextmanager
def slow(world: World, seconds: float) -> Iterator[None]:
    """So many seconds each way."""
    world.cps.front.delay = seconds
    try:
        yield
    finally:
        world.cps.front.delay = 0.0


@contextlib.contextmanager
def replaced(world: World, stand_in: StandIn) -> Iterator[None]:
    """Somebody else answers in the CPS's place, with its certificate."""
    front = world.cps.front
    front.target = stand_in.target
    front.cut()
    try:
        yield
    finally:
        front.target = world.cps.target
        front.cut()
        stand_in.close()


@contextlib.contextmanager
def ended(world: World) -> Iterator[None]:
    """Its TLS certificate has ended."""
    world.cps.present(*world.ended_tls)
    world.cps.reload()
    try:
        yield
    finally:
        world.cps.present(*world.tls)
        world.cps.reload()


def test_cps_refuses(world: World) -> None:
    """A CPS that is stopped costs a call next to nothing, and is used again once it is there."""
    row = enter(story(world, "CPS refused", stopped(world)), felt="cps-unavailable")
    assert row.costs_nothing


def test_cps_is_black_holed(world: World) -> None:
    """A CPS whose packets vanish costs the first calls their budget, and later ones nothing."""
    fault = black_hole(world.cps.front.port)
    told = story(world, "CPS black-holed", fault, seconds=10)
    row = enter(told, settled_after=4.0, felt="cps-unavailable")
    assert row.costs_nothing


def test_cps_is_far_away(world: World) -> None:
    """A CPS that takes 200 ms costs calls that time, and none is lost for it."""
    row = enter(story(world, "CPS slow, 0.1 s each way", slow(world, 0.1)))
    assert row.unverified == 0
    assert row.settled >= 200


def test_cps_takes_a_second(world: World) -> None:
    """A CPS that takes a second, and a new connection three, costs at most the budget."""
    row = enter(story(world, "CPS slow, 0.5 s each way", slow(world, 0.5)))
    assert row.held_out >= 1000


def test_cps_talks_garbage(world: World, side: Side) -> None:
    """Whatever a CPS answers, a call has nothing from it but its absence."""
    stand_in = StandIn(side, *world.tls, garbage)
    row = enter(
        story(world, "CPS answers garbage", replaced(world, stand_in)), felt="cps-unavailable"
    )
    assert row.costs_nothing


def test_cps_fails(world: World, side: Side) -> None:
    """A CPS that answers 503 to everything costs next to nothing."""
    stand_in = StandIn(side, *world.tls, lambda: http("503 Service Unavailable", b"{}"))
    row = enter(story(world, "CPS answers 503", replaced(world, stand_in)), felt="cps-unavailable")
    assert row.costs_nothing


def test_cps_shows_an_ended_certificate(world: World) -> None:
    """A CPS whose certificate has ended is not spoken with until it has another one."""
    row = enter(story(world, "CPS's certificate ended", ended(world)), felt="cps-unavailable")
    assert row.costs_nothing


@pytest.mark.parametrize("how", ["refused", "black-holed"])
def test_one_of_two_is_down(side: Side, how: str) -> None:
    """With two CPSs one is enough: every call passes, and of a silent one the first calls pay."""
    with World(side, Layout(cpss=2)) as two:
        fault = stopped(two, 1) if how == "refused" else black_hole(two.cpss[1].front.port)
        row = enter(story(two, f"one of two CPSs {how}", fault), settled_after=4.0)
    assert row.unverified == 0
    assert row.costs_nothing
    assert how == "refused" or row.held_out >= 500
