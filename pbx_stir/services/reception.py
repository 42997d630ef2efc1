"""Reception: admits a call, passes a deadline down, answers the PBX, and logs the call once.

Takes Calls from the PBX adapters, and gives each to its service. Whatever happens in there, the
call is answered within its budget and has exactly one record in the call log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from pbx_stir.errors import PbxUnavailable, Unavailable
from pbx_stir.services import treatment
from pbx_stir.services.authentication import AuthenticationService
from pbx_stir.services.brought import BroughtCalls
from pbx_stir.services.call import (
    OVER_MS,
    Call,
    Direction,
    Mode,
    Outcome,
    Reason,
    Status,
    Verstat,
)
from pbx_stir.services.outside import Outside
from pbx_stir.services.used import Claim, SingleUse
from pbx_stir.services.verification import VerificationService

log = logging.getLogger(__name__)

MOST_CALLS: Final = 1000
MARGIN_MS: Final = 200
# a service watches its deadline itself; this is how much later it is stopped if it does not
NET_SECONDS: Final = 0.05
MOST_REMEMBERED: Final = 10_000


class Pbx(Protocol):
    """The PBX that a call came from."""

    @property
    def name(self) -> str:
        """The name by which configuration knows it."""
        ...

    async def answer(
        self, call: Call, variables: Sequence[tuple[str, str]], give_up_at: float
    ) -> bool:
        """Write the variables, and then the nonce that releases the hold.

        Returns whether the call was still there to take them.

        Raises:
            PbxUnavailable: nobody knows whether it was
        """
        ...

    async def contest(self, unique_id: str, variables: Sequence[tuple[str, str]]) -> None:
        """Tell a call in progress, and who listens for events; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """A call's one record.

    ``ms`` is from announcement to answer, of which the verdict took ``decided_ms``; ``released``:
    the PBX took it.
    """

    call_id: str
    at: float
    call: Call
    outcome: Outcome
    ms: float
    released: bool
    decided_ms: float = 0.0


class CallLog(Protocol):
    """Where records go; does not block and does not raise."""

    def record(self, record: Record) -> None:
        """Write the one record of a call."""
        ...

    def contested(self, first: Claim, second: Record) -> None:
        """Two calls claimed one PASSporT: ``first`` was told Passed, ``second`` was not."""
        ...


@dataclass(slots=True)
class Clocks:
    """What reception needs of time and chance.

    ``now`` is seconds since the epoch, ``monotonic`` the clock of deadlines, ``until(moment)`` a
    context that raises TimeoutError then, ``new_id`` makes an id for the call log.
    """

    now: Callable[[], float]
    monotonic: Callable[[], float]
    until: Callable[[float], AbstractAsyncContextManager[object]]
    new_id: Callable[[], str]


@dataclass(slots=True)
class _Tally:
    """What reception remembers between calls."""

    under_way: int = 0
    pbxs: dict[str, Pbx] = field(default_factory=dict)
    passed: set[tuple[str, str]] = field(default_factory=set)
    contested: dict[tuple[str, str], None] = field(default_factory=dict)


