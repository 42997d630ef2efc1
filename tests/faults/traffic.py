"""Calls at a steady rate while something goes wrong, and what the PBXs' own records say of each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.mixed_world import Caller
from lab.debian import LabError
from tests.faults.pbxs import Asterisk
from tests.faults.world import World

RATE: Final = 4.5
# Numbers that are called again and again: their keys are known. One call of so many goes to a
# number that was never called before, whose keys must be looked up.
CALLED: Final = 16
NEW_EVERY: Final = 5
# One tick in so many brings a stranger's call as well, with a number of A's that nobody calls from;
# one in so many a repeated one: a stranger's that says what a genuine call of two seconds ago said.
STRANGER_EVERY: Final = 9
REPEATED_AFTER: Final = 2.0
AGAIN: Final = "again"
GENUINE, STRANGER = "genuine", "stranger"
# what the dialplan says by itself, without an id of a listener's
BY_ITSELF: Final = ("", "listener-down", "timeout")
PASSED: Final = "TN-Validation-Passed"
FAILED: Final = "TN-Validation-Failed"


@dataclass(frozen=True, slots=True)
class Placed:
    """One call of A's to B, at a moment of ``time.monotonic``.

    ``kind`` is ``GENUINE``, ``STRANGER``, or ``AGAIN``: a stranger's, that says what a genuine one
    has said.
    """

    at: float
    orig: str
    dest: str
    kind: str = GENUINE


@dataclass(frozen=True, slots=True)
class Call:
    """What became of one: how long each hook held it (ms, measured around it), and what it said.

    ``nameless``: a listener answered a hook of it, and its record has no id of the call log.
    """

    at: float
    kind: str
    pair: tuple[str, str]
    status: str
    stored: str
    held_out: int
    verstat: str
    reason: str
    held_in: int
    connected: bool
    nameless: bool

    @property
    def genuine(self) -> bool:
        """Whether A placed it, and its listener was asked to sign it."""
        return self.kind == GENUINE

    @property
    def passed(self) -> bool:
        """Whether B was told that the caller is who the call says."""
        return self.verstat == PASSED

    @property
    def held(self) -> int:
        """What both holds cost, in ms."""
        return self.held_out + self.held_in


# what A's PBX has of a caller; what B's has of a caller, a called number, and whether it was AGAIN
Rows = tuple[dict[str, dict[str, str]], dict[tuple[str, str, bool], dict[str, str]]]


class Traffic:
    """``with Traffic(world) as traffic:`` places calls from then on, until the context ends."""

    # so that no two calls of one world are alike
    _next = 0

    def __init__(self, world: World, *, rate: float = RATE) -> None:
        self.world = world
        self._rate = rate
        self._callers: dict[str, Caller] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._placed: list[Placed] = []
        self._repeated: set[tuple[str, str]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure = ""

    def __enter__(self) -> Traffic:
        caller = self.world.pbxs["a"]
        assert isinstance(caller, Asterisk)
        self._caller = Caller(caller)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)
        self._caller.close()

    def place(self, dest: str = "", *, kind: str = GENUINE, wait: str = "") -> Placed:
        """One call now, genuine or a stranger's. ``wait`` is as in the dialplan."""
        with self._lock:
            index = Traffic._next = (Traffic._next + 1) % 8_500
        callee = 1_000 + index if index % NEW_EVERY == 0 else index % CALLED
        number = dest or self.world.b.number(callee)
        one = Placed(time.monotonic(), self.world.a.number(index), number, kind)
        self._originate(one, wait)
        return one

    def repeat(self, before: float, most: int = 1) -> int:
        """Have a stranger say what the last genuine calls of before that moment said.

        At most so many, each once; gives how many.
        """
        with self._lock:
            placed = reversed(self._placed)
            ours = [one for one in placed if one.kind == GENUINE and one.at <= before]
            ours = [one for one in ours if (one.orig, one.dest) not in self._repeated][:most]
            self._repeated.update((one.orig, one.dest) for one in ours)
        for one in ours:
            self._originate(Placed(time.monotonic(), one.orig, one.dest, AGAIN))
        return len(ours)

    def _originate(self, one: Placed, third: str = "") -> None:
        context = "office" if one.kind == GENUINE else "stranger"
        third = AGAIN if one.kind == AGAIN else third
        dialled = f"{one.dest}*{one.orig}" + (f"*{third}" if third else "")
        with self._lock:
            self._placed.append(one)
            self._caller.originate(dialled, context, seconds=8)

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
        while not all(pbx.idle for pbx in self.world.pbxs.values()):
            if time.monotonic() > give_up_at:
                raise LabError("calls do not end")
            time.sleep(0.2)

    def _run(self) -> None:
        began = time.monotonic()
        count = 0
        while not self._ended.wait(max(0.0, began + count / self._rate - time.monotonic())):
            try:
                self.place()
                if count % STRANGER_EVERY == 6:
                    self.place(kind=STRANGER)
                # the first that there is to repeat is so before the fault begins
                if count % STRANGER_EVERY == 2:
                    self.repeat(time.monotonic() - REPEATED_AFTER)
            except OSError as error:
                self.failure = str(error)
                return
            count += 1

    def _rows(self) -> Rows:
        sent = {
            row["src"]: row for row in self.world.pbxs["a"].cdr_rows() if row["stir_out_reason"]
        }
        received = {
            (row["src"], row["dst"], AGAIN in row["clid"]): row
            for row in self.world.pbxs["b"].cdr_rows()
            if row["channel"].startswith(("PJSIP/", "sofia/")) and row["stir_verstat"]
        }
        return sent, received

    @staticmethod
    def _found(one: Placed, rows: Rows) -> Call:
        genuine = one.kind == GENUINE
        sent = rows[0].get(one.orig, {}) if genuine else {}
        received = rows[1].get((one.orig, one.dest, one.kind == AGAIN), {})
        # what was not measured is no hold of 0 ms
        measured = bool(received.get("userfield")) and (bool(sent.get("userfield")) or not genuine)
        return Call(
            at=one.at,
            kind=one.kind,
            pair=(one.orig, one.dest),
            status=sent.get("stir_status", ""),
            stored=sent.get("stir_out_reason", ""),
            held_out=int(sent.get("userfield", "") or 0),
            verstat=received.get("stir_verstat", ""),
            reason=received.get("stir_reason", ""),
            held_in=int(received.get("userfield", "") or 0),
            connected=received.get("disposition") == "ANSWERED" and measured,
            nameless=any(
                row.get(reason, "") not in BY_ITSELF and not row.get(name)
                for row, reason, name in (
                    (sent, "stir_out_reason", "stir_out_id"),
                    (received, "stir_reason", "stir_id"),
                )
            ),
        )


def words(calls: Sequence[Call]) -> dict[str, int]:
    """How often each verdict came, with its reason; outbound ones that were not stored, too.

    Those of strangers' calls begin with the call's kind.
    """
    counted = Counter(
        f"{'' if one.genuine else one.kind + ' '}{'Passed' if one.passed else 'none'} {one.reason}"
        for one in sorted(calls, key=lambda one: not one.genuine)
    )
    counted.update(f"out {one.stored}" for one in calls if one.stored and one.stored != "stored")
    return dict(counted.most_common())
