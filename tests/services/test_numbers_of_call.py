"""The numbers of a call that a PASSporT must be about, as the verification service takes them."""

from __future__ import annotations

from pbx_stir.services.call import Reason, Verstat
from pbx_stir.stir.certificate import parse_chain
from tests.services.verifying import verify
from tests.services.world import ALICE, BOB, NOW, X5U, World, call


async def test_anonymous_calls_are_not_looked_up() -> None:
    """Without a calling number there is nothing to compare, and nothing wrong."""
    world = World()
    world.put(world.token())
    outcome = await verify(world, call(orig="anonymous", restricted=True))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.ANONYMOUS_CALLER)


async def test_a_caller_who_may_change_his_number_is_not_verified() -> None:
    """Whatever he has signed: the verdict would stand beside any number that he says later."""
    world = World()
    world.put(world.token())
    outcome = await verify(world, call(caller_id_fixed=False))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.CALLER_ID_NOT_FIXED)
    # and his PASSporT has not been used up
    assert (await verify(world, call())).verstat is Verstat.PASSED


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
