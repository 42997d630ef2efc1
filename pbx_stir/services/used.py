"""Single use: a PASSporT verifies one call.

RFC 8816 section 7.4 leaves open that two calls claim one PASSporT within its freshness. Here the
first to reserve it has it; the second is told who did. Takes keys (``stir.passport.used_key`` in
hex), claims and the time; gives ``Use``. Never knows a verdict or a PBX.

One entry lives through these states, always by a rule below::

    (none) --reserve--> RESERVED --confirm--> USED --ended unanswered--> REUSABLE for 5 s, once
       ^                   |                                                  |
       +-----give_back-----+                    RESERVED <--reserve-----------+

* reserve: the first claim gets FRESH; the same call again (same PBX, linked id, trunk, numbers)
  gets SAME; another one gets TAKEN, unless the entry is REUSABLE: then AGAIN.
* A claim that dies in its hold gives back. What was REUSABLE before stays so.
* Entries are forgotten when no check of freshness can let their PASSporT pass any more.

REUSABLE is a known opening: a carrier that fails over to a second trunk presents one call twice,
and who sees a first attempt go unanswered can use the same five seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

import msgspec

FAILOVER_SECONDS: Final = 5.0


class Claim(msgspec.Struct, frozen=True):
    """A call that wants a PASSporT: where it is, and what tells that it asks again.

    ``call_id`` is the call log's id.
    """

    pbx: str
    unique_id: str
    linked_id: str
    trunk: str
    orig: str
    dest: str
    call_id: str

    def same_call(self, other: Claim) -> bool:
        """Whether ``other`` is this call, asking again (or on another leg of it)."""
        mine = (self.pbx, self.linked_id, self.trunk, self.orig, self.dest)
        return mine == (other.pbx, other.linked_id, other.trunk, other.orig, other.dest)


class Use(Enum):
    """What a reservation found."""

    FRESH = "fresh"
    SAME = "same"
    AGAIN = "again"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a claim got; ``holder`` is the other call where it got TAKEN or AGAIN."""

    use: Use
    holder: Claim | None = None


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the journal: what must survive a restart. ``free`` takes the key's line back."""

    key: str
    until: float
    claim: Claim | None = None
    again: bool = False
    ended: float | None = None
    free: bool = False


class Journal(Protocol):
    """Keeps notes across restarts."""

    async def append(self, note: Note) -> None:
        """Have ``note`` outlive this process; does not raise, and does not block the call path."""
        ...


class SingleUse(Protocol):
    """What the services await of the single-use memory."""

    async def reserve(self, key: str, claim: Claim, until: float, now: float) -> Reservation:
        """Take ``key`` for ``claim``, to be remembered up to the moment ``until``; atomic."""
        ...

    async def confirm(self, key: str, claim: Claim, now: float) -> None:
        """The PBX has taken the verdict: the key is used."""
        ...

    async def give_back(self, key: str, claim: Claim, now: float) -> None:
        """The call was gone before its verdict: as if it had never reserved."""
        ...

    async def ended(self, pbx: str, unique_id: str, answered: bool, now: float) -> None:
        """The call is over."""
        ...


@dataclass(slots=True)
class _Entry:
    claim: Claim
    until: float
    reserved: bool
    again: bool = False
    ended: float | None = None
    before: _Entry | None = field(default=None, repr=False)


class UsedPassports:
    """The single-use memory of one process, with a journal for the next one."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._entries: dict[str, _Entry] = {}
        self._keys_of_call: dict[tuple[str, str], str] = {}
        self._next_sweep = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def restore(self, notes: Iterable[Note], now: float) -> None:
        """Take over what an earlier process knew; a reservation it never settled counts as used."""
        for note in notes:
            if note.free or note.until < now or note.claim is None:
                self._forget(note.key)
                continue
            self._forget(note.key)
            entry = _Entry(note.claim, note.until, reserved=False, again=note.again)
            entry.ended = note.ended
            self._entries[note.key] = entry
            self._keys_of_call[note.claim.pbx, note.claim.unique_id] = note.key

    async def reserve(self, key: str, claim: Claim, until: float, now: float) -> Reservation:
        """Source: the rules in this module's docstring."""
        self._sweep(now)
        entry = self._entries.get(key)
        if entry is not None and entry.until < now:
            self._forget(key)
            entry = None
        if entry is None:
            found = Reservation(Use.FRESH)
        elif entry.claim.same_call(claim):
            return Reservation(Use.SAME, entry.claim)
        elif self._reusable(entry, now):
            found = Reservation(Use.AGAIN, entry.claim)
        else:
            return Reservation(Use.TAKEN, entry.claim)
        again = found.use is Use.AGAIN
        before = entry if again else None
        # no await between the look and the entry: this is what makes it atomic
        self._entries[key] = _Entry(claim, until, reserved=True, again=again, before=before)
        self._keys_of_call[claim.pbx, claim.unique_id] = key
        await self._write(Note(key, until, claim, again=again))
        return found

    async def confirm(self, key: str, claim: Claim, now: float) -> None:
        """Source: the rules in this module's docstring."""
        entry = self._entries.get(key)
        if entry is not None and entry.claim.same_call(claim):
            entry.reserved, entry.before = False, None

    async def give_back(self, key: str, claim: Claim, now: float) -> None:
        """Source: the rules in this module's docstring."""
        entry = self._entries.get(key)
        if entry is None or entry.claim != claim or not entry.reserved:
            return
        before = entry.before
        self._forget(key)
        if before is None:
            await self._write(Note(key, entry.until, free=True))
            return
        self._entries[key] = before
        self._keys_of_call[before.claim.pbx, before.claim.unique_id] = key
        await self._write(Note(key, before.until, before.claim, before.again, before.ended))

    async def ended(self, pbx: str, unique_id: str, answered: bool, now: float) -> None:
        """Source: the rules in this module's docstring."""
        key = self._keys_of_call.get((pbx, unique_id), "")
        entry = self._entries.get(key)
        if entry is None or entry.reserved or answered or entry.ended is not None:
            return
        entry.ended = now
        await self._write(Note(key, entry.until, entry.claim, entry.again, now))

    @staticmethod
    def _reusable(entry: _Entry, now: float) -> bool:
        if entry.reserved or entry.again or entry.ended is None:
            return False
        return 0 <= now - entry.ended < FAILOVER_SECONDS

    async def _write(self, note: Note) -> None:
        if self._journal is not None:
            await self._journal.append(note)

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._keys_of_call.pop((entry.claim.pbx, entry.claim.unique_id), None)

    def _sweep(self, now: float) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + 1
        for key in [key for key, entry in self._entries.items() if entry.until < now]:
            self._forget(key)
