"""A number's CPSs where no route names them: advertisements first, then ENUM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pbx_stir.directory.resolver import REFRESH_SECONDS, Resolver
from pbx_stir.directory.routes import Route
from pbx_stir.errors import PbxStirError, Unavailable
from pbx_stir.services.call import Reason
from tests.directory.resolving import NUMBER, ONE, TWO, Clock, Cps, Make, ask


class Elsewhere:
    """What an advertisement and ENUM say of every number, and how often ENUM was asked."""

    def __init__(self, *advertised: str, enum: Sequence[str] | PbxStirError = ()) -> None:
        self.advertised = advertised
        self.enum = enum
        self.asked = 0

    def cps(self, number: str) -> tuple[str, ...]:
        """The advertisement."""
        return self.advertised


class Dns:
    """ENUM's side of it."""

    def __init__(self, of: Elsewhere) -> None:
        self._of = of

    async def cps(self, number: str, give_up_at: float) -> tuple[str, ...]:
        """Answer, or fail."""
        self._of.asked += 1
        if isinstance(self._of.enum, PbxStirError):
            raise self._of.enum
        return tuple(self._of.enum)


def with_elsewhere(make: Make, elsewhere: Elsewhere, *routes: Route) -> Resolver:
    """A resolver that has both besides its routes."""
    resolver = make(*(routes or (Route("44", (ONE,)),)))
    resolver._advertised = elsewhere
    resolver._enum = Dns(elsewhere)
    return resolver


async def test_an_advertisement_names_the_cps_where_no_route_does(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """RFC 9888 section 4; the keys are in the records of the CPS that it names."""
    key = new_key()
    cps.tokens[TWO] = (lab.record(alice, key),)
    elsewhere = Elsewhere(TWO, enum=(ONE,))
    found = await ask(with_elsewhere(make, elsewhere), clock)
    assert (found.cps, found.keys, found.sealed, elsewhere.asked) == ((TWO,), (key,), True, 0)
    assert cps.asked == [(TWO, NUMBER)]


async def test_a_route_comes_before_advertisements(make: Make, clock: Clock, cps: Cps) -> None:
    """What the administrator says counts, even where it leads to no key."""
    elsewhere = Elsewhere(TWO, enum=(TWO,))
    found = await ask(with_elsewhere(make, elsewhere, Route("1212", (ONE,))), clock)
    assert (found.cps, found.reason, elsewhere.asked) == ((ONE,), Reason.NO_KEY, 0)


async def test_enum_is_asked_last(make: Make, clock: Clock, cps: Cps) -> None:
    """Where neither routes nor advertisements name a CPS, DNS may."""
    found = await ask(with_elsewhere(make, Elsewhere(enum=(TWO,))), clock)
    assert (found.cps, found.reason, found.sealed) == ((TWO,), Reason.NO_KEY, True)
    found = await ask(with_elsewhere(make, Elsewhere()), clock)
    assert found.reason is Reason.NO_CPS


async def test_a_failing_enum_is_said(make: Make, clock: Clock, cps: Cps) -> None:
    """A name server that is down is no proof that there is no CPS."""
    found = await ask(with_elsewhere(make, Elsewhere(enum=Unavailable("dns is down"))), clock)
    assert (found.reason, found.detail) == (Reason.CPS_UNAVAILABLE, "dns is down")


async def test_what_was_advertised_is_refreshed_where_it_is_advertised_now(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """A provider that moves to another CPS is followed without a call."""
    cps.tokens[ONE] = cps.tokens[TWO] = (lab.record(alice, new_key()),)
    elsewhere = Elsewhere(ONE)
    resolver = with_elsewhere(make, elsewhere)
    await ask(resolver, clock)
    elsewhere.advertised = (TWO,)
    clock.passed += REFRESH_SECONDS
    assert await resolver.refresh_due() == 1
    assert cps.asked == [(ONE, NUMBER), (TWO, NUMBER)]
    elsewhere.advertised, elsewhere.enum = (), Unavailable("dns is down")
    clock.passed += REFRESH_SECONDS
    await resolver.refresh_due()
    assert len(cps.asked) == 2
