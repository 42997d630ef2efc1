"""The verification service, step by step (RFC 8816 section 8.2), and the two rules beyond it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.certificates import issuing
from pbx_stir.errors import Unavailable
from pbx_stir.services.call import Call, Outcome, Reason, Verstat
from pbx_stir.services.used import Claim, Reservation, UsedPassports
from pbx_stir.stir import passport, sealing
from pbx_stir.stir.certificate import SpcPolicy, parse_chain
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.world import (
    ALICE,
    BOB,
    CPS,
    NOW,
    OTHER_ROOT,
    OTHER_ROOT_KEY,
    ROOT,
    ROOT_KEY,
    X5U,
    World,
    call,
    credential_for,
)

CAROL = "13105552001"


async def verify(world: World, one: Call | None = None, now: float = NOW) -> Outcome:
    one = one or call()
    return await world.service.verify(one, f"id-{one.unique_id}", now, 10.0)


async def confirmed(world: World, one: Call) -> Outcome:
    """Verify as reception does: a verdict that passed is taken by the PBX."""
    outcome = await verify(world, one)
    if outcome.claim is not None:
        await world.used.confirm(outcome.used_key, outcome.claim, NOW)
    return outcome


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


async def test_one_passport_verifies_one_call() -> None:
    """The second call with the same PASSporT is replayed, and says whom it contests."""
    world = World()
    world.put(world.token())
    first = await confirmed(world, call())
    second = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert first.verstat is Verstat.PASSED
    assert (second.verstat, second.reason) == (Verstat.NONE, Reason.REPLAYED)
    assert second.contests is not None
    assert second.contests.unique_id == "1.1"


async def test_copies_are_one() -> None:
    """The same PASSporT at two CPSs, or stored twice, is one, and is used once."""
    world = World()
    world.directory.cps = (CPS, "https://second.example")
    token = world.token()
    world.put(token)
    world.put(token)
    assert (await confirmed(world, call())).verstat is Verstat.PASSED
    again = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert again.reason is Reason.REPLAYED


async def test_a_malleable_signature_is_no_second_use() -> None:
    """(r, s) and (r, n - s) are one PASSporT: ECDSA gives them away to anybody."""
    world = World()
    token = world.token()
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = token.signature[:32], int.from_bytes(token.signature[32:], "big")
    twin = r + (order - s).to_bytes(32, "big")
    head = token.token.rpartition(".")[0]
    from pbx_stir.stir.jws import encode_segment

    world.put(token)
    world.put(f"{head}.{encode_segment(twin)}")
    assert (await confirmed(world, call())).verstat is Verstat.PASSED
    again = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert again.reason is Reason.REPLAYED


async def test_twenty_calls_of_one_pair_are_twenty_passed() -> None:
    """Each of twenty calls within one second finds a PASSporT of its own, the oldest first."""
    world = World()
    for number in range(20):
        world.put(world.token(iat=int(NOW) - number % 3, jti=f"j{number}"))
    keys = set()
    for number in range(20):
        outcome = await confirmed(world, call(unique_id=f"u{number}", linked_id=f"l{number}"))
        assert outcome.verstat is Verstat.PASSED
        keys.add(outcome.used_key)
    assert len(keys) == 20


async def test_the_same_call_may_ask_twice() -> None:
    """A second hook of one call gets the same verdict."""
    world = World()
    world.put(world.token())
    await confirmed(world, call())
    assert (await verify(world, call(unique_id="1.2"))).verstat is Verstat.PASSED


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


async def test_x5u_is_fetched_only_for_what_would_pass() -> None:
    """A stranger's x5u tells its owner of the call: it is asked for last, and not in vain."""
    world = World()
    world.put(world.token(dest=[CAROL], x5u="https://a.example/1"), chain=())
    world.put(world.token(orig="12125551235", x5u="https://a.example/2"), chain=())
    world.put(world.token(iat=int(NOW) - 61, x5u="https://a.example/3"), chain=())
    await verify(world)
    assert world.certificates.asked == []
    world.put(world.token(), chain=())
    world.certificates.chains[X5U] = parse_chain(world.company.chain)
    assert (await verify(world)).verstat is Verstat.PASSED
    assert world.certificates.asked == [X5U]


async def test_certificates_inside_are_judged_before_any_fetch() -> None:
    """A PASSporT whose certificates came along passes without its neighbour's x5u being asked."""
    world = World()
    world.put(world.token(iat=int(NOW) - 3, jti="older"), chain=())
    world.put(world.token())
    assert (await verify(world)).verstat is Verstat.PASSED
    assert world.certificates.asked == []


async def test_at_most_two_certificates_are_fetched_for_a_call() -> None:
    """A stranger cannot have us fetch from ten places because he stored ten PASSporTs."""
    world = World()
    for number in range(5):
        world.put(world.token(x5u=f"https://a.example/{number}"), chain=())
    outcome = await verify(world)
    assert len(world.certificates.asked) == 2
    assert outcome.reason is Reason.CERTIFICATE_UNAVAILABLE


