"""Family 24, the verifying half: calls that were passed on (RFC 8946)."""

from __future__ import annotations

from typing import Any

import pytest

from pbx_stir.services.call import Reason, Verstat
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.families.hostile import (
    ALICE,
    BOB,
    CAROL,
    DROP,
    FORGE,
    NOW,
    X5U_PROVIDER,
    Court,
    Judging,
    diverted,
    identity,
    shaken,
    token,
)
from tests.services import world
from tests.stir.conftest import Issued

DAVE = "16175554000"
STOPS = tuple(str(13_105_552_000 + at) for at in range(8))


class Road:
    """Who passes calls on: everyone has a certificate for their one number."""

    def __init__(self, court: Court) -> None:
        self.court = court
        self.leaves: dict[str, Issued] = {}

    def leaf(self, owner: str) -> tuple[Any, str]:
        """Their key and x5u."""
        if owner not in self.leaves:
            listed = TnAuthList(numbers=(owner,))
            self.leaves[owner] = FORGE.leaf(self.court.ca, f"Owner {owner}", tn=listed)
            self.court.serve(self._x5u(owner), self.leaves[owner], self.court.ca)
        return self.leaves[owner].key, self._x5u(owner)

    @staticmethod
    def _x5u(owner: str) -> str:
        return f"https://owner{owner}.example.com/a.pem"

    def original(self, to: str = BOB, **changes: Any) -> str:
        """Alice's own."""
        claims = {"dest": {"tn": [to]}} | changes.pop("claims", {})
        return token(self.court.key, claims=claims, **changes)

    def on(self, by: str, to: str, inner: str = "", *, signer: str = "", **changes: Any) -> str:
        """``by`` passes on to ``to``: a div-o around ``inner``, else a div."""
        key, x5u = self.leaf(signer or by)
        header = {"x5u": x5u, **changes.pop("header", {})}
        return diverted(key, by, to, opt=inner, header=header, **changes)

    def nested(self, hops: int, **changes: Any) -> str:
        """A div-o that went through ``hops`` stops."""
        made = self.original(STOPS[0])
        for at in range(hops):
            made = self.on(STOPS[at], STOPS[at + 1], made, **changes)
        return made


@pytest.fixture(scope="module")
def road(court: Court) -> Road:
    """The owners."""
    return Road(court)


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
def test_family_24_diversion_nested_honest(road: Road, judging: Judging, hops: int) -> None:
    """div-o up to five levels, each signed by whoever passed the call on."""
    judging.passes(road.nested(hops), dest=STOPS[hops])


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_family_24_diversion_beside_honest(road: Road, judging: Judging, hops: int) -> None:
    """div beside the original, in any order, as Identity headers come."""
    lines = [road.original(STOPS[0])]
    lines += [road.on(STOPS[at], STOPS[at + 1]) for at in range(hops)]
    judging.passes(*lines, dest=STOPS[hops])
    judging.passes(*reversed(lines), dest=STOPS[hops])


def test_family_24_diversion_shaken_by_a_provider(court: Court, judging: Judging) -> None:
    """A provider's code signs what it attests and that it passed a call on."""
    key, header = court.provider.key, {"x5u": X5U_PROVIDER}
    original = shaken(key, header=header, claims={"attest": "B"})
    made = diverted(key, BOB, CAROL, header=header)  # type: ignore[arg-type]
    found = judging.passes(
        identity(original, X5U_PROVIDER, ppt="shaken"),
        identity(made, X5U_PROVIDER, ppt="div"),
        dest=CAROL,
    )
    assert found.attest == "B"
    inside = diverted(key, BOB, CAROL, opt=original, header=header)  # type: ignore[arg-type]
    assert judging.passes(identity(inside, X5U_PROVIDER, ppt="div-o"), dest=CAROL).attest == "B"


def test_family_24_diversion_broken_links(road: Road, judging: Judging) -> None:
    """Diverted by somebody to whom the call was not sent, or of another caller."""
    original = road.original()
    for made in (
        road.on(CAROL, DAVE, original),
        road.on(DAVE, CAROL, road.on(BOB, CAROL, original)),
        road.on(BOB, CAROL, original, claims={"orig": {"tn": "19995550000"}}),
        road.on(BOB, CAROL, original, claims={"orig": {"uri": "sip:alice@example.com"}}),
        road.on(BOB, CAROL, road.original(claims={"orig": {"tn": "12125551235"}})),
        road.on(BOB, CAROL, road.original(BOB + "0")),
    ):
        judging.refuses("broken-diversion", made, dest=CAROL)
    judging.refuses("broken-diversion", road.on(CAROL, DAVE), original, dest=DAVE)
    judging.refuses("broken-diversion", road.on(BOB, CAROL), dest=CAROL)
    judging.refuses("broken-diversion", road.on(BOB, CAROL, road.on(BOB, CAROL)), dest=CAROL)


def test_family_24_diversion_loops(road: Road, judging: Judging) -> None:
    """Twice through one number, or back to it."""
    original = road.original()
    there = road.on(BOB, CAROL, original)
    back = road.on(CAROL, BOB, there)
    judging.refuses("broken-diversion", back, dest=BOB)
    judging.refuses("broken-diversion", road.on(BOB, DAVE, back), dest=DAVE)
    judging.refuses("broken-diversion", road.on(BOB, BOB, original), dest=BOB)
    lines = (road.original(CAROL), road.on(CAROL, CAROL))
    judging.refuses("broken-diversion", *lines, dest=BOB)
    # a ring beside an honest original takes nothing from it
    judging.passes(original, road.on(BOB, CAROL), road.on(CAROL, BOB), dest=BOB)


