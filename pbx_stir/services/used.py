"""Single use: a PASSporT verifies one call.

RFC 8816 section 7.4 leaves open that two calls claim one PASSporT within its freshness. Here the
first to reserve it has it; the second is told who did. Takes keys (``judgement.use_of``), claims
and the time; gives ``Use``. Never knows a verdict or a PBX.

One entry lives through these states, always by a function below::

    (none) --reserve--> RESERVED --confirm--> USED --ended unanswered--> REUSABLE for 5 s, once
       ^                   |                                                  |
       +-----give_back-----+                    RESERVED <--reserve-----------+

* reserve: the first claim gets FRESH; the same call again (same PBX, first leg, trunk, numbers)
  gets SAME, and holds the entry as well; another one gets TAKEN, unless the entry is REUSABLE: then
  AGAIN.
* A claim that dies in its hold gives back; the entry goes with the last of its call's claims. What
  was REUSABLE before is so again.
* A call has ended unanswered when all of its legs that had used the entry have.
* Entries are forgotten when no check of freshness can let their PASSporT pass any more.

REUSABLE is a known opening: a carrier that fails over to a second trunk presents one call twice,
and who sees a first attempt go unanswered can use the same five seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

import msgspec

FAILOVER_SECONDS: Final = 5.0


class Claim(msgspec.Struct, frozen=True):
    """A call that wants a PASSporT: where it is, and what tells that it asks again.

    ``linked_id`` is that of the first leg that asked, which those made for it have inherited: what
    a PBX calls so is, once two calls are bridged, the same for both. ``call_id`` is the call log's.
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


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of one PASSporT; times are seconds since the epoch.

    ``claim`` is whom others are told of. All claims are of one call: ``held`` are those that still
    wait for their release, ``used`` those that had it and have not ended unanswered. ``until`` is
    when it may be forgotten, ``again`` that it is used a second time, ``ended`` when the last leg
    ended unanswered, ``before`` what it was before that second reservation.
    """

    claim: Claim
    until: float
    held: tuple[Claim, ...] = ()
    used: tuple[Claim, ...] = ()
    again: bool = False
    ended: float | None = None
    before: Entry | None = None

    def is_reusable(self, now: float) -> bool:
        """Whether its call ended unanswered a moment ago, and nobody else has used it since."""
        if self.held or self.used or self.again or self.ended is None:
            return False
        return 0 <= now - self.ended < FAILOVER_SECONDS


class SingleUse(Protocol):
    """What the services await of the single-use memory."""

    async def reserve(
        self, key: str, claim: Claim, until: float, now: float, made: float | None = None
    ) -> Reservation:
        """Take ``key`` for ``claim``, to be remembered up to the moment ``until``; atomic.

        ``made`` is the PASSporT's iat: a memory that has lost something raises ``Unavailable`` for
        what may have been in it.
        """
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


def reserved(
    entry: Entry | None, claim: Claim, until: float, now: float
) -> tuple[Entry, Reservation]:
    """What a claim makes of an entry, and what it gets (see the module for the rules)."""
    if entry is None or entry.until < now:
        return Entry(claim, until, held=(claim,)), Reservation(Use.FRESH)
    if entry.claim.same_call(claim):
        held = (*_without(entry.held, claim), claim)
        return msgspec.structs.replace(entry, held=held), Reservation(Use.SAME, entry.claim)
    if entry.is_reusable(now):
        taken = Entry(claim, until, held=(claim,), again=True, before=entry)
        return taken, Reservation(Use.AGAIN, entry.claim)
    return entry, Reservation(Use.TAKEN, entry.claim)


def confirmed(entry: Entry, claim: Claim) -> Entry:
    """The entry, used, if it is this call's."""
    if not entry.claim.same_call(claim):
        return entry
    held, used = _without(entry.held, claim), (*_without(entry.used, claim), claim)
    return msgspec.structs.replace(entry, held=held, used=used, before=None)


def given_back(entry: Entry, claim: Claim) -> Entry | None:
    """The entry, as it was before this claim reserved it; None: as if it had never been."""
    if claim not in entry.held:
        return entry
    held = _without(entry.held, claim)
    others = entry.used + held
    if not others and entry.ended is None:
        return entry.before
    named = others[0] if entry.claim == claim and others else entry.claim
    return msgspec.structs.replace(entry, claim=named, held=held)


def ended(entry: Entry, pbx: str, unique_id: str, now: float) -> Entry:
    """The entry, one call of the PBX ended unanswered at ``now``."""
    up = tuple(one for one in entry.used if (one.pbx, one.unique_id) != (pbx, unique_id))
    return entry if up == entry.used else msgspec.structs.replace(entry, used=up, ended=now)


def _without(claims: tuple[Claim, ...], claim: Claim) -> tuple[Claim, ...]:
    return tuple(one for one in claims if one != claim)


class UsedPassports:
    """The single-use memory of one process alone."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._next_sweep = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    async def reserve(
        self, key: str, claim: Claim, until: float, now: float, made: float | None = None
    ) -> Reservation:
        """Take ``key`` for ``claim``; atomic, since nothing is awaited."""
        self._sweep(now)
        self._entries[key], found = reserved(self._entries.get(key), claim, until, now)
        return found

    async def confirm(self, key: str, claim: Claim, now: float) -> None:
        """The PBX has taken the verdict."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries[key] = confirmed(entry, claim)

    async def give_back(self, key: str, claim: Claim, now: float) -> None:
        """The call was gone before its verdict."""
        entry = self._entries.pop(key, None)
        kept = given_back(entry, claim) if entry is not None else None
        if kept is not None:
            self._entries[key] = kept

    async def ended(self, pbx: str, unique_id: str, answered: bool, now: float) -> None:
        """The call is over."""
        if answered:
            return
        for key, entry in self._entries.items():
            self._entries[key] = ended(entry, pbx, unique_id, now)

    def _sweep(self, now: float) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + 1
        for key in [key for key, entry in self._entries.items() if entry.until < now]:
            del self._entries[key]
