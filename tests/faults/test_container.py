"""A CPS in a container, by Docker's SDK: paused, killed and started by the engine, disconnected."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.contained import ContainedCps
from tests.faults.front import Side
from tests.faults.table import enter, story
from tests.faults.world import World

pytestmark = pytest.mark.pbx

IMAGE = "pbx-stir:tests"


@pytest.fixture(scope="module")
def image(engine: Any, bases: tuple[str, str], tree: Path, wheels: None) -> str:
    """The image of listener and CPS, as tests/docker builds it."""
    engine.client.images.build(
        path=str(tree),
        dockerfile="docker/pbx-stir.Dockerfile",
        buildargs={"BASE": bases[0]},
        network_mode="host",
        tag=IMAGE,
        rm=True,
        forcerm=True,
    )
    return IMAGE


@pytest.fixture(scope="module")
def world(side: Side, engine: Any, image: str) -> Iterator[World]:
    """One CPS, in a container."""
    contained = partial(ContainedCps, client=engine.client, image=image)
    with World(side, cps_of=contained) as running:
        yield running
    # what the container wrote there, too
    shutil.rmtree(running.folder, ignore_errors=True)


@pytest.fixture
def cps(world: World) -> ContainedCps:
    """The one that is in a container."""
    assert isinstance(world.cps, ContainedCps)
    return world.cps


def test_container_is_paused(world: World, cps: ContainedCps) -> None:
    """Frozen by the engine it takes connections, and answers none: as a silent CPS."""
    told = story(world, "CPS's container paused", cps.paused(), seconds=10)
    row = enter(told, settled_after=4.0, felt="cps-unavailable")
    assert row.costs_nothing


def test_container_is_killed(world: World, cps: ContainedCps) -> None:
    """Its restart policy has it back; nobody else does anything, and calls pass again."""
    told = story(world, "CPS's container killed", cps.killed())
    row = enter(told, felt="cps-unavailable")
    assert row.costs_nothing


def test_container_is_disconnected(world: World, cps: ContainedCps) -> None:
    """Without its network it is as a silent CPS, and is used again with it."""
    told = story(world, "CPS's container disconnected", cps.disconnected(), seconds=10)
    row = enter(told, settled_after=4.0, felt="cps-unavailable")
    assert row.costs_nothing
