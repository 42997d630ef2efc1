"""Reception: answers every call within its budget, and logs each once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from pbx_stir.errors import PbxUnavailable, Unavailable
from pbx_stir.services.authentication import AuthenticationService
from pbx_stir.services.brought import Brought, Carried
from pbx_stir.services.call import (
    Asked,
    Call,
    Direction,
    Mode,
    Outcome,
    Reason,
    Rejection,
    Status,
    Verstat,
)
from pbx_stir.services.candidates import Candidate
from pbx_stir.services.reception import Clocks, Reception, Record
from pbx_stir.services.used import Claim, Use, UsedPassports
from pbx_stir.services.verification import VerificationService
from tests.services.world import CALLERS, NOW, World, call


@dataclass
class FakePbx:
    """A PBX that takes what it is told, or does not."""

    name: str = "pbx"
    takes: bool = True
    fails: bool = False
    answers: list[dict[str, str]] = field(default_factory=list)
    contested: list[str] = field(default_factory=list)

    async def answer(
        self, call: Call, variables: Sequence[tuple[str, str]], give_up_at: float
    ) -> bool:
        if self.fails:
            raise PbxUnavailable("gone")
        self.answers.append(dict(variables))
        return self.takes

    async def contest(self, unique_id: str, variables: Sequence[tuple[str, str]]) -> None:
        self.contested.append(unique_id)


@dataclass
class FakeLog:
    records: list[Record] = field(default_factory=list)
    contests: list[tuple[Claim, Record]] = field(default_factory=list)

    def record(self, record: Record) -> None:
        self.records.append(record)

    def contested(self, first: Claim, second: Record) -> None:
        self.contests.append((first, second))


@dataclass
class FakeService:
    """Both services: does what the test says, and remembers the deadline it was given."""

    does: Any
    give_up_at: float = 0.0

    async def authenticate(self, call: Call, now: float, give_up_at: float) -> Outcome:
        self.give_up_at = give_up_at
        return cast(Outcome, await self.does(call))

    async def verify(self, call: Call, call_id: str, now: float, give_up_at: float) -> Outcome:
        self.give_up_at = give_up_at
        return cast(Outcome, await self.does(call))


class Desk:
    """A reception with everything around it."""

    def __init__(self, does: Any, *, most_calls: int = 100) -> None:
        self.pbx = FakePbx()
        self.log = FakeLog()
        self.used = UsedPassports()
        self.time = 1000.0
        self.service = FakeService(does)
        self.reception = Reception(
            authentication=cast(AuthenticationService, self.service),
            verification=cast(VerificationService, self.service),
            used=self.used,
            call_log=self.log,
            clocks=Clocks(lambda: NOW, lambda: self.time, self._until, lambda: "id1"),
            most_calls=most_calls,
        )

    def _until(self, moment: float) -> asyncio.Timeout:
        return asyncio.timeout(max(0.0, moment - self.time) / 100)


def claim(one: Call) -> Claim:
    return Claim(one.pbx, one.unique_id, one.linked_id, one.trunk, one.orig, one.dest, "id1")


def passed(one: Call) -> Outcome:
    return Outcome(
        Reason.VERIFIED, verstat=Verstat.PASSED, used_key="k", claim=claim(one), orig="1"
    )


def gives(outcome: Outcome) -> Any:
    async def does(call: Call) -> Outcome:
        return outcome

    return does


STORED = Outcome(Reason.STORED, Status.STORED)


async def test_a_call_is_answered_and_logged_once() -> None:
    """The PBX gets the variables, the call log gets one record."""
    desk = Desk(gives(STORED))
    await desk.reception.receive(call(Direction.OUTBOUND), desk.pbx)
    assert [answer["STIR_STATUS"] for answer in desk.pbx.answers] == ["stored"]
    assert [record.outcome.reason for record in desk.log.records] == [Reason.STORED]
    assert desk.log.records[0].released
    assert desk.reception.under_way == 0


@pytest.mark.parametrize(("budget_ms", "seconds"), [(2000, 1.8), (300, 0.15), (1500, 1.3)])
async def test_the_deadline_leaves_time_for_the_answer(budget_ms: int, seconds: float) -> None:
    """Services give up at the larger of the budget less 200 ms, and half of it."""
    desk = Desk(gives(STORED))
    await desk.reception.receive(call(Direction.OUTBOUND, budget_ms=budget_ms), desk.pbx)
    assert desk.service.give_up_at == pytest.approx(1000 + seconds)


@pytest.mark.parametrize("direction", list(Direction))
async def test_a_step_that_forgets_its_deadline_is_stopped(direction: Direction) -> None:
    """A hold ends on time whatever a step does."""

    async def does(call: Call) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    desk = Desk(does)
    await desk.reception.receive(call(direction), desk.pbx)
    assert [answer["STIR_REASON"] for answer in desk.pbx.answers] == ["timeout"]


@pytest.mark.parametrize("direction", list(Direction))
async def test_an_exception_becomes_internal_error(direction: Direction) -> None:
    """A defect of ours costs the call its verdict, and nothing else."""

    async def does(call: Call) -> Outcome:
        raise KeyError("defect")

    desk = Desk(does)
    await desk.reception.receive(call(direction), desk.pbx)
    assert [answer["STIR_REASON"] for answer in desk.pbx.answers] == ["internal-error"]
    assert len(desk.log.records) == 1


async def test_monitor_changes_nothing_on_the_channel() -> None:
    """A watched call is verified and logged, and its PBX is told nothing."""
    one = call(mode=Mode.MONITOR)
    desk = Desk(gives(passed(one)))
    await desk.used.reserve("k", claim(one), NOW + 60, NOW)
    await desk.reception.receive(one, desk.pbx)
    assert desk.pbx.answers == []
    assert desk.log.records[0].outcome.verstat is Verstat.PASSED
    # its PASSporT is used up all the same
    assert (
        await desk.used.reserve("k", claim(call(linked_id="2")), NOW + 60, NOW)
    ).use is Use.TAKEN


async def test_a_call_that_is_gone_gives_its_passport_back() -> None:
    """A hang-up in the hold leaves the PASSporT to the next call."""
    one = call()
    desk = Desk(gives(passed(one)))
    desk.pbx.takes = False
    await desk.used.reserve("k", claim(one), NOW + 60, NOW)
    await desk.reception.receive(one, desk.pbx)
    assert not desk.log.records[0].released
    assert (
        await desk.used.reserve("k", claim(call(linked_id="2")), NOW + 60, NOW)
    ).use is Use.FRESH


async def test_an_unknown_release_counts_as_used() -> None:
    """When nobody knows whether the verdict got through, no other call gets it."""
    one = call()
    desk = Desk(gives(passed(one)))
    desk.pbx.fails = True
    await desk.used.reserve("k", claim(one), NOW + 60, NOW)
    await desk.reception.receive(one, desk.pbx)
    assert (
        await desk.used.reserve("k", claim(call(linked_id="2")), NOW + 60, NOW)
    ).use is Use.TAKEN
    assert len(desk.log.records) == 1


async def test_a_late_outcome_is_not_told_and_says_so() -> None:
    """After its hold the dialplan has said timeout: nothing contradicts it, the log knows more."""
    desk = Desk(None)

    async def slow(call: Call) -> Outcome:
        desk.time += call.budget_ms / 1000
        return STORED if call.direction is Direction.OUTBOUND else passed(call)

    desk.service.does = slow
    await desk.reception.receive(call(Direction.OUTBOUND), desk.pbx)
    await desk.reception.receive(call(), desk.pbx)
    assert desk.pbx.answers == []
    reasons = [record.outcome.reason for record in desk.log.records]
    assert reasons == [Reason.STORED_LATE, Reason.TIMEOUT]
    assert desk.log.records[1].outcome.verstat is Verstat.NONE


async def test_a_late_header_is_not_said_to_be_carried() -> None:
    """A call that went on without its Identity header did not carry it, whatever was signed."""
    outcomes = [
        Outcome(Reason.IN_BAND, Status.IN_BAND, identity=("a",)),
        replace(STORED, identity=("a",)),
    ]
    desk = Desk(None)

    async def slow(call: Call) -> Outcome:
        desk.time += call.budget_ms / 1000
        return outcomes.pop(0)

    desk.service.does = slow
    await desk.reception.receive(call(Direction.OUTBOUND), desk.pbx)
    await desk.reception.receive(call(Direction.OUTBOUND), desk.pbx)
    told = [record.outcome for record in desk.log.records]
    assert [(one.status, one.reason) for one in told] == [
        (Status.ERROR, Reason.TIMEOUT),
        (Status.STORED, Reason.STORED_LATE),
    ]
    assert [one.identity for one in told] == [(), ()]


@pytest.mark.parametrize(
    ("late", "taken", "kept"), [(False, True, 1), (False, False, 0), (True, True, 0)]
)
async def test_what_a_call_brought_is_forgotten_where_its_verdict_is_not_taken(
    late: bool, taken: bool, kept: int
) -> None:
    """Its PASSporT is given back, and may be another call's: no leg of this one goes on with it."""
    desk = Desk(None)
    brought = desk.reception._brought
    found = Carried(Candidate(World().token(), (), True), ())

    async def does(one: Call) -> Outcome:
        brought.remember(one, Brought("carrier", ("1",), identities=(found,)), NOW)
        desk.time += late * one.budget_ms / 1000
        return passed(one)

    desk.service.does = does
    desk.pbx.takes = taken
    await desk.reception.receive(call(), desk.pbx)
    assert len(brought) == kept


