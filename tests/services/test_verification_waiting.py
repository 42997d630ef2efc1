"""A PASSporT that is stored after its call came (RFC 9888 sections 5 and 6)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace

from pbx_stir.services.call import Outcome, Reason, Verstat
from pbx_stir.services.placement_service import Answer
from pbx_stir.services.sealed_opener import OpenedSet
from pbx_stir.services.trunk import Callers
from pbx_stir.stir import sealing
from tests.services.verifying import CAROL, diverted
from tests.services.world import BOB, CALLERS, CPS, NOW, FakeOpener, World, call

OTHER = "https://other.example.net"


@dataclass
class Later:
    """A CPS that gives these answers one after the other, each this many seconds on."""

    world: World
    answers: Sequence[tuple[float, Answer]]
    asked: list[tuple[float, float]] = field(default_factory=list)

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer, None]:
        self.asked.append((give_up_at, wait_until))
        for moment, answer in self.answers:
            if moment and moment > wait_until:
                return
            self.world.monotonic = max(self.world.monotonic, moment)
            yield answer


@dataclass
class CountingOpener:
    """Opens as the world does, and remembers what it was given."""

    opener: FakeOpener
    given: list[bytes] = field(default_factory=list)

    async def open_sealed(
        self, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> OpenedSet:
        self.given += blobs
        return await self.opener.open_sealed(number, blobs, give_up_at)


def waiting(world: World, milliseconds: int) -> None:
    """Let the trunk wait for so long."""
    trunk = replace(CALLERS.trunks["carrier"], wait_for_passport_ms=milliseconds)
    world.service.callers = Callers({"carrier": trunk})


def sealed(world: World, iat: int = int(NOW)) -> bytes:
    """Alice's PASSporT to Bob, sealed."""
    token = world.token(iat=iat)
    return sealing.seal(token.token, world.company.chain, world.public, BOB)


async def verify(world: World, give_up_at: float = 1.8) -> Outcome:
    return await world.service.verify(call(), "id", NOW, give_up_at)


async def test_a_passport_stored_after_the_call_passes() -> None:
    """Nothing at first; what comes within the wait is judged as if it had been there."""
    world = World()
    waiting(world, 1000)
    late = Later(world, [(0, Answer(CPS, BOB)), (0.7, Answer(CPS, BOB, (sealed(world),)))])
    world.service.placement = late
    assert (await verify(world)).verstat is Verstat.PASSED
    assert late.asked == [(1.8, 1.0)]


async def test_a_trunk_waits_only_where_that_is_said() -> None:
    """By default a call that finds nothing goes on at once."""
    world = World()
    late = Later(world, [(0, Answer(CPS, BOB)), (0.7, Answer(CPS, BOB, (sealed(world),)))])
    world.service.placement = late
    assert (await verify(world)).reason is Reason.NO_PASSPORT
    assert late.asked == [(1.8, 0.0)]


async def test_the_deadline_comes_before_the_wait() -> None:
    """A wait longer than the budget ends with the budget."""
    world = World()
    waiting(world, 9000)
    late = Later(world, [(0, Answer(CPS, BOB))])
    world.service.placement = late
    assert (await verify(world)).reason is Reason.NO_PASSPORT
    assert late.asked == [(1.8, 1.8)]


async def test_what_was_seen_is_not_opened_again() -> None:
    """Answers repeat what they had; each blob is opened once, also when two CPSs have it."""
    world = World()
    waiting(world, 1000)
    opener = CountingOpener(FakeOpener(world.key))
    world.service.opener = opener
    foreign = [sealing.dummy(bytes([one]) * 32) for one in range(3)]
    world.service.placement = Later(
        world,
        [
            (0, Answer(CPS, BOB, tuple(foreign[:2]))),
            (0, Answer(OTHER, BOB, tuple(foreign[:2]))),
            (0.2, Answer(CPS, BOB, tuple(foreign))),
            (0.4, Answer(CPS, BOB, tuple(foreign))),
        ],
    )
    assert (await verify(world)).reason is Reason.NO_PASSPORT
    assert opener.given == foreign


async def test_a_diversion_may_come_apart_from_what_it_diverts() -> None:
    """A div and the PASSporT that it passes on are joined, whichever comes first, and when."""
    for order in (1, -1):
        world = World()
        waiting(world, 1000)
        original = world.token(dest=[CAROL])
        token, carol = diverted(world, original, "div")
        blobs = [
            sealing.seal(original.token, world.company.chain, world.public, BOB),
            sealing.seal(token.token, carol.chain, world.public, BOB),
        ][::order]
        world.service.placement = Later(
            world,
            [
                (0, Answer(CPS, BOB, (blobs[0],))),
                (0.2, Answer(CPS, BOB, (blobs[0],))),
                (0.4, Answer(CPS, BOB, tuple(blobs))),
            ],
        )
        outcome = await verify(world)
        assert (outcome.reason, outcome.diverted_by) == (Reason.VERIFIED, CAROL)


async def test_the_same_octets_under_another_number_are_opened_for_it() -> None:
    """A blob is bound to its number: that it was nothing for one says nothing of the other."""
    world = World()
    opener = CountingOpener(FakeOpener(world.key))
    world.service.opener = opener
    foreign = sealing.dummy(bytes(32))
    world.service.placement = Later(
        world,
        [(0, Answer(CPS, BOB, (foreign,))), (0, Answer(CPS, "13105552001", (foreign,)))],
    )
    await verify(world)
    assert opener.given == [foreign, foreign]


async def test_a_passport_made_while_the_call_waits_is_not_of_the_future() -> None:
    """What is signed eight seconds after the call came is judged at that moment."""
    world = World()
    waiting(world, 9000)
    blob = sealed(world, int(NOW) + 8)
    world.service.placement = Later(world, [(0, Answer(CPS, BOB)), (8, Answer(CPS, BOB, (blob,)))])
    assert (await verify(world, 10.0)).reason is Reason.VERIFIED


async def test_a_cps_that_fails_again_and_again_is_one_rejection() -> None:
    """A wait does not fill the call log."""
    world = World()
    waiting(world, 1000)
    down = Answer(CPS, BOB, reason=Reason.CPS_UNAVAILABLE, detail="down")
    world.service.placement = Later(world, [(0, down), (0.1, down), (0.2, down)])
    outcome = await verify(world)
    assert outcome.reason is Reason.CPS_UNAVAILABLE
    assert [one.step for one in outcome.rejections] == [f"retrieve {CPS}"]


async def test_one_that_answered_later_has_answered() -> None:
    """A CPS that failed first and then had nothing leaves the call with no PASSporT."""
    world = World()
    waiting(world, 1000)
    down = Answer(CPS, BOB, reason=Reason.CPS_UNAVAILABLE, detail="down")
    world.service.placement = Later(world, [(0, down), (0.1, Answer(CPS, BOB))])
    assert (await verify(world)).reason is Reason.NO_PASSPORT
