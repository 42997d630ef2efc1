"""Calls that the small world verifies, and calls that Carol passes on."""

from __future__ import annotations

from pbx_stir.services.call import Call, Outcome
from pbx_stir.stir import passport
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.world import NOW, World, call, credential_for

CAROL = "13105552001"


async def verify(world: World, one: Call | None = None, now: float = NOW) -> Outcome:
    """Verify a call, from Alice to Bob where none is given, with time enough."""
    one = one or call()
    return await world.service.verify(one, f"id-{one.unique_id}", now, 10.0)


async def confirmed(world: World, one: Call) -> Outcome:
    """Verify as reception does: a verdict that passed is taken by the PBX."""
    outcome = await verify(world, one)
    if outcome.claim is not None:
        await world.used.confirm(outcome.used_key, outcome.claim, NOW)
    return outcome


def diverted(
    world: World, before: passport.Passport, ppt: str, **changes: object
) -> tuple[passport.Passport, Credential]:
    """Carol, whom the call was for, passes it on to Bob; her credential came along."""
    carol = credential_for(TnAuthList(numbers=(CAROL,)))
    extra: dict[str, object] = {"div": {"tn": CAROL}}
    if ppt == "div-o":
        extra["opt"] = before.token
    return world.token(carol, ppt=ppt, jti="", extra=extra, **changes), carol
