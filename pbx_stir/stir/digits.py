"""Canonical digit strings, and sets of them as intervals of one digit count.

The ground under ``number``, ``number_set`` and ``tnauthlist``: the one strict reader of a canonical
number, the paths of a CPS, and arithmetic on (first, last) pairs. An interval never reaches into
numbers of more digits, and none is ever enumerated.

Source: RFC 8224 section 8.3, RFC 8226 section 9, RFC 8816 section 9.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final

from pbx_stir.errors import MalformedNumber

MAX_DIGITS: Final = 15  # ITU-T E.164

# digit count -> sorted, disjoint (first, last), both ends belonging
Intervals = Mapping[int, Sequence[tuple[int, int]]]

_CANONICAL: Final = re.compile(r"\+?([0-9]+)")
_CPS_PATH: Final = re.compile(r"\+?[0-9]+(?:\.[0-9]+)*")


def canonical(text: str, *, max_digits: int = MAX_DIGITS) -> str:
    """Read ``text``, ASCII digits with at most one "+" before them, as a canonical number.

    This is the strict form of tokens, records and configuration: separators, blanks, ``*`` and
    ``#`` are refused, leading zeros stand. Raises MalformedNumber, also beyond ``max_digits``.
    """
    match = _CANONICAL.fullmatch(text)
    if match is None:
        raise MalformedNumber(f"{text[:40]!r} is not a telephone number")
    if len(match[1]) > max_digits:
        raise MalformedNumber(f"{text[:40]!r} has more than {max_digits} digits")
    return match[1]


def from_cps_path(segment: str, *, max_digits: int = MAX_DIGITS) -> str:
    """Read a path segment of a CPS, already percent-decoded once: one key for all its forms.

    "2.222.555.2222" (the form of RFC 8816 section 9), "+22225552222" and "22225552222" are one.
    Single dots between digits only. Raises MalformedNumber.
    """
    if not _CPS_PATH.fullmatch(segment):
        raise MalformedNumber(f"{segment[:40]!r} is not a telephone number")
    return canonical(segment.replace(".", ""), max_digits=max_digits)


def joined(spans: Iterable[tuple[int, int, int]]) -> dict[int, tuple[tuple[int, int], ...]]:
    """Join spans (digit count, first, last) that overlap or touch."""
    union: dict[int, list[tuple[int, int]]] = {}
    for digits, first, last in sorted(spans):
        row = union.setdefault(digits, [])
        if row and first <= row[-1][1] + 1:
            row[-1] = (row[-1][0], max(row[-1][1], last))
        else:
            row.append((first, last))
    return {digits: tuple(row) for digits, row in union.items()}


def inside(intervals: Intervals, digits: int, first: int, last: int) -> bool:
    """Tell whether one interval of ``digits`` digits holds all of ``first`` to ``last``."""
    row = intervals.get(digits, ())
    at = bisect_right(row, first, key=itemgetter(0)) - 1
    return at >= 0 and last <= row[at][1]
