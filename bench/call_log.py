"""``python -m bench.call_log [--lines N]``: what reading a large call log takes, and rotation.

Writes N lines as calls make them (four of five inbound), then times ``pbx-stir calls`` on them in
processes of their own; then logs 200 calls a second while an older file is compressed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pbx_stir.call_log import CallLogFile
from pbx_stir.call_log.lines import Lines
from pbx_stir.call_log.numbers import style
from pbx_stir.call_log.outputs import LogFile
from pbx_stir.call_log.rotation import Rotation
from pbx_stir.services.call import (
    Asked,
    Call,
    Direction,
    Mode,
    Outcome,
    Reason,
    Rejection,
    Status,
    Verstat,
)
from pbx_stir.services.reception import Record

CPS: Final = "https://cps.example.net"
COMPRESSED: Final = 100 * 1024 * 1024
CALLS_A_SECOND: Final = 200
QUESTIONS: Final = (
    ("counts by hour and reason", ("--counts",)),
    ("one reason of one trunk", ("--reason", "stale", "--trunk", "carrier-1")),
    ("one number", ("--number", "12125550001")),
    ("the last five", ("--last", "5")),
    ("one call explained", ("--explain", "00000000000000ff")),
    ("all as CSV", ("--csv",)),
)


def record(number: int, at: float, chance: random.Random) -> Record:
    """A call as reception records it."""
    orig, dest = (
        f"1{chance.choice((212, 310, 646))}555{chance.randrange(10_000):04}" for _ in "od"
    )
    inbound = chance.random() < 0.8
    call = Call(
        pbx="pbx-1",
        direction=Direction.INBOUND if inbound else Direction.OUTBOUND,
        mode=Mode.ON,
        trunk=chance.choice(("carrier-1", "carrier-2")),
        orig=f"+{orig}",
        restricted=False,
        dest=dest,
        originator=() if inbound else ("PJSIP/alice",),
        came_in="",
        unique_id=f"{at:.0f}.{number}",
        linked_id=f"{at:.0f}.{number}",
        nonce="",
        budget_ms=2000,
    )
    if not inbound:
        outcome = Outcome(Reason.STORED, Status.STORED, orig=orig, dest=dest, signer="1234")
    elif chance.random() < 0.9:
        asked = (Asked(CPS, dest, passports=3, ms=5.0),)
        outcome = Outcome(
            Reason.NO_PASSPORT, verstat=Verstat.NONE, orig=orig, dest=dest, asked=asked
        )
    else:
        asked = (Asked(CPS, dest, passports=3, opened=1, ms=5.0),)
        why = (Rejection("iat", Reason.STALE, "75 s old"),)
        outcome = Outcome(
            Reason.STALE, None, Verstat.NONE, orig=orig, dest=dest, rejections=why, asked=asked
        )
    return Record(f"{number:016x}", at, call, outcome, 7.5, released=True, decided_ms=6.5)


def write(path: Path, lines: int) -> None:
    """A log of so many lines, one call a second up to now."""
    chance, made, now = random.Random(7), Lines(style("full")), time.time()
    with path.open("wb") as stream:
        for number in range(lines):
            line = made.call(record(number, now - lines + number, chance))
            stream.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def ask(path: Path, question: tuple[str, ...]) -> tuple[float, float, float]:
    """Seconds, those of the processor, and MiB of a ``pbx-stir calls`` in a process of its own."""
    began = time.monotonic()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "pbx_stir", "calls", str(path), *question],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, _, used = os.wait4(child, 0)
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def lateness(folder: Path, octets: bytes, seconds: float) -> tuple[float, float, int]:
    """How late lines are written beside compressing: p99 and worst in ms; how many were lost."""
    today = f"{datetime.now(UTC).astimezone():%Y%m%d}"
    (folder / f"calls.jsonl-{today}").write_bytes(octets)
    out, written = LogFile(folder / "calls.jsonl", Rotation()), []
    whole = out.write

    def timed(line: bytes, *, more: bool) -> None:
        whole(line, more=more)
        written.append(time.monotonic())

    out.write = timed  # type: ignore[method-assign]
    log, chance = CallLogFile(None, output=out), random.Random(8)
    began, put = time.monotonic(), []
    for number in range(round(seconds * CALLS_A_SECOND)):
        one = record(number, time.time(), chance)
        put.append(time.monotonic())
        log.record(one)
        time.sleep(max(0.0, began + (number + 1) / CALLS_A_SECOND - time.monotonic()))
    log.close()
    late = sorted((after - before) * 1000 for before, after in zip(put, written, strict=False))
    return late[len(late) * 99 // 100], late[-1], log.lines_lost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.call_log", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000, metavar="N")
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory(prefix="pbx-stir-") as name:
        path = Path(name) / "log.jsonl"
        write(path, lines)
        print(f"{lines} lines, {path.stat().st_size / 1e6:.0f} MB, load {os.getloadavg()[0]:.1f}")
        for what, question in QUESTIONS:
            seconds, processor, mebibytes = ask(path, question)
            print(f"{what:<28}{seconds:>7.1f} s{processor:>7.1f} s busy{mebibytes:>7.0f} MiB")
        with path.open("rb") as stream:
            octets = stream.read(COMPRESSED)
        p99, worst, lost = lateness(Path(name), octets, 15.0)
        print(f"while {len(octets) / 1e6:.0f} MB were compressed, {CALLS_A_SECOND} calls a second:")
        print(f"a line was late by {p99:.1f} ms (p99), {worst:.1f} ms (worst); {lost} were lost")


if __name__ == "__main__":
    main()
