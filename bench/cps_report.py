"""What the measurement of the CPS gives: one object for programs, a text for people."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from bench.latency import Latency
from bench.machine import Interference, Machine
from bench.report import Target, table


class Row(msgspec.Struct, frozen=True):
    """A kind of request: answers a second of wall time and of the server's processor time.

    Each answer counts for ``each``. The medians of ``rounds``, whose wall rates stand there;
    ``half_load`` is the latency at half of that rate, from when a request was due. ``met`` is
    whether a second of processor time gave ``target``. ``unavailable`` says why there is nothing.
    """

    name: str
    a_second: float = 0.0
    a_processor_second: float = 0.0
    rounds: tuple[float, ...] = ()
    half_load: Latency | None = None
    target: float | None = None
    met: bool | None = None
    unavailable: str = ""
    each: int = 1

    @classmethod
    def of(
        cls,
        name: str,
        walls: Sequence[float],
        own: Sequence[float],
        half_load: Latency,
        target: float | None,
        each: int = 1,
    ) -> Row:
        """Sum up rounds."""
        rate = round(median(own))
        met = None if target is None else rate >= target
        rounds = tuple(round(one) for one in walls)
        return cls(name, round(median(walls)), rate, rounds, half_load, target, met, each=each)


class Peer(msgspec.Struct, frozen=True):
    """nginx answering 204: answers a second of wall time, and of its processor time."""

    version: str = ""
    plain: tuple[float, float] = (0.0, 0.0)
    tls: tuple[float, float] = (0.0, 0.0)
    unavailable: str = ""


class Sizes(msgspec.Struct, frozen=True):
    """Memory in MB, empty, with so many entries, before and after so many GETs; push in ms."""

    entries: int
    empty_mb: float
    full_mb: float
    filled_seconds: float
    gets: int
    before_mb: float
    after_mb: float
    subscribers: int
    pushed: Latency


class Report(msgspec.Struct, frozen=True):
    """All figures; ``without_sizes`` says why there are no ``sizes``."""

    command: str
    machine: Machine
    interference: Interference
    rounds: int
    rows: tuple[Row, ...]
    peer: Peer
    sizes: Sizes | None = None
    without_sizes: str = ""

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def targets(self) -> list[Target]:
        """Figures with what they may be at most."""
        late = [
            Target.at_most(f"p99 at half load: {row.name}", row.half_load.p99, 10, "ms")
            for row in self.rows
            # a batch of blind signatures takes longer than that by itself
            if row.half_load is not None and row.each == 1
        ]
        sizes = self.sizes
        if sizes is None:
            return late
        grown = round(sizes.after_mb - sizes.before_mb, 1)
        return [
            *late,
            Target.at_most(f"memory with {sizes.entries} entries", sizes.full_mb, 900, "MB"),
            Target.at_most(f"memory that {sizes.gets} GETs add", grown, 10, "MB"),
            Target.at_most(
                f"an entry to {sizes.subscribers} subscribers, p99", sizes.pushed.p99, 100, "ms"
            ),
        ]


def render(report: Report) -> str:
    """The report as text: sections with tables."""
    rows: list[tuple[str, ...]] = [
        ("on one core", "a second", "a cpu second", "at least", "", "half load p50", "p99 ms")
    ]
    rows += [_row(one) for one in report.rows if one.half_load is not None]
    targets = [("target", "measured", "at most", "")]
    targets += [
        (one.name, f"{one.figure:.1f} {one.unit}", f"{one.limit:g}", "met" if one.met else "MISSED")
        for one in report.targets()
    ]
    missing = "\n".join(
        f"no figures of {name}: {why}"
        for name, why in (
            *((one.name, one.unavailable) for one in report.rows),
            ("memory and push", report.without_sizes),
        )
        if why
    )
    sections = (_conditions(report), table(rows), _ratios(report), table(targets), missing)
    return "\n\n".join(each for each in sections if each)


def _conditions(report: Report) -> str:
    machine, peer = report.machine, report.peer
    said = peer.unavailable or (
        f"{peer.version or 'nginx'} answering 204 on the same core: {peer.plain[0]:.0f} a second"
        f" plain ({peer.plain[1]:.0f} a cpu second), {peer.tls[0]:.0f} with TLS ({peer.tls[1]:.0f})"
    )
    return "\n".join(
        (
            f"command   {report.command}",
            f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}",
            f"software  Python {machine.python}, {machine.openssl}",
            f"load      {' '.join(f'{one:g}' for one in machine.load)} before; other machines took"
            f" {report.interference.stolen:.2f} of {machine.cores} cores",
            f"rounds    the median of {report.rounds}; the server on one core, the load on others",
            f"peer      {said}",
        )
    )


def _row(row: Row) -> tuple[str, ...]:
    assert row.half_load is not None
    return (
        row.name,
        f"{row.a_second:.0f}",
        f"{row.a_processor_second:.0f}",
        "" if row.target is None else f"{row.target:g}",
        "" if row.met is None else ("met" if row.met else "MISSED"),
        f"{row.half_load.p50:.2f}",
        f"{row.half_load.p99:.2f}",
    )


def _ratios(report: Report) -> str:
    """Redis beside memory (60 % wanted), two workers beside one (1.4 wanted)."""
    found = {row.name: row for row in report.rows if row.a_second}
    rows = [("ratio", "measured", "at least")]
    for kind in ("fetch seen", "store, K_temp reused"):
        memory, redis = found.get(f"{kind}, plain"), found.get(f"{kind}, Redis")
        if memory and redis:
            ratio = redis.a_processor_second / memory.a_processor_second
            rows.append((f"{kind}: Redis over memory", f"{ratio:.2f}", "0.6"))
        one = found.get(f"{kind}, Redis, 1 worker on all cores")
        two = found.get(f"{kind}, Redis, 2 workers on all cores")
        if one and two:
            ratio = two.a_second / one.a_second
            rows.append((f"{kind}: two workers over one", f"{ratio:.2f}", "1.4"))
    return table(rows) if len(rows) > 1 else ""