async def test_a_chain_that_was_cut_off_is_fetched_whole() -> None:
    """Where the intermediate did not fit inside, x5u has it; where it cannot be had, it is not."""
    middle_key = issuing.new_key()
    middle = issuing.issue_ca(ROOT, ROOT_KEY, middle_key.public_key(), "Middle", NOW, 10)
    company = credential_for(issuer=(middle, middle_key))
    world = World()
    world.put(world.token(company), company, chain=company.chain[:1])
    assert (await verify(world)).reason is Reason.CERTIFICATE_UNTRUSTED
    whole = (*parse_chain(company.chain[:1]), middle)
    world.certificates.chains[X5U] = whole
    assert (await verify(world)).verstat is Verstat.PASSED


def diverted(
    world: World, before: passport.Passport, ppt: str, **changes: object
) -> tuple[passport.Passport, Credential]:
    """Carol, whom the call was for, passes it on to Bob; her credential came along."""
    carol = credential_for(TnAuthList(numbers=(CAROL,)))
    extra: dict[str, object] = {"div": {"tn": CAROL}}
    if ppt == "div-o":
        extra["opt"] = before.token
    return world.token(carol, ppt=ppt, jti="", extra=extra, **changes), carol


async def test_a_diverted_call_shows_the_caller_and_who_passed_it_on() -> None:
    """Alice calls Carol, whose PBX forwards to Bob: a div-o PASSporT holds both statements."""
    world = World()
    token, carol = diverted(world, world.token(dest=[CAROL]), "div-o")
    world.put(token, chain=(*carol.chain, *world.company.chain))
    outcome = await confirmed(world, call())
    assert (outcome.verstat, outcome.orig, outcome.diverted_by) == (Verstat.PASSED, ALICE, CAROL)
    again = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert again.reason is Reason.REPLAYED


async def test_another_div_o_around_the_same_original_is_a_second_use() -> None:
    """Whoever passes calls on cannot call the same number twice with one original."""
    world = World()
    alice = world.token(dest=[CAROL])
    for iat in (0, 1):
        token, carol = diverted(world, alice, "div-o", iat=int(NOW) + iat)
        world.put(token, chain=(*carol.chain, *world.company.chain))
    assert (await confirmed(world, call())).verstat is Verstat.PASSED
    again = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert again.reason is Reason.REPLAYED


async def test_a_diversion_by_somebody_else_does_not_pass() -> None:
    """Who was not called cannot pass the call on, and a forged original does not become true."""
    world = World()
    thief = credential_for(TnAuthList(numbers=("12129990000",)))
    token = world.token(
        thief,
        ppt="div-o",
        jti="",
        extra={"div": {"tn": CAROL}, "opt": world.token(dest=[CAROL]).token},
    )
    world.put(token, chain=(*thief.chain, *world.company.chain))
    assert (await verify(world)).reason is Reason.NUMBER_NOT_COVERED
    world = World()
    token, carol = diverted(world, world.token(thief, dest=[CAROL]), "div-o")
    world.put(token, chain=(*carol.chain, *thief.chain))
    assert (await verify(world)).reason is Reason.NUMBER_NOT_COVERED


async def test_diversions_in_the_identity_headers_of_a_call() -> None:
    """div stands beside the original, in any order; alone it says nothing."""
    world = World()
    original = world.token(dest=[CAROL])
    token, carol = diverted(world, original, "div", x5u="https://certificates.example.com/c.pem")
    world.certificates.chains[X5U] = parse_chain(world.company.chain)
    world.certificates.chains[token.x5u] = parse_chain(carol.chain)
    headers = [passport.identity_header(one) for one in (token, original)]
    outcome = await verify(world, call(identity=tuple(headers)))
    assert (outcome.verstat, outcome.diverted_by) == (Verstat.PASSED, CAROL)
    alone = await verify(World(), call(identity=(headers[0],)))
    assert (alone.verstat, alone.reason) == (Verstat.NONE, Reason.BROKEN_DIVERSION)


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


async def test_passports_made_together_are_of_one_call() -> None:
    """A provider's shaken and its customer's rcd PASSporT are merged, and used up together."""
    provider = credential_for(TnAuthList(spcs=("1234",)))
    world = World()
    world.put(world.token(provider, attest="A", origid="o", jti=""), provider)
    world.put(world.token(ppt="rcd", jti="", extra={"rcd": {"nam": "Alice"}}))
    outcome = await confirmed(world, call())
    assert (outcome.verstat, outcome.name, outcome.attest) == (Verstat.PASSED, "Alice", "A")
    assert len(outcome.also_used) == 1
    for key in outcome.also_used:
        assert outcome.claim is not None
        await world.used.confirm(key, outcome.claim, NOW)
    again = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert again.reason is Reason.REPLAYED


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


async def test_certificates_may_come_in_any_order_and_twice() -> None:
    """The one that signed is found among those that came along."""
    thief = credential_for(TnAuthList(numbers=("12129990000",)))
    for chain in (
        (*thief.chain, *World().company.chain),
        (thief.chain[0], thief.chain[0]),
    ):
        world = World()
        own = world.company.chain
        world.put(world.token(), chain=(*chain, *own, *own))
        assert (await verify(world)).verstat is Verstat.PASSED


