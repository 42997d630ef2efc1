"""Measures calls through a real Asterisk, with and without the hook: SIPp on both sides.

Asterisk has one core to itself, as it has a machine of its own elsewhere; the listener, the CPS
and SIPp have the others. Calls are made as fast as they are answered, so many at a time, and then
at half of the bare PBX's rate for the time from INVITE to 200.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from bench import sipp
from bench.latency import Latency
from bench.load import pin
from bench.machine import Interference, Machine, Watch, cpu_seconds
from bench.report import Target, table
from bench.sipp import Calls
from lab import asterisk
from lab.asterisk import Instance, Trunk
from lab.companies import Authority, Company, tls_certificate
from lab.debian import LabError
from lab.processes import Service, pbx_stir
from lab.stage import free_port, heard

ROUNDS: Final = 3
AT_ONCE: Final = 40
SECONDS: Final = 4.0
_NUMBERS: Final = 10_000
BARE: Final = "no hook"
DIALPLAN: Final = """
[globals]
STIR_OUT_carrier=on
STIR_IN_carrier=on
STIR_OUT_quiet=off

[from-caller]
exten => _0X!,1,Dial(PJSIP/${EXTEN:1}@phone,10)
exten => _1X!,1,Gosub(pbx-stir-outbound,s,1(quiet,${EXTEN:1}))
 same => n,Dial(PJSIP/${EXTEN:1}@phone,10)
exten => _2X!,1,Gosub(pbx-stir-outbound,s,1(carrier,${EXTEN:1}))
 same => n,Dial(PJSIP/${EXTEN:1}@phone,10)
exten => _3X!,1,Gosub(pbx-stir-inbound,s,1(carrier,${EXTEN:1}))
 same => n,Dial(PJSIP/${EXTEN:1}@phone,10)
"""
# the digit before the number, and whether the number called is ours
WAYS: Final = (
    (BARE, "0", False),
    ("outbound hook, trunk off", "1", False),
    ("outbound hook: signed and stored", "2", False),
    ("inbound hook: fetched, nothing there", "3", True),
)

Say = Callable[[str], None]


class Row(msgspec.Struct, frozen=True):
    """One way: calls a second at saturation, their rounds, processor ms a call, INVITE to 200."""

    way: str
    a_second: float
    rounds: tuple[float, ...]
    pbx_ms: float
    listener_ms: float
    latency: Latency
    failed: int


class Report(msgspec.Struct, frozen=True):
    """All figures; ``half`` is the rate of the latencies, calls a second."""

    share_of_bare: float
    command: str
    machine: Machine
    interference: Interference
    asterisk: str
    half: float
    rows: tuple[Row, ...]

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class _World:
    """One Asterisk between SIPp and SIPp, company A's listener, a CPS, and B's records there."""

    def __init__(self, folder: Path) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.pbx_cores, self.others = (cores[0],), tuple(cores[1:]) or (cores[0],)
        self.folder = folder
        self.authority = Authority.new(folder, "Bench Authority")
        self.a = Company("company-a", "12125550000", _NUMBERS, folder / "a")
        self.b = Company("company-b", "13105550000", _NUMBERS, folder / "b")
        self.caller, self.phone = "127.11.0.1", "127.11.0.2"
        software = asterisk.get("forky")
        self.version = software.version
        self.phone_port = free_port()
        trunks = [
            Trunk("caller", self.caller, 5060, "from-caller"),
            Trunk("phone", self.phone, self.phone_port, "from-caller"),
        ]
        self.pbx = Instance(software, folder / "pbx", "a", extensions=DIALPLAN, trunks=trunks)
        # a lab's log of every step costs as much as a call
        self.pbx.files["logger.conf"] = "[general]\n[logfiles]\nfull => warning,error\n"
        self._certificate, self._key, self._ca = tls_certificate(folder, "cps", ["127.0.0.1"])
        self.url = f"https://127.0.0.1:{free_port()}"
        config = folder / "cps.toml"
        config.write_text(
            f'state_dir = "cps"\n[cps]\nlisten = "{self.url.removeprefix("https://")}"\n'
            f'certificate = "{self._certificate}"\nkey = "{self._key}"\n'
            f'trust = ["{self.authority.anchor}"]\ntokens = false\n'
            "retrievals_per_second = 100000\n"
        )
        self.cps = Service("cps", ["cps", "--config", str(config)], folder)
        self.listener = Service("listener", ["run", "--config", str(self.a.config)], folder)
        self._next = count()

    def configure(self) -> None:
        """Write both companies' configuration."""
        for company, pbxs in ((self.a, [self.pbx]), (self.b, [])):
            company.configure(
                authority=self.authority,
                trust=self.authority.anchor,
                cps=self.url,
                cps_ca=self._ca,
                routes=["1"],
                pbxs=pbxs,
                more='log_level = "warning"\n',
            )
        # calls both ways come from one SIPp: it is a trunk and a user at once
        text = self.a.config.read_text()
        self.a.config.write_text(
            text.replace('country_code = "1"\n', 'country_code = "1"\nendpoints = []\n')
        )

    def numbers(self, digit: str, *, ours: bool, calls: int) -> list[tuple[str, str]]:
        """Pairs of called and calling numbers."""
        called, calling = (self.a, self.b) if ours else (self.b, self.a)
        indices = [next(self._next) % _NUMBERS for _ in range(calls)]
        return [(f"{digit}{called.number(i)}", calling.number(i)) for i in indices]

    def call(self, digit: str, *, ours: bool, calls: int, rate: float, at_once: int) -> Calls:
        """Make calls by one way."""
        return sipp.call(
            self.folder,
            (self.pbx.host, self.pbx.sip_port),
            self.caller,
            self.numbers(digit, ours=ours, calls=calls),
            at_once=at_once,
            rate=rate,
            processors=self.others,
        )

    def check(self) -> None:
        """Whether every hook did what its row says. Raises LabError: else the figures are void."""
        lines = map(json.loads, (self.a.folder / "calls.jsonl").read_text().splitlines())
        found = Counter(
            (one["direction"], one["reason"]) for one in lines if one["event"] == "call"
        )
        if set(found) != {("out", "stored"), ("in", "no-passport")}:
            raise LabError(f"the hooks did something else: {dict(found)}")


