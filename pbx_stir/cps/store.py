"""What a CPS holds in memory: sealed PASSporTs by called number, each for exactly its lifetime.

Takes canonical numbers, wire text and moments; gives entries. It never reads a clock, never looks
into what it holds, and keeps nothing of an entry once it has expired. Moments are float seconds of
one clock that does not run backwards, or a step of the wall clock would lengthen lifetimes.
Source: RFC 8816 sections 6.1 and 7.5 ("A CPS SHOULD NOT keep any stored PASSporT for longer than
... sixty seconds").
"""

from __future__ import annotations

import binascii
import contextlib
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pbx_stir.cps.places import Cursor, Place, Places
from pbx_stir.cps.wire import format_id
from pbx_stir.stir import sealing

MIN_LIFETIME_SECONDS = 5
MAX_LIFETIME_SECONDS = 60
DEFAULT_LIFETIME_SECONDS = 30
# 64 fit into one list, and up to three of them are dummies.
MAX_ENTRIES_OF_A_NUMBER = 61
DEFAULT_MAX_OCTETS = 256 * 1024 * 1024
# What the objects around an entry's octets take in CPython, measured and rounded up.
ENTRY_OVERHEAD_OCTETS = 1024
# of entries that are gone, beside as many as there are
_PLACES_LEFT = 1024
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_PADDING = b"=" * (-sealing.WIRE_OCTETS % 4)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a collection, real or dummy: when it arrived, its id, its octets.

    ``packed`` octets are a sealed PASSporT's own and are written in base64url for each answer;
    others are text as it stands. Real entries and dummies that look alike must be packed alike:
    otherwise an answer's latency tells them apart.
    """

    arrival: float
    id: str
    octets: bytes
    packed: bool = False

    @classmethod
    def of(cls, arrival: float, entry_id: str, wire: bytes) -> Entry:
        """Make one from its text on the wire, packed where that is a sealed PASSporT's."""
        if len(wire) == sealing.WIRE_OCTETS:
            with contextlib.suppress(binascii.Error):
                octets = binascii.a2b_base64(wire.translate(_TO_STANDARD) + _PADDING)
                if sealing.to_wire(octets) == wire:
                    return cls(arrival, entry_id, octets, packed=True)
        return cls(arrival, entry_id, wire)

    @property
    def wire(self) -> bytes:
        """The text on the wire, made anew each time where the entry is packed."""
        return sealing.to_wire(self.octets) if self.packed else self.octets


class Placed(NamedTuple):
    """An entry and the canonical number that it is stored under."""

    number: str
    entry: Entry


class Found(NamedTuple):
    """What is held under a prefix; ``cursor`` is where to go on, None where nothing more is."""

    placed: Sequence[Placed]
    cursor: Cursor | None


def nobody_minds() -> None:
    """What is called for a loss where nobody wants to know of it."""


class EntryStore(Protocol):
    """What holds a CPS's entries. All but ``arrivals`` raise ``StoreUnavailable``.

    ``now`` is a moment of ``clock``, or where that is None of whatever clock the server has that
    does not run backwards.
    """

    lifetime_seconds: int
    clock: Callable[[], float] | None

    @property
    def is_complete(self) -> bool:
        """Whether all that is alive is known, and all that arrives is heard of."""
        ...

    async def add(
        self, number: str, text: bytes, now: float, *, owner: str = "", packed: bool = False
    ) -> str:
        """Hold a text on the wire for one lifetime; give its new id.

        ``packed``: the text is not written yet, but the octets of a sealed PASSporT are given.
        """
        ...

    async def entries(self, number: str, now: float) -> Sequence[Entry]:
        """Give what is held for a number, newest first."""
        ...

    async def under(
        self, prefix: str, now: float, *, before: Cursor | None = None, most: int = 64
    ) -> Found:
        """Give what is held for all numbers with a prefix, newest first, ``most`` at a time.

        It costs a bounded time, whatever is held: there may be less, and more behind the cursor.
        """
        ...

    async def find(self, entry_id: str, now: float) -> Placed | None:
        """Give the entry with an id, None where there is none."""
        ...

    async def owner(self, number: str, entry_id: str, now: float) -> str:
        """Give the owner of an entry of a number, empty where there is none."""
        ...

    def arrivals(
        self, told: Callable[[Placed], None], lost: Callable[[], None] = nobody_minds
    ) -> Callable[[], None]:
        """Call ``told`` with each entry as it arrives, in whichever process; gives what ends it.

        ``lost`` is called where an entry may have arrived that is told late or not at all.
        """
        ...

    async def sweep(self, now: float) -> None:
        """Free what has expired."""
        ...


