"""What ``bench.soak`` has seen, judged: is memory flat, are descriptors, is each warning explained?

Pure: samples, log lines and CDR rows come in, a verdict goes out. Moments are seconds since the
load began, memory is in megabytes (10^6 octets).
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bench.machine import Machine
from bench.report import table

# Until then caches fill: the CPS remembers the last 8,192 tokens that held, 546 s at 15 a second.
WARM_UP_SECONDS: Final = 660.0
# What may still be found over the rest of half an hour, an hour's growth drawn from it: pages that
# an allocator takes and does not give back make steps of half a megabyte.
MOST_MB_AN_HOUR: Final = 6.0
# A CPS must remember until the end of the epoch which tokens have been used: not flat, by contract.
OCTETS_A_TOKEN: Final = 400
OURS: Final = ("listener-a", "listener-b", "cps")
# connections come and go; a leak of one a minute would be 20 more in 20 minutes
MOST_MORE: Final = 4


class Sample(msgspec.Struct, frozen=True):
    """One process at one moment. ``pid`` changes with a restart."""

    at: float
    name: str
    pid: int
    mb: float
    descriptors: int
    threads: int


class Step(msgspec.Struct, frozen=True):
    """What was done, and when."""

    at: float
    what: str


class Cost(msgspec.Struct, frozen=True):
    """How many genuine calls were not verified between a step and the next, the last one when."""

    step: Step
    calls: int
    seconds: int


class Said(msgspec.Struct, frozen=True):
    """A line of a log that is a warning or worse, and when it was found there."""

    at: float
    who: str
    line: str


class Allowed(msgspec.Struct, frozen=True):
    """Lines that there may be within ``seconds`` of a step, "" at any time, and why."""

    pattern: str
    after: str
    why: str
    seconds: float = 60.0


class Explained(msgspec.Struct, frozen=True):
    """Lines of one kind: whose, how many, and why they may be there; empty where they may not.

    ``at`` is when the last one was found.
    """

    who: str
    line: str
    count: int
    why: str
    at: float


class Flatness(msgspec.Struct, frozen=True):
    """One process's last life after its warm-up: fitted growth, and the most of the rest."""

    name: str
    seconds: float
    first_mb: float
    last_mb: float
    mb_an_hour: float
    may_mb_an_hour: float
    descriptors: tuple[int, int]
    threads: tuple[int, int]

    @property
    def is_flat(self) -> bool:
        """Whether nothing grew beyond what it may; the latter half is compared with the former."""
        return (
            self.mb_an_hour <= self.may_mb_an_hour
            and self.descriptors[1] - self.descriptors[0] <= MOST_MORE
            and self.threads[1] - self.threads[0] <= MOST_MORE
        )


