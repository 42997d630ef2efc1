"""Redis, under a CPS and as the listeners' single use: killed, emptied, slow, failed over."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from bench.cps_world import key_of_now, post, sealed_text, token_of
from lab.redis_servers import RedisServer
from tests.faults.front import Side
from tests.faults.machine import black_hole
from tests.faults.table import NOTHING_MS, enter, story
from tests.faults.traffic import AGAIN, Traffic
from tests.faults.world import Layout, World

pytestmark = [pytest.mark.pbx, pytest.mark.usefixtures("redis_installed")]

PAUSE_SECONDS = 120.0
PROOF_SECONDS = 30.0
# how long single use says nothing at most of what was there before
FORGOTTEN_SECONDS = 20.0


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
def emptied(world: World) -> Iterator[None]:
    """Redis dies, and what is started in its place has nothing."""
    world.redis[0].kill()
    try:
        yield
    finally:
        empty(world.redis[0])
        world.redis[0].start()


def empty(server: RedisServer) -> None:
    """Remove what it had written; it does not run."""
    for kept in server.folder.glob("appendonlydir"):
        shutil.rmtree(kept)


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
    told = story(world, "Redis killed", killed(world))
    row = enter(told, settled_after=2.0, felt="cps-unavailable")
    assert row.costs_nothing


def test_redis_is_slow(world: World) -> None:
    """A Redis that takes 400 ms counts as lost: two calls pay, the others do not."""
    told = story(world, "Redis slow, 0.2 s each way", slow(world, 0.2))
    row = enter(told, settled_after=2.0, felt="cps-unavailable")
    assert row.costs_nothing


class Knocking:
    """``with Knocking(world) as knocking:`` sends one store after the other, with one proof."""

    def __init__(self, world: World) -> None:
        number, body = world.b.number(9_995), sealed_text()
        authorise = token_of(key_of_now(world.cps.keys), "127.0.0.1")
        self._store = post(
            number, body, f"Authorization: {authorise(number=number, body=body)}\r\n"
        )
        self._world = world
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.statuses: list[int] = []

    def __enter__(self) -> Knocking:
        self.once()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)

    def once(self) -> None:
        """Send it, over a connection of its own."""
        tls = ssl.create_default_context(cafile=str(self._world.ca))
        place = ("127.0.0.1", self._world.cps.front.port)
        with (
            socket.create_connection(place, timeout=10) as plain,
            tls.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(self._store)
            self.statuses.append(int(connection.recv(4096).split()[1]))

    def _run(self) -> None:
        while not self._ended.wait(0.5):
            self.once()


def test_redis_comes_back_empty(world: World) -> None:
    """What it has forgotten nobody can use: stores are refused until all of that has ended.

    A proof that has made its store makes no other one, not before the loss and not after it.
    """
    with Knocking(world) as knocking:
        fault = emptied(world)
        told = story(world, "Redis back empty", fault, seconds=3, within=PAUSE_SECONDS)
    row = enter(told, settled_after=1.0, felt="cps-unavailable", lost="counts of tokens")
    assert row.costs_nothing
    assert knocking.statuses[0] == 201
    assert 201 not in knocking.statuses[1:]
    assert 401 in knocking.statuses
    refused = [one for one in told.after if one.genuine and not one.passed]
    # the pause is longer than any proof is good for
    assert PROOF_SECONDS < row.recovery_s <= PAUSE_SECONDS
    assert statistics.median(one.held_out for one in refused) <= row.usual + NOTHING_MS


def test_redis_fails_over(world: World) -> None:
    """A replica takes over, and knows what was spent."""
    told = story(world, "Redis failing over", failing_over(world), seconds=5)
    row = enter(told, settled_after=2.0, felt="cps-unavailable")
    assert row.costs_nothing


@pytest.fixture(scope="module")
def shared(side: Side) -> Iterator[World]:
    """A CPS without Redis; listeners that have single use there."""
    with World(side, Layout(single_use=True)) as running:
        yield running


def test_single_use_is_killed(shared: World) -> None:
    """What nobody can tell to be used once does not pass, and waits for nothing."""
    told = story(shared, "single use: Redis killed", killed(shared))
    row = enter(told, settled_after=1.0, felt="internal-error")
    assert row.costs_nothing
    assert not [one for one in told.later(1.0) if one.passed]


@pytest.mark.parametrize("how", ["black-holed", "slow, 0.2 s each way"])
def test_single_use_is_silent(shared: World, how: str) -> None:
    """The same after a few calls that have waited, a quarter of a second for each command."""
    assert shared.redis_front is not None
    fault = black_hole(shared.redis_front.port) if how == "black-holed" else slow(shared, 0.2)
    told = story(shared, f"single use: Redis {how}", fault)
    row = enter(told, settled_after=2.0, felt="internal-error")
    assert row.costs_nothing
    assert row.held_in <= row.usual + 1_000


def test_single_use_comes_back_empty(shared: World) -> None:
    """What had passed before passes no second time, and what is signed later passes soon."""
    repeated = 0

    def forget(traffic: Traffic) -> None:
        nonlocal repeated
        before = time.monotonic()
        shared.redis[0].kill()
        time.sleep(2.0)
        empty(shared.redis[0])
        shared.redis[0].start()
        for _ in range(6):
            repeated += traffic.repeat(before, 2)
            time.sleep(0.5)

    fault = contextlib.nullcontext()
    told = story(
        shared,
        "single use: Redis back empty",
        fault,
        seconds=5,
        within=FORGOTTEN_SECONDS,
        meanwhile=forget,
    )
    row = enter(told, felt="internal-error", settled_after=1.0)
    assert row.costs_nothing
    ours = {one.pair for one in told.before if one.genuine and one.passed}
    assert repeated >= 8
    assert len([one for one in told.during if one.kind == AGAIN and one.pair in ours]) >= 8