class Reception:
    """The one door between PBXs and services."""

    def __init__(
        self,
        *,
        authentication: AuthenticationService,
        verification: VerificationService,
        used: SingleUse,
        call_log: CallLog,
        clocks: Clocks,
        most_calls: int = MOST_CALLS,
        brought: BroughtCalls | None = None,
        outside: Outside | None = None,
        after: Reception | None = None,
    ) -> None:
        """``most_calls`` are admitted at a time; more are answered at once, unserved.

        ``brought`` is the verification service's, which forgets a call that was gone; ``outside``
        is the authentication service's, which hears from where calls come in; ``after`` is the
        reception whose place this one takes, with what that remembers of calls.
        """
        self._authentication = authentication
        self._verification = verification
        self._used = used
        self._log = call_log
        self._clocks = clocks
        self._most_calls = most_calls
        self._brought = BroughtCalls() if brought is None else brought
        self._outside = Outside() if outside is None else outside
        self._tally: _Tally = _Tally() if after is None else after._tally

    @property
    def under_way(self) -> int:
        """How many calls are being served now."""
        return self._tally.under_way

    async def receive(self, call: Call, pbx: Pbx) -> None:
        """Serve ``call`` and answer ``pbx``; never raises."""
        began = self._clocks.monotonic()
        at = self._clocks.now()
        call_id = self._clocks.new_id()
        self._tally.pbxs[pbx.name] = pbx
        self._tally.under_way += 1
        if call.direction is Direction.INBOUND:
            # whatever comes of this hook, what an earlier one of the channel has found is over
            self._brought.forget(call)
            self._outside.remember(call)
        try:
            outcome = await self._serve(call, call_id, at, began)
            decided_ms = (self._clocks.monotonic() - began) * 1000
            outcome, released = await self._release(call, call_id, outcome, pbx, began)
            ms = (self._clocks.monotonic() - began) * 1000
            record = Record(call_id, at, call, outcome, ms, released, decided_ms)
            self._log.record(record)
            _say(record)
            if outcome.contests is not None:
                await self._contest(outcome.contests, record)
        except Exception:
            log.exception("call %s could not be finished", call_id)
        finally:
            self._tally.under_way -= 1

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        """The PBX says that a call which had passed is over."""
        self._tally.passed.discard((pbx, unique_id))
        try:
            await self._used.ended(pbx, unique_id, answered, self._clocks.now())
        except Unavailable as error:
            log.error("the end of a call could not be noted: %s", error)

    async def _serve(self, call: Call, call_id: str, at: float, began: float) -> Outcome:
        if self._tally.under_way > self._most_calls:
            return _without(call, Reason.OVERLOADED, f"{self._most_calls} calls are being served")
        if call.budget_ms <= OVER_MS and call.mode is Mode.ON:
            # this service stood still, or its machine did
            return _without(call, Reason.TIMEOUT, "read after the PBX had gone on without it")
        give_up_at = began + max(call.budget_ms - MARGIN_MS, call.budget_ms / 2) / 1000
        try:
            async with self._clocks.until(give_up_at + NET_SECONDS):
                if call.direction is Direction.OUTBOUND:
                    return await self._authentication.authenticate(call, at, give_up_at)
                return await self._verification.verify(call, call_id, at, give_up_at)
        except TimeoutError:
            return _without(call, Reason.TIMEOUT, "a step did not keep its deadline")
        except Exception:
            log.exception("call %s failed", call_id)
            return _without(call, Reason.INTERNAL_ERROR)

    async def _release(
        self, call: Call, call_id: str, outcome: Outcome, pbx: Pbx, began: float
    ) -> tuple[Outcome, bool]:
        """Answer the hold, and settle the reservation by what the PBX says to it."""
        if call.mode is Mode.MONITOR:
            await self._settle(outcome, taken=True)
            return outcome, False
        over_at = began + call.budget_ms / 1000
        if self._clocks.monotonic() >= over_at:
            # the hold is over and the dialplan has said so: a verdict now would contradict it
            await self._settle(outcome, taken=False)
            self._forget(call)
            return _late(outcome), False
        try:
            names = treatment.variables(outcome, call_id)
            taken = await pbx.answer(call, names, over_at)
        except PbxUnavailable as error:
            # whether it got through is not known: a PASSporT that may have passed counts as used
            await self._settle(outcome, taken=True)
            return replace(outcome, detail=_joined(outcome.detail, str(error))), False
        await self._settle(outcome, taken)
        if not taken:
            self._forget(call)
            gone = "the call was gone before its release"
            return replace(outcome, detail=_joined(outcome.detail, gone)), False
        if outcome.claim is not None:
            await self._remember(call, pbx)
        return outcome, True

    def _forget(self, call: Call) -> None:
        """A PASSporT whose verdict nobody has taken vouches for no leg of this call."""
        if call.direction is Direction.INBOUND:
            self._brought.forget(call)

    async def _settle(self, outcome: Outcome, taken: bool) -> None:
        if outcome.claim is None:
            return
        settle = self._used.confirm if taken else self._used.give_back
        try:
            for key in (outcome.used_key, *outcome.also_used):
                await settle(key, outcome.claim, self._clocks.now())
        except Unavailable as error:
            # it stays reserved: no other call gets it
            log.error("a PASSporT's use could not be settled: %s", error)

    async def _remember(self, call: Call, pbx: Pbx) -> None:
        """A call that passed is up, and can be told if another one claims its PASSporT."""
        passed, contested = self._tally.passed, self._tally.contested
        if len(passed) >= MOST_REMEMBERED:
            passed.clear()
        passed.add((call.pbx, call.unique_id))
        if (call.pbx, call.unique_id) in contested:
            # the other one came while this one was still being released
            del contested[call.pbx, call.unique_id]
            await pbx.contest(call.unique_id, _CONTESTED)

    async def _contest(self, first: Claim, record: Record) -> None:
        """RFC 8816 section 7.4: two calls claimed one PASSporT, either may be the genuine one."""
        self._log.contested(first, record)
        key = (first.pbx, first.unique_id)
        pbx = self._tally.pbxs.get(first.pbx)
        if pbx is not None:
            # perhaps another listener's call, or one that is over: then nobody is told
            await pbx.contest(first.unique_id, _CONTESTED)
        if key in self._tally.passed:
            return
        contested = self._tally.contested
        contested[key] = None
        while len(contested) > MOST_REMEMBERED:
            del contested[next(iter(contested))]