def measure(say: Say) -> Report:
    """Measure all. Raises LabError where anything does not work."""
    if sipp.binary() is None:
        raise LabError("needs sipp (Debian's package sip-tester)")
    machine = Machine.this()
    with tempfile.TemporaryDirectory(prefix="pbx-stir-bench-") as name:
        world = _World(Path(name))
        world.configure()
        with (
            world.cps,
            world.pbx,
            sipp.phone(world.phone, world.phone_port, world.folder, world.others),
        ):
            world.cps.wait_until(lambda: "listening on" in world.cps.said, "listening")
            pbx_stir("keys", "publish", "--config", str(world.b.config))
            with world.listener:
                world.listener.wait_until(partial(heard, world.pbx), "heard by Asterisk")
                pin(world.pbx.pid, world.pbx_cores)
                for service in (world.cps, world.listener):
                    pin(service.pid, world.others)
                watch = Watch([world.pbx.pid, world.cps.pid, world.listener.pid])
                half, rows = _rows(world, say)
                interference = watch.interference()
        world.check()
    rates = {row.way: row.a_second for row in rows}
    return Report(
        share_of_bare=round(rates[WAYS[2][0]] / rates[BARE], 3),
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        machine=machine,
        interference=interference,
        asterisk=world.version,
        half=half,
        rows=tuple(rows),
    )


def _rows(world: _World, say: Say) -> tuple[float, list[Row]]:
    """All ways in turns, so that a bad moment of the machine meets each of them."""
    say("warming up")
    calls = 200
    for _, digit, ours in WAYS:
        warm = world.call(digit, ours=ours, calls=calls, rate=1_000, at_once=AT_ONCE)
        calls = max(200, int(warm.rate * SECONDS))
    full: dict[str, list[Calls]] = {way: [] for way, _, _ in WAYS}
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way, _, _ in WAYS}
    for one in range(ROUNDS):
        for way, digit, ours in WAYS:
            say(f"round {one + 1}: {way}")
            before = cpu_seconds(world.pbx.pid), cpu_seconds(world.listener.pid)
            done = world.call(digit, ours=ours, calls=calls, rate=5_000, at_once=AT_ONCE)
            after = cpu_seconds(world.pbx.pid), cpu_seconds(world.listener.pid)
            full[way].append(done)
            each = max(1, done.answered)
            spent[way].append(
                ((after[0] - before[0]) / each * 1000, (after[1] - before[1]) / each * 1000)
            )
    half = median(one.rate for one in full[BARE]) / 2
    rows = []
    for way, digit, ours in WAYS:
        say(f"{way}, {half:.0f} calls a second")
        at_half = world.call(digit, ours=ours, calls=int(half * SECONDS), rate=half, at_once=10_000)
        rates = [one.rate for one in full[way]]
        rows.append(
            Row(
                way,
                round(median(rates), 1),
                tuple(round(one, 1) for one in rates),
                round(median(one for one, _ in spent[way]), 2),
                round(median(one for _, one in spent[way]), 2),
                at_half.latency,
                at_half.failed + sum(one.failed for one in full[way]),
            )
        )
    return round(half, 1), rows


def render(report: Report) -> str:
    """The report as text."""
    machine = report.machine
    target = Target.at_least(
        "rate with the outbound hook", report.share_of_bare, 0.9, "of the bare PBX's"
    )
    targets = [
        ("target", "measured", "asked", ""),
        (
            target.name,
            f"{target.figure:.2f} {target.unit}",
            f"{target.limit:g}",
            "met" if target.met else "MISSED",
        ),
    ]
    rows = [
        ("way", "calls/s", "of bare", "PBX ms", "listener ms", "p50 ms", "p99 ms", "failed",
         "calls/s of each round"),
    ]  # fmt: skip
    bare = report.rows[0].a_second
    rows += [
        (
            one.way,
            f"{one.a_second:.0f}",
            f"{one.a_second / bare:.2f}",
            f"{one.pbx_ms:.2f}",
            f"{one.listener_ms:.2f}",
            f"{one.latency.p50:.1f}",
            f"{one.latency.p99:.1f}",
            str(one.failed),
            " ".join(f"{each:.0f}" for each in one.rounds),
        )
        for one in report.rows
    ]
    return "\n\n".join(
        (
            "\n".join(
                (
                    f"command   {report.command}",
                    f"machine   {machine.cpu}, {machine.cores} cores, {machine.system}",
                    f"software  Asterisk {report.asterisk}, on a core of its own;"
                    f" Python {machine.python}",
                    f"load      of the {machine.cores} cores other processes took"
                    f" {report.interference.others:.2f} meanwhile",
                    f"calls     {AT_ONCE} at a time, the median of {ROUNDS} rounds; INVITE to 200"
                    f" at {report.half:g} calls a second; ms are processor time a call",
                )
            ),
            table(targets),
            table(rows),
        )
    )
