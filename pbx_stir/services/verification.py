"""The verification service: RFC 8816 section 8.2.

Takes an inbound Call, gives an Outcome with a Verstat. Awaits a Retrieval, a SealedOpener, a
CertificateSource and a SingleUse memory that it is given; knows no PBX, no HTTP and no clock of its
own.

Two rules go beyond the RFC's six steps. ``dest`` is compared with the called number: whoever opens
a PASSporT from Alice to Bob can seal it again to Carol and call her as Alice. And what a CPS
returns can only help a call, since anyone may store there: it gives Passed or nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from pbx_stir.errors import Malformed, Unavailable
from pbx_stir.services.asking import Asking
from pbx_stir.services.brought import BroughtCalls, Gathering
from pbx_stir.services.call import Call, Outcome, Reason, Rejection, Verstat
from pbx_stir.services.candidates import Candidate, Found, Numbers, of_set
from pbx_stir.services.judgement import FETCHED, Fetches, Judge, Judged, use_of
from pbx_stir.services.numbers_of_call import numbers_of
from pbx_stir.services.placement_service import Answer, BareAnswer, OwnCps, Retrieval
from pbx_stir.services.sealed_opener import SealedOpener
from pbx_stir.services.steps import is_failure
from pbx_stir.services.trunk import Callers
from pbx_stir.services.unverified import of_rejections, unverified
from pbx_stir.services.used import Claim, Reservation, SingleUse, Use
from pbx_stir.stir import passport
from pbx_stir.stir.sealing import Opened

MOST_JUDGED: Final = 64
MOST_TOGETHER: Final = 2 * MOST_JUDGED
# what one call's PASSporTs may take of the processor, fetching aside
WORK_SECONDS: Final = 0.1
MOST_IDENTITIES: Final = 8


class _Ended(Exception):
    """Ends the steps with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason.value)
        self.outcome = outcome


async def nothing() -> None:
    """Where nobody else is to go on."""


class VerificationService:
    """Fetches, opens, judges and uses up (RFC 8816 section 8.2)."""

    def __init__(
        self,
        *,
        callers: Callers,
        own_cps: OwnCps,
        placement: Retrieval,
        opener: SealedOpener,
        judge: Judge,
        used: SingleUse,
        monotonic: Callable[[], float],
        breathe: Callable[[], Awaitable[None]] = nothing,
        brought: BroughtCalls | None = None,
    ) -> None:
        """``monotonic`` is the clock of every ``give_up_at``; ``breathe`` lets others go on.

        ``brought`` is told what each call brought along, for the legs by which it leaves again.
        """
        self.callers = callers
        self.own_cps = own_cps
        self.placement = placement
        self.opener = opener
        self.judge = judge
        self.used = used
        self.monotonic = monotonic
        self.breathe = breathe
        self.brought = BroughtCalls() if brought is None else brought

    async def verify(self, call: Call, call_id: str, now: float, give_up_at: float) -> Outcome:
        """Carry out the steps of RFC 8816 section 8.2 for ``call``; returns by ``give_up_at``."""
        numbers = numbers_of(call, self.callers)
        if isinstance(numbers, Outcome):
            return numbers
        try:
            search = _Search(self, call, call_id, numbers, now, give_up_at)
            # an Identity header that the call carried itself needs no CPS
            await search.judge_identities()
            # 1: retrieve the PASSporTs stored for the called number, some perhaps after the call
            # came (RFC 9888 section 5), and open what opens
            async with aclosing(search.answers()) as answers:
                async for answer in answers:
                    opened = await search.open(answer)
                    # 2 to 6: judge the oldest first, and use up the first that passes
                    await search.judge(opened)
            return search.ended(search.nothing_passed())
        except _Ended as end:
            return end.outcome


