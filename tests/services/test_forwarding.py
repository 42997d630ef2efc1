"""Forwarding: who may say that a call is passed on, and what the far end makes of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pbx_stir.services.call import Outcome, Reason, Status, Verstat
from pbx_stir.stir import diversion, passport, sealing
from pbx_stir.stir.passport import Passport
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.networks import Exchange, Pbx, one_number
from tests.services.world import ALICE, BOB, NOW, credential_for

CAROL, DAVE, ERIN = "14155553000", "16465554000", "18175555000"


class Scene:
    """Alice, Bob, Carol, Dave and Erin, each with a PBX, a number and a credential."""

    def __init__(self, *, others: int = 0) -> None:
        """Each certificate lists so many ``others``, which makes it as long as real ones are."""
        self.exchange = Exchange()
        more = tuple(f"1212555{n:04d}" for n in range(others))
        self.credentials = {
            number: credential_for(TnAuthList(numbers=(number, *more)))
            for number in (ALICE, BOB, CAROL, DAVE, ERIN)
        }
        self.pbx = {
            number: Pbx(self.exchange, [number], credential)
            for number, credential in self.credentials.items()
        }

    async def forwarded(
        self, *way: str, now: float = NOW, seconds: float = 1.0
    ) -> tuple[Outcome, Outcome]:
        """Alice calls the first of ``way``, and each passes it on to the next, ``seconds`` later.

        What the last but one said, and what the last one found.
        """
        await self.pbx[ALICE].calls(ALICE, way[0], now)
        said = verdict = None
        for number, target in itertools.pairwise(way):
            one, _ = await self.pbx[number].comes_in(now, dest=number)
            now += seconds
            said = await self.pbx[number].leaves(one, target, now)
        one, verdict = await self.pbx[way[-1]].comes_in(now, dest=way[-1])
        assert said is not None
        return said, verdict


async def test_a_verified_call_that_is_passed_on_verifies_at_its_new_target() -> None:
    """Carol sees Alice's number as verified, and that Bob has passed the call on."""
    scene = Scene()
    said, verdict = await scene.forwarded(BOB, CAROL)
    assert (said.status, said.reason) == (Status.STORED, Reason.FORWARDED)
    assert (said.orig, said.dest, said.diverted_by) == (ALICE, CAROL, BOB)
    assert (verdict.verstat, verdict.reason) == (Verstat.PASSED, Reason.VERIFIED)
    assert (verdict.orig, verdict.dest, verdict.diverted_by) == (ALICE, CAROL, BOB)


async def test_what_is_stored_is_a_div_o_around_the_callers_own_words() -> None:
    """RFC 8946: div is who was called, dest the new target, orig the caller's, opt the original."""
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    (original, _), *_ = scene.pbx[BOB].opened(BOB)
    one, _ = await scene.pbx[BOB].comes_in()
    await scene.pbx[BOB].leaves(one, CAROL, NOW + 7)
    ((token, chain),) = scene.pbx[CAROL].opened(CAROL)
    assert (token.ppt, token.orig, token.dest) == ("div-o", ALICE, (CAROL,))
    assert (token.iat, token.claims["div"]) == (int(NOW) + 7, {"tn": BOB})
    assert token.claims["opt"] == original.token
    own, callers = scene.credentials[BOB].chain, scene.credentials[ALICE].chain
    assert chain == (*own, *callers)


async def test_two_forwards_fit_with_all_certificates() -> None:
    """Two div-o around one original carry what three signers need: nothing is fetched."""
    scene = Scene(others=15)
    said, verdict = await scene.forwarded(BOB, CAROL, DAVE)
    assert said.reason is Reason.FORWARDED
    assert (verdict.verstat, verdict.diverted_by) == (Verstat.PASSED, CAROL)
    assert len(scene.pbx[DAVE].opened(DAVE)[0][1]) == 3
    assert scene.exchange.certificates.asked == []


async def test_a_third_forward_verifies_where_its_signers_are_known() -> None:
    """What did not fit beside three div-o is looked up by x5u; unknown, the call is unsigned."""
    scene = Scene(others=15)
    said, verdict = await scene.forwarded(BOB, CAROL, DAVE, ERIN)
    assert said.reason is Reason.FORWARDED
    assert len(scene.pbx[ERIN].opened(ERIN)[0][1]) < 4
    assert (verdict.verstat, verdict.reason) == (Verstat.NONE, Reason.CERTIFICATE_UNAVAILABLE)
    known = Scene(others=15)
    urls = {}
    for number, credential in known.credentials.items():
        urls[number] = f"https://certificates.example.com/{number}.pem"
        known.exchange.certificates.chains[urls[number]] = (credential.certificate,)
        known.pbx[number].authentication._credentials = (replace(credential, x5u=urls[number]),)
    _, verdict = await known.forwarded(BOB, CAROL, DAVE, ERIN)
    assert (verdict.verstat, verdict.diverted_by) == (Verstat.PASSED, DAVE)


