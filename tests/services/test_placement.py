"""Gateways: PASSporTs that came with a call and go on with it, unchanged."""

from __future__ import annotations

import pytest

from pbx_stir.services.call import Direction, Mode, Outcome, Reason, Status, Verstat
from pbx_stir.stir import passport
from pbx_stir.stir.passport import Passport
from tests.services.networks import Exchange, Pbx, one_number
from tests.services.world import ALICE, BOB, NOW, SPC, X5U, call, credential_for

CAROL = "14155553000"


class Scene:
    """Alice, Bob, and a gateway between them that has neither's credential."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.company = credential_for(one_number(ALICE))
        self.alice = Pbx(self.exchange, [ALICE], self.company)
        self.bob = Pbx(self.exchange, [BOB], credential_for(one_number(BOB)))
        self.gateway = Pbx(self.exchange, [])

    def token(self, **changes: object) -> Passport:
        """Alice's PASSporT for a call to Bob."""
        fields: dict[str, object] = {
            "orig": ALICE,
            "dest": [BOB],
            "iat": int(NOW),
            "x5u": self.company.x5u,
            "key": self.company.key,
            "jti": "j",
        }
        return passport.sign(**(fields | changes))  # type: ignore[arg-type]

    async def through(self, *tokens: Passport, now: float = NOW, **changes: object) -> Outcome:
        """A call with these Identity headers comes to the gateway and leaves by numbers only."""
        values = tuple(passport.identity_header(one) for one in tokens)
        one, _ = await self.gateway.comes_in(now, identity=values, trunk="sip")
        return await self.gateway.leaves(one, BOB, now, **changes)

    def trust_at_gateway(self) -> None:
        """The gateway can get at Alice's certificate."""
        self.exchange.certificates.chains[X5U] = (self.company.certificate,)


async def test_what_came_in_band_is_placed_unchanged() -> None:
    """Bob opens the very PASSporT that Alice's SIP call had, and verifies it without a fetch."""
    scene = Scene()
    scene.trust_at_gateway()
    token = scene.token()
    said = await scene.through(token)
    assert (said.status, said.reason, said.signer) == (Status.STORED, Reason.PASSED_ON, "")
    ((placed, chain),) = scene.bob.opened(BOB)
    assert placed.token == token.token
    assert chain == scene.company.chain
    scene.exchange.certificates.chains.clear()
    _, verdict = await scene.bob.comes_in()
    assert (verdict.verstat, verdict.orig) == (Verstat.PASSED, ALICE)


async def test_a_gateway_need_not_know_the_signer() -> None:
    """A certificate that the gateway cannot have is for the called party to find: it is placed."""
    scene = Scene()
    token = scene.token()
    assert (await scene.through(token)).reason is Reason.PASSED_ON
    assert scene.bob.opened(BOB) == [(token, ())]


async def test_all_of_a_call_are_placed() -> None:
    """A user's and a provider's PASSporT of one call: each is stored, each once."""
    scene = Scene()
    provider = credential_for(SPC)
    tokens = [
        scene.token(),
        scene.token(key=provider.key, attest="A", origid="o", jti=""),
    ]
    await scene.through(*tokens, tokens[0])
    assert {token for token, _ in scene.bob.opened(BOB)} == set(tokens)
    assert len(scene.bob.opened(BOB)) == 2


NOT_PLACED: dict[str, dict[str, object]] = {
    "an old one": {"iat": int(NOW) - 61},
    "one of tomorrow": {"iat": int(NOW) + 6},
    "another call's": {"dest": [CAROL]},
    "another caller's": {"orig": CAROL},
}


@pytest.mark.parametrize("name", NOT_PLACED)
async def test_what_is_not_of_this_call_and_of_now_is_not_placed(name: str) -> None:
    """Nothing stale, and nothing that was made for another call, gets to a CPS by us."""
    scene = Scene()
    said = await scene.through(scene.token(**NOT_PLACED[name]))
    assert said.status is Status.SKIPPED
    assert scene.exchange.placement.held == {}


async def test_what_is_known_to_be_false_is_not_placed() -> None:
    """A header whose signature the gateway has seen not to hold goes no further."""
    scene = Scene()
    scene.trust_at_gateway()
    said = await scene.through(scene.token(key=credential_for().key))
    assert said.status is Status.SKIPPED
    assert scene.exchange.placement.held == {}


async def test_a_second_call_with_the_same_header_places_nothing() -> None:
    """Whoever copies a SIP call's header gets nothing placed by it."""
    scene = Scene()
    scene.trust_at_gateway()
    token = scene.token()
    await scene.through(token)
    assert (await scene.through(token)).status is Status.SKIPPED
    assert len(scene.bob.opened(BOB)) == 1


async def test_what_is_there_already_is_not_placed_again() -> None:
    """RFC 8816 section 5.4: of a number that the gateway serves it looks first, as its holder."""
    scene = Scene()
    gateway = Pbx(scene.exchange, [], holds=[BOB])
    await scene.alice.calls(ALICE, BOB)
    token = scene.token(jti="by SIP")
    ((stored, _),) = gateway.opened(BOB)
    for one, status, entries in ((stored, Status.SKIPPED, 1), (token, Status.STORED, 2)):
        values = (passport.identity_header(one),)
        leg, _ = await gateway.comes_in(identity=values, trunk="sip")
        said = await gateway.leaves(leg, BOB)
        assert (said.status, said.reason) == (status, Reason.PASSED_ON)
        assert len(scene.exchange.placement.held[BOB]) == entries


