"""Where entries are, by the prefix of their numbers and in the order in which they arrived.

Takes arrivals, ids and numbers, no octets; gives those of a prefix, newest first, and looks at so
many at a time and no more: among very many entries of others, a prefix may have few. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final, NamedTuple

# what one look costs at most: about a millisecond
MAX_WALKED: Final = 4_096
# A country, an area and a little more: what a holder of a range asks for has as many or more.
_INDEXED_DIGITS: Final = (6, 4, 2, 0)


class Place(NamedTuple):
    """Where an entry is: its arrival in seconds, its id, its canonical number."""

    arrival: float
    id: str
    number: str


class Cursor(NamedTuple):
    """Where a look has stopped: an arrival, and the id there or what that begins with."""

    arrival: float
    id: str


class Walked(NamedTuple):
    """Places of a prefix, newest first; ``cursor`` is where to go on, None at the end."""

    places: list[Place]
    cursor: Cursor | None


class Places:
    """All places. They may come in any order; most come in that of their arrivals."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Place]] = {"": []}

    def __len__(self) -> int:
        """Count the places."""
        return len(self._rows[""])

    def add(self, place: Place) -> None:
        """Take one in that is not there."""
        for key in _keys(place.number):
            insort(self._rows.setdefault(key, []), place)

    def remove(self, place: Place) -> None:
        """Take one out; one that is not there changes nothing."""
        for key in _keys(place.number):
            row = self._rows.get(key, [])
            at = bisect_left(row, place)
            if row[at : at + 1] == [place]:
                del row[at]
                self._tidy(key)

    def forget_before(self, arrival: float) -> list[Place]:
        """Take out, and give, all that arrived earlier."""
        oldest = Place(arrival, "", "")
        everything = self._rows[""]
        gone = everything[: bisect_left(everything, oldest)]
        for key in {key for place in gone for key in _keys(place.number)}:
            row = self._rows[key]
            del row[: bisect_left(row, oldest)]
            self._tidy(key)
        return gone

    def walk(self, prefix: str, before: Cursor | None, most: int) -> Walked:
        """Give ``most`` places at most, of ``MAX_WALKED`` that are looked at, behind a cursor."""
        row = self._rows.get(_keys(prefix)[0], [])
        end = len(row) if before is None else bisect_left(row, Place(*before, ""))
        found: list[Place] = []
        at = end
        while at > max(0, end - MAX_WALKED) and len(found) < most:
            at -= 1
            if row[at].number.startswith(prefix):
                found.append(row[at])
        return Walked(found, Cursor(row[at].arrival, row[at].id) if at else None)

    def _tidy(self, key: str) -> None:
        if key and not self._rows[key]:
            del self._rows[key]


def _keys(number: str) -> list[str]:
    """Under what a number's place is found, the longest first."""
    return [number[:digits] for digits in _INDEXED_DIGITS if digits <= len(number)]
