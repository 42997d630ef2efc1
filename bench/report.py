"""What the measurement of the services gives: one object for programs, a text for people."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.latency import Latency
from bench.machine import Interference, Machine, Memory
from bench.parts import Parts
from bench.secsipidx import Peer


class Target(msgspec.Struct, frozen=True):
    """A figure and what it may be at most, or at least."""

    name: str
    figure: float
    limit: float
    unit: str
    met: bool

    @classmethod
    def at_most(cls, name: str, figure: float, limit: float, unit: str) -> Target:
        """Compare."""
        return cls(name, figure, limit, unit, figure <= limit)

    @classmethod
    def at_least(cls, name: str, figure: float, limit: float, unit: str) -> Target:
        """Compare."""
        return cls(name, figure, limit, unit, figure >= limit)


class Service(msgspec.Struct, frozen=True):
    """Event to release: ``sequential`` one call at a time, ``steady`` so many calls a second."""

    sequential: Latency
    steady: Latency


class Processor(msgspec.Struct, frozen=True):
    """Processor milliseconds a call (out and in together), of calls one at a time."""

    listener_out: float
    listener_in: float
    cps: float


class Report(msgspec.Struct, frozen=True):
    """All figures. Times in ms, ``cold_start_s`` in seconds: the median of several starts."""

    command: str
    machine: Machine
    interference: Interference
    calls_a_round: int
    rounds: int
    calls_a_second: float
    authentication: Service
    verification: Service
    subscribed: Service
    verified: int
    processor_ms: Processor
    memory_mb: dict[str, Memory]
    cold_start_s: dict[str, float]
    parts: dict[str, Parts]
    peer: Peer
    targets: tuple[Target, ...]

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def render(report: Report) -> str:
    """The report as text: sections with tables."""
    sections = (
        _conditions(report),
        _latencies(report),
        _targets(report.targets),
        _processes(report),
        *(_parts(name, parts) for name, parts in report.parts.items()),
        _peer(report.peer),
    )
    return "\n\n".join(sections)


def _conditions(report: Report) -> str:
    machine = report.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    load = " ".join(f"{one:g}" for one in machine.load)
    return "\n".join(
        (
            f"command   {report.command}",
            f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}",
            f"software  Python {machine.python}, {machine.openssl}, {libraries}",
            f"load      {load} before; of the {machine.cores} cores other processes took"
            f" {report.interference.others:.2f} meanwhile, other machines"
            f" {report.interference.stolen:.2f}",
            f"calls     {report.calls_a_round} a round, the median of {report.rounds} rounds;"
            f" all {report.verified} inbound calls verified",
        )
    )


def _latencies(report: Report) -> str:
    at_rate = f"{report.calls_a_second:g} calls a second"
    rows = [("event to release, ms", "p50", "p99", "worst", "p50 of each round")]
    for name, service in (
        ("authentication", report.authentication),
        ("verification", report.verification),
        ("verification, subscribed", report.subscribed),
    ):
        for how, latency in (("one at a time", service.sequential), (at_rate, service.steady)):
            each = " ".join(f"{one.p50:.2f}" for one in latency.rounds)
            rows.append((f"{name}, {how}", *_figures(latency), each))
    return table(rows)


def _figures(latency: Latency) -> tuple[str, str, str]:
    return f"{latency.p50:.2f}", f"{latency.p99:.2f}", f"{latency.worst:.2f}"


def _targets(targets: Sequence[Target]) -> str:
    rows = [("target", "measured", "at most", "")]
    rows += [
        (
            one.name,
            f"{one.figure:.2f} {one.unit}",
            f"{one.limit:g} {one.unit}",
            "met" if one.met else "MISSED",
        )
        for one in targets
    ]
    return table(rows)


def _processes(report: Report) -> str:
    cpu = report.processor_ms
    rows = [("process", "memory MB", "highest", "cpu ms a call")]
    spent = {"listener-a": cpu.listener_out, "listener-b": cpu.listener_in, "cps": cpu.cps}
    for name, memory in report.memory_mb.items():
        rows.append((name, f"{memory.now:.1f}", f"{memory.peak:.1f}", f"{spent[name]:.2f}"))
    starts = [("cold start", "s")]
    starts += [(name, f"{seconds:.2f}") for name, seconds in report.cold_start_s.items()]
    return f"{table(rows)}\n\n{table(starts)}"


def _parts(name: str, parts: Parts) -> str:
    rows = [(f"{name}, in one process", "median ms", "percent", "times")]
    rows += [(one.name, f"{one.ms:.2f}", f"{one.percent:.0f}", "") for one in parts.shares]
    rows.append(("event to release", f"{parts.total_ms:.2f}", "100", ""))
    rows += [
        (f"  of which {one.name}", f"{one.ms:.2f}", f"{one.percent:.0f}", f"{one.times:g}")
        for one in parts.functions
    ]
    return table(rows)


def _peer(peer: Peer) -> str:
    if peer.unavailable or peer.sign is None or peer.check is None:
        return f"peer {peer.name} not available: {peer.unavailable}"
    rows = [
        (f"peer {peer.name} {peer.version}, ms", "p50", "p99", "worst"),
        ("sign over HTTP", *_figures(peer.sign)),
        ("check with chain, cached, over HTTP", *_figures(peer.check)),
    ]
    return f"{table(rows)}\nThis is {peer.label}:\nno counterpart of the figures above."


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as they need, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
