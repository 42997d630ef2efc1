"""Where a CPS keeps the records of keys: what is asked of a shelf, and the one in memory.

Takes checked records, canonical numbers and wall-clock moments, gives tokens. What is kept and what
is remembered is decided in ``records``. A record that is put under one of its numbers is found
under all of them: its ranges are indexed by what first and last have in common at their beginning,
and never enumerated. Source: RFC 8816 sections 6.2 and 11.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pbx_stir.cps.records import (
    CheckedRecord,
    Row,
    Shelved,
    beginnings,
    first_prefix_under,
    given,
    place,
    prefixes,
)

DEFAULT_MAX_OCTETS = 64 * 1024 * 1024
# What the objects around a row and a span take in CPython, measured and rounded up.
ROW_OVERHEAD_OCTETS = 2048
SPAN_OVERHEAD_OCTETS = 320
MAX_RECORDS_OF_A_PAGE = 64
MAX_OCTETS_OF_A_PAGE = 512 * 1024
MOST_LOOKED_AT = 128
_CURSOR = re.compile(r"([0-9]{0,15})\.([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some of the records under a prefix; ``after`` continues, and is empty at the end.

    A page may hold fewer records than there is room for, or none, and not be the last.
    """

    tokens: tuple[str, ...] = ()
    after: str = ""


class RecordShelf(Protocol):
    """Keeps records by number and signer. Everything raises ``StoreUnavailable``."""

    async def put(self, number: str, record: CheckedRecord, now: float) -> Shelved:
        """Keep a record that is put under ``number``, or say why not; all of it or nothing."""
        ...

    async def tokens(self, number: str, now: float) -> Sequence[str]:
        """Give a number's records: each signer's newest that has not expired, at most 8 keys."""
        ...

    async def under(self, prefix: str, now: float, after: str = "") -> RecordPage:
        """Give records that name any number under a prefix, from where ``after`` of a page says.

        What is kept all the while is in one of the pages; what is replaced may be in two, the old
        one and the new.
        """
        ...

    async def sweep(self, now: float) -> None:
        """Free what has expired, and forget what need not be remembered any more."""
        ...


class MemoryShelf:
    """Records in at most ``max_octets`` of memory; implements ``RecordShelf``."""

    def __init__(self, max_octets: int = DEFAULT_MAX_OCTETS) -> None:
        self._max_octets = max_octets
        self._octets = 0
        self._ids = itertools.count(1)
        self._rows: dict[int, Row] = {}
        self._of_signer: dict[bytes, dict[int, None]] = {}
        # (prefix, id) in order: what a prefix has is one stretch of it
        self._places: list[tuple[str, int]] = []

    def __len__(self) -> int:
        """Count the rows, those of expired records among them."""
        return len(self._rows)

    async def put(self, number: str, record: CheckedRecord, now: float) -> Shelved:
        """See ``RecordShelf``."""
        mine = [self._rows[each] for each in self._of_signer.get(record.signer, ())]
        others = [row for row in self._holding(number, now) if row.signer != record.signer]
        placed = place(record, number, [row for row in mine if row.until > now], others, now)
        if placed.row is None:
            return placed.shelved
        over = [row for row in mine if row.until <= now]
        freed = sum(map(_cost, (*placed.gone, *over)))
        if self._octets + _cost(placed.row) - freed > self._max_octets:
            return Shelved.FULL
        for row in (*placed.gone, *over, *placed.cut):
            self._remove(self._rows[row.id])
        for row in placed.cut:
            self._add(row)
        self._add(replace(placed.row, id=next(self._ids)))
        return placed.shelved

    async def tokens(self, number: str, now: float) -> Sequence[str]:
        """See ``RecordShelf``."""
        return given(self._holding(number, now), now)

    async def under(self, prefix: str, now: float, after: str = "") -> RecordPage:
        """See ``RecordShelf``."""
        places = itertools.islice(self._places_under(prefix, cursor(after)), MOST_LOOKED_AT)
        return page([(place, self._rows[place[1]]) for place in places], prefix, now)

    async def sweep(self, now: float) -> None:
        """See ``RecordShelf``."""
        for row in [row for row in self._rows.values() if row.exp <= now]:
            if row.until <= now:
                self._remove(row)
            elif row.token:
                self._octets -= len(row.token)
                self._rows[row.id] = replace(row, token="")

    def _holding(self, number: str, now: float) -> list[Row]:
        """Find the rows with a live record of the number, each once."""
        found = {
            each: self._rows[each]
            for prefix in beginnings(number)
            for _, each in self._stretch(prefix, prefix, ("", 0))
        }
        return [row for row in found.values() if row.is_live(now) and row.covers(number)]

    def _places_under(self, prefix: str, after: tuple[str, int]) -> Iterator[tuple[str, int]]:
        """Give the places that may have numbers under the prefix, in order."""
        for shorter in beginnings(prefix[:-1]):
            yield from self._stretch(shorter, shorter, after)
        yield from self._stretch(prefix, prefix + ":", after)

    def _stretch(self, first: str, last: str, after: tuple[str, int]) -> Iterator[tuple[str, int]]:
        """Give the places of prefixes from ``first`` to ``last`` that come after one."""
        at = bisect_left(self._places, max((first, 0), (after[0], after[1] + 1)))
        while at < len(self._places) and self._places[at][0] <= last:
            yield self._places[at]
            at += 1

    def _add(self, row: Row) -> None:
        """Put a row into every index."""
        self._octets += _cost(row)
        self._rows[row.id] = row
        self._of_signer.setdefault(row.signer, {})[row.id] = None
        for prefix in prefixes(row.spans):
            insort(self._places, (prefix, row.id))

    def _remove(self, row: Row) -> None:
        """Take a row out of every index."""
        self._octets -= _cost(row)
        del self._rows[row.id]
        of_signer = self._of_signer[row.signer]
        del of_signer[row.id]
        if not of_signer:
            del self._of_signer[row.signer]
        for prefix in prefixes(row.spans):
            del self._places[bisect_left(self._places, (prefix, row.id))]


def page(places: Sequence[tuple[tuple[str, int], Row]], prefix: str, now: float) -> RecordPage:
    """Make a page of the next places, at most ``MOST_LOOKED_AT``, and their rows.

    A record with several places is given at the first of them alone.
    """
    tokens: list[str] = []
    octets = 0
    for at, ((found, _), row) in enumerate(places):
        if not row.is_live(now) or first_prefix_under(row, prefix) != found:
            continue
        octets += len(row.token)
        if len(tokens) == MAX_RECORDS_OF_A_PAGE or (tokens and octets > MAX_OCTETS_OF_A_PAGE):
            return RecordPage(tuple(tokens), _written(places[at - 1][0]))
        tokens.append(row.token)
    more = len(places) >= MOST_LOOKED_AT
    return RecordPage(tuple(tokens), _written(places[-1][0]) if more else "")


def cursor(after: str) -> tuple[str, int]:
    """Read what a page gave as ``after``, empty at first; nothing comes after what is none."""
    if not after:
        return "", 0
    match = _CURSOR.fullmatch(after)
    return (match[1], int(match[2])) if match else ("~", 0)


def _written(place: tuple[str, int]) -> str:
    return f"{place[0]}.{place[1]}"


def _cost(row: Row) -> int:
    """What a row takes in memory, about, in octets."""
    return len(row.token) + ROW_OVERHEAD_OCTETS + SPAN_OVERHEAD_OCTETS * len(row.spans)
