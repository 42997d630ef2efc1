"""Measures the CPS on one processor core, beside nginx on the same core in the same run.

The server is pinned to one core, the load generator to the others, so that what it costs is not the
server's. Two rates are given: answers a second of wall time, and a second of the server's own
processor time, which other programs on a shared machine do not lower.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from bench import cps_size, load, nginx
from bench.cps_report import Peer, Report, Row
from bench.cps_world import FIRST_NUMBER, HOST, STORES_OF_A_TOKEN, Cps, World
from bench.load import Done, Job
from bench.machine import Machine, Watch, cpu_seconds
from lab.debian import LabError
from lab.redis_servers import redis_server, running_redis
from pbx_stir.tokens.exchange import MOST_IN_A_REQUEST

ROUNDS: Final = 3
SECONDS: Final = 2.0
STORES: Final = 4_000
TOKEN_REQUESTS: Final = 60

Say = Callable[[str], None]
# Makes a job's file anew for each round, or leaves what is there.
Prepare = Callable[[Path], Job]


class _Bench:
    """A run: the core of the servers, those of the load, and the rows so far."""

    def __init__(self, world: World, say: Say) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.server = (cores[0],)
        self.load = tuple(cores[1:]) or self.server
        self.all = tuple(cores)
        self.world = world
        self.say = say
        self.rows: list[Row] = []
        self._first = 10**10

    def row(
        self,
        name: str,
        cps: Cps,
        prepare: Prepare,
        *,
        target: float | None = None,
        each: int = 1,
        status: int = 200,
    ) -> Row:
        """Measure as fast as it goes, then the latency at half of that; ``each`` counts so often.

        Raises LabError where an answer has another status.
        """
        self.say(name)
        walls, own = [], []
        for _ in range(ROUNDS):
            job = prepare(self.world.folder / "requests")
            before = cps.processor_seconds()
            done = _checked(name, load.run(job), status)
            used = cps.processor_seconds() - before
            walls.append(each * done.rate)
            own.append(each * done.answered / used)
        job = prepare(self.world.folder / "requests")
        half = load.run(_with_rate(job, median(walls) / each / 2))
        row = Row.of(name, walls, own, _checked(name, half, status).latency, target, each)
        self.rows.append(row)
        return row

    def gets(self, cps: Cps, target: str, *, numbers: int = 0, seconds: float = SECONDS) -> Prepare:
        """GETs of numbers that were never asked for, or of so many in turns."""

        def prepare(_: Path) -> Job:
            self._first += 10**6
            first = FIRST_NUMBER if numbers else self._first
            return Job(
                HOST,
                cps.port,
                target=target,
                first=first,
                numbers=numbers or 1 << 62,
                seconds=seconds,
                ca=cps.ca,
                processors=self.load,
            )

        return prepare

    def stores(self, cps: Cps, calls_a_token: int) -> Prepare:
        """Token-checked stores."""

        def prepare(file: Path) -> Job:
            self.world.stores(file, STORES, calls_a_token=calls_a_token, cps=cps)
            return self._of_file(cps, file)

        return prepare

    def token_requests(self, cps: Cps) -> Prepare:
        """Requests for blind signatures."""

        def prepare(file: Path) -> Job:
            self.world.token_requests(file, TOKEN_REQUESTS, cps)
            return self._of_file(cps, file)

        return prepare

    def _of_file(self, cps: Cps, file: Path) -> Job:
        return Job(HOST, cps.port, file=str(file), ca=cps.ca, processors=self.load)


def measure(gets: int, say: Say) -> Report:
    """Measure all; ``gets`` is how many distinct numbers are asked for while memory is watched.

    Raises LabError where anything does not work.
    """
    machine = Machine.this()
    with tempfile.TemporaryDirectory(prefix="pbx-stir-bench-") as name:
        world = World(Path(name))
        bench = _Bench(world, say)
        watch = Watch([])
        peer = _peer(bench)
        for tls in (False, True):
            with world.cps(tls=tls, tokens=True, processors=bench.server) as cps:
                _one_core(bench, cps, "TLS" if tls else "plain")
        _shared(bench)
        try:
            sizes, without = cps_size.measure(world, gets, bench.server, bench.load, say), ""
        except (LabError, OSError) as error:
            # the rates took minutes, and are good without this
            sizes, without = None, str(error)
        return Report(
            command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
            machine=machine,
            interference=watch.interference(),
            rounds=ROUNDS,
            rows=tuple(bench.rows),
            peer=peer,
            sizes=sizes,
            without_sizes=without,
        )


def _peer(bench: _Bench) -> Peer:
    """Nginx with as many requests as it takes."""
    world = bench.world
    if nginx.binary() is None:
        return Peer(unavailable="nginx is not installed, and apt-get cannot install it here")
    bench.say("nginx answering 204")
    rates: dict[str, tuple[float, float]] = {}
    with nginx.serving(world.folder / "nginx", world.certificate, world.key, bench.server) as (
        pid,
        plain,
        tls,
    ):
        for name, port, ca in (("plain", plain, ""), ("TLS", tls, str(world.ca))):
            walls, own = [], []
            for _ in range(ROUNDS):
                before = cpu_seconds(pid)
                job = Job(HOST, port, "/", seconds=SECONDS, ca=ca, processors=bench.load)
                done = _checked("nginx", load.run(job), 204)
                walls.append(done.rate)
                own.append(done.answered / max(0.01, cpu_seconds(pid) - before))
            rates[name] = round(median(walls)), round(median(own))
    return Peer(version=nginx.version(), plain=rates["plain"], tls=rates["TLS"])


def _one_core(bench: _Bench, cps: Cps, how: str) -> None:
    """The rows of one CPS on one core, the store in memory."""
    one = "/cps/%d/ppts?expand=1"
    bench.row(f"fetch never seen, {how}", cps, bench.gets(cps, one), target=4_000)
    bench.row(f"fetch seen, {how}", cps, bench.gets(cps, one, numbers=500), target=8_000)
    bench.row(f"list seen, {how}", cps, bench.gets(cps, "/cps/%d/ppts", numbers=500))
    reused, fresh = bench.stores(cps, STORES_OF_A_TOKEN), bench.stores(cps, 1)
    bench.row(f"store, K_temp reused, {how}", cps, reused, target=2_500, status=201)
    bench.row(f"store, one K_temp a call, {how}", cps, fresh, target=2_500, status=201)
    if how == "plain":
        bench.row(
            "blind signatures",
            cps,
            bench.token_requests(cps),
            target=1_000,
            each=MOST_IN_A_REQUEST,
            status=201,
        )


def _shared(bench: _Bench) -> None:
    """Redis beside memory on one core, two workers beside one on all."""
    compared = ("fetch seen", "store, K_temp reused")
    if redis_server() is None:
        bench.rows += [Row(f"{one}, Redis", unavailable="no redis-server") for one in compared]
        return
    with ExitStack() as stack:
        server = stack.enter_context(running_redis(bench.world.folder / "redis"))
        tail = f'[cps.redis]\nurl = "{server.url}"'
        run = partial(bench.world.cps, tokens=True, tail=tail)
        for name, arguments, processors in (
            ("Redis", (), bench.server),
            ("Redis, 1 worker on all cores", (), bench.all),
            ("Redis, 2 workers on all cores", ("--workers", "2"), bench.all),
        ):
            try:
                with run(*arguments, processors=processors) as cps:
                    gets = bench.gets(cps, "/cps/%d/ppts?expand=1", numbers=500)
                    bench.row(f"fetch seen, {name}", cps, gets)
                    stores = bench.stores(cps, STORES_OF_A_TOKEN)
                    bench.row(f"store, K_temp reused, {name}", cps, stores, status=201)
            except LabError as error:
                bench.rows.append(Row(name, unavailable=str(error).splitlines()[0][:120]))


def _with_rate(job: Job, rate: float) -> Job:
    return Job(**{name: getattr(job, name) for name in Job.__struct_fields__} | {"rate": rate})


def _checked(name: str, done: Done, status: int) -> Done:
    if not done.answered or not done.only(status):
        raise LabError(f"{name}: not every answer was {status}: {done.statuses}")
    return done
