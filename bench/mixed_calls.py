"""The calls of ``bench.mixed``: of which kinds they are, and what must come of each.

Pure: a plan is a list of calls, each with a caller and a called number that no other call has
together, so that its rows are found again among ten thousand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

PASSED: Final = "TN-Validation-Passed"
FAILED: Final = "TN-Validation-Failed"
NONE: Final = "No-TN-Validation"

# how many of a thousand
SHARES: Final = {
    "genuine": 330,
    "second trunk": 120,
    "spoofed": 150,
    "replayed": 80,
    "moved": 40,
    "forwarded": 70,
    "failed over": 40,
    "late": 40,
    "garbage before": 50,
    "anonymous": 50,
    "hung up": 30,
}
# those that need the hold's emergency rule, which changes how a PBX treats all calls: at the end
LAST: Final = {"emergency": 10, "call-back": 20}

# What a called number's last two digits make of a call at B.
BUSY: Final = 80
FORWARDED: Final = 90
_PLAIN: Final = 80

# by kind: the verdict and the reasons of each row that there must be, in the order of the calls
Expected = tuple[tuple[str, tuple[str, ...]], ...]
EXPECTED: Final[dict[str, Expected]] = {
    "genuine": ((PASSED, ("verified",)),),
    "second trunk": ((PASSED, ("verified",)),),
    "spoofed": ((NONE, ("no-passport",)),),
    "replayed": ((PASSED, ("contested", "verified")), (NONE, ("replayed",))),
    "moved": ((NONE, ("dest-mismatch", "no-passport")),),
    "forwarded": ((PASSED, ("verified",)),),
    "failed over": ((PASSED, ("verified",)), (PASSED, ("verified",))),
    "late": ((NONE, ("no-passport", "stale")),),
    "garbage before": ((PASSED, ("verified",)),),
    "anonymous": ((NONE, ("anonymous-caller",)),),
    "hung up": (),
    "emergency": (),
    "call-back": ((NONE, ("emergency",)),),
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One call: from ``orig`` to ``dest``, of which rows are found at ``pbx`` under ``found``."""

    kind: str
    orig: str
    dest: str
    found: str = ""

    @property
    def pair(self) -> tuple[str, str]:
        """What its rows at the receiving PBX have."""
        return self.orig, self.found or self.dest


def plan(
    count: int, number_a: Callable[[int], str], number_b: Callable[[int], str]
) -> Iterator[Planned]:
    """``count`` calls in a random order that is the same each time, without those of ``LAST``.

    ``number_a`` and ``number_b`` give numbers of A and B, 10,000 each.
    """
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(count * share / 1000))]
    random.Random(1).shuffle(kinds)
    for index, kind in enumerate(kinds):
        orig, place = number_a(index % 10_000), index // _PLAIN
        last = index % _PLAIN
        found = ""
        if kind == "failed over":
            last = BUSY + index % 10
        elif kind == "forwarded":
            last = FORWARDED + index % 10
            # B sends it on to A, to the number whose last digits are the caller's
            found = number_a((index + 5_000) % 10_000)
        hundred = (place * 2 + (kind == "second trunk")) % 100
        dest = number_b(100 * hundred + last)
        yield Planned(kind, orig, dest, found)


def born(unique_id: str) -> tuple[int, int]:
    """When a channel of Asterisk's began, by its id: the second, and its number of that process."""
    second, _, number = unique_id.rpartition("-")[2].partition(".")
    return int(second), int(number)


def verdicts_agree(found: Sequence[tuple[str, str]], kind: str) -> bool:
    """Whether the rows of one call, in their order, are what they must be."""
    expected = EXPECTED[kind]
    if kind == "hung up":
        # it was gone, or came as far as any genuine call
        return all(verdict in {PASSED, NONE} for verdict, _ in found)
    return len(found) == len(expected) and all(
        verdict == wanted and reason in reasons
        for (verdict, reason), (wanted, reasons) in zip(found, expected, strict=True)
    )


def is_false_pass(found: Sequence[tuple[str, str, bool]], kind: str) -> bool:
    """Whether a row passed that must not: ``found`` says of each whether the stranger made it."""
    never = {"spoofed", "moved", "anonymous", "late", "call-back"}
    return any(
        verdict == PASSED and (by_stranger or kind in never) for verdict, _, by_stranger in found
    )
