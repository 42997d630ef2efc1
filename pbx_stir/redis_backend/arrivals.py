"""What arrives at any worker of a CPS, told to all of them.

Each store is announced in one of a few streams; every worker reads all of them, and keeps an index
of what is alive: number, id and place in the number's own stream, no octets. Takes keys and
connections; gives announcements in the order in which they came, each once. A connection that is
lost is made again and everything still alive is read again: what the index knows is told no second
time, what it missed is told late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from pbx_stir.cps.places import Cursor, Place, Places
from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.connection import SLOTS, Connection

SHARDS: Final = 8
BLOCK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.2
# Between two readings: what comes meanwhile is read, and told, together.
GATHER_SECONDS: Final = 0.01
_MOST_AT_ONCE: Final = 512
_MOST_KNOWN: Final = 2_000_000


class Announced(NamedTuple):
    """That an entry arrived: when (ms since the epoch), its id, its number, its place there."""

    arrival_ms: int
    id: str
    number: str
    place: bytes


class ArrivalIndex:
    """What is alive, in the order of (arrival, id): the same at every worker."""

    def __init__(self, lifetime_ms: int) -> None:
        self._lifetime_ms = lifetime_ms
        self._known: dict[str, Announced] = {}
        self._places = Places()

    def __len__(self) -> int:
        """Count what is known."""
        return len(self._known)

    def add(self, announced: Announced) -> bool:
        """Take one in; False where it is known already."""
        if announced.id in self._known or len(self._known) >= _MOST_KNOWN:
            return False
        self._known[announced.id] = announced
        self._places.add(Place(announced.arrival_ms / 1000, announced.id, announced.number))
        return True

    def get(self, entry_id: str) -> Announced | None:
        """Give what is known of an entry."""
        return self._known.get(entry_id)

    def walk(
        self, prefix: str, before: Cursor | None, most: int
    ) -> tuple[list[Announced], Cursor | None]:
        """Give what begins with ``prefix``, newest first, and where to go on; see ``Places``."""
        places, cursor = self._places.walk(prefix, before, most)
        return [self._known[each.id] for each in places], cursor

    def sweep(self, now_ms: int) -> None:
        """Forget what has expired."""
        for place in self._places.forget_before((now_ms - self._lifetime_ms + 1) / 1000):
            del self._known[place.id]


class Tail:
    """Reads the streams ``keys``; ``told`` is awaited with what was not known before.

    ``lost`` is called when it hears no more of what arrives: that is told late from then on.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Sequence[bytes],
        index: ArrivalIndex,
        lifetime_ms: int,
        told: Callable[[Sequence[Announced]], Awaitable[None]],
        lost: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._index = index
        self._lifetime_ms = lifetime_ms
        self._told = told
        self._lost = lost
        # Streams of several slots cannot be read by one command, of a single server they can.
        is_cluster = connection.settings.is_cluster
        self._groups = [[key] for key in keys] if is_cluster else [list(keys)]
        self._behind = set(range(len(self._groups)))

    @property
    def is_complete(self) -> bool:
        """Whether the index knows all that is alive."""
        return not self._behind

    async def run(self) -> None:
        """Read for ever."""
        async with asyncio.TaskGroup() as group:
            for number, keys in enumerate(self._groups):
                group.create_task(self._read_for_ever(number, keys))

    async def _read_for_ever(self, group: int, keys: Sequence[bytes]) -> None:
        last: dict[bytes, bytes] = {}
        while True:
            try:
                if not last:
                    last = dict.fromkeys(keys, await self._oldest_alive(keys[0]))
                # What is there already comes at once, and nobody waits to know that it was all.
                wait = () if group in self._behind else ("BLOCK", int(BLOCK_SECONDS * 1000))
                answer = await self._connection.wait_for(
                    keys[0],
                    BLOCK_SECONDS,
                    *("XREAD", "COUNT", _MOST_AT_ONCE, *wait),
                    *("STREAMS", *keys, *(last[key] for key in keys)),
                )
                read = _read(answer)
            except StoreUnavailable:
                # Who answers next may be a replica that has seen less: all of it is read again.
                last = {}
                if group not in self._behind:
                    self._behind.add(group)
                    self._lost()
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            new = []
            for key, place, announced in read:
                last[key] = place
                if announced is not None and self._index.add(announced):
                    new.append(announced)
            if len(read) < _MOST_AT_ONCE:
                self._behind.discard(group)
            if new:
                await self._told(new)
                await asyncio.sleep(GATHER_SECONDS)

    async def _oldest_alive(self, key: bytes) -> bytes:
        """Give the place before everything that may be alive, by the clock of who has ``key``."""
        answer = await self._connection.run(key, "TIME")
        try:
            return b"%d-0" % (int(answer[0]) * 1000 - self._lifetime_ms)
        except (TypeError, ValueError, IndexError) as error:
            raise StoreUnavailable("redis does not tell the time") from error


def shard_keys(connection: Connection, name: bytes) -> list[bytes]:
    """Name a store's streams of arrivals: evenly over the slots, so that each master has as many.

    The names are the same everywhere and always, whatever the cluster.
    """
    keys: list[bytes] = []
    candidate = 0
    while len(keys) < SHARDS:
        key = b"%s:arrivals:{%d}" % (name, candidate)
        if connection.slot(key) * SHARDS // SLOTS == len(keys):
            keys.append(key)
        candidate += 1
    return keys


def _read(answer: Any) -> list[tuple[bytes, bytes, Announced | None]]:
    """Read what XREAD answered: (stream, place, what it announces). Raises StoreUnavailable."""
    try:
        return [
            (key, place, _announced(dict(zip(fields[::2], fields[1::2], strict=True))))
            for key, records in answer or ()
            for place, fields in records
        ]
    except (TypeError, ValueError) as error:
        raise StoreUnavailable("redis announces what cannot be read") from error


def _announced(fields: dict[bytes, bytes]) -> Announced | None:
    """Read one announcement; None for one that another version wrote."""
    try:
        place = fields[b"p"]
        arrival_ms = int(place.split(b"-")[0])
        return Announced(arrival_ms, fields[b"i"].decode(), fields[b"n"].decode(), place)
    except (KeyError, ValueError):
        return None
