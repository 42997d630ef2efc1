"""Measures whole call cycles: sign, seal, token-checked store over TLS, fetch, open, verify.

The axes are those of the Sidecar paper (arXiv 2509.12582): 100 to 2,000 virtual callers who each
call again as soon as their last call is over, given up after 3 s; sent, processed, success rate,
and the latency that is added to a call. The CPS and as many processes of callers as there are
cores share the machine, and every process counts: a core-second is one of any of them. Obtaining
the tokens counts as well.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives import serialization

from bench import load
from bench.cps_world import HOST, Cps, World
from bench.cycle_callers import Cycles, Job, together
from bench.cycle_ways import DEST_FIRST, NUMBERS, ORIG_FIRST
from bench.cycles_report import LEVELS, Level, Report, best
from bench.latency import Latency
from bench.machine import Machine, Watch
from lab.debian import LabError
from pbx_stir.stir import sealing
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.storage_token import WINDOW_SECONDS

SECONDS: Final = 10.0
REUSED: Final = 16
HOP_MS: Final = 20.0
_CALLERS_AFAR: Final = (10, 20, 40)
_CONNECTIONS: Final = 32
Say = Callable[[str], None]

_MORE: Final = "tokens_per_leaf = 100000000\ntokens_per_issuer = 100000000\n"
BARE: Final = """[cps.bare]
listen = "127.0.0.1:0"
submissions_per_second = 1000000
submissions_per_second_of_a_signer = 1000000
"""

assert SECONDS < WINDOW_SECONDS


class _Bench:
    """A run: the CPS's two ports and the keys of both companies."""

    def __init__(self, world: World, cps: Cps, say: Say) -> None:
        self.world = world
        self.cps = cps
        self.say = say
        self._first = 0

    def level(
        self,
        way: str,
        callers: int,
        *,
        port: int,
        calls_a_token: int = 1,
        name: str = "",
    ) -> Level:
        """So many callers for ``SECONDS``; processes share them."""
        processes = min(len(os.sched_getaffinity(0)), callers)
        jobs = []
        for index in range(processes):
            self._first += NUMBERS // 50
            jobs.append(
                Job(
                    HOST,
                    port,
                    str(self.world.ca),
                    str(self.world.folder),
                    callers // processes + (index < callers % processes),
                    SECONDS,
                    way,
                    calls_a_token,
                    _CONNECTIONS,
                    first=self._first,
                )
            )
        self.say(f"{name or way}: {callers} callers")
        before = self.cps.processor_seconds()
        cycles = together(_performed(jobs))
        used = cycles.processor_seconds + self.cps.processor_seconds() - before
        return Level.of(name or way, callers, cycles, used)


def _performed(jobs: Sequence[Job]) -> list[Cycles]:
    """Run jobs at the same time, each in a process. Raises LabError."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.cycle_callers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in jobs
    ]
    try:
        for process, job in zip(running, jobs, strict=True):
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(job))
            process.stdin.close()
        done = []
        for process, job in zip(running, jobs, strict=True):
            assert process.stdout is not None
            said = process.stdout.read()
            if process.wait(job.seconds + 30) != 0:
                raise LabError(f"callers failed with {process.returncode}")
            done.append(msgspec.json.decode(said, type=Cycles))
        return done
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()


def measure(say: Say) -> Report:
    """Measure all. Raises LabError where anything does not work."""
    machine = Machine.this()
    cores = tuple(sorted(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="pbx-stir-bench-") as name:
        world = World(Path(name))
        write_keys(world)
        with world.cps(tls=True, tokens=True, more=_MORE, tail=BARE, processors=cores) as cps:
            (world.folder / "port").write_text(str(cps.port))
            watch = Watch(cps.pids())
            bench = _Bench(world, cps, say)
            levels = _levels(bench)
            delayed, relay = _delayed(bench)
            interference = watch.interference()
    return Report(
        cycles_per_second_per_core=best(levels, "encrypted, K_temp reused"),
        cycles_per_second_per_core_one_a_call=best(levels, "encrypted, one K_temp a call"),
        cycles_per_second_per_core_cleartext=best(levels, "cleartext, signed requests"),
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        machine=machine,
        interference=interference,
        seconds=SECONDS,
        levels=tuple(levels),
        hop_ms=HOP_MS,
        delayed=tuple(delayed),
        relay=relay,
    )


def _levels(bench: _Bench) -> list[Level]:
    port, bare = bench.cps.port, bench.cps.bare_port
    levels = []
    for callers in LEVELS:
        for name, way, where, each in (
            ("encrypted, K_temp reused", "encrypted", port, REUSED),
            ("encrypted, one K_temp a call", "encrypted", port, 1),
            ("cleartext, signed requests", "cleartext", bare, 1),
        ):
            levels.append(bench.level(way, callers, port=where, calls_a_token=each, name=name))
    return levels


def _delayed(bench: _Bench) -> tuple[list[Level], Latency]:
    """With two hops of ``HOP_MS``, and what the relay itself adds to them."""
    near = load.run(_health(bench.world, bench.cps.port))
    with relayed(bench.cps.port) as port:
        far = load.run(_health(bench.world, port))
        delayed = [
            bench.level("encrypted", callers, port=port, calls_a_token=REUSED, name="two hops")
            for callers in _CALLERS_AFAR
        ]
    added = Latency(
        p50=round(far.latency.p50 - near.latency.p50 - 2 * HOP_MS, 3),
        p99=round(far.latency.p99 - near.latency.p99 - 2 * HOP_MS, 3),
        worst=round(far.latency.worst - near.latency.worst - 2 * HOP_MS, 3),
        samples=far.latency.samples,
    )
    return delayed, added


def _health(world: World, port: int) -> load.Job:
    """What costs a CPS next to nothing, a few at a time."""
    return load.Job(
        HOST, port, target="/health", rate=50.0, seconds=5.0, connections=4, ca=str(world.ca)
    )


@contextlib.contextmanager
def relayed(port: int) -> Iterator[int]:
    """A relay to ``port`` of this machine that adds ``HOP_MS`` each way; gives its port."""
    command = [sys.executable, "-m", "bench.relay", HOST, str(port), str(HOP_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def write_keys(world: World) -> None:
    """Write what both companies' callers read."""
    folder = world.folder
    (folder / "anchor.pem").write_bytes(world.authority.anchor.read_bytes())
    for name, first in (("caller", ORIG_FIRST), ("called", DEST_FIRST)):
        world.authority.issue(folder, name, TnAuthList(ranges=((str(first), NUMBERS),)))
    raw = serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    (folder / "called.x25519").write_bytes(sealing.new_private_key().private_bytes(*raw))