class Report(msgspec.Struct, frozen=True):
    """All that was seen. ``verdicts`` counts the called PBX's rows by kind, verdict and reason.

    ``load`` is the machine's mean load average meanwhile, ours and others' together.
    """

    command: str
    machine: Machine
    load: float
    seconds: float
    calls: int
    steps: tuple[Step, ...]
    flatness: tuple[Flatness, ...]
    said: tuple[Explained, ...]
    verdicts: dict[str, int]
    false_passed: int
    failed: int
    unverified_undisturbed: int
    costs: tuple[Cost, ...]
    announced: int
    logged_once: int
    samples: tuple[Sample, ...]

    @property
    def is_good(self) -> bool:
        """Ours are flat, every warning is explained, no verdict wrong, every hook logged once."""
        return (
            {one.name for one in self.flatness} >= set(OURS)
            and all(one.is_flat for one in self.flatness if one.name in OURS)
            and all(one.why for one in self.said)
            and not (self.false_passed or self.failed or self.unverified_undisturbed)
            and self.announced == self.logged_once
        )

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Fit a line (least squares); its rise by one of x, 0 where there is no line."""
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    together = sum((x - middle_x) * (y - middle_y) for x, y in points)
    return together / spread if spread else 0.0


def flatness(
    samples: Iterable[Sample], name: str, tokens_a_second: float, until: float, warm_up: float
) -> Flatness | None:
    """Judge a process's last life, from its warm-up to ``until``; None where that is too short.

    ``tokens_a_second`` of which it must remember each.
    """
    ours = [one for one in samples if one.name == name and one.at <= until]
    last = [one for one in ours if ours and one.pid == ours[-1].pid]
    if not last:
        return None
    # what has lived since before the load began has been warm no longer
    kept = [one for one in last if one.at >= max(0.0, last[0].at) + warm_up]
    if len(kept) < 8:
        return None
    half = len(kept) // 2
    tenth = max(1, len(kept) // 10)
    former, latter = kept[:half], kept[half:]
    return Flatness(
        name=name,
        seconds=round(kept[-1].at - kept[0].at, 1),
        first_mb=_mean(kept[:tenth]),
        last_mb=_mean(kept[-tenth:]),
        mb_an_hour=round(3600 * slope([(one.at, one.mb) for one in kept]), 2),
        may_mb_an_hour=round(MOST_MB_AN_HOUR + 3600 * tokens_a_second * OCTETS_A_TOKEN / 1e6, 2),
        descriptors=(max(o.descriptors for o in former), max(o.descriptors for o in latter)),
        threads=(max(o.threads for o in former), max(o.threads for o in latter)),
    )


def explained(
    said: Sequence[Said], steps: Sequence[Step], allowed: Sequence[Allowed]
) -> tuple[Explained, ...]:
    """Match every line with what allows it; numbers in it do not make it another kind."""
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    last: dict[tuple[str, str, str], float] = {}
    for one in said:
        why = next((each.why for each in allowed if _allows(each, one, steps)), "")
        kind = re.sub(r"\d+(?:[.\-]\d+)*", "#", one.line)[:160]
        counts[one.who, kind, why] += 1
        last[one.who, kind, why] = one.at
    return tuple(
        Explained(who, line, count, why, last[who, line, why])
        for (who, line, why), count in counts.items()
    )


def _allows(allowed: Allowed, said: Said, steps: Sequence[Step]) -> bool:
    if re.search(allowed.pattern, said.line) is None:
        return False
    after = [one for one in steps if one.what == allowed.after]
    return not allowed.after or is_disturbed(said.at, after, allowed.seconds)


def is_disturbed(at: float, steps: Sequence[Step], seconds: float = 60.0) -> bool:
    """Whether a step came at most ``seconds`` before."""
    return any(one.at <= at <= one.at + seconds for one in steps)


def _mean(samples: Sequence[Sample]) -> float:
    return round(sum(one.mb for one in samples) / len(samples), 1)


def render(report: Report) -> str:
    """The report as text."""
    machine = report.machine
    rows = [("process", "seconds", "MB from", "to", "MB an hour", "may", "descriptors", "threads")]
    rows += [
        (
            one.name,
            f"{one.seconds:.0f}",
            f"{one.first_mb:.1f}",
            f"{one.last_mb:.1f}",
            f"{one.mb_an_hour:+.1f}",
            f"{one.may_mb_an_hour:.1f}",
            f"{one.descriptors[0]} to {one.descriptors[1]}",
            f"{one.threads[0]} to {one.threads[1]}",
        )
        for one in report.flatness
    ]
    lines = [
        f"{one.count} x {one.who}, last at {one.at:.0f} s: {one.line}\n"
        f"    {one.why or 'NOT EXPLAINED'}"
        for one in report.said
    ]
    return "\n\n".join(
        (
            f"command   {report.command}\n"
            f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}\n"
            f"load      {report.calls} calls in {report.seconds:.0f} s; load average"
            f" {report.load:.1f}, other work of the machine among it\n"
            "steps     "
            + "\n          ".join(
                f"{one.step.what} at {one.step.at:.0f} s: {one.calls} genuine calls not verified,"
                f" the last {one.seconds} s after it"
                for one in report.costs
            ),
            "after the warm-up of the last life:\n\n" + table(rows),
            "verdicts: " + ", ".join(f"{n} {what}" for what, n in sorted(report.verdicts.items())),
            f"{report.false_passed} false Passed, {report.failed} Failed,"
            f" {report.unverified_undisturbed} genuine calls not verified while nothing was"
            f" restarted; {report.announced} hooks with an id in a CDR, {report.logged_once} of"
            " them once in our call logs",
            "warnings: " + ("none" if not lines else "\n" + "\n".join(lines)),
            "all as it must be" if report.is_good else "NOT as it must be",
        )
    )
