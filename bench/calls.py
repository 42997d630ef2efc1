"""Measures calls through a real Asterisk, with and without the hook: SIPp on both sides.

Asterisk has one core to itself, as it has a machine of its own elsewhere; the listener, the CPS
and SIPp have the others. Three things are measured, each of them in turns for all ways, so that a
bad moment of the machine meets each:

* the processor time of Asterisk that a call costs, and the time from INVITE to 200, at a rate that
  leaves the core half idle;
* the same with audio, which is what a PBX that carries it spends its time on;
* the rate that is carried: calls are begun evenly, more and more a second, as long as nearly all
  are answered within half a second. That is the rate of signalling alone, of calls that end as soon
  as they are answered.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from bench import sipp
from bench.calls_world import World
from bench.latency import Latency
from bench.machine import Interference, Machine, Watch, cpu_seconds
from bench.report import Target, table
from bench.sipp import Calls
from lab.debian import LabError

ROUNDS: Final = 3
SECONDS: Final = 4.0
# calls a second for the processor time, without and with audio, and the seconds of it
STEADY: Final = 40.0
SPEAKING: Final = 10.0
AUDIO_SECONDS: Final = 10.0
# the rate is raised by this factor from half of what the processor time would allow
_STEP: Final = 1.08
_ANSWERED_IN_TIME: Final = 0.99
# the detail records and events of the last calls are still worked on
_SETTLE_SECONDS: Final = 0.5
BARE: Final = "no hook"
SIGNED: Final = "outbound hook: signed and stored"
# the digit before the number, and whether the number called is ours
WAYS: Final = {
    BARE: ("0", False),
    "outbound hook, trunk off": ("1", False),
    SIGNED: ("2", False),
    "inbound hook: fetched, nothing there": ("3", True),
}

Say = Callable[[str], None]


class Row(msgspec.Struct, frozen=True):
    """One way. ``carried`` are calls a second and ``rounds`` those of each round.

    ``pbx_ms``, ``listener_ms`` and ``audio_ms`` (Asterisk's, with audio) are processor ms a call;
    ``held`` is what the dialplan measured around the wait for an answer, None where it never waits.
    """

    way: str
    carried: float
    rounds: tuple[float, ...]
    pbx_ms: float
    listener_ms: float
    audio_ms: float
    latency: Latency
    held: Latency | None
    failed: int


class Report(msgspec.Struct, frozen=True):
    """All figures; shares are those of the outbound hook, of the bare PBX's."""

    share_of_bare: float
    share_with_audio: float
    command: str
    machine: Machine
    interference: Interference
    asterisk: str
    rows: tuple[Row, ...]

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class _Spent(msgspec.Struct, frozen=True):
    """One run at a steady rate: processor ms a call of Asterisk and of the listener."""

    calls: Calls
    pbx_ms: float
    listener_ms: float


def measure(say: Say) -> Report:
    """Measure all. Raises LabError where anything does not work."""
    if sipp.binary() is None:
        raise LabError("needs sipp (Debian's package sip-tester)")
    machine = Machine.this()
    with tempfile.TemporaryDirectory(prefix="pbx-stir-bench-") as name:
        world = World(Path(name))
        with world.running():
            watch = Watch([world.pbx.pid, world.cps.pid, world.listener.pid])
            rows = _rows(world, say)
            interference = watch.interference()
        world.check()
    bare, signed = (next(row for row in rows if row.way == way) for way in (BARE, SIGNED))
    return Report(
        share_of_bare=round(signed.carried / bare.carried, 3),
        share_with_audio=round(bare.audio_ms / signed.audio_ms, 3),
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        machine=machine,
        interference=interference,
        asterisk=world.version,
        rows=tuple(rows),
    )


def _rows(world: World, say: Say) -> list[Row]:
    """All ways, by turns."""
    say("warming up")
    for digit, ours in WAYS.values():
        world.call(digit, ours=ours, calls=200, rate=STEADY)
    steady: dict[str, list[_Spent]] = {way: [] for way in WAYS}
    audio: dict[str, list[_Spent]] = {way: [] for way in WAYS}
    for one in range(ROUNDS):
        for way in WAYS:
            say(f"round {one + 1}: {way}, {STEADY:g} calls a second, and with audio")
            steady[way].append(_spend(world, way, STEADY, 0.0))
            audio[way].append(_spend(world, way, SPEAKING, AUDIO_SECONDS))
    held = {way: world.held(digit, ours=ours) for way, (digit, ours) in WAYS.items()}
    carried: dict[str, list[float]] = {way: [] for way in WAYS}
    for one in range(ROUNDS):
        for way in WAYS:
            start = 500 / median(found.pbx_ms for found in steady[way])
            carried[way].append(_carried(world, way, start))
            say(f"round {one + 1}: {way} carries {carried[way][-1]:.0f} calls a second")
    return [
        Row(
            way,
            median(carried[way]),
            tuple(carried[way]),
            round(median(found.pbx_ms for found in steady[way]), 2),
            round(median(found.listener_ms for found in steady[way]), 2),
            round(median(found.pbx_ms for found in audio[way]), 2),
            Latency.of_rounds([found.calls.latency for found in steady[way]]),
            Latency.of(held[way]) if held[way] and way not in _NEVER_HELD else None,
            sum(found.calls.failed for found in (*steady[way], *audio[way])),
        )
        for way in WAYS
    ]


_NEVER_HELD: Final = (BARE, "outbound hook, trunk off")


def _spend(world: World, way: str, rate: float, audio_seconds: float) -> _Spent:
    """Make calls at a rate. Raises LabError where audio got lost: the figures would be void."""
    digit, ours = WAYS[way]
    calls = int(rate * (SECONDS if not audio_seconds else AUDIO_SECONDS))
    before = cpu_seconds(world.pbx.pid), cpu_seconds(world.listener.pid), datagrams()
    done = world.call(digit, ours=ours, calls=calls, rate=rate, audio_seconds=audio_seconds)
    time.sleep(_SETTLE_SECONDS)
    after = cpu_seconds(world.pbx.pid), cpu_seconds(world.listener.pid), datagrams()
    # to Asterisk, to the phone, and the same way back
    wanted = 4 * sipp.PACKETS * audio_seconds * calls
    if after[2] - before[2] < 0.9 * wanted:
        raise LabError(f"{after[2] - before[2]} datagrams, where audio alone is {wanted:.0f}")
    each = max(1, done.answered) / 1000
    return _Spent(done, (after[0] - before[0]) / each, (after[1] - before[1]) / each)


def _carried(world: World, way: str, start: float) -> float:
    """The highest rate at which nearly all calls are answered in time; each has two tries."""
    digit, ours = WAYS[way]
    rate, carried = start, 0.0
    while True:
        for _ in range(2):
            calls = int(rate * SECONDS)
            done = world.call(digit, ours=ours, calls=calls, rate=rate)
            if done.in_time >= _ANSWERED_IN_TIME * calls:
                break
            time.sleep(_SETTLE_SECONDS)
        else:
            return carried
        carried, rate = round(rate, 1), rate * _STEP


def datagrams() -> int:
    """UDP datagrams that this machine has sent: SIPp does not read all that it is sent."""
    lines = Path("/proc/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp:"))
    return int(values[names.index("OutDatagrams")])


