"""The ledger: what must not be spent twice, or more often than it may.

Takes keys that say nothing, counts, gives yes or no. Keys are HMACs that its caller makes: a ledger
knows no number, no token and no sender. Those of one spend have their first 16 octets in common, by
which a cluster keeps them on one node. ``MemoryLedger`` is for one process.

A ledger that forgets is a ledger that lets spend twice. So a full one takes nothing new: it says
``StoreUnavailable`` until something in it has expired.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pbx_stir.errors import StoreUnavailable

# of some 200 octets each
MOST_HELD = 2_000_000
# so many expired ones are freed with each call at most: midnight is no pause
_FREED_AT_ONCE = 64


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
    """A ledger of one process, gone with it."""

    def __init__(self, now: Callable[[], float] = time.time, *, most: int = MOST_HELD) -> None:
        """``now`` gives epoch seconds; ``most`` bounds what is remembered."""
        self._now = now
        self._most = most
        self._once: dict[bytes, float] = {}
        # how much, and until when
        self._counts: dict[bytes, tuple[int, float]] = {}
        # what expires in a second, and the seconds, soonest first
        self._expiring: dict[int, list[bytes]] = {}
        self._seconds: list[int] = []

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._once) + len(self._counts)

    async def once(self, key: bytes, seconds: float) -> bool:
        """See ``Ledger``."""
        now = self._now()
        self._free(now)
        if self._once.get(key, 0.0) > now:
            return False
        self._make_room(1)
        self._once[key] = now + seconds
        self._expire(key, now + seconds)
        return True

    async def spend(self, counters: Sequence[Counter], amount: int, until: float) -> int | None:
        """See ``Ledger``."""
        now = self._now()
        self._free(now)
        spent = [self._spent(counter.key, now) for counter in counters]
        for index, counter in enumerate(counters):
            if spent[index] + amount > counter.most:
                return index
        new = [counter.key for counter in counters if counter.key not in self._counts]
        self._make_room(len(new))
        for before, counter in zip(spent, counters, strict=True):
            if not before:
                self._expire(counter.key, until)
            self._counts[counter.key] = (before + amount, until)
        return None

    def _spent(self, key: bytes, now: float) -> int:
        spent, until = self._counts.get(key, (0, 0.0))
        return spent if until > now else 0

    def _make_room(self, wanted: int) -> None:
        if len(self) + wanted > self._most:
            raise StoreUnavailable("the ledger of tokens is full")

    def _expire(self, key: bytes, at: float) -> None:
        second = int(at) + 1
        if second not in self._expiring:
            self._expiring[second] = []
            heapq.heappush(self._seconds, second)
        self._expiring[second].append(key)

    def _free(self, now: float) -> None:
        """Forget what has expired, a little at a time."""
        for _ in range(_FREED_AT_ONCE):
            if not self._seconds or self._seconds[0] > now:
                return
            keys = self._expiring[self._seconds[0]]
            key = keys.pop()
            # what was used anew after it had expired stands a second time, further on
            if self._once.get(key, now) <= now:
                self._once.pop(key, None)
            if self._counts.get(key, (0, now))[1] <= now:
                self._counts.pop(key, None)
            if not keys:
                del self._expiring[heapq.heappop(self._seconds)]
