"""PASSporTs that are not sealed, both ways (RFC 9888): only where the configuration says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from pbx_stir.services.authentication import AuthenticationService, Destination, NeverSigned
from pbx_stir.services.call import Direction, Outcome, Reason, Status, Verstat
from pbx_stir.services.placement_service import Answer, BareAnswer, StoreResult
from pbx_stir.stir import passport, sealing
from tests.services.world import (
    ALICE,
    BOB,
    CALLERS,
    CPS,
    NOW,
    FakePlacement,
    World,
    call,
    credential_for,
)

BARE = "https://bare.example.net"


class FakeBare:
    """A CPS of bare PASSporTs, in a list."""

    def __init__(self, reason: Reason = Reason.STORED) -> None:
        self.reason = reason
        self.stored: list[tuple[str, str, str]] = []

    async def store_bare(
        self, cps: Sequence[str], number: str, token: str, give_up_at: float
    ) -> Sequence[StoreResult]:
        self.stored += [(one, number, token) for one in cps]
        return [StoreResult(one, self.reason) for one in cps]


class Where:
    """A directory that says one thing."""

    def __init__(self, destination: Destination) -> None:
        self.said = destination

    async def destination(self, number: str, give_up_at: float) -> Destination:
        return self.said


async def sign(destination: Destination, bare: FakeBare | None) -> tuple[Outcome, FakePlacement]:
    """One call of Alice's to Bob."""
    placement = FakePlacement()
    service = AuthenticationService(
        callers=CALLERS,
        credentials=(credential_for(),),
        directory=Where(destination),
        placement=placement,
        never=NeverSigned(),
        new_uuid=lambda: "u",
        bare=bare,
    )
    outcome = await service.authenticate(call(Direction.OUTBOUND), NOW, 10.0)
    return outcome, placement


async def test_a_bare_destination_gets_the_full_form() -> None:
    """Where the directory says unsealed the token itself is stored, and no key is needed."""
    bare = FakeBare()
    outcome, placement = await sign(Destination((BARE,), sealed=False), bare)
    assert (outcome.status, outcome.reason) == (Status.STORED, Reason.STORED)
    ((cps, number, token),) = bare.stored
    assert (cps, number, placement.stored) == (BARE, BOB, [])
    parsed = passport.parse(token)
    assert (parsed.orig, parsed.dest, parsed.x5u) == (
        ALICE,
        (BOB,),
        "https://certificates.example.com/a.pem",
    )


async def test_what_the_cps_says_is_the_outcome() -> None:
    """A refused submission is an error, as a refused store is."""
    outcome, _ = await sign(Destination((BARE,), sealed=False), FakeBare(Reason.CPS_REFUSED))
    assert (outcome.status, outcome.reason) == (Status.ERROR, Reason.CPS_REFUSED)


async def test_a_missing_key_never_downgrades() -> None:
    """Without a key nothing is stored unsealed, although it could be."""
    bare = FakeBare()
    outcome, _ = await sign(Destination((CPS,), reason=Reason.NO_KEY), bare)
    assert (outcome.reason, bare.stored) == (Reason.NO_KEY, [])
    outcome, placement = await sign(Destination((CPS,), ()), bare)
    assert (bare.stored, placement.stored) == ([], [])


async def test_without_a_bare_client_nothing_is_stored() -> None:
    """A service that was built without one says no key."""
    outcome, placement = await sign(Destination((BARE,), sealed=False), None)
    assert (outcome.reason, placement.stored) == (Reason.NO_KEY, [])


def test_keys_and_unsealed_exclude_each_other() -> None:
    """No value can mean both."""
    key = sealing.public_octets(sealing.new_private_key())
    with pytest.raises(ValueError):
        Destination((BARE,), (key,), sealed=False)


class Bare:
    """Gives these answers."""

    def __init__(self, *answers: Answer | BareAnswer) -> None:
        self.answers = answers

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer | BareAnswer, None]:
        for answer in self.answers:
            yield answer


async def verify(world: World, *answers: Answer | BareAnswer, **changes: object) -> Outcome:
    """One call of Alice's to Bob, for whom the CPSs answer so."""
    world.service.placement = Bare(*answers)
    return await world.service.verify(call(**changes), "c1", NOW, 10.0)