async def test_where_calls_come_in_is_remembered_whatever_becomes_of_them() -> None:
    """An inbound hook says whose channel it runs on; an outbound one teaches nothing."""

    async def does(call: Call) -> Outcome:
        raise RuntimeError

    desk = Desk(does)
    outside = desk.reception._outside
    await desk.reception.receive(call(placed_by="PJSIP/in", came_in="carrier"), desk.pbx)
    await desk.reception.receive(call(Direction.OUTBOUND, placed_by="PJSIP/alice"), desk.pbx)
    known = [
        outside.trunk_of(call(Direction.OUTBOUND, placed_by=name), CALLERS)
        for name in ("PJSIP/in", "PJSIP/alice")
    ]
    assert known == ["carrier", ""]


async def test_more_calls_than_are_admitted_are_answered_at_once() -> None:
    """A flood of hooks is not queued: what is too much goes on unserved."""
    gate = asyncio.Event()

    async def does(call: Call) -> Outcome:
        await gate.wait()
        return STORED

    desk = Desk(does, most_calls=1)
    desk._until = lambda moment: asyncio.timeout(5)  # type: ignore[method-assign]
    first = asyncio.ensure_future(desk.reception.receive(call(Direction.OUTBOUND), desk.pbx))
    await asyncio.sleep(0)
    await desk.reception.receive(call(Direction.OUTBOUND), desk.pbx)
    assert [answer["STIR_REASON"] for answer in desk.pbx.answers] == ["overloaded"]
    gate.set()
    await first


