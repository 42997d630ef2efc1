"""The feed: the last calls, counts by hour and trunk, and who is told of each call as it comes.

Takes the call log's lines on the event loop's thread; neither blocks nor raises. Keeps the last
calls as they go over the wire, each encoded once for all readers. A reader has a place in them and
no queue of its own: one that falls behind by more than is kept is told to begin anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pbx_stir.services.call import Direction, Reason, Status, Verstat

log = logging.getLogger(__name__)

MOST_CALLS: Final = 1_000
# the current hour and those of a day before it
HOURS: Final = 25
MOST_TRUNKS: Final = 64
MOST_READERS: Final = 64
OTHER: Final = "other"
LONGEST_ITEM: Final = 16_384
# what a call is known by, kept of a line that is too long to be kept whole
_ALWAYS: Final = ("event", "time", "id", "pbx", "direction", "mode", "trunk", "reason", "ms")

VERDICTS: Final = {
    Verstat.PASSED.value: "verified",
    Verstat.FAILED.value: "failed",
    Verstat.NONE.value: "none",
    Status.STORED.value: "signed",
    Status.IN_BAND.value: "signed",
    Status.SKIPPED.value: "unsigned",
    Status.ERROR.value: "error",
}
_DIRECTIONS: Final = frozenset(one.value for one in Direction)
_REASONS: Final = frozenset(one.value for one in Reason)
CONTESTED: Final = "contested"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that happened; ``octets`` is its JSON object, in ASCII."""

    number: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class CountKey:
    """What calls are counted by; ``hour`` is hours since the epoch."""

    hour: int
    trunk: str
    direction: str
    verdict: str
    reason: str


class Feed:
    """The last ``most_calls`` things that happened, and counts of a day.

    It is made once a process: its ``run_id`` tells a reader who comes back whether numbers still
    mean what they did.
    """

    def __init__(self, most_calls: int = MOST_CALLS) -> None:
        self.run_id = secrets.token_hex(6)
        self._items: deque[Item] = deque(maxlen=most_calls)
        self._last = 0
        self._counts: Counter[CountKey] = Counter()
        self._trunks: dict[str, None] = {}
        self._readers: dict[Reader, None] = {}
        self._faults = 0

    @property
    def last(self) -> int:
        """The number of what happened last; 0 before anything did."""
        return self._last

    @property
    def capacity(self) -> int:
        """How many calls are kept."""
        return self._items.maxlen or 0

    def put(self, line: Mapping[str, object]) -> None:
        """Take one line of the call log; never raises, never waits."""
        try:
            self._put(line)
        except Exception:
            self._faults += 1
            if self._faults == 1:
                log.exception("the call board cannot show a call")

    def counts(self) -> list[list[object]]:
        """Each count as ``[hour, trunk, direction, verdict, reason, calls]``."""
        return [
            [key.hour, key.trunk, key.direction, key.verdict, key.reason, calls]
            for key, calls in self._counts.items()
        ]

    def after(self, number: int) -> list[Item] | None:
        """What came after ``number``, oldest first; None where some of it is kept no more."""
        if number > self._last or number < self._last - len(self._items):
            return None
        missing = self._last - number
        # from the end: most readers lack the last few
        found = [item for item, _ in zip(reversed(self._items), range(missing), strict=False)]
        return found[::-1]

    def kept(self) -> list[Item]:
        """All that is kept, oldest first."""
        return list(self._items)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader | None]:
        """A reader as long as the context lasts; None where there are too many already."""
        if len(self._readers) >= MOST_READERS:
            yield None
            return
        reader = Reader()
        self._readers[reader] = None
        try:
            yield reader
        finally:
            del self._readers[reader]

    def _put(self, line: Mapping[str, object]) -> None:
        if line["event"] not in {"call", CONTESTED}:
            return
        key = self._key(line) if line["event"] == "call" else _contest_key(line)
        self._count(key)
        count = [key.hour, key.trunk, key.direction, key.verdict, key.reason]
        item: dict[str, object] = {"line": dict(line), "count": count}
        octets = _encoded(item)
        if len(octets) > LONGEST_ITEM:
            item["line"] = {name: line[name] for name in _ALWAYS if name in line}
            octets = _encoded(item)
            if len(octets) > LONGEST_ITEM:
                return
        self._last += 1
        self._items.append(Item(self._last, octets))
        for reader in self._readers:
            reader.wake()

    def _key(self, line: Mapping[str, object]) -> CountKey:
        """What a line counts for: closed lists, and trunks as many as anybody has."""
        trunk, reason, direction = (str(line[name]) for name in ("trunk", "reason", "direction"))
        if trunk not in self._trunks:
            if len(self._trunks) < MOST_TRUNKS:
                self._trunks[trunk] = None
            else:
                trunk = OTHER
        said = line.get("status") or line.get("verstat")
        return CountKey(
            _hour(line),
            trunk,
            direction if direction in _DIRECTIONS else OTHER,
            VERDICTS.get(str(said), OTHER),
            reason if reason in _REASONS else OTHER,
        )

    def _count(self, key: CountKey) -> None:
        is_new_hour = key not in self._counts
        self._counts[key] += 1
        if is_new_hour:
            newest = max(one.hour for one in self._counts)
            for old in [one for one in self._counts if one.hour <= newest - HOURS]:
                del self._counts[old]


class Reader:
    """Who waits for what happens next."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self.ended = False

    def wake(self) -> None:
        """Something happened."""
        self._woken.set()

    def end(self) -> None:
        """Nothing will come any more."""
        self.ended = True
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something has happened since the last time, at most ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()


def _contest_key(line: Mapping[str, object]) -> CountKey:
    """What a second claim counts for: no trunk, since it is no call of its own."""
    return CountKey(_hour(line), "", Direction.INBOUND.value, CONTESTED, CONTESTED)


def _hour(line: Mapping[str, object]) -> int:
    return int(datetime.fromisoformat(str(line["time"])).timestamp() // 3600)


def _encoded(item: Mapping[str, object]) -> bytes:
    # in ASCII, so that no character of a stranger's ends a line of an event
    return json.dumps(item, separators=(",", ":"), allow_nan=False).encode("ascii")