@pytest.mark.parametrize("hops", [6, 7])
def test_family_24_diversion_too_deep(road: Road, judging: Judging, hops: int) -> None:
    """France has five; more is nobody's practice."""
    judging.refuses("broken-diversion", road.nested(hops), dest=STOPS[hops])


@pytest.mark.parametrize(
    "claims",
    [
        {"div": DROP}, {"div": BOB}, {"div": [BOB]}, {"div": {}}, {"div": {"tn": [BOB]}},
        {"div": {"tn": ""}}, {"div": {"tn": "x"}}, {"div": {"uri": "sip:bob@example.com"}},
        {"div": {"tn": BOB, "uri": "sip:b@example.com"}}, {"div": {"tn": None}},
        {"opt": DROP}, {"opt": None}, {"opt": 7}, {"opt": {}}, {"opt": "x"}, {"opt": "a.b.c"},
        {"opt": []},
    ],
)  # fmt: skip
def test_family_24_diversion_malformed(
    road: Road, judging: Judging, claims: dict[str, object]
) -> None:
    """div names one number, opt holds a PASSporT."""
    judging.refuses("malformed", road.on(BOB, CAROL, road.original(), claims=claims), dest=CAROL)


def test_family_24_diversion_signed_by_nobody_of_the_number(road: Road, judging: Judging) -> None:
    """Whoever passes a call on signs for his own number, and the caller for hers."""
    original = road.original()
    made = road.on(BOB, CAROL, original, signer=DAVE)
    judging.refuses("number-not-covered", made, dest=CAROL)
    key, x5u = road.leaf(BOB)
    forged = road.on(BOB, CAROL, original, key=FORGE.key())
    judging.refuses("bad-signature", forged, dest=CAROL)
    # the inner one counts as the outer one does
    inner = token(road.court.key, key=key)
    judging.refuses("bad-signature", road.on(BOB, CAROL, inner), dest=CAROL)
    inner = token(key, header={"x5u": x5u})
    judging.refuses("number-not-covered", road.on(BOB, CAROL, inner), dest=CAROL)
    inner = token(road.court.key, header={"ppt": "rph"})
    judging.refuses("unsupported-ppt", road.on(BOB, CAROL, inner), dest=CAROL)
    judging.refuses("dest-mismatch", road.on(BOB, CAROL, original), dest=DAVE)
    judging.refuses("dest-mismatch", road.on(BOB, CAROL, original), dest=BOB)
    judging.refuses("orig-mismatch", road.on(BOB, CAROL, original), dest=CAROL, orig=BOB)


@pytest.mark.parametrize(
    ("original", "passed_on", "reason"),
    [
        (0, 0, ""),
        (-60, 0, ""),
        (-90, -45, ""),
        (-120, -60, ""),
        (3, 0, ""),
        (5, 5, ""),
        (-61, 0, "broken-diversion"),
        (6, 0, "broken-diversion"),
        (-3_600, 0, "broken-diversion"),
        (-61, -61, "stale"),
        (6, 6, "future-iat"),
    ],
)
def test_family_24_diversion_time(
    road: Road, judging: Judging, original: int, passed_on: int, reason: str
) -> None:
    """The last is fresh now, each other when the next was made: a phone may ring for a minute."""
    inner = road.original(claims={"iat": NOW + original})
    made = road.on(BOB, CAROL, inner, claims={"iat": NOW + passed_on})
    if reason:
        judging.refuses(reason, made, dest=CAROL)
    else:
        judging.passes(made, dest=CAROL)


def test_family_24_diversion_strangers_beside_it(road: Road, judging: Judging) -> None:
    """What anybody put beside an honest chain, unsigned or leading on, takes nothing from it."""
    honest = [road.original(), road.on(BOB, CAROL)]
    for garbage in (
        road.on(CAROL, DAVE, key=FORGE.key()),
        road.on(BOB, CAROL, key=FORGE.key(), claims={"x": 1}),
        road.on(BOB, DAVE),
        road.original(claims={"x": 1}, key=FORGE.key()),
        road.on(DAVE, BOB),
    ):
        for lines in ([garbage, *honest], [*honest, garbage]):
            judging.passes(*lines, dest=CAROL)


async def test_family_24_diversion_replayed_around_one_original() -> None:
    """Many div-o around one original, to one number, are one use of it."""
    bob = world.World()
    listed = TnAuthList(numbers=(world.ALICE, CAROL))
    carol = world.credential_for(listed)
    original = world.World.token(bob, dest=[CAROL])
    outcomes = []
    for at in range(3):
        made = bob.token(
            carol, ppt="div-o", jti=str(at), extra={"div": {"tn": CAROL}, "opt": original.token}
        )
        bob.placement.held.clear()
        chain = [*carol.chain, *bob.company.chain]
        bob.put(made, chain=chain)
        call = world.call(unique_id=str(at), linked_id=str(at))
        outcomes.append(await bob.service.verify(call, str(at), world.NOW, 2.0))
    assert [one.verstat for one in outcomes] == [Verstat.PASSED, Verstat.NONE, Verstat.NONE]
    assert [one.reason for one in outcomes[1:]] == [Reason.REPLAYED, Reason.REPLAYED]
    assert outcomes[0].diverted_by == CAROL
    assert outcomes[0].orig == ALICE
