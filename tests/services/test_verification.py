"""The verification service, step by step (RFC 8816 section 8.2), and the two rules beyond it."""

from __future__ import annotations

import pytest

from pbx_stir.services.call import Reason, Verstat
from pbx_stir.stir import passport, sealing
from pbx_stir.stir.certificate import SpcPolicy, parse_chain
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.verifying import CAROL, verify
from tests.services.world import (
    ALICE,
    BOB,
    CPS,
    NOW,
    OTHER_ROOT,
    OTHER_ROOT_KEY,
    X5U,
    World,
    call,
    credential_for,
)


async def test_a_genuine_call_passes() -> None:
    """Signed, sealed to us, for this call, now, by who may: Passed, without any fetch."""
    world = World()
    world.put(world.token())
    outcome = await verify(world)
    assert (outcome.verstat, outcome.reason) == (Verstat.PASSED, Reason.VERIFIED)
    assert (outcome.orig, outcome.dest, outcome.signer) == (ALICE, BOB, "Company A")
    assert world.certificates.asked == []


async def test_nothing_stored_is_no_fraud() -> None:
    """RFC 8816 section 7.2: absence of a PASSporT does not mean that the call is bogus."""
    outcome = await verify(World())
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.NO_PASSPORT)


async def test_dummies_and_foreign_blobs_are_nothing() -> None:
    """What does not open is as if it were not there."""
    world = World()
    other = sealing.public_octets(sealing.new_private_key())
    world.placement.held[BOB] = [
        sealing.dummy(b"0" * 32),
        sealing.seal(world.token().token, (), other, BOB),
        b"",
    ]
    assert (await verify(world)).reason is Reason.NO_PASSPORT


async def test_sealed_again_by_its_receiver_is_dest_mismatch() -> None:
    """Whoever opens Alice to Bob cannot call Carol as Alice with it."""
    world = World()
    world.put(world.token(), number=CAROL)
    outcome = await verify(world, call(dest=CAROL))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.DEST_MISMATCH)


async def test_another_callers_passport_does_not_help() -> None:
    """orig must be the calling number."""
    world = World()
    world.put(world.token(orig="12125551235"))
    assert (await verify(world)).reason is Reason.ORIG_MISMATCH


async def test_freshness_is_inclusive_at_both_ends() -> None:
    """60 s old and 5 s ahead still pass; a second more does not."""
    for seconds, reason in (
        (60.0, Reason.VERIFIED),
        (61.0, Reason.STALE),
        (-5.0, Reason.VERIFIED),
        (-6.0, Reason.FUTURE_IAT),
    ):
        world = World()
        world.put(world.token())
        assert (await verify(world, now=NOW + seconds)).reason is reason, seconds


async def test_a_clock_that_is_off_is_named() -> None:
    """When the CPS's clock says that ours is off, stale is not the caller's fault."""
    world = World()
    world.put(world.token())
    world.placement.clock_offset = -90.0
    assert (await verify(world, now=NOW + 90)).reason is Reason.CLOCK


async def test_a_stranger_cannot_make_a_call_look_worse() -> None:
    """Anyone may store: whatever is wrong with what a CPS returns, it never says Failed."""
    outsider = credential_for(issuer=(OTHER_ROOT, OTHER_ROOT_KEY))
    thief = credential_for(TnAuthList(numbers=("12129990000",)))
    world = World()
    bad = {
        Reason.CERTIFICATE_UNTRUSTED: (world.token(outsider), outsider.chain),
        Reason.NUMBER_NOT_COVERED: (world.token(thief), thief.chain),
        Reason.BAD_SIGNATURE: (world.token(thief), world.company.chain),
        Reason.MALFORMED: ("garbage", ()),
    }
    for reason, (token, chain) in bad.items():
        world = World()
        world.put(token, chain=chain)
        outcome = await verify(world)
        assert (outcome.verstat, outcome.reason) == (Verstat.NONE, reason)


async def test_garbage_beside_it_does_not_hide_the_genuine_one() -> None:
    """A flood of bad PASSporTs for the number does not keep the good one from passing."""
    world = World()
    thief = credential_for(TnAuthList(numbers=("12129990000",)))
    for _ in range(10):
        world.put(world.token(thief, iat=int(NOW) - 5), thief)
    world.put("garbage", chain=())
    world.put(world.token())
    outcome = await verify(world)
    assert outcome.verstat is Verstat.PASSED
    assert {one.reason for one in outcome.rejections} == {
        Reason.NUMBER_NOT_COVERED,
        Reason.MALFORMED,
    }


async def test_attestation_decides_what_shaken_is_worth() -> None:
    """A passes; B and C are valid but say less, and do not pass by default."""
    company = credential_for(TnAuthList(spcs=("1234",)))
    for attest, verstat, reason in (
        ("A", Verstat.PASSED, Reason.VERIFIED),
        ("B", Verstat.NONE, Reason.ATTEST_B),
        ("C", Verstat.NONE, Reason.ATTEST_C),
    ):
        world = World()
        world.put(world.token(company, attest=attest, origid="o", jti=""), company)
        outcome = await verify(world)
        assert (outcome.verstat, outcome.reason, outcome.attest) == (verstat, reason, attest)


