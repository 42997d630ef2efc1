"""Ten thousand mixed calls through real Asterisks: who passed that must not, who was lost.

Two companies and a stranger, each with an Asterisk, two listeners and a CPS with tokens, as in the
demo. What came of each call is read from the PBXs' CDRs and from our call logs afterwards: no call
may pass that must not, none may fail, none may be lost, and each that was announced has one record.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from bench.cps_world import key_of_now, token_of
from bench.machine import Memory
from bench.mixed_calls import LAST, Planned, plan
from bench.mixed_report import Report, judged
from bench.mixed_world import LATE_SECONDS, Caller, World
from lab.debian import LabError
from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.stir import passport, sealing
from pbx_stir.tokens.key_files import KeyFiles as TokenKeys

RATE: Final = 20.0
_MOVED_AFTER: Final = 1.0
_REPLAYED_AFTER: Final = 2.0

Say = Callable[[str], None]


def _tokens(world: World) -> Iterator[Callable[..., str]]:
    """Tokens of a stranger, signed with the CPS's own key: the same as obtaining them."""
    key = key_of_now(TokenKeys(world.folder / "cps" / "token-keys"))
    while True:
        yield token_of(key, "127.0.0.1")


def measure(calls: int, say: Say) -> Report:
    """Make them, and look at what is left of them. Raises LabError."""
    folder = Path(tempfile.mkdtemp(prefix="pbx-stir-bench-"))
    try:
        with World(folder, calls) as world:
            began = time.monotonic()
            placed = _placed(world, calls, say)
            say("waiting for the last calls")
            quiet(world)
            seconds = time.monotonic() - began
            memory = {
                name: Memory.of(one.pid)
                for name, one in [*world.listeners.items(), ("cps", world.cps)]
            }
        return judged(world, placed, seconds, memory)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _placed(world: World, calls: int, say: Say) -> list[Planned]:
    """Place calls at a steady rate; what follows on a call is done when its time has come."""
    callers = {name: Caller(pbx) for name, pbx in world.pbxs.items()}
    tokens = _tokens(world)
    b_key = KeyFiles(world.b.folder / "state/keys").load()[0].public
    m_key = KeyFiles(world.m.folder / "state/keys").load()[0].private
    mallory = world.m.number(0)
    later: list[tuple[float, Callable[[], None]]] = []

    def replay(one: Planned) -> None:
        callers["m"].originate(f"{one.dest}*{one.orig}", "anywhere")

    def move(one: Planned) -> None:
        opened = [sealing.open_sealed(blob, m_key, mallory) for blob in world.entries(mallory)]
        for found in opened:
            if found is not None and one.orig in _orig_of(found.passport):
                sealed = sealing.seal(found.passport, found.chain, b_key, one.dest)
                world.store(one.dest, [sealed], tokens)
        replay(one)

    def place(one: Planned, now: float) -> None:
        office = {"second trunk": "*second", "late": "*late", "anonymous": "*anonymous"}
        office["failed over"] = "*failover"
        if one.kind == "spoofed":
            replay(one)
            return
        if one.kind == "moved":
            callers["a"].originate(f"{mallory}*{one.orig}", "office")
            later.append((now + _MOVED_AFTER, partial(move, one)))
            return
        if one.kind == "garbage before":
            world.store(one.dest, [secrets.token_bytes(sealing.SEALED_OCTETS)] * 3, tokens)
        name = f"gone-{one.orig}" if one.kind == "hung up" else ""
        dialled = f"{one.dest}*{one.orig}{office.get(one.kind, '')}"
        seconds = LATE_SECONDS + 5 if one.kind == "late" else 5
        callers["a"].originate(dialled, "office", name, seconds)
        if name:
            later.append((now + 0.008, lambda: callers["a"].hang_up(f"/Local/{one.dest}.*/")))
        if one.kind == "replayed":
            later.append((now + _REPLAYED_AFTER, partial(replay, one)))

    placed = list(plan(calls, world.a.number, world.b.number))
    began = time.monotonic()
    for index, one in enumerate(placed):
        due = began + index / RATE
        while (now := time.monotonic()) < due or any(at <= now for at, _ in later):
            for entry in [each for each in later if each[0] <= now]:
                later.remove(entry)
                entry[1]()
            time.sleep(min(0.002, max(0.0, due - time.monotonic())))
        place(one, time.monotonic())
        if index % 500 == 0:
            say(f"{index} of {len(placed)} calls placed")
    while later:
        for entry in [each for each in later if each[0] <= time.monotonic()]:
            later.remove(entry)
            entry[1]()
        time.sleep(0.01)
    # the late ones wait with their caller's leg up
    time.sleep(LATE_SECONDS + 5)
    placed += _emergencies(world, callers)
    for caller in callers.values():
        caller.close()
    return placed


def _emergencies(world: World, callers: dict[str, Caller]) -> list[Planned]:
    """A calls for help; whoever calls A then is let through as ever."""
    placed = []
    for index in range(LAST["emergency"]):
        one = Planned("emergency", world.a.number(9_000 + index), "911")
        callers["a"].originate(f"911*{one.orig}", "office")
        placed.append(one)
        time.sleep(0.1)
    time.sleep(1)
    for index in range(LAST["call-back"]):
        one = Planned("call-back", world.b.number(9_000 + index), world.a.number(index))
        callers["b"].originate(f"{one.dest}*{one.orig}", "office")
        placed.append(one)
        time.sleep(0.1)
    return placed


def _orig_of(token: str) -> str:
    return passport.parse(token).orig


def quiet(world: World, seconds: float = 90) -> None:
    """Wait until no PBX has a call."""
    give_up_at = time.monotonic() + seconds
    while any(
        "0 active channels" not in pbx.cli("core show channels") for pbx in world.pbxs.values()
    ):
        if time.monotonic() > give_up_at:
            raise LabError("calls do not end")
        time.sleep(0.5)
    time.sleep(2)
