"""Entries of a CPS on Redis streams: for several workers, on one machine or many.

Takes canonical numbers and wire text; gives entries, each for exactly its lifetime by the clock of
the server that has it. One stream a number, its key ``pbx-stir:{number}``, one record an entry:
``i`` its id, ``o`` its owner, and ``b`` the octets of a sealed PASSporT, decoded (4,144 instead of
5,526 on the wire), or ``w`` any other text as it is on the wire. What is full, what has expired and
who goes is decided in one step at the server, by the rules of ``cps.store.MemoryStore``. How much
there may be in all is Redis' own ``maxmemory``: beyond it a store is refused (503), and nothing is
dropped for it.
"""

from __future__ import annotations

import asyncio
import binascii
import logging
import random
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from pbx_stir.cps.places import Cursor
from pbx_stir.cps.store import (
    DEFAULT_LIFETIME_SECONDS,
    MAX_ENTRIES_OF_A_NUMBER,
    MAX_LIFETIME_SECONDS,
    MIN_LIFETIME_SECONDS,
    Entry,
    Found,
    Placed,
    nobody_minds,
)
from pbx_stir.cps.wire import format_id
from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.arrivals import Announced, ArrivalIndex, Tail, shard_keys
from pbx_stir.redis_backend.clock import SharedClock
from pbx_stir.redis_backend.connection import Connection, Script
from pbx_stir.stir import sealing

DEFAULT_NAME: Final = b"pbx-stir"
COMPLAINT_SECONDS: Final = 60.0
_AT_ONCE: Final = 16
_SEALED_WIRE_OCTETS: Final = len(sealing.to_wire(bytes(sealing.SEALED_OCTETS)))
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_log = logging.getLogger(__name__)

_NOW: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function text(number) return string.format('%.0f', number) end
"""
# KEYS: the stream of arrivals, last. ARGV: lifetime in ms, number, id; ``place`` is the entry's.
_ANNOUNCED: Final = """
local function announce(arrivals, place)
  redis.call('XADD', arrivals, 'MINID', '~', text(now - ARGV[1]), '*',
             'n', ARGV[2], 'i', ARGV[3], 'p', place)
  redis.call('PEXPIRE', arrivals, text(2 * ARGV[1]))
end
"""
# KEYS: the number's stream, and the stream of arrivals where it is on the same server.
# ARGV: lifetime in ms, number, id, owner, how many entries a number may have, "b" or "w", octets.
_ADD: Final = Script(
    _NOW
    + _ANNOUNCED
    + """
local entries = KEYS[1]
redis.call('XTRIM', entries, 'MINID', '=', text(now - ARGV[1] + 1))
while redis.call('XLEN', entries) >= tonumber(ARGV[5]) do
  local counts, oldest, order = {}, {}, {}
  for _, record in ipairs(redis.call('XRANGE', entries, '-', '+')) do
    local owner = record[2][4]
    if not counts[owner] then
      counts[owner], oldest[owner] = 0, record[1]
      order[#order + 1] = owner
    end
    counts[owner] = counts[owner] + 1
  end
  local greediest = order[1]
  for _, owner in ipairs(order) do
    if counts[owner] > counts[greediest] then greediest = owner end
  end
  redis.call('XDEL', entries, oldest[greediest])
end
local place = redis.call('XADD', entries, '*', 'i', ARGV[3], 'o', ARGV[4], ARGV[6], ARGV[7])
redis.call('PEXPIRE', entries, ARGV[1])
if KEYS[2] then announce(KEYS[2], place) end
return place
"""
)
_ANNOUNCE: Final = Script(_NOW + _ANNOUNCED + "announce(KEYS[1], ARGV[4])")
# KEYS: a number's stream. ARGV: lifetime in ms; the first and last place wanted.
_READ: Final = Script(
    _NOW
    + """
local alive = {}
for _, record in ipairs(redis.call('XREVRANGE', KEYS[1], ARGV[3], ARGV[2], 'COUNT', 64)) do
  if tonumber(string.match(record[1], '^%d+')) + ARGV[1] > now then
    alive[#alive + 1] = {record[1], record[2][2], record[2][5], record[2][6]}
  end
end
return alive
"""
)
# KEYS: a number's stream. ARGV: lifetime in ms, an id.
_OWNER: Final = Script(
    _NOW
    + """
for _, record in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 64)) do
  local is_alive = tonumber(string.match(record[1], '^%d+')) + ARGV[1] > now
  if is_alive and record[2][2] == ARGV[2] then return record[2][4] end