class _Held(NamedTuple):
    """A real entry with what its removal needs."""

    entry: Entry
    number: str
    owner: str


class MemoryStore:
    """Real entries, in memory, capped by number and in all.

    ``owner`` is an opaque name for who stored an entry, empty where nobody can tell. Where a cap is
    reached the oldest entry of the owner with the most entries there goes, so that a flood pushes
    out the flood.
    """

    def __init__(
        self,
        lifetime_seconds: int = DEFAULT_LIFETIME_SECONDS,
        *,
        max_entries_of_a_number: int = MAX_ENTRIES_OF_A_NUMBER,
        max_octets: int = DEFAULT_MAX_OCTETS,
    ) -> None:
        """Raise ``ValueError`` for a lifetime outside 5 to 60 s, or caps that hold nothing."""
        if not MIN_LIFETIME_SECONDS <= lifetime_seconds <= MAX_LIFETIME_SECONDS:
            raise ValueError(
                f"a lifetime of {lifetime_seconds} seconds is not within"
                f" {MIN_LIFETIME_SECONDS} to {MAX_LIFETIME_SECONDS}"
            )
        if not 1 <= max_entries_of_a_number <= MAX_ENTRIES_OF_A_NUMBER or max_octets < 1:
            raise ValueError("the store's caps leave no room, or more than a list holds")
        self.lifetime_seconds = lifetime_seconds
        self.clock: Callable[[], float] | None = None
        self.is_complete = True
        self._max_entries_of_a_number = max_entries_of_a_number
        self._max_octets = max_octets
        self._octets = 0
        self._by_age: OrderedDict[str, _Held] = OrderedDict()
        self._by_number: dict[str, dict[str, Entry]] = {}
        self._places = Places()
        self._owners = Owners()
        self._told: list[Callable[[Placed], None]] = []

    def __len__(self) -> int:
        """Count the entries in memory, expired ones that no sweep has met among them."""
        return len(self._by_age)

    @property
    def octets(self) -> int:
        """What the entries take in memory, about."""
        return self._octets

    async def add(
        self, number: str, text: bytes, now: float, *, owner: str = "", packed: bool = False
    ) -> str:
        """Hold an entry for one lifetime; give its new id. The caller has checked its form."""
        self._sweep(now)
        collection = self._by_number.get(number, {})
        if len(collection) >= self._max_entries_of_a_number:
            self._drop(self._oldest_of_the_greediest(collection))
        entry_id = format_id(secrets.token_bytes(16))
        entry = Entry(now, entry_id, text, packed=True) if packed else Entry.of(now, entry_id, text)
        while self._by_age and self._octets + _cost(entry) > self._max_octets:
            self._drop(self._owners.oldest_of_the_greediest())
        self._by_age[entry.id] = _Held(entry, number, owner)
        self._by_number.setdefault(number, {})[entry.id] = entry
        self._places.add(Place(now, entry.id, number))
        self._owners.add(owner, entry.id)
        self._octets += _cost(entry)
        for told in self._told:
            told(Placed(number, entry))
        return entry.id

    async def entries(self, number: str, now: float) -> Sequence[Entry]:
        """Give what is held for a number, newest first. Reading changes nothing."""
        collection = self._by_number.get(number)
        if collection is None:
            return ()
        lifetime = self.lifetime_seconds
        return [each for each in reversed(collection.values()) if each.arrival + lifetime > now]

    async def under(
        self, prefix: str, now: float, *, before: Cursor | None = None, most: int = 64
    ) -> Found:
        """Give what is held for all numbers with a prefix; see ``EntryStore``."""
        places, cursor = self._places.walk(prefix, before, most)
        alive = [each for each in places if each.arrival + self.lifetime_seconds > now]
        held = [self._by_age[each.id] for each in alive if each.id in self._by_age]
        if cursor is not None and cursor.arrival + self.lifetime_seconds <= now:
            cursor = None
        return Found([Placed(each.number, each.entry) for each in held], cursor)

    async def find(self, entry_id: str, now: float) -> Placed | None:
        """Give the entry with an id; see ``EntryStore``."""
        held = self._by_age.get(entry_id)
        if held is None or held.entry.arrival + self.lifetime_seconds <= now:
            return None
        return Placed(held.number, held.entry)

    async def owner(self, number: str, entry_id: str, now: float) -> str:
        """Give the owner of an entry of a number, empty where there is none."""
        held = self._by_age.get(entry_id)
        if held is None or held.number != number:
            return ""
        return held.owner if held.entry.arrival + self.lifetime_seconds > now else ""

    def arrivals(
        self, told: Callable[[Placed], None], lost: Callable[[], None] = nobody_minds
    ) -> Callable[[], None]:
        """Call ``told`` with each entry as it arrives; see ``EntryStore``. None is ever lost."""
        self._told.append(told)
        return lambda: self._told.remove(told)

    async def sweep(self, now: float) -> None:
        """Free what has expired; called with every add, and by a clock where nobody adds."""
        self._sweep(now)
        self._forget_places()

    def _sweep(self, now: float) -> None:
        while self._by_age:
            held = next(iter(self._by_age.values()))
            if held.entry.arrival + self.lifetime_seconds > now:
                break
            self._remove(held.entry.id)
        # many at a time: each time costs as much as there are
        if len(self._places) > 2 * len(self._by_age) + _PLACES_LEFT:
            self._forget_places()

    def _forget_places(self) -> None:
        """Forget where expired entries were."""
        oldest = next((held.entry.arrival for held in self._by_age.values()), math.inf)
        self._places.forget_before(oldest)

    def _drop(self, entry_id: str) -> None:
        """Take out an entry that has not expired."""
        held = self._by_age[entry_id]
        self._places.remove(Place(held.entry.arrival, entry_id, held.number))
        self._remove(entry_id)

    def _remove(self, entry_id: str) -> None:
        """Take one entry out of every index but that of places."""
        entry, number, owner = self._by_age.pop(entry_id)
        self._octets -= _cost(entry)
        self._owners.remove(owner, entry_id)
        collection = self._by_number[number]
        del collection[entry_id]
        if not collection:
            del self._by_number[number]

    def _oldest_of_the_greediest(self, collection: dict[str, Entry]) -> str:
        """Choose who goes from one full collection; it is small, so counting it is cheap."""
        counts: dict[str, int] = {}
        for entry_id in collection:
            owner = self._by_age[entry_id].owner
            counts[owner] = counts.get(owner, 0) + 1
        greediest = max(counts, key=counts.__getitem__)
        return next(each for each in collection if self._by_age[each].owner == greediest)