def targets(report: Report) -> list[Target]:
    """What is asked of the hook."""
    signed = next(row for row in report.rows if row.way == SIGNED)
    found = [
        Target.at_least(
            "rate of signalling alone, outbound hook", report.share_of_bare, 0.9, "of the bare PBX"
        ),
        Target.at_least(
            f"calls a core carries, {AUDIO_SECONDS:g} s of audio each",
            report.share_with_audio,
            0.9,
            "of the bare PBX",
        ),
    ]
    if signed.held is not None:
        found.append(Target.at_most("what a held call pays, p50", signed.held.p50, 12, "ms"))
    return found


def render(report: Report) -> str:
    """The report as text."""
    machine = report.machine
    asked = [
        ("target", "measured", "asked", ""),
        *(
            (one.name, f"{one.figure:.2f} {one.unit}", f"{one.limit:g}",
             "met" if one.met else "MISSED")
            for one in targets(report)
        ),
    ]  # fmt: skip
    bare = report.rows[0]
    rows = [
        ("way", "carried/s", "of bare", "PBX ms", "of bare", "with audio", "of bare", "listener ms",
         "p50 ms", "p99 ms", "held p50", "p99", "failed", "carried of each round"),
    ]  # fmt: skip
    rows += [
        (
            one.way,
            f"{one.carried:.0f}",
            f"{one.carried / bare.carried:.2f}",
            f"{one.pbx_ms:.2f}",
            f"{one.pbx_ms / bare.pbx_ms:.2f}",
            f"{one.audio_ms:.2f}",
            f"{one.audio_ms / bare.audio_ms:.2f}",
            f"{one.listener_ms:.2f}",
            f"{one.latency.p50:.0f}",
            f"{one.latency.p99:.0f}",
            f"{one.held.p50:.0f}" if one.held else "-",
            f"{one.held.p99:.0f}" if one.held else "-",
            str(one.failed),
            " ".join(f"{each:.0f}" for each in one.rounds),
        )
        for one in report.rows
    ]
    head = (
        f"command   {report.command}",
        f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}",
        f"software  Asterisk {report.asterisk}, on a core of its own; Python {machine.python}",
        f"load      of the {machine.cores} cores other processes took"
        f" {report.interference.others:.2f} meanwhile",
        f"calls     medians of {ROUNDS} rounds. PBX and listener ms: processor time a call, at"
        f" {STEADY:g} calls a second,",
        f"          with {AUDIO_SECONDS:g} s of audio at {SPEAKING:g}; p50, p99: INVITE to 200, in"
        " ticks of 4 ms; held: by the dialplan's clock;",
        f"          carried: {_ANSWERED_IN_TIME:.0%} answered within half a second, calls begun"
        " evenly and ended at once",
    )
    return "\n\n".join(("\n".join(head), table(asked), table(rows)))
