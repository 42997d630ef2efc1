"""Sets of canonical numbers as an administrator writes them: singles, ranges, prefixes.

Takes text from a configuration, gives a frozen ``NumberSet`` that answers ``number in set`` by
arithmetic. It does not know what the set is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pbx_stir.errors import MalformedNumber
from pbx_stir.stir.digits import MAX_DIGITS, canonical, inside, joined

_MAX_ITEMS: Final = 100_000


@dataclass(frozen=True, slots=True)
class NumberSet:
    """A set of canonical numbers: singles, ranges and prefixes, asked by arithmetic.

    ``ranges`` maps a digit count to sorted, disjoint (first, last). ``prefixes`` are of any length.
    ``number in set`` is False for text that is not a canonical number. Made by ``parse``; empty
    when made without arguments.
    """

    ranges: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    prefixes: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, items: Iterable[str], *, max_digits: int = MAX_DIGITS) -> NumberSet:
        """Read "+12125551234", "+12125551200-+12125551299" (both ends belong), "+1212555*".

        "+" may be missing; no other separators. A range has two ends of as many digits, the first
        not above the last. A prefix has at least one digit. Raises MalformedNumber.
        """
        spans: list[tuple[int, int, int]] = []
        prefixes: set[str] = set()
        for count, item in enumerate(items):
            if count >= _MAX_ITEMS:
                raise MalformedNumber(f"more than {_MAX_ITEMS} numbers and ranges")
            if item.endswith("*"):
                prefixes.add(canonical(item[:-1], max_digits=max_digits))
                continue
            low, dash, high = item.partition("-")
            first = canonical(low, max_digits=max_digits)
            last = canonical(high, max_digits=max_digits) if dash else first
            if len(first) != len(last) or first > last:
                raise MalformedNumber(
                    f"{item[:80]!r} is not a range",
                    hint="both ends need as many digits, the smaller first",
                )
            spans.append((len(first), int(first), int(last)))
        return cls(joined(spans), frozenset(prefixes))

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, str) or len(number) > 32:
            return False
        if not (number.isascii() and number.isdigit()):
            return False
        if any(number[:length] in self.prefixes for length in range(1, len(number) + 1)):
            return True
        return inside(self.ranges, len(number), int(number), int(number))

    def __bool__(self) -> bool:
        return bool(self.ranges or self.prefixes)

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.ranges.items())), self.prefixes))
