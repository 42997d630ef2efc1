"""What calls bring along: found by their ids, for minutes, and never another call's."""

from __future__ import annotations

from dataclasses import replace

from pbx_stir.services.brought import (
    KEPT_SECONDS,
    MOST_UNVERIFIED_OCTETS,
    Brought,
    BroughtCalls,
    Carried,
    Gathering,
)
from pbx_stir.services.call import Call, Reason, Verstat
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.stir import diversion, passport
from pbx_stir.stir.diversion import Diverted
from pbx_stir.stir.passport import Passport
from tests.services.networks import Exchange, Pbx, one_number
from tests.services.world import ALICE, BOB, NOW, SPC, World, call, credential_for

TOKEN = World().token()
ALONG = Brought("carrier", (BOB,), Carried(Candidate(TOKEN, (), False), ()))


def diversion_of(original: Passport) -> Passport:
    """A ``div`` around it, as anybody may make one: whoever was called has passed it to Bob."""
    credential = credential_for()
    return passport.sign(
        orig=ALICE,
        dest=[BOB],
        iat=int(NOW),
        x5u=credential.x5u,
        key=credential.key,
        ppt=diversion.DIV,
        extra={"div": {"tn": original.dest[0]}},
    )


def _call(unique: str, **changes: object) -> Call:
    fields = {"unique_id": unique, "came_in_id": unique, "came_in": "carrier"}
    return call(**(fields | changes))  # type: ignore[arg-type]


def test_a_leg_is_known_by_the_mark_that_it_inherits() -> None:
    """Neither its own id nor the one it is linked with says whose leg it is."""
    calls = BroughtCalls()
    other = Brought("carrier", (ALICE,), ALONG.verified)
    calls.remember(_call("1", linked_id="1"), ALONG, NOW)
    calls.remember(_call("2", linked_id="1"), other, NOW)
    assert calls.of(_call("leg", linked_id="1", came_in_id="1"), NOW) == ALONG
    assert calls.of(_call("leg", linked_id="1", came_in_id="2"), NOW) == other
    assert calls.of(_call("1", linked_id="1", came_in_id=""), NOW) is None
    assert calls.of(_call("leg", linked_id="1", came_in_id="leg"), NOW) is None


def test_what_is_given_is_what_was_brought() -> None:
    """Word for word and in its order: what was verified, headers, and chains of diversions."""
    plain, own = World().token(), World().token()
    div = diversion_of(plain)
    carried = (
        Carried(Candidate(plain, (), True), ()),
        Carried(Candidate(own, (), True), (b"a certificate", b"another")),
        Carried(Candidate(div, (b"a certificate",), True, Diverted(plain, (div,))), (b"its own",)),
    )
    for verified in (None, *carried, Carried(Candidate(own, (), False), (b"one",))):
        calls = BroughtCalls()
        brought = Brought("carrier", (BOB, ALICE), verified, carried)
        calls.remember(_call("1"), brought, NOW)
        found = calls.of(_call("1"), NOW)
        assert found == brought
        for one, before in zip(found.identities, carried, strict=True):
            assert one.candidate.passport.claims == before.candidate.passport.claims
            assert one.candidate.passport.signature == before.candidate.passport.signature
            assert one.tokens == before.tokens


async def test_calls_of_one_signer_share_his_certificates() -> None:
    """However many calls he makes, there is one copy of them."""
    exchange = Exchange()
    alice = credential_for(one_number(ALICE))
    bob = Pbx(exchange, [BOB], credential_for(one_number(BOB)))
    exchange.certificates.chains[alice.x5u] = (alice.certificate,)
    found = []
    for number in range(2):
        token = passport.sign(
            orig=ALICE, dest=[BOB], iat=int(NOW), x5u=alice.x5u, key=alice.key, jti=str(number)
        )
        one, verdict = await bob.comes_in(identity=(passport.identity_header(token),))
        assert verdict.verstat is Verstat.PASSED
        brought = bob.brought.of(replace(one, came_in_id=one.unique_id), NOW)
        assert brought is not None
        assert brought.verified is not None
        found.append(brought.verified.certificates)
    assert found[0] == alice.chain
    assert found[0] is found[1]


def test_who_hides_brings_nothing() -> None:
    """A caller who is not to be shown to the called party is not shown to another one."""
    calls = BroughtCalls()
    calls.remember(_call("1", restricted=True), ALONG, NOW)
    assert calls.of(_call("1"), NOW) is None
    assert len(calls) == 0


def test_it_is_kept_for_minutes() -> None:
    """After that, and where the clock was set back, there is nothing."""
    calls = BroughtCalls()
    calls.remember(_call("1"), ALONG, NOW)
    assert calls.of(_call("1"), NOW + KEPT_SECONDS - 1) == ALONG
    assert calls.of(_call("1"), NOW + KEPT_SECONDS) is None
    assert calls.of(_call("1"), NOW - 1) is None
    calls.remember(_call("2"), ALONG, NOW + KEPT_SECONDS)
    assert len(calls) == 1


