"""Half load for half an hour, with restarts: does anything grow, is any warning unexplained?

The world of ``bench.mixed_world``: three Asterisks, two listeners, a CPS with tokens over TLS. Ten
calls in eleven are genuine, one is a stranger's with a caller ID of company A. Meanwhile the called
company's listener, the CPS and the called company's PBX are restarted and all three services are
told to read their configuration again. Each ten seconds memory, descriptors and threads of every
process are read from /proc, and the new lines of every log.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from bench.machine import Machine, Memory
from bench.mixed import quiet
from bench.mixed_calls import FAILED, PASSED, born
from bench.mixed_world import Caller, World
from bench.soak_report import (
    WARM_UP_SECONDS,
    Allowed,
    Cost,
    Report,
    Said,
    Sample,
    Step,
    explained,
    flatness,
    is_disturbed,
)
from lab.asterisk import Instance
from lab.processes import Service

RATE: Final = 15.0
SAMPLE_SECONDS: Final = 10.0
# every so manieth is the stranger's, who pretends to be one of the numbers from this one on
STRANGE: Final = 11
_STRANGERS_FROM: Final = 5_000
# no number of A calls again before 5,000 calls, and no number of B is called: nothing is contested
_CALLED: Final = 80 * 100

Say = Callable[[str], None]

ALLOWED: Final = (
    Allowed(r"No SIP authenticator registered", "", "the lab's trunks have no passwords"),
    Allowed(
        r"pbx_stir\.pbx\.b: (connection lost|login .* shutting down|cannot connect to)",
        "restart of pbx-b",
        "the PBX that it listens to ended",
    ),
    Allowed(
        r"Unable to process manager action .* shutting down",
        "restart of pbx-b",
        "Asterisk refuses the listener while it ends",
    ),
    Allowed(
        r"silent: calls go on without it|answers again",
        "restart of cps",
        "calls go without a CPS that does not answer, and it is asked again off the call path",
    ),
    Allowed(
        r"pjproject: .* registered during operation",
        "restart of pbx-b",
        "Asterisk says so of itself when it starts",
    ),
    Allowed(r"pbx_stir\.cps\.exchange: ", "restart of cps", "a CPS that is gone, said once"),
)


class Soak:
    """One run: what was placed, done and seen so far. Moments are seconds since it began."""

    def __init__(self, world: World, say: Say) -> None:
        self.steps: list[Step] = []
        self.samples: list[Sample] = []
        self.said: list[Said] = []
        self.calls = 0
        self.loads: list[float] = []
        self._world = world
        self._say = say
        self._began = time.monotonic()
        self._began_at = time.time()
        self._read: collections.Counter[str] = collections.Counter()
        self._callers = {name: Caller(world.pbxs[name]) for name in "am"}
        # what the start has said is no matter of this run
        self.look()
        self.said.clear()

    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def moment(self, epoch: float) -> float:
        """Seconds since it began, of a time of day."""
        return epoch - self._began_at

    def load(self, seconds: float, plan: list[tuple[float, Callable[[], None]]]) -> None:
        """Place calls at a steady rate; ``plan`` says what is done besides, soonest first."""
        next_sample = 0.0
        while (now := self.now()) < seconds:
            if plan and plan[0][0] <= now:
                plan.pop(0)[1]()
            elif next_sample <= now:
                next_sample += SAMPLE_SECONDS
                self.look()
            elif self.calls / RATE <= now:
                self._place()
            else:
                time.sleep(min(0.01, self.calls / RATE - now))
        for caller in self._callers.values():
            caller.close()

    def _place(self) -> None:
        index, world = self.calls, self._world
        self.calls += 1
        if index % 500 == 0:
            self._say(f"{index} calls in {self.now():.0f} s")
        called = index % _CALLED
        dest = world.b.number(called // 80 * 100 + called % 80)
        orig = world.a.number(index % _STRANGERS_FROM)
        if index % STRANGE == 0:
            orig = world.a.number(_STRANGERS_FROM + index % _STRANGERS_FROM)
            self._callers["m"].originate(f"{dest}*{orig}", "anywhere")
        else:
            second = "*second" if called // 80 % 2 else ""
            self._callers["a"].originate(f"{dest}*{orig}{second}", "office")

    def look(self) -> None:
        """Read /proc and the logs."""
        self.loads.append(os.getloadavg()[0])
        services = {**self._world.listeners, "cps": self._world.cps}
        for name, one in services.items():
            self._sample(f"listener-{name}" if name != "cps" else name, one)
            self._listen(one.name, one.log, r"WARNING|ERROR|CRITICAL|Traceback")
        for name, pbx in self._world.pbxs.items():
            self._sample(f"pbx-{name}", pbx)
            self._listen(f"pbx-{name}", pbx.directory / "log/full", r"\[[^]]*\] (WARNING|ERROR)\[")

    def _sample(self, name: str, process: Service | Instance) -> None:
        if not process.running:
            return
        # it may be about to end
        with contextlib.suppress(OSError, KeyError):
            pid = process.pid
            self.samples.append(
                Sample(
                    at=round(self.now(), 2),
                    name=name,
                    pid=pid,
                    mb=Memory.of(pid).now,
                    descriptors=len(os.listdir(f"/proc/{pid}/fd")),
                    threads=len(os.listdir(f"/proc/{pid}/task")),
                )
            )

    def _listen(self, who: str, log: Path, mark: str) -> None:
        """Take the whole lines that have been added, and begin so."""
        if not log.exists():
            return
        with log.open("rb") as lines:
            lines.seek(self._read[who])
            added = lines.read().rpartition(b"\n")[0] + b"\n"
        if added != b"\n":
            self._read[who] += len(added)
        for line in added.decode(errors="replace").splitlines():
            if re.match(mark, line):
                self.said.append(Said(round(self.now(), 2), who, line))

    def restart(self, name: str, process: Service | Instance) -> None:
        """End a process as an administrator would, and start it again; calls go on meanwhile."""
        self._step(f"restart of {name}")
        process.stop()
        process.start()

    def read_again(self) -> None:
        """SIGHUP to all three services."""
        self._step("SIGHUP to all")
        for one in (*self._world.listeners.values(), self._world.cps):
            os.kill(one.pid, signal.SIGHUP)

    def _step(self, what: str) -> None:
        self._say(f"{what} at {self.now():.0f} s")
        self.steps.append(Step(round(self.now(), 2), what))


def measure(minutes: float, say: Say) -> Report:
    """Do it, and judge what was seen. Raises LabError."""
    seconds = 60 * minutes
    folder = Path(tempfile.mkdtemp(prefix="pbx-stir-soak-"))
    try:
        say("making tokens")
        with World(folder, round(1.05 * RATE * seconds)) as world:
            soak = Soak(world, say)
            soak.load(
                seconds,
                [
                    (0.10 * seconds, partial(soak.restart, "listener-b", world.listeners["b"])),
                    (0.15 * seconds, partial(soak.restart, "cps", world.cps)),
                    (0.20 * seconds, partial(soak.restart, "pbx-b", world.pbxs["b"])),
                    (0.60 * seconds, soak.read_again),
                ],
            )
            loaded = soak.now()
            say("waiting for the last calls")
            quiet(world)
            soak.look()
            return _report(world, soak, loaded, min(WARM_UP_SECONDS, 0.4 * seconds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _report(world: World, soak: Soak, seconds: float, warm_up: float) -> Report:
    rows = [
        row
        for row in world.pbxs["b"].cdr_rows()
        if row["channel"].startswith("PJSIP/") and row["stir_verstat"]
    ]
    first_strange = world.a.number(_STRANGERS_FROM)
    verdicts: collections.Counter[str] = collections.Counter()
    costs: dict[Step, list[float]] = {}
    false_passed = unverified = 0
    for row in rows:
        is_strange = row["src"] >= first_strange
        # an id has the second in which its call began, and a count: it began by that second's end
        at = soak.moment(born(row["uniqueid"])[0] + 1)
        is_passed = row["stir_verstat"] == PASSED
        kind = "stranger" if is_strange else "genuine"
        verdicts[f"{kind} {row['stir_verstat']} {row['stir_reason']}"] += 1
        false_passed += is_strange and is_passed
        disturbed = is_disturbed(at, soak.steps)
        unverified += not (is_strange or is_passed or disturbed)
        before = [one for one in soak.steps if one.at <= at]
        if before and not (is_strange or is_passed):
            cost = costs.setdefault(before[-1], [0, 0.0])
            costs[before[-1]] = [cost[0] + 1, max(cost[1], at - before[-1].at)]
    verdicts["placed that never came"] = soak.calls - len(rows)
    announced = {
        row[column]
        for name in "ab"
        for row in world.pbxs[name].cdr_rows()
        for column in ("stir_id", "stir_out_id")
        if row[column]
    }
    logged = collections.Counter(_logged(world))
    # tokens of one call: the sender's store; the CPS remembers each until its epoch ends
    tokens = soak.calls * (STRANGE - 1) / STRANGE / seconds
    found = [
        flatness(soak.samples, name, tokens if name == "cps" else 0.0, seconds, warm_up)
        for name in ("listener-a", "listener-b", "cps", "pbx-a", "pbx-b", "pbx-m")
    ]
    return Report(
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        machine=Machine.this(),
        load=round(sum(soak.loads) / len(soak.loads), 2),
        seconds=round(seconds, 1),
        calls=soak.calls,
        steps=tuple(soak.steps),
        flatness=tuple(one for one in found if one is not None),
        said=explained(soak.said, soak.steps, ALLOWED),
        verdicts=dict(verdicts),
        false_passed=false_passed,
        failed=sum(row["stir_verstat"] == FAILED for row in rows),
        unverified_undisturbed=unverified,
        costs=tuple(
            Cost(one, *map(int, costs.get(one, [0, 0])))  # until the whole second
            for one in soak.steps
        ),
        announced=len(announced),
        logged_once=sum(logged[one] == 1 for one in announced),
        samples=tuple(soak.samples),
    )


def _logged(world: World) -> Iterator[str]:
    for company in (world.a, world.b):
        with (company.folder / "calls.jsonl").open() as lines:
            for line in lines:
                record = json.loads(line)
                if record["event"] == "call":
                    yield record["id"]
