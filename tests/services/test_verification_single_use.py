"""The verification service: one PASSporT verifies one call, however it comes."""

from __future__ import annotations

from pbx_stir.errors import Unavailable
from pbx_stir.services.call import Reason, Verstat
from pbx_stir.services.used import Claim, Reservation, UsedPassports
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.verifying import confirmed, verify
from tests.services.world import CPS, NOW, World, call, credential_for


async def test_one_passport_verifies_one_call() -> None:
    """The second call with the same PASSporT is replayed, and says whom it contests."""
    world = World()
    world.put(world.token())
    first = await confirmed(world, call())
    second = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert first.verstat is Verstat.PASSED
    assert (second.verstat, second.reason) == (Verstat.NONE, Reason.REPLAYED)
    assert second.contests is not None
    assert second.contests.unique_id == "1.1"


async def test_copies_are_one() -> None:
    """The same PASSporT at two CPSs, or stored twice, is one, and is used once."""
    world = World()
    world.directory.cps = (CPS, "https://second.example")
    token = world.token()
    world.put(token)
    world.put(token)
    assert (await confirmed(world, call())).verstat is Verstat.PASSED
    again = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert again.reason is Reason.REPLAYED


async def test_a_malleable_signature_is_no_second_use() -> None:
    """(r, s) and (r, n - s) are one PASSporT: ECDSA gives them away to anybody."""
    world = World()
    token = world.token()
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = token.signature[:32], int.from_bytes(token.signature[32:], "big")
    twin = r + (order - s).to_bytes(32, "big")
    head = token.token.rpartition(".")[0]
    from pbx_stir.stir.jws import encode_segment

    world.put(token)
    world.put(f"{head}.{encode_segment(twin)}")
    assert (await confirmed(world, call())).verstat is Verstat.PASSED
    again = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert again.reason is Reason.REPLAYED


async def test_twenty_calls_of_one_pair_are_twenty_passed() -> None:
    """Each of twenty calls within one second finds a PASSporT of its own, the oldest first."""
    world = World()
    for number in range(20):
        world.put(world.token(iat=int(NOW) - number % 3, jti=f"j{number}"))
    keys = set()
    for number in range(20):
        outcome = await confirmed(world, call(unique_id=f"u{number}", linked_id=f"l{number}"))
        assert outcome.verstat is Verstat.PASSED
        keys.add(outcome.used_key)
    assert len(keys) == 20


async def test_the_same_call_may_ask_twice() -> None:
    """A second hook of one call gets the same verdict."""
    world = World()
    world.put(world.token())
    await confirmed(world, call())
    assert (await verify(world, call(unique_id="1.2"))).verstat is Verstat.PASSED


async def test_passports_made_together_are_of_one_call() -> None:
    """A provider's shaken and its customer's rcd PASSporT are merged, and used up together."""
    provider = credential_for(TnAuthList(spcs=("1234",)))
    world = World()
    world.put(world.token(provider, attest="A", origid="o", jti=""), provider)
    world.put(world.token(ppt="rcd", jti="", extra={"rcd": {"nam": "Alice"}}))
    outcome = await confirmed(world, call())
    assert (outcome.verstat, outcome.name, outcome.attest) == (Verstat.PASSED, "Alice", "A")
    assert len(outcome.also_used) == 1
    for key in outcome.also_used:
        assert outcome.claim is not None
        await world.used.confirm(key, outcome.claim, NOW)
    again = await verify(world, call(unique_id="2.2", linked_id="2.2"))
    assert again.reason is Reason.REPLAYED


async def test_without_the_memory_of_uses_nothing_passes() -> None:
    """Nobody knows whether it was used: fail closed for the verdict, open for the call."""

    class Silent(UsedPassports):
        async def reserve(
            self, key: str, claim: Claim, until: float, now: float, made: float | None = None
        ) -> Reservation:
            raise Unavailable("no answer")

    world = World()
    world.service.used = Silent()
    world.put(world.token())
    outcome = await verify(world)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.INTERNAL_ERROR)
