"""Calls at a steady rate while something goes wrong, and what the PBXs' own records say of each."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.mixed_world import Caller
from lab.debian import LabError
from tests.faults.world import World

RATE: Final = 4.5
# Numbers that are called again and again: their keys are known. One call of so many goes to a
# number that was never called before, whose keys must be looked up.
CALLED: Final = 16
NEW_EVERY: Final = 5
PASSED: Final = "TN-Validation-Passed"
FAILED: Final = "TN-Validation-Failed"


@dataclass(frozen=True, slots=True)
class Placed:
    """One call of A's to B, at a moment of ``time.monotonic``."""

    at: float
    orig: str
    dest: str
    genuine: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """What became of one: how long each hook held it (ms, measured around it), and what it said."""

    at: float
    genuine: bool
    status: str
    stored: str
    held_out: int
    verstat: str
    reason: str
    held_in: int
    connected: bool

    @property
    def passed(self) -> bool:
        """Whether B was told that the caller is who the call says."""
        return self.verstat == PASSED

    @property
    def held(self) -> int:
        """What both holds cost, in ms."""
        return self.held_out + self.held_in


class Traffic:
    """``with Traffic(world) as traffic:`` places calls from then on, until the context ends."""

    # so that no two calls of one world are alike
    _next = 0

    def __init__(self, world: World, *, rate: float = RATE) -> None:
        self._world = world
        self._rate = rate
        self._callers: dict[str, Caller] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._placed: list[Placed] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure = ""

    def __enter__(self) -> Traffic:
        self._caller = Caller(self._world.pbxs["a"])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)
        self._caller.close()

    def place(self, dest: str = "", *, genuine: bool = True, wait: str = "") -> Placed:
        """One call now; one that is not genuine is a stranger's. ``wait`` is as in the dialplan."""
        with self._lock:
            index = Traffic._next = (Traffic._next + 1) % 8_500
        callee = 1_000 + index if index % NEW_EVERY == 0 else index % CALLED
        number = dest or self._world.b.number(callee)
        one = Placed(time.monotonic(), self._world.a.number(index), number, genuine)
        dialled = f"{number}*{one.orig}" + (f"*{wait}" if wait else "")
        with self._lock:
            self._placed.append(one)
            self._caller.originate(dialled, "office" if genuine else "stranger", seconds=8)
        return one

    def seen(self) -> list[Call]:
        """Those that both PBXs have a record of by now."""
        with self._lock:
            placed = list(self._placed)
        rows = self._rows()
        found = [self._found(one, rows) for one in placed]
        return [one for one in found if one.verstat]

    def calls(self) -> list[Call]:
        """All of them, once they have ended, as both PBXs have them. Raises LabError."""
        with self._lock:
            placed = list(self._placed)
        give_up_at = time.monotonic() + 10
        while True:
            found = [self._found(one, rows) for rows in [self._rows()] for one in placed]
            missing = sum(not one.connected for one in found)
            if not missing or time.monotonic() > give_up_at:
                return found
            time.sleep(0.3)

    def settle(self, seconds: float = 20) -> None:
        """Wait until no PBX has a call. Raises LabError."""
        give_up_at = time.monotonic() + seconds
        while any(
            "0 active channels" not in pbx.cli("core show channels")
            for pbx in self._world.pbxs.values()
        ):
            if time.monotonic() > give_up_at:
                raise LabError("calls do not end")
            time.sleep(0.2)

    def _run(self) -> None:
        began = time.monotonic()
        count = 0
        while not self._ended.wait(max(0.0, began + count / self._rate - time.monotonic())):
            try:
                self.place()
            except OSError as error:
                self.failure = str(error)
                return
            count += 1

    def _rows(self) -> tuple[dict[str, dict[str, str]], dict[tuple[str, str], dict[str, str]]]:
        sent = {
            row["src"]: row for row in self._world.pbxs["a"].cdr_rows() if row["stir_out_reason"]
        }
        received = {
            (row["src"], row["dst"]): row
            for row in self._world.pbxs["b"].cdr_rows()
            if row["channel"].startswith("PJSIP/") and row["stir_verstat"]
        }
        return sent, received

    @staticmethod
    def _found(
        one: Placed,
        rows: tuple[dict[str, dict[str, str]], dict[tuple[str, str], dict[str, str]]],
    ) -> Call:
        sent = rows[0].get(one.orig, {}) if one.genuine else {}
        received = rows[1].get((one.orig, one.dest), {})
        return Call(
            at=one.at,
            genuine=one.genuine,
            status=sent.get("stir_status", ""),
            stored=sent.get("stir_out_reason", ""),
            held_out=int(sent.get("userfield", "") or 0),
            verstat=received.get("stir_verstat", ""),
            reason=received.get("stir_reason", ""),
            held_in=int(received.get("userfield", "") or 0),
            connected=received.get("disposition") == "ANSWERED" and (bool(sent) or not one.genuine),
        )


def words(calls: Sequence[Call]) -> dict[str, int]:
    """How often each verdict came, with its reason; outbound ones that were not stored, too."""
    counted = Counter(f"{'Passed' if one.passed else 'none'} {one.reason}" for one in calls)
    counted.update(f"out {one.stored}" for one in calls if one.stored and one.stored != "stored")
    return dict(counted.most_common())


@contextlib.contextmanager
def noted() -> Iterator[list[float]]:
    """The moments at which the context began and ended."""
    moments = [time.monotonic()]
    yield moments
    moments.append(time.monotonic())
