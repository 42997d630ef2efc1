"""A listener that is killed, frozen, out of descriptors, without disk, or with a wrong clock."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator

import pytest

from tests.faults.front import Side
from tests.faults.machine import full, small_disk, without_descriptors
from tests.faults.table import enter, story
from tests.faults.world import Layout, World

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module")
def world(side: Side) -> Iterator[World]:
    """One CPS, and B's state and call log on a small disk."""
    layout = Layout(disk=True)
    running = World(side, layout)
    try:
        with small_disk(running.b.folder / "disk", 16), running:
            yield running
    finally:
        # the disk was in it until now
        shutil.rmtree(running.folder, ignore_errors=True)


@contextlib.contextmanager
def killed(world: World, names: str) -> Iterator[None]:
    """Listeners without a word, and started again."""
    for name in names:
        world.listeners[name].kill()
    yield
    for name in names:
        world.listeners[name].start()


@contextlib.contextmanager
def frozen(world: World, names: str) -> Iterator[None]:
    """Listeners that stand still, with their connections open."""
    for name in names:
        world.listeners[name].freeze()
    try:
        yield
    finally:
        for name in names:
            world.listeners[name].thaw()


@contextlib.contextmanager
def exhausted(world: World, *, also_ami: bool) -> Iterator[None]:
    """B's listener can open nothing, and what it had open breaks off."""
    with without_descriptors(world.listeners["b"].pid):
        world.cps.front.cut()
        if also_ami:
            world.managers["b"].cut()
        yield


def test_listeners_are_killed(world: World) -> None:
    """Calls in flight pay their budget, the others nothing, until listeners are there again."""
    told = story(world, "both listeners killed", killed(world, "ab"))
    row = enter(told, settled_after=2.5, felt="listener-down")
    assert row.costs_nothing


def test_listeners_are_frozen(world: World) -> None:
    """As killed; thawed they serve again by themselves."""
    told = story(world, "both listeners frozen", frozen(world, "ab"))
    row = enter(told, settled_after=2.5, felt="listener-down")
    assert row.costs_nothing


def test_listener_has_no_descriptors(world: World) -> None:
    """A listener that can open no connection to a CPS answers at once, and is well afterwards."""
    fault = exhausted(world, also_ami=False)
    row = enter(story(world, "listener out of descriptors", fault), felt="cps-unavailable")
    assert row.costs_nothing


def test_listener_without_descriptors_loses_its_pbx(world: World) -> None:
    """It cannot log in again: nobody is held for it, and later it is there by itself."""
    fault = exhausted(world, also_ami=True)
    told = story(world, "the same, and its AMI session lost", fault, within=40)
    row = enter(told, felt="listener-down")
    assert row.costs_nothing


@contextlib.contextmanager
def without_room(world: World) -> Iterator[None]:
    """No file of B's can grow, and what SQLite had room for already is given back before."""
    disk = world.b.folder / "disk"
    with contextlib.closing(sqlite3.connect(disk / "state/used.sqlite")) as database:
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        with full(disk):
            yield


def test_disk_is_full(world: World) -> None:
    """Calls go on without a delay; the call log has every call once there is room again."""
    told = story(world, "disk full: state and call log", without_room(world))
    row = enter(told, felt="internal-error")
    assert row.costs_nothing


@contextlib.contextmanager
def stepped(world: World, name: str, seconds: int) -> Iterator[None]:
    """A process's clock jumps, and jumps back."""
    world.step(name, seconds)
    try:
        yield
    finally:
        world.step(name, 0)


@pytest.fixture(scope="module")
def clocks(side: Side) -> Iterator[World]:
    """A world whose services' clocks can be stepped."""
    with World(side, Layout(clocks=True)) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "seconds", "felt"),
    [
        ("listener-a", 3600, "no-tokens"),
        ("listener-a", -3600, "no-tokens"),
        ("listener-b", 3600, "clock"),
        ("listener-b", -3600, "clock"),
        ("cps-1", 3600, "no-tokens"),
        ("cps-1", -3600, "no-tokens"),
    ],
)
def test_clock_is_stepped(clocks: World, name: str, seconds: int, felt: str) -> None:
    """A clock that is an hour off costs no call time, fails none, and is over when it is right."""
    what = f"clock of {name} {seconds // 3600:+d} h"
    told = story(clocks, what, stepped(clocks, name, seconds), seconds=6, within=20)
    row = enter(told, felt=felt)
    assert row.costs_nothing
