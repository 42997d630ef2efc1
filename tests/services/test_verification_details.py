"""The verification service: what a change of one sign or one word in it would break."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.certificates import issuing
from pbx_stir.services.call import Reason, Verstat
from pbx_stir.services.candidates import Candidate
from pbx_stir.services.judgement import Judged, use_of
from pbx_stir.services.trunk import Callers
from pbx_stir.services.used import Claim
from pbx_stir.services.verification import MOST_JUDGED
from pbx_stir.stir import passport
from pbx_stir.stir.certificate import parse_chain
from pbx_stir.stir.diversion import Diverted
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.verifying import CAROL, confirmed, diverted, verify
from tests.services.world import ALICE, BOB, CPS, NOW, TRUNK, X5U, World, call, credential_for

THIEF = TnAuthList(numbers=("12129990000",))


async def test_every_answer_is_looked_at() -> None:
    """A CPS that has nothing does not end the search at the next one."""
    world = World()
    world.directory.cps = (CPS, "https://second.example")
    answers = iter([[], None])
    world.put(world.token())
    held = world.placement.held[BOB]

    class OneAfterTheOther(dict[str, list[bytes]]):
        def get(self, key: str, default: object = None) -> list[bytes]:  # type: ignore[override]
            return held if next(answers) is None else []

    world.placement.held = OneAfterTheOther()
    assert (await verify(world)).verstat is Verstat.PASSED


async def test_what_is_no_passport_does_not_end_the_reading() -> None:
    """Garbage and copies come first, the genuine one last."""
    world = World()
    thief = credential_for(THIEF)
    world.put("garbage", chain=())
    stolen = world.token(thief)
    world.put(stolen, thief)
    world.put(stolen, thief)
    world.put(world.token())
    assert (await verify(world)).verstat is Verstat.PASSED


async def test_a_header_that_is_none_does_not_hide_the_next() -> None:
    """Of several Identity headers each is read."""
    world = World()
    world.certificates.chains[X5U] = parse_chain(world.company.chain)
    header = passport.identity_header(world.token())
    outcome = await verify(world, call(identity=("garbage", header)))
    assert outcome.verstat is Verstat.PASSED


@pytest.mark.parametrize("has_cps", [True, False])
async def test_a_silent_server_of_certificates_leaves_time_for_the_cps(has_cps: bool) -> None:
    """An Identity header's certificate may take half of the time, all of it where no CPS is."""
    world = World()
    world.put(world.token(jti="stored"))
    if not has_cps:
        world.directory.cps = ()
    moments: list[float] = []
    inside = world.certificates.chain

    async def chain(x5u: str, give_up_at: float) -> Any:
        moments.append(give_up_at)
        return await inside(x5u, give_up_at)

    world.certificates.chain = chain  # type: ignore[method-assign]
    header = passport.identity_header(world.token())
    outcome = await world.service.verify(call(identity=(header,)), "id", NOW, 1.8)
    assert moments == [0.9 if has_cps else 1.8]
    assert (outcome.verstat is Verstat.PASSED) == has_cps


async def test_copies_are_judged_once() -> None:
    """The same PASSporT with the same certificates costs its work once."""
    world = World()
    thief = credential_for(THIEF)
    stolen = world.token(thief)
    for _ in range(3):
        world.put(stolen, thief)
    assert len((await verify(world)).rejections) == 1


async def test_more_than_a_calls_work_is_left() -> None:
    """A flood costs so many judgements, not one more; what is left is said."""
    world = World()
    thief = credential_for(THIEF)
    for number in range(MOST_JUDGED + 3):
        world.put(world.token(thief, jti=str(number)), thief)
    outcome = await verify(world)
    reasons = [one.reason for one in outcome.rejections]
    assert reasons.count(Reason.NUMBER_NOT_COVERED) == MOST_JUDGED
    assert reasons.count(Reason.OVERLOADED) == 1


