"""Measures both services as they run: a CPS over TLS, two companies' listeners, calls between them.

CPS and listeners are processes, configured as an administrator would; the PBXs are ``manager``s of
our own in this process, so that what is measured is ours alone: from the event that a dialplan
raises to the variable that releases its call. Each call leaves by A and arrives at B. Every one of
them must be stored and verified, or the measurement is void.

A number that was never called before has its key looked up first, which takes a request more: all
numbers are called once before, and once while it counts. What the first call stored may still be
at the CPS then, beside its dummies, and is opened and passed over, as on a busy line.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench import parts, secsipidx
from bench.latency import Latency
from bench.machine import Machine, Memory, Watch, cpu_seconds
from bench.manager import Manager, Released
from bench.report import Processor, Report, Service, Target
from lab import processes
from lab.companies import Authority, Company, tls_certificate
from lab.debian import LabError

FEWEST_CALLS: Final = 20
MOST_CALLS: Final = 1000
ROUNDS: Final = 3
CALLS_A_SECOND: Final = 50.0
STARTS: Final = 3
TRUNK: Final = "carrier"
_NUMBERS: Final = 10_000
_WARMING_AT_ONCE: Final = 8
_START_SECONDS: Final = 20.0
_SUBSCRIBED_SECONDS: Final = 3.0

Say = Callable[[str], None]


def measure(calls: int, say: Say) -> Report:
    """Measure with ``calls`` calls a round. Raises LabError where anything does not work."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_measure(calls, say))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop that the daemon takes as well."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


@dataclass(slots=True)
class _Times:
    """Seconds from event to release, by the way of the call."""

    out: list[float] = field(default_factory=list)
    into: list[float] = field(default_factory=list)

    def add(self, out: Released, into: Released) -> None:
        self.out.append(out.seconds)
        self.into.append(into.seconds)


class _World:
    """The two companies, the CPS and the PBXs; ``calls`` hands out numbers, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.new(folder, "Bench Authority")
        self.a = Company("company-a", "12125550000", _NUMBERS, folder / "a")
        self.b = Company("company-b", "13105550000", _NUMBERS, folder / "b")
        self.pbx_a, self.pbx_b = Manager("a"), Manager("b")
        certificate, key, self._cps_ca = tls_certificate(folder, "cps", ["127.0.0.1"])
        self._cps_config = folder / "cps.toml"
        self._cps_config.write_text(
            'state_dir = "state"\n[cps]\nlisten = "127.0.0.1:0"\n'
            f'certificate = "{certificate}"\nkey = "{key}"\n'
            f'tokens = false\ntrust = ["{self.authority.anchor}"]\n'
        )
        self.cps = self._service("cps", "cps", self._cps_config)
        self.listener_a = self._service("listener-a", "run", self.a.config)
        self.listener_b = self._service("listener-b", "run", self.b.config)
        self._next = 0
        self.verified = 0
        self._polling = ""

    def _service(self, name: str, command: str, configuration: Path) -> processes.Service:
        return processes.Service(name, [command, "--config", str(configuration)], self.folder)

    def configure(self) -> None:
        """Write both companies' configuration; the CPS is running."""
        found = re.search(r"listening on (\S+)", self.cps.said)
        assert found is not None
        for company, pbx in ((self.a, self.pbx_a), (self.b, self.pbx_b)):
            company.configure(
                authority=self.authority,
                trust=self.authority.anchor,
                cps=found[1],
                cps_ca=self._cps_ca,
                routes=["1"],
                pbxs=[pbx],
                more='log_level = "warning"\n',
            )

    def subscribe(self) -> None:
        """Let B subscribe to its numbers, once its listener is started again."""
        self._polling = self.b.config.read_text()
        subscribed = '[publish]\nretrieve = "subscribed"\n'
        self.b.config.write_text(self._polling.replace("[publish]\n", subscribed))

    def poll(self) -> None:
        """Let B ask for each call again."""
        self.b.config.write_text(self._polling)

    def numbers(self, count: int) -> list[int]:
        """``count`` numbers of each company that nobody has called yet, as indices."""
        first, self._next = self._next, self._next + count
        return list(range(first, self._next))

    async def call(self, index: int, shift: int = 0) -> tuple[Released, Released]:
        """One call from A to B; ``shift`` gives it another caller. Raises LabError."""
        orig = self.a.number((index + shift) % _NUMBERS)
        dest = self.b.number(index)
        out = await self.pbx_a.announce("out", TRUNK, orig, f"+{dest}")
        if out.status != "stored":
            raise LabError(f"a call was not stored: {out.status} {out.reason}")
        into = await self.pbx_b.announce("in", TRUNK, f"+{orig}", dest)
        if into.reason != "verified" or into.verstat != "TN-Validation-Passed":
            said = f"{into.verstat} {into.reason}\n{self.listener_b.said[-3000:]}"
            raise LabError(f"a genuine call was not verified: {said}")
        self.verified += 1
        return out, into


