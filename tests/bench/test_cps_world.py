"""What the measurement sends is what a CPS takes: all of it is answered as it must be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cps_size, load
from bench.cps_world import HOST, STORES_OF_A_TOKEN, Cps, World
from bench.load import Job

CORES = tuple(sorted(os.sched_getaffinity(0)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A folder with all that a CPS needs."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "tls"])
def cps(world: World, request: pytest.FixtureRequest) -> Iterator[Cps]:
    """A CPS that wants tokens."""
    with world.cps(tls=request.param, tokens=True, processors=CORES) as cps:
        yield cps


@pytest.mark.parametrize("calls", [1, STORES_OF_A_TOKEN])
def test_stores_with_tokens_are_taken(world: World, cps: Cps, calls: int, tmp_path: Path) -> None:
    """Those of a K_temp for each, and those that use one as often as it may be used."""
    file = tmp_path / "requests"
    world.stores(file, 40, calls_a_token=calls, cps=cps)
    done = load.run(Job(HOST, cps.port, file=str(file), ca=cps.ca))
    assert done.statuses == {"201": 40}
    assert cps.processor_seconds() > 0


def test_requests_for_tokens_are_answered(world: World, cps: Cps, tmp_path: Path) -> None:
    """Each with its own nonce."""
    file = tmp_path / "requests"
    world.token_requests(file, 3, cps)
    done = load.run(Job(HOST, cps.port, file=str(file), ca=cps.ca))
    assert done.statuses == {"201": 3}


def test_subscribers_get_each_entry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of several certificates, and the time until the last one has it."""
    monkeypatch.setattr(cps_size, "SUBSCRIBERS", 60)
    monkeypatch.setattr(cps_size, "_LEAF_HAS", 20)
    monkeypatch.setattr(cps_size, "PUSHED", 5)
    with world.cps(processors=CORES) as cps:
        done = cps_size._push(world, cps, CORES)
    assert done.subscribers == 60
    assert done.to_the_last.samples == 5