async def test_a_verdict_names_the_call() -> None:
    """What is reserved is reserved for this call; canonical numbers stand in every outcome."""
    world = World()
    nothing = await verify(world)
    assert (nothing.orig, nothing.dest) == (ALICE, BOB)
    world.put(world.token())
    outcome = await verify(world, call(orig="+1 (212) 555-1234"))
    assert outcome.claim == Claim("pbx", "1.1", "1.1", "carrier", ALICE, BOB, "id-1.1")
    assert outcome.rejections == ()


async def test_each_called_number_is_asked_for_at_its_own_cps() -> None:
    """An alias's numbers may lie at different CPSs."""
    world = World()
    asked: list[str] = []

    class Routes:
        def own_cps(self, number: str) -> tuple[str, ...]:
            asked.append(number)
            return (CPS,) if number == BOB else ()

    world.service.own_cps = Routes()
    trunk = replace(TRUNK, aliases={"4210": (CAROL, BOB)})
    world.service.callers = Callers({"carrier": trunk})
    world.put(world.token())
    assert (await verify(world, call(dest="4210"))).verstat is Verstat.PASSED
    assert asked == [CAROL, BOB]


async def test_no_route_is_said() -> None:
    """Where nobody knows a CPS for our number, the reason's detail does."""
    world = World()
    world.directory.cps = ()
    outcome = await verify(world)
    assert outcome.reason is Reason.NO_PASSPORT
    assert [one.detail for one in outcome.rejections] == ["no route serves the number"]
    world.directory.cps = (CPS,)
    assert (await verify(world)).rejections == ()


@pytest.mark.parametrize("offset", [10.0, -10.0, 0.0])
async def test_a_clock_within_its_tolerance_is_not_blamed(offset: float) -> None:
    """Ten seconds are no reason for a PASSporT that is a minute old."""
    world = World()
    world.put(world.token())
    world.placement.clock_offset = offset
    assert (await verify(world, now=NOW + 90)).reason is Reason.STALE


async def test_a_failover_is_noted_and_an_ordinary_call_is_not() -> None:
    """The second use of a PASSporT names the call before it."""
    world = World()
    world.put(world.token())
    first = await confirmed(world, call())
    assert first.detail == ""
    await world.used.ended("pbx", "1.1", False, NOW)
    second = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert second.verstat is Verstat.PASSED
    assert second.detail == "again after call id-1.1 ended unanswered"


async def test_who_was_joined_with_a_call_is_not_that_call() -> None:
    """A bridge gives both one linked id; a leg that was made for a call says its first one."""
    world = World()
    world.put(world.token())
    first = await confirmed(world, call(came_in_id="1.1"))
    assert first.verstat is Verstat.PASSED
    stranger = call(unique_id="2.2", linked_id="1.1", came_in_id="2.2")
    assert (await verify(world, stranger)).reason is Reason.REPLAYED
    leg = call(unique_id="3.3", linked_id="1.1", came_in_id="1.1")
    assert (await verify(world, leg)).verstat is Verstat.PASSED


async def test_a_reason_for_calling_comes_with_the_name() -> None:
    """crn is given where the call passed: the PASSporT's own, or that of the one with the name."""
    world = World()
    world.put(world.token(extra={"crn": "Delivery"}))
    assert (await verify(world)).call_reason == "Delivery"
    provider = credential_for(TnAuthList(spcs=("1234",)))
    shaken = {"attest": "B", "origid": "o", "jti": "", "extra": {"rcd": {"nam": "A"}, "crn": "B"}}
    world = World()
    world.put(world.token(provider, **shaken), provider)
    outcome = await verify(world)
    assert (outcome.reason, outcome.name, outcome.call_reason) == (Reason.ATTEST_B, "", "")


