"""What the measurement of call cycles gives: one object for programs, a text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from bench.cycle_callers import Cycles
from bench.latency import Latency, milliseconds, percentile
from bench.machine import Interference, Machine
from bench.report import Target, table

LEVELS: Final = (100, 200, 500, 1_000, 2_000)


class Level(msgspec.Struct, frozen=True):
    """So many virtual callers: ``p50``, ``p95``, ``p99`` are milliseconds a cycle.

    ``cores`` is processor seconds of every process a second of wall time; ``per_core`` is cycles
    done a second and core.
    """

    way: str
    callers: int
    sent: int
    done: int
    failures: dict[str, int]
    tokens: int
    a_second: float
    cores: float
    per_core: float
    p50: float
    p95: float
    p99: float

    @property
    def success(self) -> float:
        """Percent."""
        return 100 * self.done / max(1, self.sent)

    @classmethod
    def of(cls, way: str, callers: int, cycles: Cycles, used: float) -> Level:
        """Sum up; ``used`` are processor seconds of callers and CPS together."""
        ordered = sorted(cycles.latencies) or [0.0]
        p50, p95, p99 = (milliseconds(percentile(ordered, one)) for one in (50, 95, 99))
        return cls(
            way,
            callers,
            cycles.sent,
            cycles.done,
            cycles.failures,
            cycles.tokens,
            round(cycles.done / cycles.seconds, 1),
            round(used / cycles.seconds, 2),
            round(cycles.done / used, 1),
            p50,
            p95,
            p99,
        )


class Report(msgspec.Struct, frozen=True):
    """All figures. The first three are the best of the levels at which every cycle succeeded.

    ``relay`` is what the relay adds to two hops of ``hop_ms``, in ms.
    """

    cycles_per_second_per_core: float
    cycles_per_second_per_core_one_a_call: float
    cycles_per_second_per_core_cleartext: float
    command: str
    machine: Machine
    interference: Interference
    seconds: float
    levels: tuple[Level, ...]
    hop_ms: float
    delayed: tuple[Level, ...]
    relay: Latency

    @property
    def targets(self) -> tuple[Target, ...]:
        """What was to be reached."""
        return (
            Target.at_least(
                "cycles a second and core, K_temp reused",
                self.cycles_per_second_per_core,
                400,
                "/s",
            ),
            Target.at_least(
                "cycles a second and core, one K_temp a call",
                self.cycles_per_second_per_core_one_a_call,
                250,
                "/s",
            ),
            Target.at_most("p95 with two hops, fewest callers", self.delayed[0].p95, 120, "ms"),
        )

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def best(levels: Sequence[Level], way: str) -> float:
    """Cycles a second and core at 100 % success; 0 where no level has that."""
    return max(
        (one.per_core for one in levels if one.way == way and one.done == one.sent), default=0.0
    )


def render(report: Report) -> str:
    """The report as text."""
    machine = report.machine
    conditions = "\n".join(
        (
            f"command   {report.command}",
            f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}",
            f"software  Python {machine.python}, {machine.openssl}",
            f"load      of the {machine.cores} cores other processes took"
            f" {report.interference.others:.2f} meanwhile, other machines"
            f" {report.interference.stolen:.2f}",
            f"level     {report.seconds:g} s; callers call again at once, and give up after 3 s",
        )
    )
    targets = [("target", "measured", "asked", "")]
    targets += [
        (one.name, f"{one.figure:.0f} {one.unit}", f"{one.limit:g} {one.unit}", _met(one.met))
        for one in report.targets
    ]
    relay = (
        f"The relay adds {report.relay.p50:.2f} ms (p50), {report.relay.p99:.2f} ms (p99) to two"
        f" ways of {report.hop_ms:g} ms."
    )
    return "\n\n".join(
        (
            conditions,
            table(targets),
            _levels("virtual callers", report.levels),
            _levels(f"{report.hop_ms:g} ms each way", report.delayed) + "\n" + relay,
        )
    )


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


def _levels(title: str, levels: Sequence[Level]) -> str:
    rows = [
        (title, "callers", "sent", "done", "success", "a second", "cores", "a core", "p50 ms",
         "p95 ms", "p99 ms"),
    ]  # fmt: skip
    rows += [
        (
            one.way,
            str(one.callers),
            str(one.sent),
            str(one.done),
            f"{one.success:.1f} %",
            f"{one.a_second:.0f}",
            f"{one.cores:.2f}",
            f"{one.per_core:.0f}",
            f"{one.p50:.1f}",
            f"{one.p95:.1f}",
            f"{one.p99:.1f}",
        )
        for one in levels
    ]
    failures = sorted({name for one in levels for name in one.failures})
    return table(rows) + (f"\nfailures: {', '.join(failures)}" if failures else "")
