"""What subscriptions to one CPS have brought, until it is too old to be of use.

Takes blobs by canonical number and the moments they came; gives those of a number, and wakes who
waits for it. It opens and judges nothing. Bounded: where there is no room, the oldest blob of the
number with the most goes, so that a flood on one number pushes out that number's own.
Source: RFC 8816 section 5.5 and section 7.5 (nothing is kept for more than sixty seconds).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from pbx_stir.cps.store import MAX_LIFETIME_SECONDS, Owners

# what a list holds: one call opens no more
MOST_OF_A_NUMBER: Final = 64
MOST_OCTETS: Final = 32 * 1024 * 1024
# what the objects around a blob take in CPython, about
_OVERHEAD_OCTETS: Final = 600


class _Held(NamedTuple):
    """A blob, whose it is, and until when it is kept."""

    number: str
    blob: bytes
    until: float


class Arrivals:
    """Blobs by number, each once and for one lifetime. Moments are those of one steady clock."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        lifetime_seconds: float = MAX_LIFETIME_SECONDS,
        most_of_a_number: int = MOST_OF_A_NUMBER,
        most_octets: int = MOST_OCTETS,
    ) -> None:
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds
        self._most_of_a_number = most_of_a_number
        self._most_octets = most_octets
        self._octets = 0
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._by_number: dict[str, OrderedDict[str, bytes]] = {}
        self._numbers = Owners()
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        """Count the blobs in memory, old ones among them that nothing has met yet."""
        return len(self._held)

    @property
    def octets(self) -> int:
        """What the blobs take in memory, about."""
        return self._octets

    def add(self, number: str, entry_id: str, blob: bytes) -> None:
        """Take a blob that has come for a number; one whose id is there already changes nothing."""
        self.sweep()
        if entry_id in self._held or _cost(blob) > self._most_octets:
            return
        own = self._by_number.get(number)
        if own is not None and len(own) >= self._most_of_a_number:
            self._remove(next(iter(own)))
        while self._held and self._octets + _cost(blob) > self._most_octets:
            self._remove(self._numbers.oldest_of_the_greediest())
        self._held[entry_id] = _Held(number, blob, self._clock() + self._lifetime_seconds)
        self._by_number.setdefault(number, OrderedDict())[entry_id] = blob
        self._numbers.add(number, entry_id)
        self._octets += _cost(blob)
        for event in self._waiting.get(number, ()):
            event.set()

    def of(self, number: str) -> tuple[bytes, ...]:
        """Give what has come for a number, newest first."""
        self.sweep()
        return tuple(reversed(self._by_number.get(number, OrderedDict()).values()))

    @contextmanager
    def watched(self, number: str) -> Iterator[asyncio.Event]:
        """Give an event that is set when something comes for the number, and by ``wake``."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(number, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting and self._waiting.get(number) is waiting:
                del self._waiting[number]

    def wake(self) -> None:
        """Wake all who wait, whatever for: there may be nothing more to wait for."""
        for waiting in self._waiting.values():
            for event in waiting:
                event.set()

    def sweep(self) -> None:
        """Let go of what is too old."""
        now = self._clock()
        while self._held:
            entry_id, held = next(iter(self._held.items()))
            if held.until > now:
                return
            self._remove(entry_id)

    def _remove(self, entry_id: str) -> None:
        number, blob, _ = self._held.pop(entry_id)
        self._octets -= _cost(blob)
        self._numbers.remove(number, entry_id)
        own = self._by_number[number]
        del own[entry_id]
        if not own:
            del self._by_number[number]


def _cost(blob: bytes) -> int:
    return len(blob) + _OVERHEAD_OCTETS
