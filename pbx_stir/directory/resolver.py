"""Finds the CPSs and the keys of a called number. Implements services' Directory and OwnCps.

Takes canonical numbers, gives a ``Destination``. Where the CPSs are say the configured routes, else
advertisements (RFC 9888 section 4), else ENUM. A route may pin keys, and alone may say that nothing
is sealed; else the keys are in the records that those CPSs return, checked by us
(directory.selection). It never learns who calls.

A key that is looked up just before a call names caller and called to the CPS (RFC 8816 section 11),
so what was looked up once is kept, and is refreshed by ``run`` at random times for as long as the
number is called now and then. A number that is not known yet is looked up once, by however many
calls wait for it. Where one CPS has given a key, the others have a moment longer and no more.
Failures are remembered briefly, and forgotten once the CPS answers: one that was silent is asked
again by ``run``, so that no call pays to find out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from pbx_stir.certificates.single_flight import SingleFlight
from pbx_stir.directory.prefix_records import PrefixRecords, PrefixSource
from pbx_stir.directory.routes import Route, Routes, Sealing
from pbx_stir.directory.selection import Held, Selection, select
from pbx_stir.directory.signers import Signers, fingerprint
from pbx_stir.directory.silence import FAILURE_SECONDS, Silences
from pbx_stir.errors import CpsRefused, CpsUnavailable, PbxStirError, Unavailable
from pbx_stir.services.authentication import Destination
from pbx_stir.services.call import Reason
from pbx_stir.services.judgement import RevocationSource
from pbx_stir.stir.certificate import Anchors, SpcPolicy

LOOKUP_SECONDS: Final = 1.5
REFRESH_SECONDS: Final = 3_600.0
NO_KEY_SECONDS: Final = 60.0
# after a failure that came at once: that of a CPS which is being restarted
AT_ONCE_SECONDS: Final = 2.0
AT_ONCE_PART: Final = 0.1
# what other CPSs have when one has given a key
OTHERS_SECONDS: Final = 0.1
IDLE_SECONDS: Final = 86_400.0
MOST_NUMBERS: Final = 20_000
MOST_LOOKUPS: Final = 64

_PAUSE_SECONDS = (1.0, 5.0)
_REFRESHED_AT_ONCE = 32
_log = logging.getLogger(__name__)


class RecordSource(PrefixSource, Protocol):
    """Gets records from a CPS (cps.client.CpsClient)."""

    async def get_records(self, cps: str, number: str, give_up_at: float) -> Sequence[str]:
        """Get the tokens for ``number``. Raises CpsUnavailable, CpsRefused or MalformedAnswer."""
        ...


class Advertised(Protocol):
    """Knows from memory where a number is advertised (directory.advertisements)."""

    def cps(self, number: str) -> tuple[str, ...]:
        """Give the CPSs of ``number``, none where it is not advertised."""
        ...


class Enum(Protocol):
    """Asks DNS where a number's CPSs are (directory.enum)."""

    async def cps(self, number: str, give_up_at: float) -> tuple[str, ...]:
        """Give the CPSs of ``number``, none where DNS names none. Raises ``Unavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one number. Times are of the monotonic clock, but for those in ``held``."""

    selection: Selection
    reason: Reason
    detail: str
    next_lookup: float
    used: float

    def leaves(self) -> list[bytes]:
        """The certificates behind what is held."""
        return [held.leaf for held in self.selection.held.values()]


