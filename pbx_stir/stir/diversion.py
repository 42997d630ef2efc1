"""Diverted calls: the PASSporT of the caller, and one of each who passed the call on (RFC 8946).

Takes parsed PASSporTs, gives ``Diverted`` values: the original first, then each diversion's in the
order in which they happened. It holds the links against each other: one caller, each diversion from
where the call had been sent, none twice, each fresh when the next was made. Signatures,
certificates and the age of the last one are for others.

``div`` stands beside what it diverts, ``div-o`` holds it inside as ``opt``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pbx_stir.errors import BrokenDiversion, MalformedPassport
from pbx_stir.stir import passport
from pbx_stir.stir.digits import MAX_DIGITS
from pbx_stir.stir.passport import FRESHNESS_SECONDS, FUTURE_TOLERANCE_SECONDS, Passport

DIV: Final = "div"
DIV_O: Final = "div-o"
# French practice has five; a PASSporT of five nested ones is about as large as is ever sealed
MOST_DIVERSIONS: Final = 5
MOST_STEPS: Final = 64


@dataclass(frozen=True, slots=True)
class Diverted:
    """A chain of PASSporTs: ``original``, then ``diversions``, the first that happened first."""

    original: Passport
    diversions: tuple[Passport, ...]

    @property
    def all(self) -> tuple[Passport, ...]:
        """The original and the diversions, in the order in which they were made."""
        return (self.original, *self.diversions)


def diverting_number(diversion: Passport, *, max_digits: int = MAX_DIGITS) -> str:
    """Give the canonical number that passed the call on: the ``div`` claim's ``tn``.

    Raises MalformedPassport, also for a ``div`` that is a URI: no certificate of ours covers it.
    Source: RFC 8946 section 4.
    """
    claim = diversion.claims.get("div")
    if not isinstance(claim, dict) or not isinstance(claim.get("tn"), str) or "uri" in claim:
        raise MalformedPassport("div is not an object with one telephone number")
    return passport.claimed_number(claim["tn"], max_digits=max_digits)


def unwrap(outermost: Passport, *, max_digits: int = MAX_DIGITS) -> Diverted:
    """Give the chain inside a ``div-o`` PASSporT; the links are checked.

    Raises BrokenDiversion; MalformedPassport where a nested one cannot be read.
    Source: RFC 8946 section 5.
    """
    diversions = [outermost]
    while diversions[0].ppt == DIV_O:
        if len(diversions) > MOST_DIVERSIONS:
            raise BrokenDiversion(f"more than {MOST_DIVERSIONS} diversions")
        nested = diversions[0].claims.get("opt")
        if not isinstance(nested, str):
            raise MalformedPassport("div-o without the PASSporT that it diverts")
        diversions.insert(0, passport.parse(nested, max_digits=max_digits))
    original, *rest = diversions
    if original.ppt == DIV:
        raise BrokenDiversion("a div PASSporT does not hold what it diverts")
    found = Diverted(original, tuple(rest))
    check(found, max_digits=max_digits)
    return found


def chains(
    originals: Sequence[Passport], divs: Sequence[Passport], *, max_digits: int = MAX_DIGITS
) -> Iterator[Diverted]:
    """Give each chain that ``div`` PASSporTs form with what stands beside them, checked.

    Also those that end where others lead on, since nobody has looked at a signature yet: one that a
    stranger put beside them must hide no honest chain. Raises nothing: what does not fit is left
    out, and so is what comes after the first ``MOST_STEPS`` ways to put them together.
    """
    follows = _follows((*originals, *divs), divs, max_digits)
    steps = 0
    # breadth first: the short ones are the honest ones, and a stranger's links make long ones
    ways: deque[tuple[Passport, ...]] = deque((one,) for one in originals)
    while ways:
        way = ways.popleft()
        for one in follows[way[-1]]:
            if one in way:
                continue
            steps += 1
            if steps > MOST_STEPS:
                return
            found = Diverted(way[0], (*way[1:], one))
            # what goes round once goes round for good
            if _goes_round(found, max_digits):
                continue
            yield found
            if len(found.diversions) < MOST_DIVERSIONS:
                ways.append(found.all)


def _follows(
    tokens: Sequence[Passport], divs: Sequence[Passport], max_digits: int
) -> dict[Passport, list[Passport]]:
    """Which of ``divs`` can divert each of ``tokens``."""
    return {
        before: [one for one in divs if one is not before and _links(before, one, max_digits)]
        for before in tokens
    }


def _links(before: Passport, one: Passport, max_digits: int) -> bool:
    try:
        _check_link(before, one, max_digits)
    except (BrokenDiversion, MalformedPassport):
        return False
    return True


def _goes_round(diverted: Diverted, max_digits: int) -> bool:
    try:
        _check_round(diverted, max_digits)
    except BrokenDiversion:
        return True
    return False


def check(diverted: Diverted, *, max_digits: int = MAX_DIGITS) -> None:
    """Hold the links against each other. Raises BrokenDiversion or MalformedPassport."""
    for before, one in zip(diverted.all, diverted.diversions, strict=False):
        _check_link(before, one, max_digits)
    _check_round(diverted, max_digits)


def _check_round(diverted: Diverted, max_digits: int) -> None:
    """Find whether the call was sent round in a ring. Raises BrokenDiversion."""
    passed_on: set[str] = set()
    for one in diverted.diversions:
        number = diverting_number(one, max_digits=max_digits)
        if number in passed_on:
            raise BrokenDiversion(f"{number} has diverted the call twice")
        passed_on.add(number)
    if passed_on & set(diverted.all[-1].dest):
        raise BrokenDiversion("the call was diverted back to where it had been")


def _check_link(before: Passport, one: Passport, max_digits: int) -> None:
    """Hold one diversion against what it diverts (RFC 8946 sections 4 and 7)."""
    number = diverting_number(one, max_digits=max_digits)
    if (one.orig, one.orig_uri) != (before.orig, before.orig_uri):
        raise BrokenDiversion("a diversion is of another caller than the call")
    # "the "div" claim (...) must match the "dest" of the PASSporT it diverts"
    if number not in before.dest:
        raise BrokenDiversion(f"diverted by {number}, to whom the call was not sent")
    # a ring group may let it ring for long: the original is fresh when it is passed on, not now
    age = one.iat - before.iat
    if not -FUTURE_TOLERANCE_SECONDS <= age <= FRESHNESS_SECONDS:
        raise BrokenDiversion(f"diverted {age} s after it was made")
