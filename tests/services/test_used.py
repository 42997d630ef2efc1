"""Single use, and the ways in which it may not be lost or gained."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.services.used import Claim, Use, UsedPassports

UNTIL = 100.0


def claim(number: int, *, linked: int | None = None) -> Claim:
    return Claim("pbx", f"u{number}", f"l{linked or number}", "carrier", "1", "2", f"id{number}")


async def test_the_first_call_has_it_and_the_second_does_not() -> None:
    """One PASSporT verifies one call; the second is told who has it."""
    used = UsedPassports()
    assert (await used.reserve("k", claim(1), UNTIL, 0)).use is Use.FRESH
    await used.confirm("k", claim(1), 0)
    second = await used.reserve("k", claim(2), UNTIL, 1)
    assert (second.use, second.holder) == (Use.TAKEN, claim(1))


async def test_a_reservation_alone_already_holds() -> None:
    """Two calls at the same moment are not both told Passed."""
    used = UsedPassports()
    await used.reserve("k", claim(1), UNTIL, 0)
    assert (await used.reserve("k", claim(2), UNTIL, 0)).use is Use.TAKEN


async def test_a_call_that_dies_in_its_hold_gives_back() -> None:
    """A hang-up before the release costs the next call nothing."""
    used = UsedPassports()
    await used.reserve("k", claim(1), UNTIL, 0)
    await used.give_back("k", claim(1), 0)
    assert (await used.reserve("k", claim(2), UNTIL, 0)).use is Use.FRESH


async def test_only_the_holder_can_give_back_and_only_before_it_is_used() -> None:
    """Neither a stranger nor a late hang-up frees a used PASSporT."""
    used = UsedPassports()
    await used.reserve("k", claim(1), UNTIL, 0)
    await used.give_back("k", claim(2), 0)
    await used.confirm("k", claim(1), 0)
    await used.give_back("k", claim(1), 0)
    assert (await used.reserve("k", claim(3), UNTIL, 0)).use is Use.TAKEN


async def test_the_same_call_may_ask_again() -> None:
    """Another leg or a second hook of one call finds its own PASSporT."""
    used = UsedPassports()
    await used.reserve("k", claim(1), UNTIL, 0)
    assert (await used.reserve("k", claim(7, linked=1), UNTIL, 0)).use is Use.SAME


async def test_a_leg_that_gives_back_takes_nothing_from_another() -> None:
    """Whichever leg of a call dies in its hold, the other has the PASSporT still."""
    for first, second in ((1, 7), (7, 1)):
        used = UsedPassports()
        await used.reserve("k", claim(1), UNTIL, 0)
        await used.reserve("k", claim(7, linked=1), UNTIL, 0)
        await used.give_back("k", claim(first, linked=1), 0)
        held = await used.reserve("k", claim(9), UNTIL, 0)
        assert (held.use, held.holder) == (Use.TAKEN, claim(second, linked=1))
        await used.confirm("k", claim(second, linked=1), 0)
        assert (await used.reserve("k", claim(9), UNTIL, 0)).use is Use.TAKEN


async def test_no_second_use_while_another_leg_is_up() -> None:
    """A leg that ends unanswered opens nothing while one of the same call talks."""
    used = UsedPassports()
    for number in (1, 7):
        await used.reserve("k", claim(number, linked=1), UNTIL, 0)
        await used.confirm("k", claim(number, linked=1), 0)
    await used.ended("pbx", "u1", answered=False, now=1)
    assert (await used.reserve("k", claim(9), UNTIL, 1)).use is Use.TAKEN
    await used.ended("pbx", "u7", answered=False, now=2)
    assert (await used.reserve("k", claim(9), UNTIL, 2)).use is Use.AGAIN


async def test_failover_gets_one_more_use() -> None:
    """A call that ended unanswered less than 5 s ago frees its PASSporT once, and once only."""
    used = UsedPassports()
    await used.reserve("k", claim(1), UNTIL, 0)
    await used.confirm("k", claim(1), 0)
    await used.ended("pbx", "u1", answered=False, now=2)
    again = await used.reserve("k", claim(2), UNTIL, 6.9)
    assert (again.use, again.holder) == (Use.AGAIN, claim(1))
    await used.confirm("k", claim(2), 7)
    await used.ended("pbx", "u2", answered=False, now=7)
    assert (await used.reserve("k", claim(3), UNTIL, 8)).use is Use.TAKEN


async def test_no_second_use_after_an_answered_call_or_after_5_s() -> None:
    """The opening for failover is no wider than it is said to be."""
    used = UsedPassports()
    for key, call, answered, later in (("a", 1, True, 1.0), ("b", 2, False, 5.0)):
        await used.reserve(key, claim(call), UNTIL, 0)
        await used.confirm(key, claim(call), 0)
        await used.ended("pbx", f"u{call}", answered=answered, now=0)
        assert (await used.reserve(key, claim(9), UNTIL, later)).use is Use.TAKEN


async def test_a_clock_that_is_set_back_opens_nothing() -> None:
    """A call that ends later than now, by a clock that was ahead, gives no second use."""
    used = UsedPassports()
    await used.reserve("k", claim(1), UNTIL, 50)
    await used.confirm("k", claim(1), 50)
    await used.ended("pbx", "u1", answered=False, now=50)
    assert (await used.reserve("k", claim(2), UNTIL, 49)).use is Use.TAKEN
    assert (await used.reserve("k", claim(2), UNTIL, 50)).use is Use.AGAIN


async def test_another_pbxs_call_of_the_same_id_ends_nothing() -> None:
    """Two PBXs number their calls each for itself."""
    used = UsedPassports()
    await used.reserve("k", claim(1), UNTIL, 0)
    await used.confirm("k", claim(1), 0)
    await used.ended("pbx-2", "u1", answered=False, now=1)
    assert (await used.reserve("k", claim(2), UNTIL, 1)).use is Use.TAKEN


async def test_giving_back_a_second_use_leaves_the_first_as_it_was() -> None:
    """A failover call that dies in its hold does not make the PASSporT fresh."""
    used = UsedPassports()
    await used.reserve("k", claim(1), UNTIL, 0)
    await used.confirm("k", claim(1), 0)
    await used.ended("pbx", "u1", answered=False, now=0)
    await used.reserve("k", claim(2), UNTIL, 1)
    await used.give_back("k", claim(2), 1)
    assert (await used.reserve("k", claim(3), UNTIL, 4)).use is Use.AGAIN
    assert (await used.reserve("k", claim(4), UNTIL, 4)).use is Use.TAKEN


async def test_memory_ends_with_freshness() -> None:
    """Entries are forgotten when no check of freshness can let their PASSporT pass any more."""
    used = UsedPassports()
    for number in range(100):
        await used.reserve(f"k{number}", claim(number), UNTIL, 0)
    await used.reserve("late", claim(200), UNTIL + 100, UNTIL + 2)
    assert len(used) == 1


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["take", "use", "back"]))))
async def test_never_two_calls_at_once(steps: list[tuple[int, str]]) -> None:
    """Whatever calls do, at most one of them has the PASSporT, and a used one stays used."""
    used = UsedPassports()
    has: int | None = None
    final = False
    for number, step in steps:
        if step == "take":
            got = (await used.reserve("k", claim(number), UNTIL, 0)).use
            if has is None:
                assert got is Use.FRESH
                has = number
            else:
                assert got is (Use.SAME if has == number else Use.TAKEN)
        elif step == "use":
            await used.confirm("k", claim(number), 0)
            final = final or has == number
        else:
            await used.give_back("k", claim(number), 0)
            if has == number and not final:
                has = None


_LEG_STEPS = st.tuples(
    st.sampled_from([1, 7]),
    st.sampled_from(["reserve", "confirm", "give back", "ends unanswered", "ends answered"]),
)


@given(st.lists(_LEG_STEPS, max_size=12))
async def test_two_legs_never_free_what_one_of_them_has(steps: list[tuple[int, str]]) -> None:
    """In whichever order two legs of a call ask, pass, die and end, a stranger gets nothing while
    one of them waits, or has passed and has not ended unanswered."""
    used = UsedPassports()
    waiting: set[int] = set()
    passed: set[int] = set()
    has_ended = False
    for number, step in steps:
        leg = claim(number, linked=1)
        if step == "reserve":
            got = (await used.reserve("k", leg, UNTIL, 0)).use
            assert got is (Use.SAME if waiting or passed or has_ended else Use.FRESH)
            waiting.add(number)
        elif step == "confirm" and number in waiting:
            await used.confirm("k", leg, 0)
            waiting.discard(number)
            passed.add(number)
        elif step == "give back":
            await used.give_back("k", leg, 0)
            waiting.discard(number)
        elif step.startswith("ends"):
            await used.ended("pbx", leg.unique_id, step == "ends answered", 0)
            if step == "ends unanswered" and number in passed:
                passed.discard(number)
                has_ended = True
        stranger = (await used.reserve("k", claim(9), UNTIL, 0)).use
        if waiting or passed:
            assert stranger is Use.TAKEN
        else:
            assert stranger is (Use.AGAIN if has_ended else Use.FRESH)
            await used.give_back("k", claim(9), 0)