class Resolver:
    """Routes, then advertisements, then ENUM; and records for the keys."""

    def __init__(
        self,
        *,
        routes: Routes,
        records: RecordSource,
        anchors: Callable[[], Anchors],
        spc_policy: SpcPolicy,
        advertised: Advertised | None = None,
        enum: Enum | None = None,
        allow_plain: bool = False,
        revocation: RevocationSource | None = None,
        epoch: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``anchors`` gives the current ones; ``allow_plain`` admits records that name a CPS on
        loopback without TLS; ``revocation`` says whose records count no more; ``monotonic`` is the
        clock of every ``give_up_at``; ``draw`` gives a random number between two others."""
        self._routes = routes
        self._advertised = advertised
        self._enum = enum
        self._records = records
        self._anchors = anchors
        self._spc_policy = spc_policy
        self._allow_plain = allow_plain
        self._epoch = epoch
        self._monotonic = monotonic
        self._draw = draw
        self._prefixes = PrefixRecords(records, epoch=epoch, monotonic=monotonic, draw=draw)
        self._signers = Signers(revocation)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._silences = Silences()
        # answers that a look-up did not wait for
        self._late: set[asyncio.Task[Sequence[str] | str]] = set()
        self._flights: SingleFlight[str, None] = SingleFlight(most=MOST_LOOKUPS, clock=monotonic)

    def own_cps(self, number: str) -> tuple[str, ...]:
        """The CPSs to ask for ``number``, one of ours."""
        return self._routes.own_cps(number)

    async def destination(self, number: str, give_up_at: float) -> Destination:
        """Find the CPSs and keys of ``number``; answers by ``give_up_at`` and never raises."""
        try:
            route = await self._route(number, give_up_at)
        except Unavailable as error:
            return Destination(reason=Reason.CPS_UNAVAILABLE, detail=str(error))
        if route is None:
            return Destination(reason=Reason.NO_CPS)
        if route.sealing is Sealing.NONE:
            return Destination(route.cps, sealed=False)
        if route.keys:
            return Destination(route.cps, route.keys)
        found = self._recall(number, route)
        if found is not None:
            return found
        try:
            await self._flights.join(number, lambda: self._look_up(number, route), give_up_at)
        except Unavailable as error:
            return Destination(route.cps, reason=Reason.CPS_UNAVAILABLE, detail=str(error))
        failure = Destination(route.cps, reason=Reason.CPS_UNAVAILABLE, detail="forgotten again")
        return self._recall(number, route) or failure

    async def run(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Refresh what is due, for ever, at random times."""
        while True:
            await pause(self._draw(*_PAUSE_SECONDS))
            await self.refresh_due()

    async def refresh_due(self) -> int:
        """Look up again what is due, and forget what nobody calls; gives how many were due."""
        self._signers.review(self._epoch())
        self._prefixes.forget_idle()
        now = self._monotonic()
        idle = [number for number, known in self._known.items() if now - known.used > IDLE_SECONDS]
        for number in idle:
            del self._known[number]
        due = [number for number, known in self._known.items() if self._is_due(known, now)]
        flights = []
        for number in due[:_REFRESHED_AT_ONCE]:
            flight = self._flights.launch(number, partial(self._refresh, number))
            if flight is not None:
                flights.append(flight)
        silent = self._silences.last(_REFRESHED_AT_ONCE)
        give_up_at = now + LOOKUP_SECONDS
        probes = [self._get(cps, one.number, one.route, give_up_at) for cps, one in silent]
        await asyncio.gather(*flights, *probes, return_exceptions=True)
        return len(due)

    async def close(self) -> None:
        """Break off the look-ups under way."""
        late = list(self._late)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._flights.close()
        await self._prefixes.close()

    def _is_due(self, known: _Known, now: float) -> bool:
        # what has no key is looked up when it is called, not before
        return now >= known.next_lookup and bool(
            known.selection.keys(self._epoch(), self._signers.why_refused)
        )

    async def _route(self, number: str, give_up_at: float) -> Route | None:
        """Where the CPSs of ``number`` are, None where nobody says. Raises ``Unavailable``.

        What is found outside the configuration always wants sealed PASSporTs.
        """
        route = self._routes.route(number)
        if route is not None:
            return route
        found = self._advertised.cps(number) if self._advertised is not None else ()
        if not found and self._enum is not None:
            found = await self._enum.cps(number, give_up_at)
        return Route(number, found) if found else None

    async def _refresh(self, number: str) -> None:
        """Look up again, wherever the number's CPSs are by now. Never raises."""
        try:
            route = await self._route(number, self._monotonic() + LOOKUP_SECONDS)
        except Unavailable:
            return
        if route is not None and route.sealing is Sealing.REQUIRED:
            await self._look_up(number, route)

    def _recall(self, number: str, route: Route) -> Destination | None:
        """What is known of the number; None where it must be looked up."""
        known = self._known.get(number)
        if known is None:
            return None
        now = self._monotonic()
        self._known[number] = replace(known, used=now)
        self._known.move_to_end(number)
        keys = known.selection.keys(self._epoch(), self._signers.why_refused)
        if keys:
            return Destination(route.cps, keys)
        if now < known.next_lookup:
            refused = filter(None, (self._signers.why_refused(leaf) for leaf in known.leaves()))
            for detail in refused:
                return Destination(route.cps, reason=Reason.BAD_RECORD, detail=detail)
            return Destination(route.cps, reason=known.reason, detail=known.detail)
        return None

    async def _look_up(self, number: str, route: Route) -> None:
        """Ask every CPS of the route, and remember what came of it. Never raises."""
        before = self._known.get(number)
        held = before.selection.held if before is not None else {}
        began = self._monotonic()
        give_up_at = began + LOOKUP_SECONDS
        tasks = [
            asyncio.create_task(self._ask(cps, number, route, give_up_at)) for cps in route.cps
        ]
        selection, tokens, failures = await self._first(tasks, number, held)
        now = self._monotonic()
        reason, detail = _why_no_key(selection, tokens, failures)
        known = _Known(
            selection,
            reason,
            detail,
            next_lookup=now
            + self._wait_seconds(selection, reason, failures, _is_at_once(began, now)),
            used=before.used if before is not None else now,
        )
        self._known[number] = known
        while len(self._known) > MOST_NUMBERS:
            self._known.popitem(last=False)

    async def _first(
        self,
        tasks: Sequence[asyncio.Task[Sequence[str] | str]],
        number: str,
        held: Mapping[str, Held],
    ) -> tuple[Selection, list[str], list[str]]:
        """What the CPSs' answers come to, as soon as there is a key; their tokens and failures."""
        self._late.update(tasks)
        for task in tasks:
            task.add_done_callback(self._late.discard)
        seconds: float | None = None
        pending = set(tasks)
        selection = Selection({})
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            answers = [task.result() for task in tasks if task.done()]
            tokens = [one for answer in answers if not isinstance(answer, str) for one in answer]
            failures = [answer for answer in answers if isinstance(answer, str)]
            if not done:
                # each goes on by itself, and is remembered where it comes to nothing
                failures.append(f"{len(pending)} more had not answered")
                break
            if not pending or tokens:
                selection = await self._select(tokens, number, held)
                if selection.keys(self._epoch(), self._signers.why_refused):
                    seconds = OTHERS_SECONDS
        return selection, tokens, failures

    async def _ask(
        self, cps: str, number: str, route: Route, give_up_at: float
    ) -> Sequence[str] | str:
        """Get them, where the CPS is not left in peace: no call is to find out by itself."""
        if times := self._silences.times(cps, self._monotonic()):
            return f"{cps}: did not answer {times} times"
        return await self._get(cps, number, route, give_up_at)

    async def _get(
        self, cps: str, number: str, route: Route, give_up_at: float
    ) -> Sequence[str] | str:
        """The tokens that one CPS returns, or a sentence on why it does not."""
        tokens: Sequence[str]
        began = self._monotonic()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                if prefix := route.asked(number):
                    tokens = await self._prefixes.tokens(cps, prefix, number, give_up_at)
                else:
                    tokens = await self._records.get_records(cps, number, give_up_at)
        except CpsRefused as error:
            # a CPS that keeps no records is no broken one
            return () if error.status == 404 else f"{cps}: {error}"
        except (TimeoutError, CpsUnavailable) as error:
            now = self._monotonic()
            if not _is_at_once(began, now):
                self._silences.failed(cps, number, route, now)
            return f"{cps}: {error or 'no answer'}"
        except PbxStirError as error:
            return f"{cps}: {error}"
        if self._silences.answered(cps):
            self._forgive()
        return tokens

    def _forgive(self) -> None:
        """A CPS that was silent answers: what was in vain is looked up when it is called again."""
        in_vain = [
            number
            for number, known in self._known.items()
            if known.reason is Reason.CPS_UNAVAILABLE and not known.selection.held
        ]
        for number in in_vain:
            del self._known[number]

    async def _select(
        self, tokens: Sequence[str], number: str, held: Mapping[str, Held]
    ) -> Selection:
        now = self._epoch()
        if not tokens:
            return Selection({signer: one for signer, one in held.items() if now < one.expires})
        for _ in range(2):
            selection = await asyncio.to_thread(
                select,
                tokens,
                number,
                self._anchors(),
                self._spc_policy,
                now,
                held,
                allow_plain=self._allow_plain,
                why_refused=self._signers.why_refused,
            )
            for path in selection.paths:
                self._signers.note(path, now)
            # one that is found out now must not have taken the place of another
            if not any(self._signers.why_refused(fingerprint(path)) for path in selection.paths):
                break
        return replace(selection, paths=())

    def _wait_seconds(
        self, selection: Selection, reason: Reason, failures: Sequence[str], at_once: bool
    ) -> float:
        """How long to leave the CPSs in peace, at random so that no two numbers go together."""
        now = self._epoch()
        keys = selection.keys(now, self._signers.why_refused)
        if failures or not keys:
            longest = NO_KEY_SECONDS
            if reason is Reason.CPS_UNAVAILABLE:
                longest = AT_ONCE_SECONDS if at_once and not keys else FAILURE_SECONDS
            return self._draw(longest / 2, longest)
        first = min(held.expires for held in selection.held.values() if now < held.expires)
        longest = min(REFRESH_SECONDS, 0.9 * (first - now))
        return self._draw(longest / 2, longest)


def _is_at_once(began: float, now: float) -> bool:
    """Whether what was tried cost a call little of its budget."""
    return now - began < AT_ONCE_PART * LOOKUP_SECONDS


def _why_no_key(
    selection: Selection, tokens: Sequence[str], failures: Sequence[str]
) -> tuple[Reason, str]:
    """The reason that a call shows where no key is left."""
    if tokens and selection.refused:
        return Reason.BAD_RECORD, selection.detail
    if failures:
        return Reason.CPS_UNAVAILABLE, failures[0]
    return Reason.NO_KEY, ""