async def test_the_first_call_becomes_contested() -> None:
    """When a second call claims its PASSporT, the first is told while it is up."""
    one, two = call(), call(unique_id="2.2", linked_id="2.2")
    replayed = Outcome(Reason.REPLAYED, verstat=Verstat.NONE, contests=claim(one))
    desk = Desk(gives(passed(one)))
    await desk.reception.receive(one, desk.pbx)
    desk.service.does = gives(replayed)
    await desk.reception.receive(two, desk.pbx)
    assert desk.pbx.contested == [one.unique_id]
    assert [first.unique_id for first, _ in desk.log.contests] == [one.unique_id]
    # the log says so every time
    await desk.reception.receive(two, desk.pbx)
    assert len(desk.log.contests) == 2


async def test_a_contest_is_not_lost_while_the_first_is_being_released() -> None:
    """The second call may come between the first one's verdict and its release."""
    one, two = call(), call(unique_id="2.2", linked_id="2.2")
    replayed = Outcome(Reason.REPLAYED, verstat=Verstat.NONE, contests=claim(one))
    desk = Desk(gives(replayed))
    await desk.reception.receive(two, desk.pbx)
    desk.pbx.contested.clear()
    desk.service.does = gives(passed(one))
    await desk.reception.receive(one, desk.pbx)
    assert desk.pbx.contested == [one.unique_id]


async def test_a_memory_that_does_not_answer_costs_no_call() -> None:
    """When a use cannot be settled, the call is answered and logged all the same."""

    class Silent(UsedPassports):
        async def confirm(self, key: str, claim: Claim, now: float) -> None:
            raise Unavailable("no answer")

        async def ended(self, pbx: str, unique_id: str, answered: bool, now: float) -> None:
            raise Unavailable("no answer")

    one = call()
    desk = Desk(gives(passed(one)))
    desk.reception._used = Silent()
    await desk.reception.receive(one, desk.pbx)
    assert len(desk.log.records) == 1
    assert desk.log.records[0].released
    await desk.reception.ended("pbx", one.unique_id, False)


async def test_call_that_was_read_of_too_late_is_not_served() -> None:
    """Its PBX has gone on and said timeout: so says its record. A watched call is served."""
    outcome = Outcome(Reason.VERIFIED, verstat=Verstat.NONE)
    desk = Desk(gives(outcome))
    await desk.reception.receive(call(Direction.INBOUND, budget_ms=1), desk.pbx)
    assert desk.log.records[0].outcome.reason is Reason.TIMEOUT
    assert desk.service.give_up_at == 0.0
    await desk.reception.receive(call(Direction.INBOUND, budget_ms=1, mode=Mode.MONITOR), desk.pbx)
    assert desk.log.records[1].outcome.reason is Reason.VERIFIED


async def test_debug_level_tells_of_each_call(caplog: pytest.LogCaptureFixture) -> None:
    """Who was asked, what was turned down, what came of it and how long it took; no numbers."""
    outcome = Outcome(
        Reason.NO_PASSPORT,
        verstat=Verstat.NONE,
        orig="12125550100",
        rejections=(Rejection("open", Reason.MALFORMED, "12125550100"),),
        asked=(Asked("https://cps.example.net", "13105550100", passports=3, ms=2.0),),
    )
    desk = Desk(gives(outcome))
    with caplog.at_level("DEBUG", "pbx_stir"):
        await desk.reception.receive(call(Direction.INBOUND), desk.pbx)
    assert "https://cps.example.net: answered after 2.0 ms, 3 there, 0 opened" in caplog.text
    assert "open: malformed" in caplog.text
    assert "No-TN-Validation no-passport, decided after" in caplog.text
    assert "55501" not in caplog.text
