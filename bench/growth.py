"""Measures memory and latency as things grow: each point in a process of its own.

Entries at a CPS, numbers and trunks of a configuration, keys of ours, blobs under one number, and
entries of the single-use memory. ``python -m bench.growth AXIS VALUE`` measures one point.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Final

import msgspec

from bench import haystack
from bench.latency import Latency
from bench.machine import Interference, Machine, Memory, Watch
from bench.report import table
from lab.companies import Authority, Company
from lab.debian import LabError

SAMPLES: Final = 1_000
_ENTRIES_OF_A_NUMBER: Final = 50
_FIRST: Final = 12_125_000_000

Say = Callable[[str], None]


class Point(msgspec.Struct, frozen=True):
    """One measurement: megabytes of the process that are due to ``value`` things, and the time.

    ``seconds`` is what making them took, ``latency`` one operation among them, in ms.
    """

    axis: str
    value: int
    mb: float
    seconds: float
    latency: Latency


class Report(msgspec.Struct, frozen=True):
    """All points."""

    command: str
    machine: Machine
    interference: Interference
    points: tuple[Point, ...]

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


async def _timed(work: Callable[[int], Awaitable[object]], samples: int = SAMPLES) -> Latency:
    spent = []
    for index in range(samples):
        began = time.perf_counter()
        await work(index)
        spent.append(time.perf_counter() - began)
    return Latency.of(spent)


async def _entries(value: int, folder: Path) -> tuple[float, Latency]:
    """A list of one number's entries, among ``value`` in the store."""
    from bench.cps_world import sealed_text
    from pbx_stir.cps.store import MemoryStore

    store = MemoryStore(max_octets=1 << 40)
    now = time.monotonic()
    began = time.perf_counter()
    for index in range(value):
        await store.add(str(_FIRST + index // _ENTRIES_OF_A_NUMBER), sealed_text(), now)
    made = time.perf_counter() - began
    numbers = max(1, value // _ENTRIES_OF_A_NUMBER)
    return made, await _timed(lambda n: store.entries(str(_FIRST + n % numbers), now))


async def _numbers(value: int, folder: Path) -> tuple[float, Latency]:
    """Whether one number is among ``value`` that a trunk is given one by one."""
    from pbx_stir.stir.number import NumberSet

    began = time.perf_counter()
    # with gaps, so that they do not run together
    numbers = NumberSet.parse([f"+{_FIRST + 2 * index}" for index in range(value)])
    made = time.perf_counter() - began

    async def look(index: int) -> object:
        return str(_FIRST + index) in numbers

    return made, await _timed(look)


async def _trunks(value: int, folder: Path) -> tuple[float, Latency]:
    """A trunk by its name, among ``value`` of a configuration that is read."""
    from pbx_stir import config, configured_callers

    tables = "".join(
        f'[[trunk]]\nname = "trunk-{n}"\ncountry_code = "1"\n'
        f'numbers = ["+{_FIRST + 1000 * n}-+{_FIRST + 1000 * n + 999}"]\n'
        for n in range(value)
    )
    file = folder / "pbx-stir.toml"
    file.write_text(f'state_dir = "state"\n{tables}')
    began = time.perf_counter()
    callers = configured_callers.callers(config.load(file))
    made = time.perf_counter() - began

    async def look(index: int) -> object:
        return callers.trunks[f"trunk-{index % value}"]

    return made, await _timed(look)


async def _keys(value: int, folder: Path) -> tuple[float, Latency]:
    """Four blobs, none of them ours, tried with ``value`` keys."""
    from pbx_stir.directory.key_files import KeyFiles
    from pbx_stir.directory.keyring import Keyring
    from pbx_stir.stir import sealing

    files = KeyFiles(folder / "keys")
    began = time.perf_counter()
    for _ in range(value):
        files.new(time.time())
    keyring = Keyring(files)
    made = time.perf_counter() - began
    stranger = sealing.public_octets(sealing.new_private_key())
    blobs = [sealing.seal("a.b.c", (), stranger, "12125550100") for _ in range(4 * 50)]

    async def open_four(index: int) -> object:
        four = blobs[4 * index : 4 * index + 4]
        return await keyring.open_sealed("12125550100", four, time.monotonic() + 5)

    latency = await _timed(open_four, 50)
    keyring.close()
    return made, latency


async def _blobs(value: int, folder: Path) -> tuple[float, Latency]:
    """The verification of a call with ``value`` foreign blobs around its own, seen first."""
    authority = Authority.new(folder, "Bench")
    company = Company("company", "12125551200", 100, folder / "company")
    certificate, key = authority.issue(company.folder, company.name, company.numbers)
    for source, name in ((certificate, "company.pem"), (key, "company.key")):
        (folder / name).write_bytes(source.read_bytes())
    (folder / "anchor.pem").write_bytes(authority.anchor.read_bytes())
    began = time.perf_counter()
    found = []
    for number in range(5):
        place = folder / str(number)
        place.mkdir()
        for file in ("company.pem", "company.key", "anchor.pem"):
            (place / file).write_bytes((folder / file).read_bytes())
        found.append(await haystack.measure(place, company.number(0), company.number(1), value))
    made = time.perf_counter() - began
    return made, Latency.of([one.first_ms / 1000 for one in found])


async def _used(value: int, folder: Path) -> tuple[float, Latency]:
    """A PASSporT's first use, among ``value`` that are remembered."""
    from pbx_stir.services.used import Claim
    from pbx_stir.used_database import UsedDatabase

    used = UsedDatabase(folder / "used.sqlite")
    now = time.time()

    async def reserve(index: int) -> object:
        name = f"{index}.1"
        claim = Claim("pbx", name, name, "carrier", "12125550100", "13105550100", name)
        return await used.reserve(secrets.token_hex(32), claim, now + 600, now, now)

    began = time.perf_counter()
    for index in range(value):
        await reserve(index)
    made = time.perf_counter() - began
    latency = await _timed(reserve)
    used.close()
    return made, latency


Axis = Callable[[int, Path], Coroutine[None, None, tuple[float, Latency]]]
AXES: Final[dict[str, tuple[Axis, tuple[int, ...], str]]] = {
    "entries": (_entries, (1_000, 10_000, 100_000), "entries at a CPS: a list of 50"),
    "numbers": (_numbers, (10, 1_000, 100_000), "numbers of a trunk: one looked up"),
    "trunks": (_trunks, (1, 100, 1_000), "trunks: one looked up"),
    "keys": (_keys, (1, 4, 16), "keys of ours: 4 foreign blobs tried"),
    "blobs": (_blobs, (0, 10, 61, 1_000), "foreign blobs of a number: a call verified"),
    "used": (_used, (0, 10_000, 100_000), "single use: a PASSporT taken"),
}


def measure_point(axis: str, value: int) -> Point:
    """Measure one point in this process."""
    work = AXES[axis][0]
    with tempfile.TemporaryDirectory(prefix="pbx-stir-bench-") as name:
        # what is imported is not what grows
        asyncio.run(work(min(AXES[axis][1]), _made(Path(name) / "before")))
        before = Memory.of(os.getpid()).now
        seconds, latency = asyncio.run(work(value, _made(Path(name) / "point")))
        grown = Memory.of(os.getpid()).peak - before
    return Point(axis, value, round(max(0.0, grown), 1), round(seconds, 3), latency)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def measure(say: Say) -> Report:
    """Measure all. Raises LabError where a point fails."""
    watch, points = Watch([]), []
    for axis, (_, values, _) in AXES.items():
        for value in values:
            say(f"{axis}: {value}")
            done = subprocess.run(
                [sys.executable, "-m", "bench.growth", axis, str(value)],
                capture_output=True,
                check=False,
                timeout=600,
            )
            if done.returncode != 0:
                raise LabError(f"{axis} {value}: {done.stderr.decode()[-500:]}")
            points.append(msgspec.json.decode(done.stdout, type=Point))
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    return Report(command, Machine.this(), watch.interference(), tuple(points))


def render(report: Report) -> str:
    """The report as text."""
    machine = report.machine
    rows = [("what grows: what is timed", "how many", "MB", "made in s", "p50 ms", "p99 ms")]
    rows += [
        (
            AXES[one.axis][2],
            str(one.value),
            f"{one.mb:.1f}",
            f"{one.seconds:.2f}",
            f"{one.latency.p50:.3f}",
            f"{one.latency.p99:.3f}",
        )
        for one in report.points
    ]
    return "\n\n".join(
        (
            f"command   {report.command}\n"
            f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}\n"
            f"load      other processes took {report.interference.others:.2f} cores meanwhile",
            table(rows),
        )
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure_point(sys.argv[1], int(sys.argv[2]))))