async def test_without_the_memory_of_uses_nothing_passes() -> None:
    """Nobody knows whether it was used: fail closed for the verdict, open for the call."""

    class Silent(UsedPassports):
        async def reserve(
            self, key: str, claim: Claim, until: float, now: float, made: float | None = None
        ) -> Reservation:
            raise Unavailable("no answer")

    world = World()
    world.service.used = Silent()
    world.put(world.token())
    outcome = await verify(world)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.INTERNAL_ERROR)


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


async def test_anonymous_calls_are_not_looked_up() -> None:
    """Without a calling number there is nothing to compare, and nothing wrong."""
    world = World()
    world.put(world.token())
    outcome = await verify(world, call(orig="anonymous", restricted=True))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.ANONYMOUS_CALLER)


async def test_an_identity_header_needs_no_cps() -> None:
    """What the call carries itself, and passes, ends the search."""
    world = World()
    world.placement.down = {CPS}
    world.certificates.chains[X5U] = parse_chain(world.company.chain)
    header = passport.identity_header(world.token())
    outcome = await verify(world, call(identity=(header,)))
    assert outcome.verstat is Verstat.PASSED
    assert outcome.rejections == ()


async def test_a_forged_identity_header_fails_the_call() -> None:
    """Only evidence that the call itself carried can speak against it."""
    world = World()
    thief = credential_for(TnAuthList(numbers=("12129990000",)))
    world.certificates.chains[X5U] = parse_chain(thief.chain)
    header = passport.identity_header(world.token(thief))
    outcome = await verify(world, call(identity=(header,)))
    assert (outcome.verstat, outcome.reason) == (Verstat.FAILED, Reason.NUMBER_NOT_COVERED)


async def test_honest_damage_to_an_identity_header_is_no_failure() -> None:
    """Stale, forwarded, foreign or cut off: SBCs and clocks do that to honest calls."""
    world = World()
    world.certificates.chains[X5U] = parse_chain(world.company.chain)
    stale = passport.identity_header(world.token(iat=int(NOW) - 100))
    moved = passport.identity_header(world.token(dest=[CAROL]))
    for header, reason in (
        (stale, Reason.STALE),
        (moved, Reason.DEST_MISMATCH),
        (stale[:100], Reason.MALFORMED),
    ):
        outcome = await verify(world, call(identity=(header,)))
        assert (outcome.verstat, outcome.reason) == (Verstat.NONE, reason)


async def test_what_passes_outranks_a_failed_header() -> None:
    """A genuine PASSporT at the CPS is worth more than a bad header."""
    world = World()
    thief = credential_for(TnAuthList(numbers=("12129990000",)))
    world.certificates.chains[X5U] = parse_chain(thief.chain)
    world.put(world.token())
    header = passport.identity_header(world.token(thief))
    assert (await verify(world, call(identity=(header,)))).verstat is Verstat.PASSED


async def test_several_anchors_of_one_name() -> None:
    """Two roots with one name and different keys do not shadow each other."""
    from pbx_stir.stir.certificate import Anchors

    world = World()
    world.anchors = Anchors.of([OTHER_ROOT, *world.anchors.certificates])
    world.put(world.token())
    assert (await verify(world)).verstat is Verstat.PASSED


async def test_the_work_for_one_call_has_an_end() -> None:
    """When the time is over, what was not judged is counted, and the call goes on."""
    world = World()
    world.put(world.token())
    world.monotonic = 10.0
    outcome = await verify(world)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.OVERLOADED)


async def test_did_aliases_lead_to_the_called_number() -> None:
    """A short DNIS stands for the number that the caller dialled."""
    from dataclasses import replace

    from pbx_stir.services.trunk import Callers
    from tests.services.world import TRUNK

    world = World()
    trunk = replace(TRUNK, aliases={"4210": (BOB, "18005550000")})
    world.service.callers = Callers({"carrier": trunk})
    world.put(world.token())
    assert (await verify(world, call(dest="4210"))).verstat is Verstat.PASSED


async def test_a_called_person_is_compared_as_uri() -> None:
    """A call to a SIP URI without a number passes by dest.uri, on an Identity header of its own."""
    from pbx_stir.stir import jws

    world = World()
    world.certificates.chains[X5U] = parse_chain(world.company.chain)
    claims = {
        "orig": {"tn": ALICE},
        "dest": {"uri": ["sip:bob@example.com"]},
        "iat": int(NOW),
    }
    header = {"alg": "ES256", "typ": "passport", "x5u": X5U}
    token = jws.sign(header, claims, world.company.key)
    value = f"{token};info=<{X5U}>"
    passed = await verify(world, call(dest="sip:bob@Example.com;user=ip", identity=(value,)))
    assert passed.verstat is Verstat.PASSED
    other = await verify(world, call(dest="sip:eve@example.com", identity=(value,)))
    assert other.reason is Reason.DEST_MISMATCH


def test_the_root_is_a_certificate() -> None:
    """The world's authority can be written as an administrator's anchor file."""
    root, _ = issuing.new_root("Root", NOW, 1)
    assert root.public_bytes(Encoding.PEM).startswith(b"-----BEGIN CERTIFICATE")
