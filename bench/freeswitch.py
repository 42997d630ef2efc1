"""Measures a listener at a FreeSWITCH: hooks at a steady rate through one event socket.

The listener is a process, configured as an administrator would; FreeSWITCH is the double of
``lab.event_socket`` in this process, so that what is measured is ours alone: from the event that
the Lua hook raises to the variable that releases its call, and the listener's processor time. The
calls are such as need no signature (they came in by a trunk and go out again), which leaves the
event socket, the listener and the call log. Every one must be answered, or the measurement is void.

A real FreeSWITCH adds up to 20 ms until it gives an event to a client, and its own work.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.latency import Latency
from bench.machine import Interference, Machine, Memory, Watch, cpu_seconds
from bench.report import Target, table
from lab import processes
from lab.companies import Authority, Company
from lab.debian import LabError
from lab.event_socket import PASSWORD, EventSocketDouble

ROUNDS: Final = 3
HOOKS_A_SECOND: Final = 300
_ANSWER_SECONDS: Final = 5.0
_WANTED: Final = "skipped||caller-not-allowed|"

Say = Callable[[str], None]


class FreeSwitchReport(msgspec.Struct, frozen=True):
    """What was measured. Latencies are seconds from event to release as milliseconds."""

    machine: Machine
    interference: Interference
    hooks_a_second: int
    hooks: Latency
    at_once: Latency
    processor_ms: float
    memory: Memory
    targets: tuple[Target, ...]

    def as_json(self) -> bytes:
        """All of it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def measure(calls: int, say: Say) -> FreeSwitchReport:
    """Measure with ``calls`` hooks a round. Raises LabError where anything does not work."""
    return asyncio.run(_measure(calls, say))


def render(report: FreeSwitchReport) -> str:
    """What a person reads."""
    rows: list[tuple[str, ...]] = [("event to release, ms", "p50", "p99", "worst")]
    for name, one in (
        (f"{report.hooks_a_second} hooks/s, one connection", report.hooks),
        ("300 hooks at once", report.at_once),
    ):
        rows.append((name, f"{one.p50:.1f}", f"{one.p99:.1f}", f"{one.worst:.1f}"))
    lines = [
        f"{report.machine.cpu}, {report.machine.cores} cores, Python {report.machine.python}; "
        f"others took {report.interference.others} cores",
        "",
        table(rows),
        "",
        f"listener: {report.processor_ms} ms of processor a hook, {report.memory.now} MB",
        "",
        table([
            ("target", "measured", "limit", ""),
            *(
                (one.name, f"{one.figure:g} {one.unit}", f"{one.limit:g} {one.unit}",
                 "met" if one.met else "MISSED")
                for one in report.targets
            ),
        ]),
    ]  # fmt: skip
    return "\n".join(lines)


class _Hooks:
    """Calls at the double: each announced, each answered."""

    def __init__(self, double: EventSocketDouble) -> None:
        self._double = double
        self._waiting: dict[str, asyncio.Future[float]] = {}
        double.on_answer = self._answered

    def _answered(self, unique_id: str, value: str) -> None:
        at = time.perf_counter()
        future = self._waiting.get(unique_id)
        if future is not None and not future.done():
            if _WANTED in value:
                future.set_result(at)
            else:
                future.set_exception(LabError(f"a call was answered {value!r}"))

    async def one(self, listener: str) -> float:
        """Seconds from event to release. Raises LabError."""
        unique_id = str(uuid.uuid4())
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[unique_id] = future
        began = time.perf_counter()
        self._double.announce(listener, Uniqueid=unique_id, Dir="out", Budget="1500")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await future - began
        except TimeoutError as error:
            raise LabError(f"no answer in {_ANSWER_SECONDS:g} s") from error
        finally:
            del self._waiting[unique_id], self._double.channels[unique_id]

    async def steadily(self, listener: str, count: int) -> list[float]:
        """Begin a hook every so often, whatever became of those before."""
        began = time.monotonic()

        async def one(place: int) -> float:
            due = began + place / HOOKS_A_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            return await self.one(listener)

        return list(await asyncio.gather(*(one(place) for place in range(count))))


async def _measure(calls: int, say: Say) -> FreeSwitchReport:
    machine = Machine.this()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pbx-stir-bench-")))
        double = await stack.enter_async_context(EventSocketDouble())
        configuration = _configure(folder, double.port)
        arguments = ["run", "--config", str(configuration)]
        listener = stack.enter_context(processes.Service("listener", arguments, folder))
        name = await _heard(double, listener)
        hooks = _Hooks(double)
        say("warming up")
        await hooks.steadily(name, calls)
        say(f"measuring: {ROUNDS} times {calls} hooks at {HOOKS_A_SECOND}/s, then 300 at once")
        watch = Watch([listener.pid])
        before = cpu_seconds(listener.pid)
        rounds = [Latency.of(await hooks.steadily(name, calls)) for _ in range(ROUNDS)]
        processor = round(1000 * (cpu_seconds(listener.pid) - before) / (ROUNDS * calls), 2)
        bursts = [
            Latency.of(await asyncio.gather(*(hooks.one(name) for _ in range(300))))
            for _ in range(ROUNDS)
        ]
        interference, memory = watch.interference(), Memory.of(listener.pid)
    steady = Latency.of_rounds(rounds)
    return FreeSwitchReport(
        machine=machine,
        interference=interference,
        hooks_a_second=HOOKS_A_SECOND,
        hooks=steady,
        at_once=Latency.of_rounds(bursts),
        processor_ms=processor,
        memory=memory,
        targets=(
            Target.at_most(f"{HOOKS_A_SECOND} hooks/s, p99", steady.p99, 50, "ms"),
            Target.at_most("processor a hook", processor, 1, "ms"),
        ),
    )


def _configure(folder: Path, port: int) -> Path:
    authority = Authority.new(folder, "Bench Authority")
    company = Company("company", "12125550000", 10_000, folder / "company")
    company.configure(
        authority=authority,
        trust=authority.anchor,
        cps="https://127.0.0.1:9",
        cps_ca=authority.anchor,
        routes=["1"],
        pbxs=[],
        more='log_level = "error"\n',
    )
    secret = company.folder / "fs.password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    section = f'\n[[freeswitch]]\nname = "fs"\nport = {port}\npassword_file = "fs.password"\n'
    company.config.write_text(company.config.read_text() + section)
    return company.config


async def _heard(double: EventSocketDouble, listener: processes.Service) -> str:
    """The listener's name, once its heartbeat stands. Raises LabError."""
    try:
        await double.until(lambda: ":" in double.globals.get("stir_heartbeat", ""))
    except TimeoutError as error:
        raise LabError(f"the listener does not come: {listener.said[-500:]}") from error
    return double.globals["stir_heartbeat"].partition(":")[0]