_CONTESTED: Final = (("STIR_REASON", Reason.CONTESTED.value),)


def _say(record: Record) -> None:
    """For whoever has asked to hear more: each step of a call, and no number of anybody's."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    call, outcome = record.call, record.outcome
    way = f"{call.direction.value} by {call.trunk} of {call.pbx}"
    for one in outcome.asked:
        answer = "no answer" if not one.heard else one.reason.value if one.reason else "answered"
        took = "" if one.ms is None else f" after {one.ms:.1f} ms"
        had = f", {one.passports} there, {one.opened} opened" if one.passports else ""
        log.debug("call %s: %s: %s%s%s", record.call_id, one.cps, answer, took, had)
    for rejection in outcome.rejections:
        log.debug("call %s: %s: %s", record.call_id, rejection.step, rejection.reason.value)
    verdict = outcome.status or outcome.verstat
    log.debug(
        "call %s, %s: %s %s, decided after %.1f ms, %s after %.1f ms of %d",
        *(record.call_id, way, verdict.value if verdict else "", outcome.reason.value),
        *(record.decided_ms, "released" if record.released else "not released"),
        *(record.ms, call.budget_ms),
    )


def _without(call: Call, reason: Reason, detail: str = "") -> Outcome:
    if call.direction is Direction.OUTBOUND:
        return Outcome(reason, Status.ERROR, detail=detail)
    return Outcome(reason, verstat=Verstat.NONE, detail=detail)


def _late(outcome: Outcome) -> Outcome:
    """What is true of an outcome that came after the PBX had gone on alone."""
    if outcome.status is Status.STORED:
        return replace(outcome, reason=Reason.STORED_LATE, identity=())
    if outcome.status is Status.IN_BAND:
        return replace(outcome, reason=Reason.TIMEOUT, status=Status.ERROR, identity=())
    if outcome.verstat is Verstat.PASSED:
        detail = _joined("passed, but after the hold was over", outcome.detail)
        return replace(
            outcome,
            reason=Reason.TIMEOUT,
            verstat=Verstat.NONE,
            used_key="",
            also_used=(),
            claim=None,
            detail=detail,
        )
    return outcome


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
