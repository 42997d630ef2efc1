"""What strangers can do: blobs on a number, floods of stores, of retrievals, of calls."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from bench import load
from bench.cps_world import key_of_now, post, sealed_text, token_of
from tests.faults.front import Side
from tests.faults.table import enter, story
from tests.faults.traffic import PASSED, STRANGER, Placed, Traffic
from tests.faults.world import World

pytestmark = pytest.mark.pbx

BLOBS = 1_000
STORES_OF_A_TOKEN = 16
VICTIM_LAST = 9_990
VICTIM_FIRST = 9_991


@pytest.fixture(scope="module")
def world(side: Side) -> Iterator[World]:
    """One CPS."""
    with World(side) as running:
        yield running


def stores(world: World, numbers: list[str], name: str) -> load.Job:
    """Stores of random octets under these numbers, with tokens, as a job."""

    key = key_of_now(world.cps.keys)

    def texts() -> Iterator[bytes]:
        for index, number in enumerate(numbers):
            if index % STORES_OF_A_TOKEN == 0:
                authorise = token_of(key, "127.0.0.1")
            body = sealed_text()
            yield post(number, body, f"Authorization: {authorise(number=number, body=body)}\r\n")

    file = world.folder / f"{name}.requests"
    load.write_requests(file, texts())
    return load.Job(
        "127.0.0.1", world.cps.front.port, file=str(file), ca=str(world.ca), connections=8
    )


@contextlib.contextmanager
def flood(job: load.Job) -> Iterator[list[load.Done]]:
    """It runs as long as the context does, at most as long as it says."""
    done: list[load.Done] = []
    thread = threading.Thread(target=lambda: done.append(load.run(job)))
    thread.start()
    try:
        yield done
    finally:
        thread.join(60)


def test_foreign_blobs_before_the_genuine_one(world: World) -> None:
    """A thousand blobs on a number, then the genuine one: it is found, in time."""
    victim = world.b.number(VICTIM_LAST)
    placed: list[Placed] = []

    def fill(traffic: Traffic) -> None:
        # proofs are good for half a minute: made when they are sent
        done = load.run(stores(world, [victim] * BLOBS, "before"))
        assert done.only(201), done.statuses
        placed.extend(traffic.place(victim) for _ in range(3))

    told = story(
        world, "1,000 foreign blobs, genuine last", contextlib.nullcontext(), meanwhile=fill
    )
    enter(told)
    ours = [one for one in told.all if one.at in {each.at for each in placed}]
    assert [one.verstat for one in ours] == [PASSED] * 3


def test_foreign_blobs_after_the_genuine_one(world: World) -> None:
    """A thousand blobs behind the genuine one: at worst it is not found, and nothing else."""
    victim = world.b.number(VICTIM_FIRST)
    placed: list[Placed] = []

    def fill(traffic: Traffic) -> None:
        job = stores(world, [victim] * BLOBS, "after")
        placed.extend(traffic.place(victim, wait="5") for _ in range(2))
        time.sleep(0.5)
        done = load.run(job)
        assert done.only(201), done.statuses
        time.sleep(5)

    told = story(
        world, "1,000 foreign blobs, genuine first", contextlib.nullcontext(), meanwhile=fill
    )
    enter(told)
    ours = [one for one in told.all if one.at in {each.at for each in placed}]
    assert {one.reason for one in ours} <= {"verified", "no-passport"}


def test_flood_of_stores(world: World) -> None:
    """300 stores a second with good tokens, under numbers of all kinds."""
    numbers = [world.b.number(2_000 + index % 3_000) for index in range(1_800)]
    job = msgspec.structs.replace(stores(world, numbers, "flood"), rate=300.0, seconds=6.0)
    with flood(job) as done:
        told = story(world, "flood of stores, 300 a second", contextlib.nullcontext(), seconds=6)
    row = enter(told)
    assert row.unverified == 0
    assert done[0].only(201)
    assert done[0].answered >= 900


def test_flood_of_retrievals(world: World) -> None:
    """1,000 retrievals a second of numbers nobody has stored for."""
    job = load.Job(
        "127.0.0.1",
        world.cps.front.port,
        "/cps/%d/ppts",
        first=14_155_550_000,
        rate=1_000.0,
        seconds=8.0,
        ca=str(world.ca),
        connections=8,
    )
    with flood(job) as done:
        told = story(world, "flood of GETs, 1,000 a second", contextlib.nullcontext(), seconds=6)
    row = enter(told)
    assert row.unverified == 0
    assert done[0].only(200)
    assert done[0].answered >= 4_000


def test_flood_of_calls(world: World) -> None:
    """30 strangers' calls a second at one listener: none passes, and the genuine ones do."""

    def call(traffic: Traffic) -> None:
        began = time.monotonic()
        for index in range(180):
            time.sleep(max(0.0, began + index / 30 - time.monotonic()))
            traffic.place(kind=STRANGER)

    told = story(world, "flood of hooks, 30 a second", contextlib.nullcontext(), meanwhile=call)
    row = enter(told)
    assert row.unverified == 0