async def test_what_does_not_fit_is_too_large() -> None:
    """A PASSporT that leaves no room for another one around it: the call goes on, unsigned."""
    scene = Scene()
    company = scene.credentials[ALICE]
    long = passport.sign(
        orig=ALICE,
        dest=[BOB],
        iat=int(NOW),
        x5u=company.x5u,
        key=company.key,
        extra={"note": "x" * 2200},
    )
    _put(scene, long)
    one, verdict = await scene.pbx[BOB].comes_in()
    assert verdict.verstat is Verstat.PASSED
    said = await scene.pbx[BOB].leaves(one, CAROL)
    assert (said.status, said.reason) == (Status.ERROR, Reason.TOO_LARGE)
    assert CAROL not in scene.exchange.placement.held


def _put(scene: Scene, token: Passport, number: str = BOB) -> None:
    key = scene.exchange.directory.keys[number][0]
    blob = sealing.seal(token.token, scene.credentials[ALICE].chain, key, number)
    scene.exchange.placement.held.setdefault(number, []).append(blob)


async def test_a_ring_ends() -> None:
    """Bob to Carol and back to Bob: the second forward is refused before anything is signed."""
    scene = Scene()
    said, verdict = await scene.forwarded(BOB, CAROL, BOB)
    assert (said.status, said.reason) == (Status.SKIPPED, Reason.BROKEN_DIVERSION)
    assert verdict.verstat is Verstat.NONE


async def test_five_are_the_most() -> None:
    """A chain of five is passed on no more: nobody would take a sixth."""
    scene = Scene()
    numbers = [f"1317555{n:04d}" for n in range(7)]
    for number in numbers:
        scene.credentials[number] = credential_for(one_number(number))
        scene.pbx[number] = Pbx(scene.exchange, [number], scene.credentials[number])
    one, _ = await scene.pbx[ALICE].comes_in()
    token = passport.sign(
        orig=ALICE,
        dest=[numbers[0]],
        iat=int(NOW),
        x5u="https://a.example/a",
        key=scene.credentials[ALICE].key,
    )
    for number, target in itertools.pairwise(numbers[:6]):
        credential = scene.credentials[number]
        token = passport.sign(
            orig=ALICE,
            dest=[target],
            iat=int(NOW),
            x5u="https://a.example/a",
            key=credential.key,
            ppt="div-o",
            extra={"div": {"tn": number}, "opt": token.token},
        )
    assert len(diversion.unwrap(token).diversions) == diversion.MOST_DIVERSIONS
    sixth = scene.pbx[numbers[5]]
    chain = [scene.credentials[number].certificate for number in (ALICE, *numbers[:5])]
    scene.exchange.certificates.chains["https://a.example/a"] = tuple(chain)
    one, verdict = await sixth.comes_in(
        dest=numbers[5], identity=(passport.identity_header(token),)
    )
    assert verdict.verstat is Verstat.PASSED
    said = await sixth.leaves(one, numbers[6])
    assert (said.status, said.reason) == (Status.SKIPPED, Reason.BROKEN_DIVERSION)


async def test_without_a_verified_original_nothing_is_signed() -> None:
    """A stranger with Bob's own number as caller ID, forwarded by Bob, leaves unsigned."""
    scene = Scene()
    one, verdict = await scene.pbx[BOB].comes_in(orig=BOB)
    assert verdict.reason is Reason.NO_PASSPORT
    said = await scene.pbx[BOB].leaves(one, CAROL, orig=BOB)
    assert (said.status, said.reason) == (Status.SKIPPED, Reason.CALLER_NOT_ALLOWED)
    assert CAROL not in scene.exchange.placement.held


async def test_a_replayed_original_is_not_passed_on() -> None:
    """The second call that claims one PASSporT is not forwarded with it."""
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    bob = scene.pbx[BOB]
    first, verdict = await bob.comes_in()
    second, other = await bob.comes_in()
    assert (verdict.reason, other.reason) == (Reason.VERIFIED, Reason.REPLAYED)
    assert (await bob.leaves(second, CAROL)).reason is Reason.NOT_AUTHORITATIVE
    assert (await bob.leaves(first, CAROL)).reason is Reason.FORWARDED