async def _measure(calls: int, say: Say) -> Report:
    machine = Machine.this()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pbx-stir-bench-")))
        world = _World(folder)
        for pbx in (world.pbx_a, world.pbx_b):
            await stack.enter_async_context(pbx)
        stack.enter_context(world.cps)
        await asyncio.to_thread(
            world.cps.wait_until, lambda: "listening on" in world.cps.said, "listening"
        )
        world.configure()
        say("starting the listeners")
        starts = {"pbx-stir run, to its heartbeat": await _cold_starts(world, stack)}
        starts["pbx-stir --help"] = await _help_seconds()
        warm = world.numbers(2 * ROUNDS * calls)
        say(f"warming up: {len(warm)} calls")
        await _warm(world, warm)
        say(f"measuring: {ROUNDS} times {calls} calls one at a time, then at a steady rate")
        watch = Watch([one.pid for one in (world.listener_a, world.listener_b, world.cps)])
        alone, steady, processor = await _rounds(world, warm, calls)
        interference = watch.interference()
        memory = {
            one.name: Memory.of(one.pid) for one in (world.listener_a, world.listener_b, world.cps)
        }
        say("measuring: the same, the called company subscribed")
        pushed_alone, pushed_steady = await _subscribed(world, warm, calls)
        for listener in (world.listener_a, world.listener_b):
            await asyncio.to_thread(listener.stop)
        say("measuring the parts, in this process")
        laps = await _laps(world, min(calls, 300))
        say("measuring the peer")
        peer = await secsipidx.measure(folder / "peer", world.authority, world.a, calls)
    authentication = Service(
        Latency.of_rounds([Latency.of(one.out) for one in alone]),
        Latency.of_rounds([Latency.of(one.out) for one in steady]),
    )
    verification = Service(
        Latency.of_rounds([Latency.of(one.into) for one in alone]),
        Latency.of_rounds([Latency.of(one.into) for one in steady]),
    )
    subscribed = Service(
        Latency.of_rounds([Latency.of(one.into) for one in pushed_alone]),
        Latency.of_rounds([Latency.of(one.into) for one in pushed_steady]),
    )
    return Report(
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        machine=machine,
        interference=interference,
        calls_a_round=calls,
        rounds=ROUNDS,
        calls_a_second=CALLS_A_SECOND,
        authentication=authentication,
        verification=verification,
        subscribed=subscribed,
        verified=world.verified,
        processor_ms=processor,
        memory_mb=memory,
        cold_start_s=starts,
        parts=laps,
        peer=peer,
        targets=_targets(authentication, verification, memory, starts),
    )


def _targets(
    authentication: Service,
    verification: Service,
    memory: dict[str, Memory],
    starts: dict[str, float],
) -> tuple[Target, ...]:
    figures = []
    for name, service in (("authentication", authentication), ("verification", verification)):
        for how, one in (("", service.sequential), (" at a steady rate", service.steady)):
            figures.append(Target.at_most(f"{name}{how}, p50", one.p50, 4, "ms"))
            figures.append(Target.at_most(f"{name}{how}, p99", one.p99, 20, "ms"))
    figures += [
        Target.at_most(f"memory of {name}", memory[name].now, 90, "MB")
        for name in ("listener-a", "listener-b")
    ]
    started = next(iter(starts.values()))
    figures.append(Target.at_most("cold start of pbx-stir run", started, 1.5, "s"))
    return tuple(figures)


async def _cold_starts(world: _World, stack: contextlib.AsyncExitStack) -> float:
    """Start the listeners and leave them running; the median seconds to the first heartbeat."""
    seconds = []
    both = ((world.listener_a, world.pbx_a), (world.listener_b, world.pbx_b))
    for listener, pbx in both:
        stack.callback(listener.stop)
        for start in range(STARTS):
            if start:
                await asyncio.to_thread(listener.stop)
            pbx.heard.clear()
            began = time.perf_counter()
            listener.start()
            await _heard(pbx, listener.said)
            seconds.append(pbx.beat_at - began)
    await _records_are_there(world)
    return round(median(seconds), 3)


async def _heard(pbx: Manager, said: str = "") -> None:
    try:
        await asyncio.wait_for(pbx.heard.wait(), _START_SECONDS)
    except TimeoutError as error:
        raise LabError(f"the listener of {pbx.name} does not come: {said[-500:]}") from error