async def test_an_spc_vouches_for_an_attestation_not_for_a_number() -> None:
    """Without attestation a provider's code is not enough, unless the table says whose it is."""
    company = credential_for(TnAuthList(spcs=("1234",)))
    for table, verstat, reason in (
        ({}, Verstat.NONE, Reason.NUMBER_NOT_COVERED),
        ({"1212": frozenset({"1234"})}, Verstat.PASSED, Reason.VERIFIED),
        ({"1212": frozenset({"9999"})}, Verstat.NONE, Reason.NUMBER_NOT_COVERED),
    ):
        world = World(spc=SpcPolicy(table=table))
        world.certificates.chains[X5U] = parse_chain(company.chain)
        header = passport.identity_header(world.token(company))
        outcome = await verify(world, call(identity=(header,)))
        assert (outcome.verstat, outcome.reason) == (verstat, reason)


async def test_a_refused_spc_says_nothing_against_the_call() -> None:
    """spc = "refuse" leaves a shaken Identity header without weight, for and against."""
    company = credential_for(TnAuthList(spcs=("1234",)))
    world = World(spc=SpcPolicy(accept=False))
    world.certificates.chains[X5U] = parse_chain(company.chain)
    token = world.token(company, attest="A", origid="o", jti="")
    outcome = await verify(world, call(identity=(passport.identity_header(token),)))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.NUMBER_NOT_COVERED)


async def test_a_lower_attestation_passes_where_it_is_said_to() -> None:
    """passed_attest = ["A", "B"] lets B pass."""
    company = credential_for(TnAuthList(spcs=("1234",)))
    world = World(passed_attest=frozenset("AB"))
    world.put(world.token(company, attest="B", origid="o", jti=""), company)
    assert (await verify(world)).verstat is Verstat.PASSED


async def test_a_name_comes_only_from_what_passed() -> None:
    """rcd in the PASSporT that passed, or in one made with it; never from one that did not."""
    world = World()
    world.put(world.token(extra={"rcd": {"nam": "Alice"}}))
    assert (await verify(world)).name == "Alice"

    thief = credential_for(TnAuthList(numbers=("12129990000",)))
    world = World()
    world.put(world.token())
    world.put(world.token(thief, ppt="rcd", jti="", extra={"rcd": {"nam": "Bank"}}), thief)
    outcome = await verify(world)
    assert (outcome.verstat, outcome.name) == (Verstat.PASSED, "")


@pytest.mark.parametrize("attest", ["B", "C"])
async def test_no_name_of_a_lower_attestation(attest: str) -> None:
    """Beside one that passes, another signer who does not vouch for the number names nobody."""
    provider = credential_for(TnAuthList(spcs=("1234",)))
    world = World()
    world.put(world.token(jti=""))
    named = {"rcd": {"nam": "Your Bank"}, "crn": "fraud desk"}
    world.put(world.token(provider, attest=attest, origid="o", jti="", extra=named), provider)
    outcome = await verify(world)
    assert outcome.verstat is Verstat.PASSED
    assert (outcome.name, outcome.call_reason, outcome.also_used) == ("", "", ())


async def test_an_unknown_extension_drops_its_passport_alone() -> None:
    """What we do not understand says nothing, and does not spoil what stands beside it."""
    world = World()
    world.put(world.token(ppt="future", jti=""))
    assert (await verify(world)).reason is Reason.UNSUPPORTED_PPT
    world.put(world.token())
    assert (await verify(world)).verstat is Verstat.PASSED


async def test_a_garbled_copy_does_not_hide_the_genuine_one() -> None:
    """The same PASSporT, stored by a stranger with other certificates, is not taken for a copy."""
    thief = credential_for(issuer=(OTHER_ROOT, OTHER_ROOT_KEY))
    world = World()
    token = world.token()
    world.put(token, chain=thief.chain)
    world.put(token)
    assert (await verify(world)).verstat is Verstat.PASSED


async def test_no_cps_answers() -> None:
    """Nothing is known, and that is what is said."""
    world = World()
    world.placement.down = {CPS}
    outcome = await verify(world)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.CPS_UNAVAILABLE)


async def test_one_of_two_cps_is_enough() -> None:
    """Senders store at each CPS: one that answers is as good as both."""
    world = World()
    world.directory.cps = ("https://down.example", CPS)
    world.placement.down = {"https://down.example"}
    world.put(world.token())
    outcome = await verify(world)
    assert outcome.verstat is Verstat.PASSED
    assert [one.reason for one in outcome.rejections] == [Reason.CPS_UNAVAILABLE]


async def test_the_work_for_one_call_has_an_end() -> None:
    """When the time is over, what was not judged is counted, and the call goes on."""
    world = World()
    world.put(world.token())
    world.monotonic = 10.0
    outcome = await verify(world)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.OVERLOADED)
