"""Diverted calls: the PASSporT of the caller, and one of each who passed the call on (RFC 8946).

Takes parsed PASSporTs, gives ``Diverted`` values: the original first, then each diversion's in the
order in which they happened. It holds the links against each other: one caller, each diversion from
where the call had been sent, none twice, each fresh when the next was made. Signatures,
certificates and the age of the last one are for others.

``div`` stands beside what it diverts, ``div-o`` holds it inside as ``opt``.
"""

from __future__ import annotations

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

    One chain for each original that the diversions lead on from, as far as they lead; a set in
    which nothing fits gives none. Raises nothing: what does not fit is left out.
    """
    for original in originals:
        longest: tuple[Passport, ...] = ()
        for links in _leading_on(original, divs, (), max_digits):
            if len(links) > len(longest):
                longest = links
        if longest:
            yield Diverted(original, longest)


def _leading_on(
    last: Passport, divs: Sequence[Passport], so_far: tuple[Passport, ...], max_digits: int
) -> Iterator[tuple[Passport, ...]]:
    if so_far:
        yield so_far
    if len(so_far) == MOST_DIVERSIONS:
        return
    for one in divs:
        if one in so_far:
            continue
        try:
            _check_link(last, one, max_digits)
        except (BrokenDiversion, MalformedPassport):
            continue
        yield from _leading_on(one, divs, (*so_far, one), max_digits)


def check(diverted: Diverted, *, max_digits: int = MAX_DIGITS) -> None:
    """Hold the links against each other. Raises BrokenDiversion or MalformedPassport."""
    passed_on: set[str] = set()
    for before, one in zip(diverted.all, diverted.diversions, strict=False):
        _check_link(before, one, max_digits)
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
