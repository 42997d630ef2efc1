"""Measures calls through a real Asterisk, with and without the hook: SIPp on both sides.

Asterisk has one core to itself, as it has a machine of its own elsewhere; the listener, the CPS
and SIPp have the others. Measured in turns for all ways, so that a bad moment of the machine meets
each:

* the processor time of Asterisk that a call costs, and the time from INVITE to 200, at a rate that
  leaves the core half idle;
* the rate that is carried of calls with audio, which is what a PBX spends its time on: calls begin
  evenly, more and more a second, as long as nearly all are answered within half a second;
* the same of signalling alone, of calls that end as soon as they are answered.

The bare PBX has no listener connected: each session of its manager interface, whatever it reads,
is woken by each event.
"""

from __future__ import annotations

import contextlib
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
from bench.calls_world import QUIETER, World
from bench.latency import Latency
from bench.machine import Interference, Machine, Watch, cpu_seconds
from bench.ramp import ANSWERED_IN_TIME, Ramp
from bench.report import Target, table
from bench.sipp import Calls
from lab.debian import LabError

ROUNDS: Final = 3
SECONDS: Final = 4.0
# calls a second for the processor time, without and with audio, and the seconds of it
STEADY: Final = 40.0
SPEAKING: Final = 10.0
AUDIO_SECONDS: Final = 10.0
# seconds at each rate of the ramp, without and with audio
_INTERVAL: Final = 1
_SPEAKING_INTERVAL: Final = 3
# the detail records and events of the last calls are still worked on
_SETTLE_SECONDS: Final = 0.5
_SETTLE_AFTER_TOO_MANY: Final = 3.0
BARE: Final = "no hook, no listener"
SIGNED: Final = "outbound hook: signed and stored"
SIGNED_QUIETER: Final = "the same, disabledevents = " + QUIETER
# the digit before the number, and whether the number called is ours
WAYS: Final = {
    BARE: ("0", False),
    "no hook, listener connected": ("0", False),
    "outbound hook, trunk off": ("1", False),
    SIGNED: ("2", False),
    SIGNED_QUIETER: ("2", False),
    "inbound hook: fetched, nothing there": ("3", True),
}
# those that are measured with audio
SPOKEN: Final = (BARE, SIGNED)
_HELD: Final = tuple(WAYS)[3:]

Say = Callable[[str], None]


class Row(msgspec.Struct, frozen=True):
    """One way. ``carried`` are calls a second of signalling alone, ``rounds`` those of each round.

    ``pbx_ms`` and ``listener_ms`` are processor ms a call; ``audio`` is None where it was not
    measured; ``held`` is what the dialplan measured around the wait for an answer, None where it
    never waits.
    """

    way: str
    carried: float
    rounds: tuple[float, ...]
    pbx_ms: float
    listener_ms: float
    latency: Latency
    audio: Audio | None
    held: Latency | None
    failed: int


class Audio(msgspec.Struct, frozen=True):
    """With audio: calls carried a second, those of each round, Asterisk's processor ms a call."""

    carried: float
    rounds: tuple[float, ...]
    pbx_ms: float


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


class _Found(msgspec.Struct):
    """What all rounds of one way have found."""

    steady: list[_Spent] = msgspec.field(default_factory=list)
    audio: list[_Spent] = msgspec.field(default_factory=list)
    carried: list[float] = msgspec.field(default_factory=list)
    carried_audio: list[float] = msgspec.field(default_factory=list)
    held: list[float] = msgspec.field(default_factory=list)


def measure(say: Say) -> Report:
    """Measure all. Raises LabError where anything does not work."""
    if sipp.binary() is None:
        raise LabError("needs sipp (Debian's package sip-tester)")
    machine = Machine.this()
    with tempfile.TemporaryDirectory(prefix="pbx-stir-bench-") as name:
        world = World(Path(name))
        with world.running():
            watch = Watch([world.pbx.pid, world.cps.pid, world.listener.pid])
            rows = _rows(world, watch, say)
            interference = watch.interference()
        world.check()
    bare, signed = (next(row for row in rows if row.way == way) for way in (BARE, SIGNED))
    return Report(
        share_of_bare=round(signed.carried / bare.carried, 3),
        share_with_audio=round(_audio(signed).carried / _audio(bare).carried, 3),
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        machine=machine,
        interference=interference,
        asterisk=world.version,
        rows=tuple(rows),
    )


def _audio(row: Row) -> Audio:
    if row.audio is None:
        raise LabError(f"{row.way}: not measured with audio")
    return row.audio


def _rows(world: World, watch: Watch, say: Say) -> list[Row]:
    """All ways, by turns."""
    say("warming up")
    for digit, ours in WAYS.values():
        world.call(digit, ours=ours, calls=200, rate=STEADY)
    found = {way: _Found() for way in WAYS}
    for one in range(ROUNDS):
        watch.look()
        with world.alone():
            _round(world, BARE, found[BARE], say)
        watch.follow(world.listener.pid)
        for way in tuple(WAYS)[1:]:
            with world.quieter() if way == SIGNED_QUIETER else contextlib.nullcontext():
                _round(world, way, found[way], say)
        say(f"round {one + 1} of {ROUNDS} is done")
    return [_row(way, found[way]) for way in WAYS]


