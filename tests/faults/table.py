"""The fault table: what each fault did to the calls that ran meanwhile, and what may not be so."""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from bench.machine import Machine
from bench.report import table
from tests.faults.traffic import (
    AGAIN,
    FAILED,
    GENUINE,
    RATE,
    STRANGER,
    Call,
    Traffic,
    words,
)
from tests.faults.world import World

BUDGET_OUT_MS: Final = 1500
BUDGET_IN_MS: Final = 2000
ALLOWANCE_MS: Final = 50
# what two busy cores add to a wait now and then, in Asterisk alone
NOISE_MS: Final = 150
# a hold is over at once: the dialplan's own steps, on a busy machine
NOTHING_MS: Final = 20
BEFORE_SECONDS: Final = 3.0
DURING_SECONDS: Final = 6.0
# so many calls in a row that passed, and it is over
IN_A_ROW: Final = 6


class Row(msgspec.Struct, frozen=True):
    """One fault. Times in ms, ``recovery_s`` in seconds after the fault ended.

    ``held_out`` and ``held_in`` are the longest of all calls, ``usual`` the median of one hold
    before the fault, ``settled`` that during it, once it was known, both of the direction with the
    longer; ``paid``: how many calls of the fault were held over 100 ms in all;
    ``words`` what was said during it, ``unverified`` how many calls of it had no Passed.
    """

    fault: str
    calls: int
    held_out: int
    held_in: int
    usual: float
    settled: float
    paid: int
    words: dict[str, int]
    unverified: int
    recovery_s: float
    lost: str

    @property
    def costs_nothing(self) -> bool:
        """Whether a hold took no more than usual and ``NOTHING_MS``, by the median."""
        return self.settled <= self.usual + NOTHING_MS


ROWS: list[Row] = []


@dataclass(slots=True)
class Story:
    """The calls before a fault, during it, and after it; ``gone``: that a PBX took along."""

    name: str
    before: list[Call] = field(default_factory=list)
    during: list[Call] = field(default_factory=list)
    after: list[Call] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    lost_lines: int = 0
    gone: int = 0

    @property
    def all(self) -> list[Call]:
        """Every call."""
        return [*self.before, *self.during, *self.after]

    @property
    def recovery_s(self) -> float:
        """Seconds from the fault's end to the first call after which all passed."""
        bad = [one for one in self.after if one.genuine and not one.passed]
        return round(max(0.0, bad[-1].at - self.ended) if bad else 0.0, 1)

    def later(self, seconds: float) -> list[Call]:
        """Those of the fault that began so long after it."""
        return [one for one in self.during if one.at >= self.began + seconds]


def story(
    world: World,
    name: str,
    fault: AbstractContextManager[object],
    *,
    seconds: float = DURING_SECONDS,
    within: float = 30.0,
    meanwhile: Callable[[Traffic], None] | None = None,
    connects: bool = True,
) -> Story:
    """Let calls run, make a fault, end it, and wait until all is as before.

    ``within``: seconds for that. ``meanwhile`` takes the place of ``seconds`` of waiting. Where a
    PBX goes (not ``connects``) calls that it took along are left out.
    """
    told = Story(name)
    with Traffic(world) as traffic:
        time.sleep(BEFORE_SECONDS)
        told.began = time.monotonic()
        with fault:
            if meanwhile is not None:
                meanwhile(traffic)
            time.sleep(max(0.0, told.began + seconds - time.monotonic()))
        told.ended = time.monotonic()
        while time.monotonic() < told.ended + within:
            time.sleep(1.0)
            recent = [one for one in traffic.seen() if one.at >= told.ended and one.genuine]
            if len(recent) >= IN_A_ROW and all(one.passed for one in recent[-IN_A_ROW:]):
                break
    traffic.settle()
    assert not traffic.failure
    for one in traffic.calls():
        if not (one.connected or connects):
            told.gone += 1
            continue
        if one.at < told.began:
            told.before.append(one)
        elif one.at < told.ended:
            told.during.append(one)
        else:
            told.after.append(one)
    told.lost_lines = lost_lines(world)
    if connects:
        # a fault that no call met would be passed by any software
        enough = 0.6 * RATE * (told.ended - told.began)
        assert sum(one.genuine for one in told.during) >= enough
    return told