def test_there_is_an_end_to_it() -> None:
    """However many calls come, so many are remembered; the oldest goes."""
    calls = BroughtCalls(most=3)
    for number in range(10):
        calls.remember(_call(str(number)), ALONG, NOW)
    assert len(calls) == 3
    assert calls.of(_call("6"), NOW) is None
    assert calls.of(_call("9"), NOW) == ALONG


def test_its_octets_are_bounded() -> None:
    """What strangers send along in headers fills so much and no more; the oldest goes."""
    calls = BroughtCalls(most_octets=5 * ALONG.octets)
    assert ALONG.octets == len(TOKEN.token)
    for number in range(20):
        calls.remember(_call(str(number)), ALONG, NOW)
    assert len(calls) == 5
    for number in range(20):
        calls.forget(_call(str(number)))
    assert calls._octets == 0


def _unverified(token: Passport, certificate_octets: int) -> Brought:
    """What a header brought along that nobody has verified, with a certificate of this size."""
    candidate = Candidate(token, (), True)
    return Brought("carrier", (BOB,), None, (Carried(candidate, (b"c" * certificate_octets,)),))


def test_who_sends_much_along_pushes_out_his_own() -> None:
    """A flood of large headers leaves what others brought, verified or not."""
    calls = BroughtCalls(most_octets=64 * 1024)
    calls.remember(_call("verified"), ALONG, NOW)
    calls.remember(_call("small"), _unverified(TOKEN, 500), NOW)
    for number in range(1000):
        calls.remember(_call(str(number)), _unverified(TOKEN, 7000), NOW)
    assert calls.of(_call("verified"), NOW) == ALONG
    assert calls.of(_call("small"), NOW) is not None
    assert calls._octets == sum(one.brought.octets for one in calls._calls.values()) <= 64 * 1024
    assert len(calls._largest) <= 2 * len(calls) + 101


def test_one_call_s_headers_have_a_bound() -> None:
    """What nobody has verified is kept while it fits; what was verified is kept besides."""
    own = [Carried(Candidate(World().token(), (), True), (bytes([n]) * 3000,)) for n in range(4)]
    calls = BroughtCalls()
    calls.remember(_call("1"), Brought("carrier", (BOB,), None, tuple(own)), NOW)
    found = calls.of(_call("1"), NOW)
    assert found is not None
    assert found.identities == tuple(own[:2])
    assert found.octets <= MOST_UNVERIFIED_OCTETS
    calls.remember(_call("1"), Brought("carrier", (BOB,), own[3], tuple(own)), NOW)
    found = calls.of(_call("1"), NOW)
    assert found is not None
    assert found.identities == (*own[:2], own[3])


def test_a_chain_around_what_was_refused_is_not_brought_along() -> None:
    """A header that is false goes no further, whoever puts a div of his own around it."""
    false, fine = World().token(), World().token()
    div = diversion_of(false)
    numbers = Numbers((ALICE,), (BOB,))
    chain = Candidate(div, (), True, Diverted(false, (div,)))
    gathering = Gathering()
    gathering.headers([Candidate(false, (), True), Candidate(fine, (), True), chain])
    gathering.refused(Candidate(false, (), True))
    own = gathering.brought("carrier", numbers, NOW).identities
    assert [one.candidate.passport for one in own] == [fine]


def test_a_later_hook_replaces_what_an_earlier_one_found() -> None:
    """A call that is verified anew without success has brought nothing."""
    calls = BroughtCalls()
    calls.remember(_call("1"), ALONG, NOW)
    calls.remember(_call("1"), Brought("carrier", (BOB,)), NOW)
    assert calls.of(_call("1"), NOW) is None
    assert len(calls) == 0


async def test_a_low_attestation_is_brought_along_too() -> None:
    """What was verified, if not enough to pass, is the caller's own word all the same."""
    exchange = Exchange()
    provider = credential_for(SPC)
    bob = Pbx(exchange, [BOB], credential_for(one_number(BOB)))
    exchange.certificates.chains[provider.x5u] = (provider.certificate,)
    token = passport.sign(
        orig=ALICE,
        dest=[BOB],
        iat=int(NOW),
        x5u=provider.x5u,
        key=provider.key,
        attest="B",
        origid="o",
    )
    one, verdict = await bob.comes_in(identity=(passport.identity_header(token),))
    assert (verdict.verstat, verdict.reason) == (Verstat.NONE, Reason.ATTEST_B)
    found = bob.brought.of(replace(one, came_in_id=one.unique_id), NOW)
    assert found is not None
    assert found.verified is not None
    assert found.verified.candidate.passport == token
    assert found.verified.certificates == provider.chain
    # a copy of it in another call is verified as well, and goes no further
    again, verdict = await bob.comes_in(identity=(passport.identity_header(token),))
    assert (verdict.verstat, verdict.reason) == (Verstat.NONE, Reason.ATTEST_B)
    assert bob.brought.of(replace(again, came_in_id=again.unique_id), NOW) is None
