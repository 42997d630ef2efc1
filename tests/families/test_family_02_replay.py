"""Family 2: one PASSporT for two calls, at once or one after the other (RFC 8816 section 7.4)."""

from __future__ import annotations

import pytest

from pbx_stir.services.call import Call, Outcome, Reason, Verstat
from pbx_stir.stir import passport
from tests.families.hostile import b64, high
from tests.services import world
from tests.services.world import BOB, NOW, World


async def verify(bob: World, call: Call, at: float = NOW) -> Outcome:
    """The verdict on a call."""
    return await bob.service.verify(call, f"log {call.unique_id}", at, 2.0)


def second(**changes: object) -> Call:
    """Another call from Alice to Bob."""
    return world.call(**({"unique_id": "2.1", "linked_id": "2.1", "nonce": "n2"} | changes))  # type: ignore[arg-type]


def passed(outcome: Outcome) -> None:
    """The PASSporT was this call's."""
    assert (outcome.verstat, outcome.reason) == (Verstat.PASSED, Reason.VERIFIED)


def replayed(outcome: Outcome) -> None:
    """It was another's: nothing worse than unsigned, and the other is named."""
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.REPLAYED)
    assert outcome.contests is not None
    assert outcome.contests.call_id == "log 1.1"
    assert outcome.used_key == ""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pbx": "another"},
        {"trunk": "carrier", "linked_id": "1.1", "pbx": "another"},
        {"unique_id": "1.1", "linked_id": "9.9"},
        {"linked_id": "1.1", "orig": "+12125551234", "dest": "+13105552000", "pbx": "p"},
    ],
)
@pytest.mark.parametrize("later", [0.0, 0.001, 30.0, 60.0])
async def test_family_02_replay_second_call(changes: dict[str, object], later: float) -> None:
    """At the same moment or within freshness, by another PBX, under another id."""
    bob = World()
    bob.put(bob.token())
    passed(await verify(bob, world.call()))
    replayed(await verify(bob, second(**changes), NOW + later))
    replayed(await verify(bob, second(unique_id="3.1", linked_id="3.1"), NOW + later))


async def test_family_02_replay_after_freshness_is_stale() -> None:
    """Once nobody remembers it, it is too old for everybody."""
    bob = World()
    bob.put(bob.token(iat=int(NOW) + 5))
    passed(await verify(bob, world.call()))
    replayed(await verify(bob, second(), NOW + 65))
    outcome = await verify(bob, second(), NOW + 65.5)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.STALE)


async def test_family_02_replay_under_another_signature() -> None:
    """The twin that anybody can compute, s for n - s, is the same PASSporT."""
    for first_high in (False, True):
        bob = World()
        token = bob.token()
        signed = token.token.rpartition(".")[0]
        twin = passport.parse(f"{signed}.{b64(high(token.signature))}")
        one, other = (twin, token) if first_high else (token, twin)
        bob.put(one)
        passed(await verify(bob, world.call()))
        bob.placement.held.clear()
        bob.put(other)
        replayed(await verify(bob, second()))


async def test_family_02_replay_by_another_way() -> None:
    """Used from the CPS it is used in band, and the reverse; under another key or CPS as well."""
    bob = World()
    token = bob.token()
    bob.certificates.chains[token.x5u] = (bob.company.certificate, world.ROOT)
    header = passport.identity_header(token)
    bob.put(token)
    passed(await verify(bob, world.call()))
    bob.placement.held.clear()
    replayed(await verify(bob, second(identity=(header,))))
    bob = World()
    bob.certificates.chains[token.x5u] = (bob.company.certificate, world.ROOT)
    token = bob.token()
    passed(await verify(bob, world.call(identity=(passport.identity_header(token),))))
    bob.put(token)
    bob.put(token, chain=())
    replayed(await verify(bob, second()))


async def test_family_02_replay_two_calls_two_passports() -> None:
    """The honest neighbour: as many calls as PASSporTs, in any order, all Passed."""
    bob = World()
    for jti in ("a", "b", "c"):
        bob.put(bob.token(jti=jti))
    for at in (1, 2, 3):
        passed(await verify(bob, second(unique_id=f"{at}.1", linked_id=f"{at}.1")))
    outcome = await verify(bob, second(unique_id="4.1", linked_id="4.1"))
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.REPLAYED)


async def test_family_02_replay_same_call_again() -> None:
    """A call that asks again, or on another leg, is answered as before."""
    bob = World()
    bob.put(bob.token())
    first = await verify(bob, world.call())
    again = await verify(bob, world.call())
    leg = await verify(bob, world.call(unique_id="1.7"))
    for outcome in (first, again, leg):
        passed(outcome)
        assert outcome.used_key == first.used_key


async def test_family_02_replay_given_back() -> None:
    """A call that was gone before its verdict has used nothing up."""
    bob = World()
    bob.put(bob.token())
    gone = await verify(bob, world.call())
    assert gone.claim is not None
    await bob.used.give_back(gone.used_key, gone.claim, NOW)
    passed(await verify(bob, second()))
    # but only the call that holds it can give it back
    await bob.used.give_back(gone.used_key, gone.claim, NOW)
    outcome = await verify(bob, second(unique_id="3.1", linked_id="3.1"))
    assert outcome.reason is Reason.REPLAYED


@pytest.mark.parametrize(
    ("answered", "later", "may"),
    [(False, 0.0, True), (False, 4.9, True), (False, 5.0, False), (True, 1.0, False)],
)
async def test_family_02_replay_failover(answered: bool, later: float, may: bool) -> None:
    """A carrier may try a second trunk once, within 5 s of an unanswered end."""
    bob = World()
    bob.put(bob.token())
    first = await verify(bob, world.call())
    assert first.claim is not None
    await bob.used.confirm(first.used_key, first.claim, NOW)
    await bob.used.ended("pbx", "1.1", answered, NOW)
    outcome = await verify(bob, second(), NOW + later)
    if not may:
        replayed(outcome)
        return
    passed(outcome)
    third = await verify(bob, second(unique_id="3.1", linked_id="3.1"), NOW + later)
    assert third.reason is Reason.REPLAYED


async def test_family_02_replay_while_it_rings() -> None:
    """An end that was never told, or of another call, opens nothing."""
    bob = World()
    bob.put(bob.token())
    first = await verify(bob, world.call())
    assert first.claim is not None
    await bob.used.ended("pbx", "1.1", False, NOW)
    replayed(await verify(bob, second()))
    await bob.used.confirm(first.used_key, first.claim, NOW)
    await bob.used.ended("another", "1.1", False, NOW)
    await bob.used.ended("pbx", "2.1", False, NOW)
    replayed(await verify(bob, second()))


async def test_family_02_replay_substitution_by_a_callback() -> None:
    """Who makes Alice call Bob, and calls him at that moment, is told from her by who was first."""
    bob = World()
    bob.put(bob.token())
    mallory = await verify(bob, second())
    alice = await verify(bob, world.call())
    passed(mallory)
    assert alice.reason is Reason.REPLAYED
    assert alice.contests is not None
    assert (alice.contests.unique_id, alice.verstat) == ("2.1", Verstat.NONE)
    assert alice.dest == BOB