def lost_lines(world: World) -> int:
    """How many calls that a listener answered have no line in the call log, or two."""
    logged: Counter[str] = Counter()
    for name in "ab":
        for line in world.records(name):
            try:
                record = msgspec.json.decode(line)
            except msgspec.DecodeError:
                # the part of a line that a full disk had room for; the whole one follows
                continue
            if record["event"] == "call":
                logged[record["id"]] += 1
    ids = {
        row[column]
        for pbx in world.pbxs.values()
        for row in pbx.cdr_rows()
        for column in ("stir_id", "stir_out_id")
        if row[column]
    }
    return sum(logged[one] != 1 for one in ids)


def enter(
    told: Story,
    *,
    settled_after: float = 0.0,
    lost: str = "",
    may_miss: int = 0,
    noise_ms: int = NOISE_MS,
    felt: str = "",
) -> Row:
    """Put a story into the table, and assert what holds of every fault.

    ``settled_after``: seconds after which a fault costs nothing any more. ``may_miss``: lines of
    the call log that may be missing. ``felt``: the reason that shows that there was a fault.
    """
    usual = _median([one for one in told.before if one.genuine])
    settled = _median([one for one in told.later(settled_after) if one.genuine])
    unverified = sum(one.genuine and not one.passed for one in told.during)
    missing = f"{told.lost_lines} log lines" if told.lost_lines else ""
    row = Row(
        fault=told.name,
        calls=len(told.all),
        held_out=max(one.held_out for one in told.all),
        held_in=max(one.held_in for one in told.all),
        usual=usual,
        settled=settled,
        paid=sum(one.held > 100 for one in told.during if one.genuine),
        words=words(told.during),
        unverified=unverified,
        recovery_s=told.recovery_s,
        lost="; ".join(filter(None, (lost, missing))) or "nothing",
    )
    ROWS.append(row)
    print(rendered([row]))
    _honest(told)
    assert not felt or felt in {each for one in told.during for each in (one.reason, one.stored)}
    assert all(one.passed for one in told.before if one.genuine), words(told.before)
    assert all(one.connected for one in told.all)
    assert not [one for one in told.all if one.nameless]
    assert row.held_out <= BUDGET_OUT_MS + ALLOWANCE_MS + noise_ms
    assert row.held_in <= BUDGET_IN_MS + ALLOWANCE_MS + noise_ms
    last = [one for one in told.after if one.genuine][-IN_A_ROW:]
    assert len(last) == IN_A_ROW
    assert all(one.passed for one in last), words(told.after)
    assert told.lost_lines <= may_miss
    return row


def _honest(told: Story) -> None:
    """No call Failed, no stranger's Passed, no PASSporT passed twice; there were such calls."""
    assert not [one for one in told.all if one.verstat == FAILED]
    assert {one.kind for one in told.all} == {GENUINE, STRANGER, AGAIN}
    assert not [one for one in told.all if one.passed and one.kind == STRANGER]
    # a repeated call passes where the genuine one has not: RFC 8816 section 7.4
    passed = Counter(one.pair for one in told.all if one.passed)
    assert max(passed.values()) == 1
    ours = {one.pair for one in told.all if one.genuine and one.passed}
    assert [one for one in told.all if one.kind == AGAIN and one.pair in ours]


def _median(calls: Sequence[Call]) -> float:
    """Of the holds of the direction in which it is the longer; of no calls there is none."""
    holds = ([one.held_out for one in calls], [one.held_in for one in calls])
    return max(float(statistics.median(each)) for each in holds)


def rendered(rows: Sequence[Row]) -> str:
    """The table as text."""
    heads = ("fault", "calls", "out", "in", "usual", "settled", "paid", "unver.", "recov.", "lost")
    lines = [
        (
            row.fault,
            str(row.calls),
            str(row.held_out),
            str(row.held_in),
            f"{row.usual:.0f}",
            f"{row.settled:.0f}",
            str(row.paid),
            str(row.unverified),
            f"{row.recovery_s:.1f}",
            row.lost,
        )
        for row in rows
    ]
    said = [
        f"  {row.fault}: " + ", ".join(f"{word} {count}" for word, count in row.words.items())
        for row in rows
    ]
    return "\n".join([table([heads, *lines]), "", *said])


def written(rows: Sequence[Row], path: Path) -> None:
    """Write the table as JSON, with the machine it is of."""
    whole = {"machine": Machine.this(), "load": os.getloadavg(), "rows": list(rows)}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