def _round(world: World, way: str, found: _Found, say: Say) -> None:
    """One round of one way: at steady rates, then until it is too much."""
    digit, ours = WAYS[way]
    before = len(world.held(digit, ours=ours))
    found.steady.append(_spend(world, way, STEADY, 0.0))
    found.held += world.held(digit, ours=ours)[before:]
    ramp = Ramp.around(1000 / found.steady[-1].pbx_ms, _INTERVAL)
    found.carried.append(world.carried(digit, ours=ours, ramp=ramp))
    time.sleep(_SETTLE_AFTER_TOO_MANY)
    say(f"{way}: {found.carried[-1]:.0f} calls a second")
    if way not in SPOKEN:
        return
    found.audio.append(_spend(world, way, SPEAKING, AUDIO_SECONDS))
    ramp = Ramp.around(1000 / found.audio[-1].pbx_ms, _SPEAKING_INTERVAL)
    found.carried_audio.append(
        world.carried(digit, ours=ours, ramp=ramp, audio_seconds=AUDIO_SECONDS)
    )
    time.sleep(_SETTLE_AFTER_TOO_MANY)
    say(f"{way}: {found.carried_audio[-1]:.1f} calls a second with audio")


def _row(way: str, found: _Found) -> Row:
    """The medians of all rounds."""
    audio = None
    if found.audio:
        audio = Audio(
            median(found.carried_audio),
            tuple(found.carried_audio),
            round(median(one.pbx_ms for one in found.audio), 2),
        )
    return Row(
        way,
        median(found.carried),
        tuple(found.carried),
        round(median(one.pbx_ms for one in found.steady), 2),
        round(median(one.listener_ms for one in found.steady), 2),
        Latency.of_rounds([one.calls.latency for one in found.steady]),
        audio,
        Latency.of(found.held) if way in _HELD else None,
        sum(one.calls.failed for one in (*found.steady, *found.audio)),
    )


def _spend(world: World, way: str, rate: float, audio_seconds: float) -> _Spent:
    """Make calls at a rate. Raises LabError where audio got lost: the figures would be void."""
    digit, ours = WAYS[way]
    calls = int(rate * (SECONDS if not audio_seconds else AUDIO_SECONDS))
    before = cpu_seconds(world.pbx.pid), _listener_seconds(world), datagrams()
    done = world.call(digit, ours=ours, calls=calls, rate=rate, audio_seconds=audio_seconds)
    time.sleep(_SETTLE_SECONDS)
    after = cpu_seconds(world.pbx.pid), _listener_seconds(world), datagrams()
    # to Asterisk, to the phone, and the same way back
    wanted = 4 * sipp.PACKETS * audio_seconds * calls
    if after[2] - before[2] < 0.9 * wanted:
        raise LabError(f"{after[2] - before[2]} datagrams, where audio alone is {wanted:.0f}")
    each = max(1, done.answered) / 1000
    return _Spent(done, (after[0] - before[0]) / each, (after[1] - before[1]) / each)


def _listener_seconds(world: World) -> float:
    """Its processor time so far; 0 while there is none."""
    return cpu_seconds(world.listener.pid) if world.listener.running else 0.0


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
            f"calls a core carries, {AUDIO_SECONDS:g} s of audio each",
            report.share_with_audio,
            0.9,
            "of the bare PBX",
        ),
        Target.at_least(
            "signalling alone, no audio at all", report.share_of_bare, 0.9, "of the bare PBX"
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
        ("signalling alone", "carried/s", "of bare", "of each round", "PBX ms", "of bare",
         "listener ms", "p50 ms", "p99 ms", "held p50", "p99", "failed"),
    ]  # fmt: skip
    rows += [
        (
            one.way,
            f"{one.carried:.0f}",
            f"{one.carried / bare.carried:.2f}",
            _each(one.rounds, 0),
            f"{one.pbx_ms:.2f}",
            f"{one.pbx_ms / bare.pbx_ms:.2f}",
            f"{one.listener_ms:.2f}",
            f"{one.latency.p50:.0f}",
            f"{one.latency.p99:.0f}",
            f"{one.held.p50:.0f}" if one.held else "-",
            f"{one.held.p99:.0f}" if one.held else "-",
            str(one.failed),
        )
        for one in report.rows
    ]
    spoken = [
        (f"with {AUDIO_SECONDS:g} s of audio", "carried/s", "of bare", "of each round", "PBX ms",
         "of bare"),
    ]  # fmt: skip
    spoken += [
        (
            one.way,
            f"{one.audio.carried:.1f}",
            f"{one.audio.carried / _audio(bare).carried:.2f}",
            _each(one.audio.rounds, 1),
            f"{one.audio.pbx_ms:.2f}",
            f"{one.audio.pbx_ms / _audio(bare).pbx_ms:.2f}",
        )
        for one in report.rows
        if one.audio is not None
    ]
    head = (
        f"command   {report.command}",
        f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}",
        f"software  Asterisk {report.asterisk}, on a core of its own; Python {machine.python}",
        f"load      of the {machine.cores} cores other processes took"
        f" {report.interference.others:.2f} meanwhile",
        f"calls     medians of {ROUNDS} rounds. carried: begun evenly, more and more a second, and"
        f" {ANSWERED_IN_TIME:.0%} answered",
        "          within half a second. PBX and listener ms: processor time a call, at"
        f" {STEADY:g} calls a second, with",
        f"          audio at {SPEAKING:g}; p50, p99: INVITE to 200, in ticks of 4 ms; held: by the"
        " dialplan's clock",
    )
    return "\n\n".join(("\n".join(head), table(asked), table(spoken), table(rows)))


def _each(rounds: tuple[float, ...], digits: int) -> str:
    return " ".join(f"{one:.{digits}f}" for one in rounds)
