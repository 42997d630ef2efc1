"""The server of certificates, for calls with Identity headers: away, silent, slow, garbage."""

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
    """Calls carry Identity headers, and B fetches certificates."""
    with World(side, Layout(in_band=True)) as running:
        yield running


@contextlib.contextmanager
def forgotten(world: World, fault: contextlib.AbstractContextManager[object]) -> Iterator[None]:
    """The fault, met by a listener that has no certificate yet."""
    with fault:
        world.listeners["b"].stop()
        world.listeners["b"].start()
        world.heard("b")
        yield


@contextlib.contextmanager
def refused(world: World) -> Iterator[None]:
    """Nobody listens."""
    world.x5u_front.refuse()
    try:
        yield
    finally:
        world.x5u_front.open()


@contextlib.contextmanager
def slow(world: World, seconds: float) -> Iterator[None]:
    """So many seconds each way."""
    world.x5u_front.delay = seconds
    try:
        yield
    finally:
        world.x5u_front.delay = 0.0


@contextlib.contextmanager
def replaced(world: World, stand_in: StandIn) -> Iterator[None]:
    """Somebody else answers, with its certificate."""
    front = world.x5u_front
    front.target = stand_in.target
    front.cut()
    try:
        yield
    finally:
        front.target = world.certificates.target
        front.cut()
        stand_in.close()


@pytest.mark.parametrize("how", ["refused", "black-holed", "slow", "garbage", "503"])
def test_certificates_cannot_be_had(world: World, side: Side, how: str) -> None:
    """A call whose certificate cannot be fetched is not Failed for it, nor held beyond its budget.

    What its PASSporT at the CPS has inside does without.
    """
    if how == "refused":
        fault: contextlib.AbstractContextManager[object] = refused(world)
    elif how == "black-holed":
        fault = black_hole(world.x5u_front.port)
    elif how == "slow":
        fault = slow(world, 0.5)
    else:
        answer = garbage if how == "garbage" else lambda: http("503 Sorry", b"")
        stand_in = StandIn(side, *world.tls, answer)
        fault = replaced(world, stand_in)
    is_silent = how in {"black-holed", "slow"}
    # the first of these seconds are the listener's start
    told = story(
        world, f"x5u host {how}", forgotten(world, fault), seconds=10.0 if is_silent else 6.0
    )
    row = enter(told, settled_after=7.0 if is_silent else 4.0)
    assert row.costs_nothing
    if is_silent:
        assert row.held_in >= 500
    elif how != "refused":
        assert stand_in.answered