async def test_a_bare_passport_is_judged_like_an_opened_one() -> None:
    """Its certificate comes by x5u, and once it has passed it has been used."""
    world = World()
    world.certificates.chains[world.company.x5u] = (world.company.certificate,)
    answer = BareAnswer(CPS, BOB, (world.token().token,))
    first = await verify(world, answer)
    assert (first.verstat, first.reason) == (Verstat.PASSED, Reason.VERIFIED)
    second = await verify(world, answer, unique_id="2.2", linked_id="2.2")
    assert (second.verstat, second.reason) == (Verstat.NONE, Reason.REPLAYED)


WRONG = {
    "to another number": ({"dest": ["13105552001"]}, Reason.DEST_MISMATCH),
    "from another number": ({"orig": "12125551235"}, Reason.ORIG_MISMATCH),
    "stale": ({"iat": int(NOW) - 61}, Reason.STALE),
    "of the future": ({"iat": int(NOW) + 6}, Reason.FUTURE_IAT),
}


@pytest.mark.parametrize("name", WRONG)
async def test_every_step_is_carried_out(name: str) -> None:
    """A bare CPS vouches for nothing: dest, orig and iat are compared as ever."""
    changes, reason = WRONG[name]
    world = World()
    world.certificates.chains[world.company.x5u] = (world.company.certificate,)
    outcome = await verify(world, BareAnswer(CPS, BOB, (world.token(**changes).token,)))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, reason)
    assert world.certificates.asked == []


async def test_its_signer_must_cover_the_caller() -> None:
    """A stranger's certificate does not pass, and gives no Failed either: anyone may submit."""
    world = World()
    other = credential_for(replace(world.company.tn_auth_list, ranges=(("13105552000", 10),)))
    world.certificates.chains[other.x5u] = (other.certificate,)
    outcome = await verify(world, BareAnswer(CPS, BOB, (world.token(other).token,)))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.NUMBER_NOT_COVERED)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "{}", "\ufffd" * 40, "A" * 20_000])
async def test_what_is_no_passport_is_malformed(text: str) -> None:
    """Whatever else a bare CPS returns is said to be malformed, and harms nothing."""
    world = World()
    world.certificates.chains[world.company.x5u] = (world.company.certificate,)
    outcome = await verify(world, BareAnswer(CPS, BOB, (text,)))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.MALFORMED)
    outcome = await verify(world, BareAnswer(CPS, BOB, (text, world.token().token)))
    assert outcome.verstat is Verstat.PASSED


async def test_sealed_octets_from_a_bare_cps_are_malformed() -> None:
    """What is sealed to us is not opened where nothing sealed belongs."""
    world = World()
    blob = sealing.seal(world.token().token, world.company.chain, world.public, BOB)
    text = sealing.to_wire(blob).decode("ascii")
    outcome = await verify(world, BareAnswer(CPS, BOB, (text,)))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.MALFORMED)


async def test_a_bare_passport_from_a_sealed_cps_does_not_pass() -> None:
    """Where sealed ones belong an unsealed one is as foreign as any octets."""
    world = World()
    world.certificates.chains[world.company.x5u] = (world.company.certificate,)
    outcome = await verify(world, Answer(CPS, BOB, (world.token().token.encode(),)))
    assert outcome.verstat is Verstat.NONE


async def test_one_passport_by_both_ways_is_one() -> None:
    """The same token sealed and bare is used once."""
    world = World()
    world.certificates.chains[world.company.x5u] = (world.company.certificate,)
    token = world.token().token
    blob = sealing.seal(token, world.company.chain, world.public, BOB)
    first = await verify(world, Answer(CPS, BOB, (blob,)), BareAnswer(BARE, BOB, (token,)))
    assert first.verstat is Verstat.PASSED
    second = await verify(world, BareAnswer(BARE, BOB, (token,)), unique_id="2.2", linked_id="2.2")
    assert second.reason is Reason.REPLAYED


async def test_a_bare_cps_that_fails_is_a_cps_that_fails() -> None:
    """Nothing there is no news; no answer is."""
    world = World()
    down = BareAnswer(BARE, BOB, reason=Reason.CPS_UNAVAILABLE, detail="down")
    assert (await verify(world, down)).reason is Reason.CPS_UNAVAILABLE
    assert (await verify(world, BareAnswer(BARE, BOB))).reason is Reason.NO_PASSPORT
