"""What a call that came in brought along, for the legs by which it may leave again.

Takes candidates as the verification service met them and what it found out of each; gives, by the
mark that a call got when it came in and that each leg made for it inherits, what may be passed on
of them (RFC 8816 sections 5.3, 5.4 and 6.2). The linked id would not do: a bridge gives it to
calls of strangers. PASSporTs and certificates stay as they were received. In memory only, with an
end, and for minutes: a PASSporT that is older vouches for no new leg. Few calls leave again, so
what is kept is text alone: parsed it takes three times as much.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from pbx_stir.services.call import Call
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.services.judgement import Judged
from pbx_stir.services.steps import check_dest, check_iat, check_orig
from pbx_stir.stir import diversion, passport
from pbx_stir.stir.passport import Passport

MOST_CALLS: Final = 10_000
# of PASSporTs and certificates; with all that finds them they take some half as much again
MOST_OCTETS: Final = 4 * 1024 * 1024
# of one call's Identity headers that nobody has verified: whatever a stranger sends along
MOST_UNVERIFIED_OCTETS: Final = 8 * 1024
# longer than a PASSporT is fresh, so that a leg which comes too late is told so
KEPT_SECONDS: Final = 120.0
_MAX_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Carried:
    """A PASSporT, or a chain of them, with the certificates that show who signed.

    ``certificates``: DER, the outermost signer's first and without anchors; those by which it was
    verified, else those that came along.
    """

    candidate: Candidate
    certificates: tuple[bytes, ...]

    @property
    def tokens(self) -> tuple[Passport, ...]:
        """What was received: one that holds the others, or all of them side by side."""
        if self.is_nested:
            return (self.candidate.passport,)
        return self.candidate.all

    @property
    def is_nested(self) -> bool:
        """Whether the outermost one holds all others."""
        return self.candidate.diverted is None or self.candidate.passport.ppt == diversion.DIV_O


@dataclass(frozen=True, slots=True)
class Brought:
    """What one call brought along.

    ``came_in`` is the trunk, ``called`` the canonical numbers that were called. ``verified`` is
    what was verified, whatever its attestation. ``identities`` are the call's own Identity headers,
    of this call by their words, and not known to be false.
    """

    came_in: str
    called: tuple[str, ...]
    verified: Carried | None = None
    identities: tuple[Carried, ...] = ()

    @property
    def octets(self) -> int:
        """How much it holds."""
        held = [*self.identities, *([self.verified] if self.verified else [])]
        tokens = {token.token for one in held for token in one.candidate.all}
        certificates = {der for one in held for der in one.certificates}
        return sum(map(len, tokens)) + sum(map(len, certificates))


class Gathering:
    """Gathers what one call brings along, while it is verified."""

    def __init__(self) -> None:
        self._passed: Carried | None = None
        self._partial: Carried | None = None
        self._identities: dict[Passport, Carried] = {}
        self._refused: set[Passport] = set()

    def headers(self, candidates: Sequence[Candidate]) -> None:
        """The call itself carried these."""
        for one in candidates:
            self._identities[one.passport] = Carried(one, one.chain)

    def refused(self, candidate: Candidate) -> None:
        """It is false, or another call's: it goes no further, nor does a chain that holds it."""
        self._refused.add(candidate.passport)

    def valid(self, candidate: Candidate, judged: Judged, *, passed: bool) -> None:
        """It was verified; ``passed`` is False where its attestation is too low to pass."""
        carried = Carried(candidate, _certificates(judged))
        if candidate.passport in self._identities:
            self._identities[candidate.passport] = carried
        if passed:
            self._passed = carried
        else:
            self._partial = self._partial or carried

    def brought(self, came_in: str, numbers: Numbers, now: float) -> Brought:
        """All of it, at the moment ``now`` (seconds since the epoch)."""
        own = tuple(
            one
            for one in self._identities.values()
            if not (
                self._refused.intersection(one.candidate.all)
                or check_orig(one.candidate.passport, numbers.calling)
                or check_dest(one.candidate.passport, numbers)
                or check_iat(one.candidate.passport, now)
            )
        )
        return Brought(came_in, numbers.called, self._passed or self._partial, own)


class _Text(msgspec.Struct, frozen=True, gc=False):
    """A ``Carried`` that was passed on by nobody, as it was received."""

    token: str
    certificates: tuple[bytes, ...]
    in_band: bool


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """What a call brought, since when (seconds since the epoch), as the ``serial``-th one.

    A flat one, unseen by Python's search for garbage: there are thousands, and no cycle in any.
    ``verified`` may be one of ``identities``.
    """

    came_in: str
    called: tuple[str, ...]
    verified: _Text | Carried | None
    identities: tuple[_Text | Carried, ...]
    octets: int
    since: float
    serial: int

    @property
    def brought(self) -> Brought:
        """What it was, parsed anew."""
        verified = None if self.verified is None else _parsed(self.verified)
        return Brought(self.came_in, self.called, verified, tuple(map(_parsed, self.identities)))


