"""What the call log is told of the CPSs that were asked."""

from __future__ import annotations

from pbx_stir.services.asking import Asking
from pbx_stir.services.call import Asked, Reason, Verstat
from pbx_stir.services.placement_service import Answer, BareAnswer
from tests.services.world import ALICE, BOB, CPS, NOW, World, call

OTHER = "https://cps2.example.net"


def test_each_cps_has_one_entry_for_each_number() -> None:
    """Who has not answered is told as such; a later answer adds to the first."""
    asking = Asking()
    asking.ask([(CPS, BOB), (CPS, ALICE), (OTHER, BOB)])
    first = Answer(CPS, BOB, (b"x", b"y"))
    assert asking.hear(first, 3.0)
    asking.opened(first, 1)
    assert asking.hear(Answer(OTHER, BOB, reason=Reason.CPS_UNAVAILABLE), 9.0)
    later = BareAnswer(CPS, BOB, ("a", "b", "c"))
    assert not asking.hear(later, 12.0)
    asking.opened(later, 3)
    assert asking.told() == (
        Asked(CPS, BOB, passports=3, opened=4, ms=3.0),
        Asked(CPS, ALICE, heard=False),
        Asked(OTHER, BOB, reason=Reason.CPS_UNAVAILABLE, ms=9.0),
    )


def test_who_answers_after_all_has_answered() -> None:
    """A failure counts no longer once the CPS says what it holds."""
    asking = Asking()
    asking.ask([(CPS, BOB)])
    assert asking.anyone
    assert asking.hear(Answer(CPS, BOB, reason=Reason.CPS_REFUSED), 1.0)
    assert not asking.answered
    assert not asking.hear(Answer(CPS, BOB, (b"x",)), 2.0)
    assert asking.answered
    assert not Asking().anyone


async def test_a_verdict_says_who_was_asked() -> None:
    """Of each CPS of the called number: how many there were, and how many opened."""
    world = World()
    world.put(world.token())
    outcome = await world.service.verify(call(), "id", NOW, 10.0)
    assert outcome.verstat is Verstat.PASSED
    (one,) = outcome.asked
    assert (one.cps, one.number, one.heard, one.reason) == (CPS, BOB, True, None)
    assert (one.passports, one.opened) == (1, 1)
