"""Whole cycles against a real CPS: each way ends, and failures count."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cycle_ways, cycles
from bench.cps_world import HOST, Cps, World
from bench.cycle_callers import Cycles, Job, perform, together
from bench.cycles_report import Level, Report, best, render
from bench.latency import Latency
from bench.machine import Interference, Machine


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Cps]]:
    """A CPS with both listeners, and both companies' keys."""
    world = World(tmp_path_factory.mktemp("cycles"))
    cycles.write_keys(world)
    processors = tuple(os.sched_getaffinity(0))
    with world.cps(tls=True, tokens=True, tail=cycles.BARE, processors=processors) as cps:
        (world.folder / "port").write_text(str(cps.port))
        yield world, cps


def job(world: tuple[World, Cps], **changes: object) -> Job:
    """A few callers for half a second, patient ones."""
    folder, cps = world
    fields: dict[str, object] = {
        "port": cps.port, "callers": 4, "seconds": 0.5, "connections": 2, "patience": 60.0,
    }  # fmt: skip
    return Job(HOST, ca=str(folder.ca), folder=str(folder.folder), **(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("each", [1, 16])
def test_every_sealed_call_is_verified(world: tuple[World, Cps], each: int) -> None:
    """Signed, sealed, paid for, stored, fetched, opened, verified and used up."""
    done = perform(job(world, calls_a_token=each, first=1_000 * each))
    assert done.sent == done.done > 0
    assert done.failures == {}
    assert done.tokens * each >= done.done
    assert len(done.latencies) == done.done


def test_every_call_in_the_clear_is_verified(world: tuple[World, Cps]) -> None:
    """The same without sealing and tokens, with signed requests."""
    done = perform(job(world, way="cleartext", port=world[1].bare_port))
    assert done.sent == done.done > 0
    assert done.failures == {}


def test_a_call_that_takes_too_long_has_failed(world: tuple[World, Cps]) -> None:
    """It is counted as late, and not as done."""
    done = perform(job(world, patience=0.0, first=50_000))
    assert done.done == 0
    assert done.failures == {"late": done.sent}


def test_what_another_key_sealed_is_not_found(world: tuple[World, Cps], tmp_path: Path) -> None:
    """A cycle whose PASSporT does not open, or does not verify, has failed by its own word."""
    folder, _ = world
    for file in folder.folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    keys = cycle_ways.Keys.read(str(tmp_path))
    way = cycle_ways.Cleartext(keys, HOST)
    call = cycle_ways.Call(0, 0.0, 7)
    token = way.signed(call)
    assert way.verified(call, token, ()) == ""
    assert way.verified(call, token, ()) == "replayed"
    assert way.verified(cycle_ways.Call(0, 0.0, 8), token, ()) == "orig-mismatch"


def test_relay_delays_each_way() -> None:
    """What goes through it comes whole, not before its time."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        cycles.relayed(server.getsockname()[1]) as port,
        socket.create_connection(("127.0.0.1", port), 5) as near,
    ):
        far, _ = server.accept()
        with far:
            sent = os.urandom(100_000)
            near.sendall(sent)
            far.settimeout(5)
            received = b""
            while len(received) < len(sent):
                received += far.recv(65_536)
            assert received == sent


def _level(**changes: object) -> Level:
    made = Cycles(10, 10, {}, 1, 2.0, 0.01, (0.001,) * 10)
    fields = {"way": "encrypted, K_temp reused", "callers": 1, "cycles": made, "used": 0.02}
    return Level.of(**(fields | changes))  # type: ignore[arg-type]


def test_best_is_of_levels_without_failures() -> None:
    """A level that loses calls says nothing of the rate."""
    whole = _level()
    lossy = _level(cycles=Cycles(10, 9, {"late": 1}, 1, 2.0, 0.01, (0.001,) * 9), used=0.001)
    assert best([whole, lossy], "encrypted, K_temp reused") == whole.per_core == 500.0
    assert best([lossy], "encrypted, K_temp reused") == 0.0
    assert best([whole], "another way") == 0.0


def test_report_has_the_rates_at_its_top() -> None:
    """Programs find them there; people find a table, with what was missed."""
    latency = Latency.of([0.001])
    report = Report(
        500.0, 100.0, 1.0, "bench", Machine.this(), Interference(0.0, 0.0), 4.0,
        (_level(),), 20.0, (_level(),), latency,
    )  # fmt: skip
    found = json.loads(report.as_json())
    assert found["cycles_per_second_per_core"] == 500.0
    assert found["cycles_per_second_per_core_one_a_call"] == 100.0
    text = render(report)
    assert "MISSED" in text
    assert "100.0 %" in text


def test_processes_are_summed_up() -> None:
    """Counts add up, and the longest of them is the wall time."""
    one = Cycles(3, 2, {"late": 1}, 5, 1.0, 0.5, (0.1, 0.2))
    both = together([one, Cycles(1, 1, {}, 0, 2.0, 0.25, (0.3,))])
    assert both == Cycles(4, 3, {"late": 1}, 5, 2.0, 0.75, (0.1, 0.2, 0.3))