async def test_a_cps_that_does_not_answer_keeps_nothing_from_being_placed() -> None:
    """What cannot be looked up is stored: a receiver takes copies for one."""
    scene = Scene()
    scene.exchange.placement.mute = True
    gateway = Pbx(scene.exchange, [], holds=[BOB])
    values = (passport.identity_header(scene.token()),)
    leg, _ = await gateway.comes_in(identity=values, trunk="sip")
    assert (await gateway.leaves(leg, BOB)).status is Status.STORED


async def test_a_call_that_turned_stale_is_not_placed() -> None:
    """What rang for a minute at the gateway is not stored any more."""
    scene = Scene()
    values = (passport.identity_header(scene.token()),)
    one, _ = await scene.gateway.comes_in(identity=values)
    said = await scene.gateway.leaves(one, BOB, NOW + 61)
    assert said.status is Status.SKIPPED


async def test_many_and_broken_headers_cost_nothing() -> None:
    """Compact forms, other schemes and noise beside a good one: the good one is placed."""
    scene = Scene()
    token = scene.token()
    noise = (
        "..abc;info=<https://a.example/a>",
        "x" * 5000,
        "a;b=c",
        passport.identity_header(token),
    )
    one, _ = await scene.gateway.comes_in(identity=noise)
    assert (await scene.gateway.leaves(one, BOB)).reason is Reason.PASSED_ON
    assert [one for one, _ in scene.bob.opened(BOB)] == [token]


async def test_the_way_back_into_sip() -> None:
    """What lay at the CPS and opens goes into the SIP call, unchanged and in full form."""
    scene = Scene()
    await scene.alice.calls(ALICE, BOB)
    ((token, _),) = scene.bob.opened(BOB)
    one, verdict = await scene.bob.comes_in()
    assert verdict.verstat is Verstat.PASSED
    said = await scene.bob.leaves(one, BOB, trunk="sip")
    assert (said.status, said.reason) == (Status.IN_BAND, Reason.PASSED_ON)
    assert said.identity == (passport.identity_header(token),)
    assert len(scene.exchange.placement.held[BOB]) == 1


async def test_a_call_without_passport_gets_no_header() -> None:
    """Nothing came along, so nothing goes on: as for every call that comes in."""
    scene = Scene()
    one, _ = await scene.bob.comes_in()
    said = await scene.bob.leaves(one, BOB, trunk="sip")
    assert (said.status, said.identity) == (Status.SKIPPED, ())


async def test_what_lies_at_the_cps_already_is_not_stored_again() -> None:
    """In and out by numbers, for the same number: the called party finds what its caller stored."""
    scene = Scene()
    await scene.alice.calls(ALICE, BOB)
    one, _ = await scene.bob.comes_in()
    said = await scene.bob.leaves(one, BOB)
    assert (said.status, said.reason) == (Status.SKIPPED, Reason.PASSED_ON)
    assert len(scene.exchange.placement.held[BOB]) == 1


async def test_a_header_that_no_pbx_can_be_given_is_left_out() -> None:
    """A stranger's URL with what a dialplan might expand goes into no header of ours."""
    scene = Scene()
    said = await scene.through(scene.token(x5u="https://a.example/${HOME}"), trunk="sip")
    assert (said.status, said.reason, said.identity) == (Status.SKIPPED, Reason.PASSED_ON, ())
    assert "no Identity header" in said.detail


async def test_sip_to_sip_keeps_its_header() -> None:
    """A PBX between two SIP trunks drops Identity headers: they are given back."""
    scene = Scene()
    token = scene.token()
    said = await scene.through(token, trunk="sip")
    assert said.identity == (passport.identity_header(token),)
    assert scene.exchange.placement.held == {}


async def test_our_own_call_is_stored_and_carried() -> None:
    """RFC 8816 section 5.1: by a SIP trunk the same PASSporT goes both ways."""
    scene = Scene()
    said = await scene.alice.calls(ALICE, BOB, trunk="sip")
    ((token, _),) = scene.bob.opened(BOB)
    assert (said.status, said.reason) == (Status.STORED, Reason.STORED)
    assert said.identity == (passport.identity_header(token),)


async def test_a_watched_call_is_given_nothing_to_carry() -> None:
    """In monitor nothing is set on the call, so the log does not say that it carries anything."""
    scene = Scene()
    one = call(Direction.OUTBOUND, orig=ALICE, dest=CAROL, trunk="sip", mode=Mode.MONITOR)
    said = await scene.alice.authentication.authenticate(one, NOW, 10.0)
    assert (said.status, said.reason, said.identity) == (Status.SKIPPED, Reason.NO_CPS, ())


async def test_our_own_call_is_carried_where_nobody_takes_stores() -> None:
    """No CPS for the called number: the SIP call has its signature all the same."""
    scene = Scene()
    said = await scene.alice.calls(ALICE, CAROL, trunk="sip")
    assert (said.status, said.reason, said.attest) == (Status.IN_BAND, Reason.IN_BAND, "")
    assert len(said.identity) == 1
    assert [one.reason for one in said.rejections] == [Reason.NO_CPS]
    said = await scene.alice.calls(ALICE, CAROL)
    assert (said.status, said.reason, said.identity) == (Status.SKIPPED, Reason.NO_CPS, ())