end
return ''
"""
)


class RedisStore:
    """Implements ``cps.store.EntryStore``; ``run`` must run meanwhile. ``now`` is Redis' own."""

    def __init__(
        self,
        connection: Connection,
        lifetime_seconds: int = DEFAULT_LIFETIME_SECONDS,
        *,
        max_entries_of_a_number: int = MAX_ENTRIES_OF_A_NUMBER,
        name: bytes = DEFAULT_NAME,
        clock: SharedClock | None = None,
    ) -> None:
        """Take what its keys begin with, and a clock where another store follows one already.

        Raises ``ValueError`` for a lifetime outside 5 to 60 s, or a cap that holds nothing.
        """
        if not MIN_LIFETIME_SECONDS <= lifetime_seconds <= MAX_LIFETIME_SECONDS:
            raise ValueError(f"a lifetime of {lifetime_seconds} seconds is not within 5 to 60")
        if not 1 <= max_entries_of_a_number <= MAX_ENTRIES_OF_A_NUMBER:
            raise ValueError("the store's caps leave no room, or more than a list holds")
        self.lifetime_seconds = lifetime_seconds
        self._follows = clock is None
        self.shared_clock = SharedClock(connection) if clock is None else clock
        self.clock: Callable[[], float] | None = self.shared_clock
        self._connection = connection
        self._name = name
        self._max_entries_of_a_number = max_entries_of_a_number
        self._lifetime_ms = lifetime_seconds * 1000
        self._index = ArrivalIndex(self._lifetime_ms)
        self._shards = shard_keys(connection, name)
        self._tail = Tail(
            connection, self._shards, self._index, self._lifetime_ms, self._tell, self._lose
        )
        self._told: list[tuple[Callable[[Placed], None], Callable[[], None]]] = []
        self._next_complaint = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether this worker has heard of everything that is alive."""
        return self._tail.is_complete

    async def run(self) -> None:
        """Follow the clock and the arrivals, for ever."""
        async with asyncio.TaskGroup() as group:
            if self._follows:
                group.create_task(self.shared_clock.run())
            group.create_task(self._tail.run())

    async def add(
        self, number: str, text: bytes, now: float, *, owner: str = "", packed: bool = False
    ) -> str:
        """Hold an entry for one lifetime; give its new id. Raises ``StoreUnavailable``.

        Where the answer was lost the entry may be there, under an id that nobody was told.
        """
        entry_id = format_id(secrets.token_bytes(16))
        key = self._key(number)
        is_single = not self._connection.settings.is_cluster
        shard = self._shard(key)
        place = await self._connection.script(
            _ADD,
            [key, shard] if is_single else [key],
            *(self._lifetime_ms, number, entry_id, owner, self._max_entries_of_a_number),
            *((b"b", text) if packed else _packed(text)),
        )
        if not is_single:
            await self._announce(shard, number, entry_id, place)
        return entry_id

    async def entries(self, number: str, now: float) -> Sequence[Entry]:
        """Give what is held for a number, newest first. Raises ``StoreUnavailable``."""
        return await self._read(number, b"-", b"+")

    async def under(
        self, prefix: str, now: float, *, before: Cursor | None = None, most: int = 64
    ) -> Found:
        """Give what is held for all numbers with a prefix; see ``EntryStore``.

        Raises ``StoreUnavailable``, also where this worker has not heard of all that is alive.
        """
        self._see_to_it_that_all_is_known()
        announced, cursor = self._index.walk(prefix, before, most)
        return Found(await self._fetched(announced), cursor)

    async def find(self, entry_id: str, now: float) -> Placed | None:
        """Give the entry with an id. Raises ``StoreUnavailable``, as ``under`` does."""
        self._see_to_it_that_all_is_known()
        announced = self._index.get(entry_id)
        return next(iter(await self._fetched([announced])), None) if announced else None

    async def owner(self, number: str, entry_id: str, now: float) -> str:
        """Give the owner of an entry of a number, empty for none. Raises ``StoreUnavailable``."""
        key = self._key(number)
        answer = await self._connection.script(_OWNER, [key], self._lifetime_ms, entry_id)
        if not isinstance(answer, bytes):
            raise StoreUnavailable("redis holds what cannot be read")
        return answer.decode("ascii", "replace")

    def _see_to_it_that_all_is_known(self) -> None:
        if not self.is_complete:
            raise StoreUnavailable("this worker has not heard of all entries yet")
        self._index.sweep(self._now_ms())

    def arrivals(
        self, told: Callable[[Placed], None], lost: Callable[[], None] = nobody_minds
    ) -> Callable[[], None]:
        """Call ``told`` with each entry as it arrives, at whichever worker; see ``EntryStore``."""
        listener = told, lost
        self._told.append(listener)
        return lambda: self._told.remove(listener)

    async def sweep(self, now: float) -> None:
        """Forget where expired entries were; Redis frees the entries themselves."""
        self._index.sweep(self._now_ms())

    def _key(self, number: str) -> bytes:
        return b"%s:{%s}" % (self._name, number.encode())

    def _shard(self, key: bytes) -> bytes:
        """Choose a stream of arrivals: one that is lost when the number's own is, if there is."""
        near = self._shards
        if self._connection.settings.is_cluster:
            near = self._connection.neighbours(key, self._shards) or near
        return random.choice(near)  # noqa: S311  spreads load, hides nothing

    def _now_ms(self) -> int:
        return int(self.shared_clock() * 1000)

    async def _read(self, number: str, first: bytes, last: bytes) -> list[Entry]:
        key = self._key(number)
        answer = await self._connection.script(_READ, [key], self._lifetime_ms, first, last)
        try:
            return [_entry(*record) for record in answer]
        except (TypeError, ValueError) as error:
            raise StoreUnavailable("redis holds what cannot be read") from error

    async def _announce(self, shard: bytes, number: str, entry_id: str, place: bytes) -> None:
        """Tell all workers, by another server where the first is lost; the store stands anyway."""
        for key in (shard, *random.sample(self._shards, 1)):
            try:
                await self._connection.script(
                    _ANNOUNCE, [key], self._lifetime_ms, number, entry_id, place
                )
            except StoreUnavailable as error:
                last = error
            else:
                return
        if time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + COMPLAINT_SECONDS
            _log.warning("entries are stored, but not announced to subscribers: %s", last)

    async def _tell(self, new: Sequence[Announced]) -> None:
        """Tell who listens, with the octets; nobody who does not costs no reading.

        What cannot be read is told to nobody ever: they learn that, and before what came after it.
        """
        for start in range(0, len(new), _AT_ONCE) if self._told else ():
            for read in await self._read_places(new[start : start + _AT_ONCE]):
                if isinstance(read, StoreUnavailable):
                    self._lose()
                    continue
                for each in read:
                    for told, _ in tuple(self._told):
                        told(each)

    def _lose(self) -> None:
        """Tell who listens that something was not told."""
        for _, lost in tuple(self._told):
            lost()

    async def _fetched(self, wanted: Sequence[Announced]) -> list[Placed]:
        """Read entries where they are; those that are gone are left out."""
        found: list[Placed] = []
        for start in range(0, len(wanted), _AT_ONCE):
            for read in await self._read_places(wanted[start : start + _AT_ONCE]):
                if isinstance(read, StoreUnavailable):
                    raise read
                found += read
        return found

    async def _read_places(
        self, wanted: Sequence[Announced]
    ) -> list[list[Placed] | StoreUnavailable]:
        """Read a few entries where they are, each for itself: none or one, or why not."""

        async def read(one: Announced) -> list[Placed] | StoreUnavailable:
            try:
                entries = await self._read(one.number, one.place, one.place)
            except StoreUnavailable as error:
                return error
            return [Placed(one.number, entry) for entry in entries if entry.id == one.id]

        return await asyncio.gather(*map(read, wanted))


def _packed(wire: bytes) -> tuple[bytes, bytes]:
    """Give what to keep of a text on the wire: its octets where those of a sealed PASSporT."""
    if len(wire) != _SEALED_WIRE_OCTETS:
        return b"w", wire
    try:
        # Lenient, since what does not come out again as it was is kept as it is.
        blob = binascii.a2b_base64(wire.translate(_FROM_URL) + b"==")
    except binascii.Error:
        return b"w", wire
    if sealing.looks_sealed(blob) and sealing.to_wire(blob) == wire:
        return b"b", blob
    return b"w", wire


def _entry(place: bytes, entry_id: bytes, form: bytes, packed: bytes) -> Entry:
    """Read a record."""
    arrival = int(place.split(b"-")[0]) / 1000
    # written when a dummy would be, too
    return Entry(arrival, entry_id.decode("ascii"), packed, packed=form == b"b")
