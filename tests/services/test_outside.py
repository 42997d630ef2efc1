"""A trunk's own channels: known by their names, whatever mark they lack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pbx_stir.services.call import Call, Direction, Reason, Status
from pbx_stir.services.outside import Outside
from pbx_stir.services.trunk import Callers, Trunk
from pbx_stir.stir.number import NumberSet
from tests.services.test_authentication import Office
from tests.services.world import ALICE, CALLERS, TRUNK, call


def _in(placed_by: str, **changes: object) -> Call:
    return call(Direction.INBOUND, placed_by=placed_by, came_in="carrier", **changes)


def _out(placed_by: str, **changes: object) -> Call:
    return call(Direction.OUTBOUND, placed_by=placed_by, **changes)


def _with(endpoints: tuple[str, ...] | None) -> Callers:
    return Callers({"carrier": replace(TRUNK, endpoints=endpoints)})


@pytest.mark.parametrize(
    ("endpoints", "placed_by", "trunk"),
    [
        (None, "PJSIP/carrier", "carrier"),
        (None, "DAHDI/carrier", "carrier"),
        (None, "PJSIP/alice", ""),
        (None, "", ""),
        (("in-1", "PJSIP/in-2"), "PJSIP/in-1", "carrier"),
        (("in-1", "PJSIP/in-2"), "PJSIP/in-2", "carrier"),
        (("in-1", "PJSIP/in-2"), "SIP/in-2", ""),
        (("in-1",), "PJSIP/carrier", ""),
        ((), "PJSIP/carrier", ""),
    ],
)
def test_configured_endpoints_are_known_from_the_first_call(
    endpoints: tuple[str, ...] | None, placed_by: str, trunk: str
) -> None:
    """Those that a trunk names; one that names none has its own name."""
    assert Outside().trunk_of(_out(placed_by), _with(endpoints)) == trunk


def test_what_calls_came_in_from_is_remembered_of_each_pbx() -> None:
    """An endpoint of another PBX, and of another technology, is another one."""
    outside = Outside()
    outside.remember(_in("PJSIP/sbc-7"))
    outside.remember(_in(""))
    assert outside.trunk_of(_out("PJSIP/sbc-7"), CALLERS) == "carrier"
    assert outside.trunk_of(_out("PJSIP/sbc-7", pbx="other"), CALLERS) == ""
    assert outside.trunk_of(_out("SIP/sbc-7"), CALLERS) == ""
    assert outside.trunk_of(_out(""), CALLERS) == ""


def test_a_trunk_that_names_its_endpoints_has_no_others() -> None:
    """Where users and trunk share one, ``endpoints = []`` lets those users call."""
    outside = Outside()
    outside.remember(_in("PJSIP/sbc"))
    assert outside.trunk_of(_out("PJSIP/sbc"), _with(None)) == "carrier"
    assert outside.trunk_of(_out("PJSIP/sbc"), _with(())) == ""
    assert outside.trunk_of(_out("PJSIP/sbc"), _with(("other",))) == ""


def test_a_configured_originator_is_not_learned_as_a_trunk() -> None:
    """One who calls the company's own number through the trunk's context goes on being himself.

    A trunk's configured endpoint is never an originator.
    """
    numbers = NumberSet.parse([ALICE])
    callers = Callers({"carrier": Trunk("carrier")}, {"alice": numbers, "carrier": numbers})
    outside = Outside()
    for name in ("PJSIP/alice", "PJSIP/carrier"):
        outside.remember(_in(name))
    assert outside.trunk_of(_out("PJSIP/alice"), callers) == ""
    assert outside.trunk_of(_out("PJSIP/carrier"), callers) == "carrier"


def test_a_trunk_that_is_not_configured_is_outside_too() -> None:
    """Its inbound hook has said that calls come in there."""
    outside = Outside()
    outside.remember(_in("PJSIP/old", trunk="gone"))
    assert outside.trunk_of(_out("PJSIP/old"), CALLERS) == "gone"


def test_there_is_an_end_to_it() -> None:
    """However many endpoints are heard of; those of one PBX leave another's alone."""
    outside = Outside(most=3)
    outside.remember(_in("PJSIP/one", pbx="quiet"))
    for number in range(10):
        outside.remember(_in("PJSIP/busy"))
        outside.remember(_in(f"IAX2/{number}"))
    known = [
        name
        for name in ("PJSIP/busy", *(f"IAX2/{number}" for number in range(10)))
        if outside.trunk_of(_out(name), CALLERS)
    ]
    assert known == ["PJSIP/busy", "IAX2/8", "IAX2/9"]
    assert outside.trunk_of(_out("PJSIP/one", pbx="quiet"), CALLERS) == "carrier"


async def test_a_leg_of_a_trunk_without_a_mark_is_not_signed() -> None:
    """It calls as the company's own number, and has whatever name its channel inherited."""
    for originator in (("carrier",), ("alice",), ()):
        office = Office()
        outcome = await office.sign(originator=originator, placed_by="PJSIP/carrier")
        assert (outcome.status, outcome.reason) == (Status.SKIPPED, Reason.CALLER_NOT_ALLOWED)
        assert "'PJSIP/carrier'" in outcome.detail
        assert office.placement.stored == []
    assert (await Office().sign(placed_by="PJSIP/alice")).status is Status.STORED


async def test_a_leg_of_nobody_is_not_signed() -> None:
    """A Local channel that was made for a channel which has gone may be a stranger's."""
    outcome = await Office().sign(originator=(), is_orphan=True)
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, Reason.CALLER_NOT_ALLOWED)
