"""The ledger: what must not be spent twice, or more often than it may.

Takes keys that say nothing, counts, gives yes or no. Keys are HMACs that its caller makes: a ledger
knows no number, no token and no sender. Those of one spend have their first 16 octets in common, by
which a cluster keeps them on one node. ``MemoryLedger`` is for one process.

A ledger that forgets is a ledger that lets spend twice. So a full one takes nothing new: it says
``StoreUnavailable`` until something in it has expired. And a clock that is set forth and back makes
none forget: see ``passed``.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from pbx_stir.errors import StoreUnavailable
from pbx_stir.tokens.journal import Journal, Record
from pbx_stir.tokens.passed import BELIEVED_SECONDS, Passed

# of some 300 octets each
MOST_HELD = 2_000_000
# so many expired ones are freed with each call at most: midnight is no pause
_FREED_AT_ONCE = 64
# An epoch's key is erased by a clock of its own, looked at once a minute. What was counted under it
# must outlive it, or a clock that is set back then finds the key and no counts.
LEDGER_BELIEVED_SECONDS: Final = 2 * BELIEVED_SECONDS
# how often the journal is looked through for what has expired
_FORGET_SECONDS = 30.0


class Counter(NamedTuple):
    """A count that may reach ``most``; ``key`` has 32 octets."""

    key: bytes
    most: int


class Ledger(Protocol):
    """What remembers, in memory or shared by many machines."""

    async def once(self, key: bytes, seconds: float) -> bool:
        """Say True the first time within ``seconds``, atomically. Raises ``StoreUnavailable``."""
        ...

    async def spend(self, counters: Sequence[Counter], amount: int, until: float) -> int | None:
        """Add ``amount`` to every counter, or to none where one would pass its ``most``; atomic.

        Gives None where all were added, else the index of the first that is exhausted. They are
        forgotten at ``until``, epoch seconds. Raises ``StoreUnavailable``.
        """
        ...


class MemoryLedger:
    """A ledger of one process, gone with it unless a journal remembers."""

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        *,
        most: int = MOST_HELD,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now`` gives epoch seconds, ``clock`` never steps; ``most`` bounds what is remembered.

        Raises ``ConfigurationError`` where the journal cannot be read.
        """
        self._now = now
        self._passed = Passed(clock, LEDGER_BELIEVED_SECONDS)
        self._most = most
        self._held: dict[bytes, Record] = {}
        # what expires in a second, and the seconds, soonest first
        self._expiring: dict[int, list[bytes]] = {}
        self._seconds: list[int] = []
        self._journal = journal
        records = list(journal.records()) if journal is not None else []
        # The clock may have been set forth before we started: until that is known they all stand.
        # What is used once was written less than BELIEVED_SECONDS before its end.
        oldest = min((record.until for record in records), default=math.inf)
        self._forgot = self._passed(min(now(), oldest - BELIEVED_SECONDS))
        for record in records:
            self._hold(record)

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._held)

    async def once(self, key: bytes, seconds: float) -> bool:
        """See ``Ledger``."""
        now = self._now()
        passed = self._passed(now)
        self._free(passed)
        if self._standing(key, passed) is not None:
            return False
        self._make_room(1)
        self._write(Record(key, 0, now + seconds))
        return True

    async def spend(self, counters: Sequence[Counter], amount: int, until: float) -> int | None:
        """See ``Ledger``."""
        passed = self._passed(self._now())
        self._free(passed)
        standing = [self._standing(counter.key, passed) for counter in counters]
        counts = [amount + (record.count if record else 0) for record in standing]
        for index, counter in enumerate(counters):
            if counts[index] > counter.most:
                return index
        self._make_room(standing.count(None))
        for counter, count, record in zip(counters, counts, standing, strict=True):
            # where it stood already it keeps its end, and so its file and its place there
            end, place = (record.until, record.place) if record else (until, -1)
            self._write(Record(counter.key, count, end, place))
        return None

    def close(self) -> None:
        """Let another process have the journal."""
        if self._journal is not None:
            self._journal.close()

    def _standing(self, key: bytes, passed: float) -> Record | None:
        """Give what is remembered of a key, and has not expired."""
        record = self._held.get(key)
        return record if record is not None and record.until > passed else None

    def _make_room(self, wanted: int) -> None:
        if len(self._held) + wanted > self._most:
            raise StoreUnavailable("the ledger of tokens is full")

    def _write(self, record: Record) -> None:
        """Remember, on disk first."""
        if self._journal is not None:
            place = self._journal.write(record)
            record = Record(record.key, record.count, record.until, place)
        self._hold(record)

    def _hold(self, record: Record) -> None:
        before = self._held.get(record.key)
        self._held[record.key] = record
        if before is not None and before.until == record.until:
            return
        second = int(record.until) + 1
        if second not in self._expiring:
            self._expiring[second] = []
            heapq.heappush(self._seconds, second)
        self._expiring[second].append(record.key)

    def _free(self, passed: float) -> None:
        """Forget what has expired, a little at a time."""
        if self._journal is not None and abs(passed - self._forgot) >= _FORGET_SECONDS:
            self._journal.forget(passed)
            self._forgot = passed
        for _ in range(_FREED_AT_ONCE):
            if not self._seconds or self._seconds[0] > passed:
                return
            keys = self._expiring[self._seconds[0]]
            key = keys.pop()
            # what was used anew after it had expired stands a second time, further on
            record = self._held.get(key)
            if record is not None and record.until <= passed:
                del self._held[key]
            if not keys:
                del self._expiring[heapq.heappop(self._seconds)]