REFUSED: dict[str, tuple[dict[str, object], Reason]] = {
    "another caller ID": ({"orig": DAVE}, Reason.CALLER_NOT_ALLOWED),
    "our own number as caller ID": ({"orig": BOB}, Reason.CALLER_NOT_ALLOWED),
    "another call": ({"came_in_id": "x"}, Reason.NOT_AUTHORITATIVE),
    "a leg without the mark": ({"came_in_id": ""}, Reason.NOT_AUTHORITATIVE),
    "a stranger's leg, joined by a bridge": (
        {"unique_id": "x", "came_in_id": "x"},
        Reason.NOT_AUTHORITATIVE,
    ),
    "another PBX": ({"pbx": "other"}, Reason.NOT_AUTHORITATIVE),
    "came in by another trunk": ({"came_in": "sip"}, Reason.NOT_AUTHORITATIVE),
    "a caller who hides": ({"restricted": True}, Reason.ANONYMOUS_CALLER),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_only_the_call_itself_is_passed_on(name: str) -> None:
    """What a call brought along serves the legs of that call alone, with its own caller ID."""
    changes, reason = REFUSED[name]
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    one, _ = await scene.pbx[BOB].comes_in()
    said = await scene.pbx[BOB].leaves(one, CAROL, **changes)
    assert (said.status, said.reason) == (Status.SKIPPED, reason)
    assert CAROL not in scene.exchange.placement.held


async def test_a_leg_with_an_id_of_its_own_is_known_by_the_mark_it_inherits() -> None:
    """Follow-me and ring groups dial through legs of their own: each gets its own div-o."""
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    one, _ = await scene.pbx[BOB].comes_in()
    for leg, target in (("7.2", CAROL), ("7.3", DAVE)):
        said = await scene.pbx[BOB].leaves(one, target, unique_id=leg)
        assert said.reason is Reason.FORWARDED
        _, verdict = await scene.pbx[target].comes_in(dest=target)
        assert (verdict.verstat, verdict.diverted_by) == (Verstat.PASSED, BOB)


async def test_a_late_forward_is_stale() -> None:
    """After 60 s, both inclusive, nobody would believe it: the word is said and nothing signed."""
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    one, _ = await scene.pbx[BOB].comes_in()
    said = await scene.pbx[BOB].leaves(one, CAROL, NOW + 60)
    assert said.reason is Reason.FORWARDED
    said = await scene.pbx[BOB].leaves(one, DAVE, NOW + 61)
    assert (said.status, said.reason) == (Status.SKIPPED, Reason.STALE)


async def test_a_forwarder_signs_for_numbers_of_his_own_only() -> None:
    """A PBX that opens calls to Bob and has no credential for his number cannot pass them on."""
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    mallory = Pbx(scene.exchange, [BOB], credential_for(one_number(DAVE)), holds=())
    mallory.keyring = scene.pbx[BOB].keyring
    mallory.verification.opener = mallory.keyring
    one, verdict = await mallory.comes_in()
    assert verdict.verstat is Verstat.PASSED
    said = await mallory.leaves(one, CAROL)
    assert (said.status, said.reason) == (Status.SKIPPED, Reason.NOT_AUTHORITATIVE)


async def test_a_forwarder_who_claims_anothers_number_is_refused_at_the_far_end() -> None:
    """A div-o for Bob's number, signed by Dave, is number-not-covered to Carol."""
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    ((original, chain),) = scene.pbx[BOB].opened(BOB)
    dave = scene.credentials[DAVE]
    false = passport.sign(
        orig=ALICE,
        dest=[CAROL],
        iat=int(NOW),
        x5u=dave.x5u,
        key=dave.key,
        ppt="div-o",
        extra={"div": {"tn": BOB}, "opt": original.token},
    )
    key = scene.exchange.directory.keys[CAROL][0]
    blob = sealing.seal(false.token, (*dave.chain, *chain), key, CAROL)
    scene.exchange.placement.held[CAROL] = [blob]
    _, verdict = await scene.pbx[CAROL].comes_in(dest=CAROL)
    assert (verdict.verstat, verdict.reason) == (Verstat.NONE, Reason.NUMBER_NOT_COVERED)


NOT_THE_CALLS: dict[str, dict[str, object]] = {
    "to another number": {"dest": [DAVE]},
    "of another caller": {"orig": ERIN},
    "made after it": {"iat": int(NOW) + 30},
    "too old when it was passed on": {"iat": int(NOW) - 61},
}


@pytest.mark.parametrize("name", NOT_THE_CALLS)
async def test_a_div_o_around_another_calls_original_is_broken(name: str) -> None:
    """What stands inside must be of the call that was passed on; it is no failure of this call."""
    scene = Scene()
    alice, bob = scene.credentials[ALICE], scene.credentials[BOB]
    fields: dict[str, object] = {"orig": ALICE, "dest": [BOB], "iat": int(NOW)}
    fields |= {"x5u": alice.x5u, "key": alice.key} | NOT_THE_CALLS[name]
    inside = passport.sign(**fields)  # type: ignore[arg-type]
    outer = passport.sign(
        orig=ALICE,
        dest=[CAROL],
        iat=int(NOW),
        x5u=bob.x5u,
        key=bob.key,
        ppt="div-o",
        extra={"div": {"tn": BOB}, "opt": inside.token},
    )
    key = scene.exchange.directory.keys[CAROL][0]
    blob = sealing.seal(outer.token, (*bob.chain, *alice.chain), key, CAROL)
    scene.exchange.placement.held[CAROL] = [blob]
    one, verdict = await scene.pbx[CAROL].comes_in(dest=CAROL)
    assert (verdict.verstat, verdict.reason) == (Verstat.NONE, Reason.BROKEN_DIVERSION)
    assert (await scene.pbx[CAROL].leaves(one, DAVE)).status is Status.SKIPPED


async def test_in_band_div_stands_beside_the_original() -> None:
    """By a SIP trunk the original goes along in a header of its own, and div beside it."""
    scene = Scene()
    del scene.exchange.directory.keys[CAROL]
    await scene.pbx[ALICE].calls(ALICE, BOB)
    one, _ = await scene.pbx[BOB].comes_in()
    said = await scene.pbx[BOB].leaves(one, CAROL, trunk="sip")
    assert (said.status, said.reason) == (Status.IN_BAND, Reason.FORWARDED)
    original, div = map(passport.parse_identity, said.identity)
    assert (original.ppt, original.dest, div.ppt, div.dest) == ("", (BOB,), "div", (CAROL,))
    assert "opt" not in div.claims
    ours, callers = scene.credentials[BOB], scene.credentials[ALICE]
    # one x5u in this world: a bundle of both
    chain = (ours.certificate, callers.certificate)
    scene.exchange.certificates.chains[ours.x5u] = chain
    _, verdict = await scene.pbx[CAROL].comes_in(dest=CAROL, identity=said.identity)
    assert (verdict.verstat, verdict.diverted_by) == (Verstat.PASSED, BOB)


async def test_a_leg_with_room_for_one_header_gets_a_div_o() -> None:
    """FreeSWITCH writes one Identity header: it holds the original inside."""
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    one, _ = await scene.pbx[BOB].comes_in()
    said = await scene.pbx[BOB].leaves(one, CAROL, trunk="sip", headers=1)
    (value,) = said.identity
    assert passport.parse_identity(value).ppt == "div-o"
    assert said.status is Status.STORED


async def test_a_call_that_came_by_div_headers_is_passed_on_too() -> None:
    """What came side by side is stored side by side: nobody can nest another's div."""
    scene = Scene()
    await scene.pbx[ALICE].calls(ALICE, BOB)
    one, _ = await scene.pbx[BOB].comes_in()
    in_band = (await scene.pbx[BOB].leaves(one, CAROL, trunk="sip")).identity
    bundle = tuple(one.certificate for one in scene.credentials.values())
    scene.exchange.certificates.chains[scene.credentials[BOB].x5u] = bundle
    carol = scene.pbx[CAROL]
    second, verdict = await carol.comes_in(dest=CAROL, identity=in_band, trunk="sip")
    assert verdict.verstat is Verstat.PASSED
    scene.exchange.certificates.chains.clear()
    said = await carol.leaves(second, DAVE)
    assert (said.status, said.reason) == (Status.STORED, Reason.FORWARDED)
    assert [one.ppt for one, _ in scene.pbx[DAVE].opened(DAVE)] == ["", "div", "div"]
    _, verdict = await scene.pbx[DAVE].comes_in(dest=DAVE)
    assert (verdict.verstat, verdict.orig, verdict.diverted_by) == (Verstat.PASSED, ALICE, CAROL)