async def test_a_merged_name_is_looked_for_among_all() -> None:
    """One of the set that is not valid, or has no name, does not end the search."""
    provider = credential_for(TnAuthList(spcs=("1234",)))
    thief = credential_for(THIEF)
    world = World()
    world.put(world.token(provider, attest="A", origid="o", jti=""), provider)
    world.put(world.token(thief, ppt="rcd", jti="", extra={"rcd": {"nam": "Bank"}}), thief)
    world.put(world.token(jti="nameless"))
    world.put(world.token(ppt="rcd", jti="", extra={"rcd": {"nam": "Alice"}, "crn": "Hello"}))
    outcome = await verify(world)
    assert (outcome.name, outcome.call_reason) == ("Alice", "Hello")
    assert len(set(outcome.also_used)) == 1


def test_a_use_is_remembered_for_as_long_as_it_could_be_repeated() -> None:
    """Freshness, tolerance and a second; for a diverted one, each hop's freshness besides."""
    world = World()
    original = world.token(dest=[CAROL])
    judged = Judged(Reason.VERIFIED, "", ALICE, BOB, "")
    plain = Candidate(original, (), in_band=False)
    key, until = use_of(plain, judged)
    assert until == NOW + 60 + 5 + 1
    assert key == passport.used_key(original).hex()
    token, _ = diverted(world, original, "div-o")
    passed_on = Candidate(token, (), False, Diverted(original, (token,)))
    other_key, later = use_of(passed_on, judged)
    assert later == NOW + 6 * 60 + 5 + 1
    assert other_key != key
    assert use_of(passed_on, replace(judged, dest=CAROL))[0] != other_key


async def test_long_numbers_are_read_where_the_trunk_has_them() -> None:
    """A trunk with max_digits above 15 takes such PASSporTs, in band and from a CPS."""
    long = "3312345678901234"
    trunk = replace(TRUNK, rules=replace(TRUNK.rules, country_code="", max_digits=18))
    company = credential_for(TnAuthList(spcs=("1234",)))
    for in_band in (False, True):
        world = World()
        world.service.callers = Callers({"carrier": trunk})
        token = world.token(company, orig=long, attest="A", origid="o", jti="")
        world.certificates.chains[X5U] = parse_chain(company.chain)
        identity = (passport.identity_header(token),) if in_band else ()
        if not in_band:
            world.put(token, company)
        outcome = await verify(world, call(orig=long, identity=identity))
        assert (outcome.verstat, outcome.orig) == (Verstat.PASSED, long)


async def test_a_flood_of_dear_chains_is_paid_for_once() -> None:
    """Chains that lead nowhere are remembered, and whoever passed before comes first."""
    world = World()
    world.put(world.token(jti="first"))
    assert (await confirmed(world, call())).verstat is Verstat.PASSED
    cas = [issuing.new_root("Root", NOW - 10, 10) for _ in range(6)]
    others = [one.public_bytes(Encoding.DER) for one, _ in cas]
    for number in range(40):
        stranger = credential_for(issuer=cas[0])
        token = world.token(stranger, iat=int(NOW) - 5, jti=str(number))
        world.put(token, chain=(*stranger.chain, *others))
    world.put(world.token(jti="second"))
    outcome = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert outcome.verstat is Verstat.PASSED
    # the genuine ones were judged before any of the strangers'
    assert {one.reason for one in outcome.rejections} == {Reason.REPLAYED}


async def test_the_work_for_a_call_is_bounded_in_time() -> None:
    """What takes too much of the processor is left, and said; the event loop is let go between."""
    world = World()
    breaths = 0

    async def breathe() -> None:
        nonlocal breaths
        breaths += 1

    def ticking() -> float:
        world.monotonic += 0.04
        return world.monotonic

    world.service.breathe = breathe
    world.service.monotonic = ticking
    thief = credential_for(THIEF)
    for number in range(10):
        world.put(world.token(thief, jti=str(number)), thief)
    outcome = await verify(world, now=NOW)
    reasons = [one.reason for one in outcome.rejections]
    assert reasons.count(Reason.OVERLOADED) == 1
    assert 1 <= reasons.count(Reason.NUMBER_NOT_COVERED) == breaths < 10
