"""The Redis that a CPS keeps everything on: killed, emptied, slow, failed over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.faults.front import Side
from tests.faults.table import enter, story
from tests.faults.world import Layout, World

pytestmark = [pytest.mark.pbx, pytest.mark.usefixtures("redis_installed")]


@pytest.fixture(scope="module")
def world(side: Side) -> Iterator[World]:
    """A CPS on Redis, which keeps what it has across a restart, and has a replica."""
    with World(side, Layout(redis=True)) as running:
        yield running


@contextlib.contextmanager
def killed(world: World) -> Iterator[None]:
    """Redis without a word, and back with what it had."""
    world.redis[0].kill()
    try:
        yield
    finally:
        world.redis[0].start()


@contextlib.contextmanager
def slow(world: World, seconds: float) -> Iterator[None]:
    """So many seconds each way."""
    assert world.redis_front is not None
    world.redis_front.delay = seconds
    try:
        yield
    finally:
        world.redis_front.delay = 0.0


@contextlib.contextmanager
def failing_over(world: World) -> Iterator[None]:
    """The master dies, and its replica takes over at the master's name."""
    master, replica = world.redis
    front = world.redis_front
    assert front is not None
    master.kill()
    front.cut()
    yield
    replica.ask("REPLICAOF", "NO", "ONE")
    front.target = ("127.0.0.1", replica.port)
    front.cut()


def test_redis_is_killed(world: World) -> None:
    """Calls go on unverified at once, and pass again when Redis is back."""
    row = enter(story(world, "Redis killed", killed(world)), settled_after=2.0)
    assert row.costs_nothing


def test_redis_is_slow(world: World) -> None:
    """A Redis that takes 400 ms counts as lost: two calls pay, the others do not."""
    row = enter(story(world, "Redis slow, 0.2 s each way", slow(world, 0.2)), settled_after=2.0)
    assert row.costs_nothing


def test_redis_fails_over(world: World) -> None:
    """A replica takes over, and knows what was spent."""
    told = story(world, "Redis failing over", failing_over(world), seconds=5)
    row = enter(told, settled_after=2.0)
    assert row.costs_nothing
