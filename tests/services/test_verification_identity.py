"""The verification service on Identity headers that the call itself carries (RFC 8224)."""

from __future__ import annotations

from pbx_stir.services.call import Reason, Verstat
from pbx_stir.stir import passport
from pbx_stir.stir.certificate import parse_chain
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.verifying import CAROL, verify
from tests.services.world import CPS, NOW, X5U, World, call, credential_for


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
