"""What entries take in memory, that retrievals take none, and how fast entries are pushed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from bench import load, subscribers
from bench.cps_report import Sizes
from bench.cps_world import FIRST_NUMBER, HOST, Cps, World, post, sealed_text
from bench.load import Job, write_requests
from bench.machine import Memory
from lab.debian import LabError
from pbx_stir.stir import signed_request
from pbx_stir.stir.tnauthlist import TnAuthList

ENTRIES: Final = 100_000
SUBSCRIBERS: Final = 1_000
PUSHED: Final = 20
_ENTRIES_OF_A_NUMBER: Final = 50
_LIFETIME: Final = 60
_LEAF_HAS: Final = 50
_WARM: Final = 20_000

Say = Callable[[str], None]
Cores = tuple[int, ...]


def measure(world: World, gets: int, server: Cores, others: Cores, say: Say) -> Sizes:
    """Measure. Raises LabError."""
    say(f"memory: {ENTRIES} entries")
    more = f"lifetime_seconds = {_LIFETIME}"
    with world.cps(more=more, processors=server) as cps:
        empty = Memory.of(cps.pid).now
        full, seconds = _fill(world, cps, others)
    say(f"memory: {gets} GETs of distinct numbers")
    with world.cps(processors=server) as cps:
        _get(cps, 10**10, _WARM, others)
        before = Memory.of(cps.pid).now
        _get(cps, 2 * 10**10, gets, others)
        after = Memory.of(cps.pid).now
    say(f"push: {SUBSCRIBERS} subscribers")
    more = f"push_subscribers_of_a_leaf = {_LEAF_HAS}"
    with world.cps(more=more, processors=server) as cps:
        pushed = _push(world, cps, others)
    return Sizes(
        entries=ENTRIES,
        empty_mb=empty,
        full_mb=full,
        filled_seconds=round(seconds, 1),
        gets=gets,
        before_mb=before,
        after_mb=after,
        subscribers=pushed.subscribers,
        pushed=pushed.to_the_last,
    )


def _fill(world: World, cps: Cps, cores: Cores) -> tuple[float, float]:
    """Store them all within a lifetime; give the memory then, and the seconds it took."""
    numbers = ENTRIES // _ENTRIES_OF_A_NUMBER
    file = world.folder / "entries"
    write_requests(file, (post(str(FIRST_NUMBER + each), sealed_text()) for each in range(numbers)))
    began = time.monotonic()
    job = Job(HOST, cps.port, file=str(file), times=_ENTRIES_OF_A_NUMBER, processors=cores)
    done = load.run(job)
    if not done.only(201):
        raise LabError(f"not every entry was stored: {done.statuses}")
    seconds = time.monotonic() - began
    full = Memory.of(cps.pid).now
    if seconds > _LIFETIME - 2:
        raise LabError(f"filling took {seconds:.0f} s: the first entries were gone")
    return full, seconds


def _get(cps: Cps, first: int, count: int, cores: Cores) -> None:
    job = Job(
        HOST,
        cps.port,
        target="/cps/%d/ppts?expand=1",
        first=first,
        count=count,
        seconds=3600.0,
        processors=cores,
    )
    done = load.run(job)
    if not done.only(200) or done.answered != count:
        raise LabError(f"not every GET was answered: {done.statuses}")


def _push(world: World, cps: Cps, cores: Cores) -> subscribers.Done:
    """Subscribers of one number, of as many certificates as that needs; then entries."""
    number = str(FIRST_NUMBER)
    path = f"/cps/{number}/ppts"

    def streams() -> Iterator[bytes]:
        for leaf in range(SUBSCRIBERS // _LEAF_HAS):
            company = world.credential(f"holder-{leaf}", TnAuthList(numbers=(number,)))
            for _ in range(_LEAF_HAS):
                header = signed_request.sign_request(
                    signed_request.RETRIEVAL,
                    audience=HOST,
                    method="GET",
                    path=path,
                    body=b"",
                    now=time.time(),
                    credential=company,
                )
                yield (
                    f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n"
                    f"Authorization: {header}\r\n\r\n"
                ).encode()

    files = world.folder / "streams", world.folder / "pushed"
    write_requests(files[0], streams())
    write_requests(files[1], (post(number, sealed_text()) for _ in range(PUSHED)))
    job = subscribers.Job(HOST, cps.port, str(files[0]), str(files[1]), cores)
    return subscribers.run(job)