async def _records_are_there(world: _World) -> None:
    """Wait until B's keys can be found: its listener publishes them when it starts."""
    [number] = world.numbers(1)
    give_up_at = time.monotonic() + _START_SECONDS
    while True:
        dest = world.b.number(number)
        out = await world.pbx_a.announce("out", TRUNK, world.a.number(number), dest)
        if out.status == "stored":
            return
        if time.monotonic() > give_up_at:
            raise LabError(f"no call can be stored: {out.reason}")
        # what failed is remembered for a while: the next one calls another number
        [number] = world.numbers(1)
        await asyncio.sleep(0.2)


async def _help_seconds() -> float:
    """The median of a few runs of ``pbx-stir --help``."""

    def run() -> float:
        began = time.perf_counter()
        command = [sys.executable, "-m", "pbx_stir", "--help"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=30)
        return time.perf_counter() - began

    return round(median([await asyncio.to_thread(run) for _ in range(2 * STARTS - 1)]), 3)


async def _warm(world: _World, indices: Iterable[int]) -> None:
    room = asyncio.Semaphore(_WARMING_AT_ONCE)

    async def one(index: int) -> None:
        async with room:
            await world.call(index)

    await _all(one(index) for index in indices)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Wait for all of it; the first LabError ends it."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _rounds(
    world: _World, warm: Sequence[int], calls: int
) -> tuple[list[_Times], list[_Times], Processor]:
    """One at a time and steadily, in turns, on numbers that were called once."""
    services = (world.listener_a, world.listener_b, world.cps)
    used = dict.fromkeys((one.pid for one in services), 0.0)
    alone, steady = [], []
    for start in range(0, len(warm), 2 * calls):
        before = {pid: cpu_seconds(pid) for pid in used}
        times = _Times()
        for index in warm[start : start + calls]:
            times.add(*await world.call(index, shift=1))
        alone.append(times)
        for pid in used:
            used[pid] += cpu_seconds(pid) - before[pid]
        steady.append(await _steadily(world, warm[start + calls : start + 2 * calls]))
    spent = [round(1000 * used[one.pid] / (ROUNDS * calls), 2) for one in services]
    return alone, steady, Processor(*spent)


async def _subscribed(
    world: _World, warm: Sequence[int], calls: int
) -> tuple[list[_Times], list[_Times]]:
    """The same rounds with another caller each, B's listener started anew with a subscription."""
    await asyncio.to_thread(world.listener_b.stop)
    world.subscribe()
    world.pbx_b.heard.clear()
    world.listener_b.start()
    await _heard(world.pbx_b, world.listener_b.said)
    # it is relied upon a second after it has begun
    await asyncio.sleep(_SUBSCRIBED_SECONDS)
    alone, steady = [], []
    for start in range(0, len(warm), 2 * calls):
        times = _Times()
        for index in warm[start : start + calls]:
            times.add(*await world.call(index, shift=2))
        alone.append(times)
        steady.append(await _steadily(world, warm[start + calls : start + 2 * calls], shift=2))
    world.poll()
    return alone, steady


async def _steadily(world: _World, indices: Sequence[int], shift: int = 1) -> _Times:
    """Begin a call every so often, whatever became of those before."""
    times = _Times()
    began = time.monotonic()

    async def one(place: int, index: int) -> None:
        await asyncio.sleep(max(0.0, began + place / CALLS_A_SECOND - time.monotonic()))
        times.add(*await world.call(index, shift=shift))

    await _all(one(place, index) for place, index in enumerate(indices))
    return times


async def _laps(world: _World, calls: int) -> dict[str, parts.Parts]:
    """Run both listeners in this process, with stopwatches in their services."""
    stopwatch = parts.Stopwatch()
    laps: dict[str, list[parts.Lap]] = {"authentication": [], "verification": []}
    for pbx in (world.pbx_a, world.pbx_b):
        pbx.heard.clear()
    async with parts.listening(world.a.config), parts.listening(world.b.config):
        for pbx in (world.pbx_a, world.pbx_b):
            await _heard(pbx)
        await _records_are_there(world)
        warm = world.numbers(calls)
        await _warm(world, warm)
        with stopwatch.watching():
            for index in warm:
                orig, dest = world.a.number((index + 1) % _NUMBERS), world.b.number(index)
                out = await world.pbx_a.announce("out", TRUNK, orig, f"+{dest}")
                laps["authentication"].append(stopwatch.lap(out.seconds))
                into = await world.pbx_b.announce("in", TRUNK, f"+{orig}", dest)
                laps["verification"].append(stopwatch.lap(into.seconds))
                if (out.status, into.reason) != ("stored", "verified"):
                    raise LabError(f"a call was {out.reason}, then {into.reason}")
    return {name: parts.parts_of(name, measured) for name, measured in laps.items()}