class Owners:
    """Entry ids by owner, oldest first, and owners by their count: the greediest in O(1)."""

    def __init__(self) -> None:
        self._ids: dict[str, OrderedDict[str, None]] = {}
        self._by_count: dict[int, OrderedDict[str, None]] = {}
        self._greatest = 0

    def add(self, owner: str, entry_id: str) -> None:
        """Count one more entry of an owner."""
        ids = self._ids.setdefault(owner, OrderedDict())
        ids[entry_id] = None
        self._move(owner, len(ids) - 1, len(ids))

    def remove(self, owner: str, entry_id: str) -> None:
        """Count one entry less."""
        ids = self._ids[owner]
        del ids[entry_id]
        self._move(owner, len(ids) + 1, len(ids))
        if not ids:
            del self._ids[owner]

    def oldest_of_the_greediest(self) -> str:
        """Name the oldest entry of an owner that has the most; there is at least one entry."""
        owner = next(iter(self._by_count[self._greatest]))
        return next(iter(self._ids[owner]))

    def _move(self, owner: str, before: int, after: int) -> None:
        """Move an owner from one count to the next; counts change by one, so does the greatest."""
        if before:
            owners = self._by_count[before]
            del owners[owner]
            if not owners:
                del self._by_count[before]
        if after:
            self._by_count.setdefault(after, OrderedDict())[owner] = None
        if after > self._greatest or (before == self._greatest and before not in self._by_count):
            self._greatest = after


def _cost(entry: Entry) -> int:
    """What an entry takes in memory, about, in octets."""
    return len(entry.octets) + ENTRY_OVERHEAD_OCTETS
