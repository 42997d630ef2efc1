"""Which of many ranges that may overlap is the smallest around a number.

Takes ranges of numbers with a text each, gives the smallest around a number by one bisection: the
line of numbers is cut where a range begins or ends, and each piece keeps its winner. Ranges are
never enumerated, and reach only numbers of as many digits as their start.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """``count`` numbers from ``start`` (digits) on, and the text that is said of them."""

    start: str
    count: int
    value: str

    @property
    def first(self) -> int:
        """The first number as an integer."""
        return int(self.start)

    @property
    def last(self) -> int:
        """The last number that has as many digits as the first."""
        beyond: int = 10 ** len(self.start)
        return min(self.first + self.count, beyond) - 1

    @property
    def size(self) -> int:
        """How many numbers of as many digits it holds."""
        return self.last - self.first + 1


class Segments:
    """Ranges, ready to be asked. Of two as small as each other the one that begins later wins."""

    __slots__ = ("_rows",)

    def __init__(self, claims: Iterable[Claim]) -> None:
        by_digits: dict[int, list[Claim]] = {}
        for claim in claims:
            by_digits.setdefault(len(claim.start), []).append(claim)
        self._rows = {digits: _row(found) for digits, found in by_digits.items()}

    def smallest(self, number: str) -> Claim | None:
        """Give the smallest range around ``number`` (digits), None where none is around it."""
        row = self._rows.get(len(number))
        if row is None or not (number.isascii() and number.isdigit()):
            return None
        edges, winners = row
        at = bisect_right(edges, int(number)) - 1
        return winners[at] if at >= 0 else None


def _row(claims: list[Claim]) -> tuple[list[int], list[Claim | None]]:
    """Give where each piece of the line begins, and who wins it."""
    edges = sorted({edge for one in claims for edge in (one.first, one.last + 1)})
    waiting = sorted(claims, key=lambda one: one.first, reverse=True)
    # (size, -first) and a counter, so that two are never compared themselves
    open_ones: list[tuple[int, int, int, Claim]] = []
    winners: list[Claim | None] = []
    for edge in edges:
        while waiting and waiting[-1].first == edge:
            one = waiting.pop()
            heapq.heappush(open_ones, (one.size, -one.first, len(waiting), one))
        while open_ones and open_ones[0][3].last < edge:
            heapq.heappop(open_ones)
        winners.append(open_ones[0][3] if open_ones else None)
    return edges, winners