class BroughtCalls:
    """The calls that came in and may leave again; of one process.

    Where there is no more room for octets, the call that holds most goes first, and of those that
    were verified none while there is another: who sends much along pushes out his own.
    """

    def __init__(
        self,
        *,
        most: int = MOST_CALLS,
        most_octets: int = MOST_OCTETS,
        seconds: float = KEPT_SECONDS,
    ) -> None:
        self._most = most
        self._most_octets = most_octets
        self._octets = 0
        self._seconds = seconds
        self._calls: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        # whom to drop first; holds some that are gone
        self._largest: list[tuple[bool, int, int, tuple[str, str]]] = []
        self._serials = itertools.count()

    def __len__(self) -> int:
        return len(self._calls)

    def remember(self, call: Call, brought: Brought, now: float) -> None:
        """``call`` has been verified; what an earlier hook of it left is replaced.

        Who wishes not to be shown to the called party is not shown to another one either.
        """
        self.forget(call)
        brought = _bounded(brought)
        if call.restricted or (brought.verified is None and not brought.identities):
            return
        while self._calls and (len(self._calls) >= self._most or self._is_over(now)):
            self._drop(next(iter(self._calls)))
        key, octets = (call.pbx, call.unique_id), brought.octets
        kept = _kept(brought, octets, now, next(self._serials))
        self._calls[key] = kept
        self._octets += octets
        heapq.heappush(self._largest, (brought.verified is not None, -octets, kept.serial, key))
        while self._octets > self._most_octets:
            self._drop_largest()
        if len(self._largest) > 2 * len(self._calls) + 100:
            self._largest = [one for one in self._largest if self._is_kept(one)]
            heapq.heapify(self._largest)

    def forget(self, call: Call) -> None:
        """The call comes in now, or was gone, or has gone on, before its verdict."""
        self._drop((call.pbx, call.unique_id))

    def of(self, call: Call, now: float) -> Brought | None:
        """What ``call``, which leaves, brought along when it came in; None: nothing."""
        kept = self._calls.get((call.pbx, call.came_in_id))
        if kept is None or not 0 <= now - kept.since < self._seconds:
            return None
        return kept.brought if kept.came_in == call.came_in else None

    def _is_over(self, now: float) -> bool:
        return not 0 <= now - next(iter(self._calls.values())).since < self._seconds

    def _is_kept(self, one: tuple[bool, int, int, tuple[str, str]]) -> bool:
        _, _, serial, key = one
        return key in self._calls and self._calls[key].serial == serial

    def _drop_largest(self) -> None:
        one = heapq.heappop(self._largest)
        if self._is_kept(one):
            self._drop(one[3])

    def _drop(self, key: tuple[str, str]) -> None:
        found = self._calls.pop(key, None)
        if found is not None:
            self._octets -= found.octets


def _bounded(brought: Brought) -> Brought:
    """With as many of the call's own Identity headers as one call may have remembered."""
    fitting: tuple[Carried, ...] = ()
    for one in brought.identities:
        together = (*fitting, one)
        unverified = tuple(each for each in together if each != brought.verified)
        if Brought("", (), None, unverified).octets <= MOST_UNVERIFIED_OCTETS:
            fitting = together
    if len(fitting) == len(brought.identities):
        return brought
    return replace(brought, identities=fitting)


def _kept(brought: Brought, octets: int, now: float, serial: int) -> _Kept:
    verified = None if brought.verified is None else _text(brought.verified)
    identities = tuple(map(_text, brought.identities))
    return _Kept(brought.came_in, brought.called, verified, identities, octets, now, serial)


def _text(carried: Carried) -> _Text | Carried:
    """What is to be kept. Chains are few, and stay as they are."""
    one = carried.candidate
    if one.diverted is not None:
        return carried
    return _Text(one.passport.token, carried.certificates, one.in_band)


def _parsed(kept: _Text | Carried) -> Carried:
    """What was kept: the same, but without certificates that came along and showed nothing."""
    if isinstance(kept, Carried):
        return kept
    # how long a number may be was asked when it came
    token = passport.parse(kept.token, max_digits=_MAX_DIGITS)
    return Carried(Candidate(token, (), kept.in_band), kept.certificates)


def _certificates(judged: Judged) -> tuple[bytes, ...]:
    """Those of the paths, without the anchors."""
    first, *others = judged.paths
    if not others:
        return first.shown
    return tuple(dict.fromkeys(der for path in judged.paths for der in path.shown))
