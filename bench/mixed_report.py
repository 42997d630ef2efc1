"""What is found of ``bench.mixed``'s calls in CDRs and call logs, and what was to be found."""

from __future__ import annotations

import collections
import json
import shlex
import sys
from collections.abc import Iterator

import msgspec

from bench.machine import Machine, Memory
from bench.mixed_calls import FAILED, PASSED, Planned, born, is_false_pass, verdicts_agree
from bench.mixed_world import World
from bench.report import table

Row = dict[str, str]


class Kind(msgspec.Struct, frozen=True):
    """The calls of one kind: how many there were, and what was wrong with them."""

    kind: str
    calls: int
    found: dict[str, int]
    false_passed: int
    false_failed: int
    lost: int
    other: int


class Report(msgspec.Struct, frozen=True):
    """All kinds; ``logged`` compares the CDRs with the call logs."""

    command: str
    machine: Machine
    calls: int
    seconds: float
    kinds: tuple[Kind, ...]
    left: dict[str, int]
    errors: dict[str, int]
    announced: int
    logged_once: int
    without_reason: int
    memory_mb: dict[str, Memory]
    warnings: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Nothing passed or failed falsely, nothing was lost, and everything is logged once."""
        bad = (one.false_passed + one.false_failed + one.lost + one.other for one in self.kinds)
        return not sum(bad) and self.announced == self.logged_once and not self.without_reason

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def judged(
    world: World, placed: list[Planned], seconds: float, memory: dict[str, Memory]
) -> Report:
    """Compare what was placed with what the PBXs and our call logs have of it."""
    rows = {name: pbx.cdr_rows() for name, pbx in world.pbxs.items()}
    received: dict[tuple[str, str], list[Row]] = {}
    for name in "ab":
        for row in rows[name]:
            if row["channel"].startswith("PJSIP/") and row["stir_verstat"]:
                received.setdefault((row["src"], row["dst"]), []).append(row)
    sent = {row["src"]: row for row in rows["a"] if row["stir_out_reason"]}
    kinds = [
        _kind(kind, [one for one in placed if one.kind == kind], received, sent)
        for kind in dict.fromkeys(one.kind for one in placed)
    ]
    all_rows = [row for name in "ab" for row in rows[name]]
    ids = collections.Counter(
        row[column]
        for row in all_rows
        for column in ("stir_id", "stir_out_id")
        if row[column] and row["channel"].startswith(("PJSIP/", "Local/"))
    )
    logged = collections.Counter(_logged(world))
    announced = [one for one in ids if one]
    return Report(
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        machine=Machine.this(),
        calls=len(placed),
        seconds=round(seconds, 1),
        kinds=tuple(kinds),
        left=dict(
            collections.Counter(
                f"{row['stir_status']} {row['stir_out_reason']}"
                for row in all_rows
                if row["stir_out_reason"]
            )
        ),
        errors=dict(_errors(placed, rows["a"])),
        announced=len(announced),
        logged_once=sum(logged[one] == 1 for one in announced),
        without_reason=sum(map(_is_without_reason, all_rows)),
        memory_mb=memory,
        warnings=tuple(_warnings(world)),
    )  # fmt: skip


def _is_without_reason(row: Row) -> bool:
    inbound = bool(row["stir_verstat"]) and not row["stir_reason"]
    return inbound or (bool(row["stir_status"]) and not row["stir_out_reason"])


def _warnings(world: World) -> Iterator[str]:
    """What our logs have of warnings and worse."""
    for name, service in [*world.listeners.items(), ("cps", world.cps)]:
        for line in service.said.splitlines():
            if line.startswith(("WARNING", "ERROR", "CRITICAL")):
                yield f"{name}: {line}"


def _errors(placed: list[Planned], rows: list[Row]) -> collections.Counter[str]:
    """What A could not sign or store, by kind of call; a call that is hung up may be any."""
    kinds = {one.orig: one.kind for one in reversed(placed)}
    return collections.Counter(
        f"{kinds.get(row['src'], 'other')}: {row['stir_out_reason']}"
        for row in rows
        if row["stir_status"] == "error"
    )


def _logged(world: World) -> Iterator[str]:
    for company in (world.a, world.b):
        for line in (company.folder / "calls.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["event"] == "call":
                yield record["id"]


def _kind(
    kind: str,
    calls: list[Planned],
    received: dict[tuple[str, str], list[Row]],
    sent: dict[str, Row],
) -> Kind:
    found: collections.Counter[str] = collections.Counter()
    passed = failed = lost = other = 0
    together = collections.Counter(map(_pair, calls))
    before: collections.Counter[tuple[str, str]] = collections.Counter()
    for one in calls:
        if kind == "emergency":
            row = sent.get(one.orig)
            word = f"{row['stir_status']} {row['stir_out_reason']}" if row else "nothing"
            found[word] += 1
            lost += row is None
            other += row is not None and word != "skipped emergency"
            continue
        pair = _pair(one)
        all_of_pair = sorted(received.get(pair, []), key=lambda row: born(row["uniqueid"]))
        # of two callers without a number, who have called the same one, each has his own row
        first, before[pair] = before[pair], before[pair] + 1
        among = len(all_of_pair)
        rows = all_of_pair[first * among // together[pair] : (first + 1) * among // together[pair]]
        each = [(row["stir_verstat"], row["stir_reason"]) for row in rows]
        found.update(f"{verdict} {reason}" for verdict, reason in each)
        strange = [
            (*pair, "to-1415" in row["channel"]) for pair, row in zip(each, rows, strict=True)
        ]
        false = is_false_pass(strange, kind)
        passed += false
        failed += any(verdict == FAILED for verdict, _ in each)
        gone = not rows and kind != "hung up"
        lost += gone
        if not (false or gone or verdicts_agree(each, kind)):
            other += 1
    return Kind(kind, len(calls), dict(found), passed, failed, lost, other)


def _pair(one: Planned) -> tuple[str, str]:
    return ("anonymous" if one.kind == "anonymous" else one.pair[0]), one.pair[1]


def render(report: Report) -> str:
    """The report as text."""
    machine = report.machine
    rows = [("kind", "calls", "false Passed", "false Failed", "lost", "other", "found")]
    rows += [
        (
            one.kind,
            str(one.calls),
            str(one.false_passed),
            str(one.false_failed),
            str(one.lost),
            str(one.other),
            ", ".join(
                f"{count} {what.replace(PASSED, 'Passed')}" for what, count in one.found.items()
            ),
        )
        for one in report.kinds
    ]
    memory = ", ".join(f"{name} {one.peak:.0f} MB" for name, one in report.memory_mb.items())
    return "\n\n".join(
        (
            f"command   {report.command}\n"
            f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}\n"
            f"calls     {report.calls} in {report.seconds:.0f} s; {memory} at most",
            table(rows),
            "left: " + ", ".join(f"{count} {what}" for what, count in report.left.items()),
            "without a signature: "
            + (", ".join(f"{count} {what}" for what, count in report.errors.items()) or "none"),
            f"{report.announced} hooks with an id in a CDR, {report.logged_once} of them once in"
            f" our call logs; {report.without_reason} rows without a reason;"
            f" {len(report.warnings)} warnings in our logs",
            *report.warnings[:20],
            "all as it must be" if report.is_good else "NOT as it must be",
        )
    )
