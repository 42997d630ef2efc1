"""The verification service on calls that were passed on (RFC 8946)."""

from __future__ import annotations

from pbx_stir.services.call import Reason, Verstat
from pbx_stir.stir import passport
from pbx_stir.stir.certificate import parse_chain
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.verifying import CAROL, confirmed, diverted, verify
from tests.services.world import ALICE, NOW, X5U, World, call, credential_for


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