class _Search:
    """One call's way through the steps; keeps every rejection."""

    def __init__(
        self,
        service: VerificationService,
        call: Call,
        call_id: str,
        numbers: Numbers,
        now: float,
        give_up_at: float,
    ) -> None:
        self._of = service
        self._call = call
        self._numbers = numbers
        self._now = now
        self._began = service.monotonic()
        self._give_up_at = give_up_at
        waits = service.callers.trunks[call.trunk].wait_for_passport_ms / 1000
        self._wait_until = min(give_up_at, self._began + waits)
        self._rejections: list[Rejection] = []
        self._failed: Rejection | None = None
        self._partial: Outcome | None = None
        self._holder: Claim | None = None
        self._clock_offset = 0.0
        self._fetches = Fetches()
        self._gathering = Gathering()
        self._asking = Asking()
        self._judged = 0
        self._worked = 0.0
        # by number, in Python's own hash: small, and keyed anew in each process
        self._blobs: dict[str, set[int]] = {}
        self._seen: set[Opened] = set()
        self._found: list[Found] = []
        orig, dest = numbers.shown
        # a linked id is, after a bridge, that of another call
        first_id = call.came_in_id or call.linked_id
        self._claim = Claim(call.pbx, call.unique_id, first_id, call.trunk, orig, dest, call_id)

    @property
    def _moment(self) -> float:
        """Now: a PASSporT that a call waits for is younger than the call."""
        return self._now + self._of.monotonic() - self._began

    @property
    def _wanted(self) -> list[tuple[str, str]]:
        """Whom there is to ask, and for which of the called numbers."""
        own = self._of.own_cps
        return [(cps, one) for one in self._numbers.called for cps in own.own_cps(one)]

    async def judge_identities(self) -> None:
        """RFC 8224: several headers may stand side by side."""
        found: list[Found] = []
        for value in self._call.identity[:MOST_IDENTITIES]:
            try:
                token = passport.parse_identity(value, max_digits=self._numbers.max_digits)
            except Malformed as error:
                self._rejections.append(Rejection("identity", Reason.MALFORMED, str(error)))
                continue
            found.append((token, ()))
        candidates = self._candidates(found, in_band=True)
        self._gathering.headers(candidates)
        await self.judge(candidates)

    async def answers(self) -> AsyncGenerator[Answer | BareAnswer, None]:
        """What each CPS of each called number returns, as it arrives."""
        wanted = self._wanted
        self._asking.ask(wanted)
        retrieval = self._of.placement.retrieve(wanted, self._give_up_at, self._wait_until)
        async with aclosing(retrieval) as arriving:
            async for answer in arriving:
                if answer.clock_offset is not None:
                    self._clock_offset = answer.clock_offset
                ms = (self._of.monotonic() - self._began) * 1000
                is_first = self._asking.hear(answer, ms)
                if answer.reason is None:
                    yield answer
                elif is_first:
                    step = f"retrieve {answer.cps}"
                    self._rejections.append(Rejection(step, answer.reason, answer.detail))

    async def open(self, answer: Answer | BareAnswer) -> list[Candidate]:
        """What of ``answer`` is sealed to us, or was never sealed, oldest iat first."""
        if isinstance(answer, BareAnswer):
            self._asking.opened(answer, len(answer.passports))
            return self._parsed([Opened(one, ()) for one in answer.passports])
        # what another CPS or an earlier answer had costs nothing again
        known = self._blobs.setdefault(answer.number, set())
        blobs = [one for one in answer.blobs if hash(one) not in known]
        known.update(map(hash, blobs))
        found = await self._of.opener.open_sealed(answer.number, blobs, self._give_up_at)
        self._asking.opened(answer, len(found.opened))
        if found.malformed:
            detail = f"{found.malformed} opened, but not of the sealed form"
            self._rejections.append(Rejection("open", Reason.MALFORMED, detail))
        if found.unread:
            detail = f"{found.unread} left unread when the time was over"
            self._rejections.append(Rejection("open", Reason.OVERLOADED, detail))
        return self._parsed(found.opened)

    def _parsed(self, found: Sequence[Opened]) -> list[Candidate]:
        """What may be of this call. A sealed blob where none belongs is malformed here, too."""
        parsed: list[Found] = []
        for opened in found:
            # copies of one PASSporT, from several CPSs or under several keys, are one
            if opened in self._seen:
                continue
            self._seen.add(opened)
            try:
                token = passport.parse(opened.passport, max_digits=self._numbers.max_digits)
            except Malformed as error:
                self._rejections.append(Rejection("parse", Reason.MALFORMED, str(error)))
                continue
            parsed.append((token, opened.chain))
        # what passes a call on may have come before or after what it passes on
        self._found = [*self._found, *parsed][-MOST_TOGETHER:]
        fresh = {token for token, _ in parsed}
        candidates = self._candidates(self._found, in_band=False) if fresh else []
        return [one for one in candidates if fresh.intersection(one.all)]

    def _candidates(self, found: Sequence[Found], *, in_band: bool) -> list[Candidate]:
        digits = self._numbers.max_digits
        candidates, rejections = of_set(found, in_band=in_band, max_digits=digits)
        self._rejections += rejections
        # what is cheap to judge comes first: whoever has passed before, or has come whole, does not
        # wait behind what strangers have stored
        cost = self._of.judge.cost
        return sorted(candidates, key=lambda one: (cost(one), one.passport.iat))

    async def judge(self, candidates: Sequence[Candidate]) -> None:
        """Judge within the work budget; ends the search when one passes."""
        for candidate in candidates:
            began = self._of.monotonic()
            over = began >= self._give_up_at or self._worked >= WORK_SECONDS
            if over or self._judged >= MOST_JUDGED:
                detail = "more PASSporTs than one call's work budget"
                self._rejections.append(Rejection("judge", Reason.OVERLOADED, detail))
                return
            self._judged += 1
            fetching = self._of.judge.cost(candidate) == FETCHED
            await self._judge_one(candidate, candidates)
            if not fetching:
                self._worked += self._of.monotonic() - began
            # what strangers have stored for one number must not hold up the calls of others
            await self._of.breathe()

    async def _judge_one(self, candidate: Candidate, of_set: Sequence[Candidate]) -> None:
        give_up_at = self._give_up_at
        if candidate.in_band and self._wanted:
            # a server of certificates that is silent leaves time for what has them inside
            give_up_at = (self._began + give_up_at) / 2
        judged = await self._of.judge.judge(
            candidate, self._numbers, self._moment, give_up_at, self._fetches
        )
        if isinstance(judged, Rejection):
            self._rejections.append(judged)
            if candidate.in_band and is_failure(judged):
                self._failed = self._failed or judged
                self._gathering.refused(candidate)
            return
        if judged.reason is not Reason.VERIFIED:
            rejection = Rejection("attestation", judged.reason, f"attested {judged.attest}")
            self._rejections.append(rejection)
            self._partial = self._partial or self._outcome(judged, Verstat.NONE)
            # it goes on with one call, too
            reservation = await self._reserve(candidate, judged)
            if reservation is not None and reservation.use is not Use.TAKEN:
                self._gathering.valid(candidate, judged, passed=False)
            return
        await self._use(candidate, judged, of_set)

    async def _reserve(self, candidate: Candidate, judged: Judged) -> Reservation | None:
        """One PASSporT for one call; what is not ours to use is not brought along either."""
        key, until = use_of(candidate, judged)
        try:
            reservation = await self._of.used.reserve(
                key, self._claim, until, self._moment, candidate.original.iat
            )
        except Unavailable as error:
            # nobody knows whether it was used: then it was
            rejection = Rejection("single use", Reason.INTERNAL_ERROR, str(error))
            self._rejections.append(rejection)
            self._gathering.refused(candidate)
            return None
        if reservation.use is Use.TAKEN:
            self._gathering.refused(candidate)
            holder = reservation.holder
            detail = f"used by call {holder.call_id}" if holder else "used by another call"
            self._rejections.append(Rejection("single use", Reason.REPLAYED, detail))
        return reservation

    async def _use(self, candidate: Candidate, judged: Judged, of_set: Sequence[Candidate]) -> None:
        key, _ = use_of(candidate, judged)
        reservation = await self._reserve(candidate, judged)
        if reservation is None:
            return
        if reservation.use is Use.TAKEN:
            self._holder = self._holder or reservation.holder
            return
        detail = ""
        if reservation.use is Use.AGAIN and reservation.holder is not None:
            detail = f"again after call {reservation.holder.call_id} ended unanswered"
        self._gathering.valid(candidate, judged, passed=True)
        outcome = replace(self._outcome(judged, Verstat.PASSED, key), detail=detail)
        raise _Ended(self.ended(await self._merged(outcome, candidate, of_set)))

    def ended(self, outcome: Outcome) -> Outcome:
        """The search is over: what the call brought along is kept for its other legs."""
        moment = self._moment
        brought = self._gathering.brought(self._call.trunk, self._numbers, moment)
        self._of.brought.remember(self._call, brought, moment)
        return replace(outcome, asked=self._asking.told())

    async def _merged(
        self, outcome: Outcome, passed: Candidate, of_set: Sequence[Candidate]
    ) -> Outcome:
        """Take the name from another PASSporT of the same call, where the one that passed has none.

        Of the same call are those of one set with the same orig, dest and iat: a caller's service
        makes them together. They are used up with it.
        """
        for other in of_set:
            if outcome.name or other is passed or not passed.made_with(other):
                continue
            judged = await self._of.judge.judge(
                other, self._numbers, self._moment, self._give_up_at, self._fetches
            )
            # a lower attestation names nobody, whoever passes beside it
            if isinstance(judged, Rejection) or judged.reason is not Reason.VERIFIED:
                continue
            if not judged.name:
                continue
            key, until = use_of(other, judged)
            try:
                found = await self._of.used.reserve(
                    key, self._claim, until, self._moment, other.original.iat
                )
            except Unavailable:
                continue
            if found.use in {Use.FRESH, Use.SAME}:
                outcome = replace(
                    outcome,
                    name=judged.name,
                    call_reason=outcome.call_reason or judged.call_reason,
                    also_used=(*outcome.also_used, key),
                )
        return outcome

    def _outcome(self, judged: Judged, verstat: Verstat, used_key: str = "") -> Outcome:
        return Outcome(
            judged.reason,
            verstat=verstat,
            attest=judged.attest,
            orig=judged.orig,
            dest=judged.dest,
            signer=judged.signer,
            rejections=tuple(self._rejections),
            diverted_by=judged.diverted_by,
            name=judged.name if used_key else "",
            call_reason=judged.call_reason if used_key else "",
            used_key=used_key,
            claim=self._claim if used_key else None,
        )

    def nothing_passed(self) -> Outcome:
        """The verdict when none passed: the reason of the PASSporT that came furthest."""
        rejections = tuple(self._rejections)
        # a provider that knows the call, if not the caller, outweighs a header that came damaged
        if self._partial is not None and self._holder is None:
            return replace(self._partial, rejections=rejections)
        if self._failed is not None and self._holder is None:
            return replace(
                unverified(self._failed.reason, self._numbers, rejections, self._failed.detail),
                verstat=Verstat.FAILED,
            )
        outcome = of_rejections(
            rejections,
            self._numbers,
            asked=self._asking.anyone,
            heard=self._asking.answered,
            clock_offset=self._clock_offset,
        )
        if outcome.reason is Reason.REPLAYED and self._holder is not None:
            return replace(outcome, contests=self._holder)
        return outcome
