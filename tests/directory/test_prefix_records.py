"""A CPS that is asked for a prefix does not learn which number is called."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pbx_stir.directory import prefix_records as room
from pbx_stir.directory.prefix_records import (
    IDLE_SECONDS,
    MISS_SECONDS,
    RENEW_SECONDS,
    PrefixRecords,
)
from pbx_stir.errors import CpsRefused, CpsUnavailable, MalformedAnswer, PbxStirError, Unavailable

NOW = 1_750_000_000.0
CPS = "https://cps.example.net"


class Source:
    """A CPS with records by prefix."""

    def __init__(self) -> None:
        self.tokens: tuple[str, ...] = ()
        self.whole = True
        self.error: PbxStirError | None = None
        self.asked: list[str] = []
        self.answered = asyncio.Event()

    async def get_records_under(
        self, cps: str, prefix: str, give_up_at: float
    ) -> tuple[Sequence[str], bool]:
        """Answer."""
        self.asked.append(prefix)
        self.answered.set()
        if self.error is not None:
            raise self.error
        return self.tokens, self.whole


class Clock:
    """The steady clock."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return 1000.0 + self.passed


@pytest.fixture
def source() -> Source:
    """The CPS."""
    return Source()


@pytest.fixture
def clock() -> Clock:
    """The clock."""
    return Clock()


@pytest.fixture
def records(source: Source, clock: Clock) -> PrefixRecords:
    """Nothing known yet; random times are the latest possible."""
    return PrefixRecords(
        source,
        epoch=lambda: NOW + clock.passed,
        monotonic=clock,
        draw=lambda low, high: high,
    )


async def ask(records: PrefixRecords, clock: Clock, number: str) -> tuple[str, ...]:
    """Ask for a number by its prefix, with time enough."""
    return await records.tokens(CPS, number[:-4], number, clock() + 60)


async def test_one_question_for_all_numbers_of_a_prefix(
    records: PrefixRecords, source: Source, clock: Clock, lab: Any, alice: Any, new_key: Any
) -> None:
    """Each number gets the tokens that name it, whatever else is under the prefix."""
    ranged = lab.record(alice, new_key())
    single = lab.record(alice, new_key(), numbers=("12125551234", "12125559999"))
    source.tokens = ("garbage", ranged, single)
    assert await ask(records, clock, "12125551234") == (ranged, single)
    assert await ask(records, clock, "12125551200") == (ranged,)
    assert await ask(records, clock, "12125559999") == (single,)
    assert await ask(records, clock, "12125550000") == ()
    assert source.asked == ["1212555"]


async def test_what_is_missing_is_asked_for_again_later(
    records: PrefixRecords, source: Source, clock: Clock, lab: Any, alice: Any, new_key: Any
) -> None:
    """A number that was published meanwhile is found after a minute."""
    assert await ask(records, clock, "12125551234") == ()
    source.tokens = (lab.record(alice, new_key()),)
    clock.passed = MISS_SECONDS - 1
    assert await ask(records, clock, "12125551234") == ()
    clock.passed = MISS_SECONDS
    assert await ask(records, clock, "12125551234") == source.tokens
    assert len(source.asked) == 2


@pytest.mark.parametrize(("lives", "seconds"), [(86_400, RENEW_SECONDS), (1000, 900), (10, 60)])
async def test_it_is_renewed_in_the_background(
    records: PrefixRecords,
    source: Source,
    clock: Clock,
    lab: Any,
    alice: Any,
    new_key: Any,
    lives: int,
    seconds: float,
) -> None:
    """Within the hour, and before the first record ends; the call gets what there was."""
    source.tokens = old = (lab.record(alice, new_key(), seconds=lives),)
    await ask(records, clock, "12125551234")
    source.answered.clear()
    source.tokens = new = (lab.record(alice, new_key(), serial=2),)
    clock.passed = seconds - 1
    assert await ask(records, clock, "12125551234") == old
    assert len(source.asked) == 1
    clock.passed = seconds
    assert await ask(records, clock, "12125551234") == old
    await source.answered.wait()
    await asyncio.wait(records._flights._flights.values())
    assert await ask(records, clock, "12125551234") == new


async def test_a_failing_renewal_keeps_what_there_is(
    records: PrefixRecords, source: Source, clock: Clock, lab: Any, alice: Any, new_key: Any
) -> None:
    """A CPS that is down takes nothing away; without anything the call learns of it."""
    source.tokens = (lab.record(alice, new_key()),)
    await ask(records, clock, "12125551234")
    source.error = CpsUnavailable("down")
    clock.passed = RENEW_SECONDS
    assert await ask(records, clock, "12125551234") == source.tokens
    with pytest.raises(CpsUnavailable):
        await ask(records, clock, "16465551234")
    await records.close()


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_cps_without_prefixes_is_not_one_without_records(
    records: PrefixRecords, source: Source, clock: Clock, status: int
) -> None:
    """It is said, and the number itself is never asked for instead."""
    source.error = CpsRefused("what?", status=status)
    with pytest.raises(MalformedAnswer, match="by prefix"):
        await ask(records, clock, "12125551234")


async def test_too_many_records_are_said(
    records: PrefixRecords, source: Source, clock: Clock, lab: Any, alice: Any, new_key: Any
) -> None:
    """What came is used; a number that may be among the rest is not called one without a key."""
    source.tokens, source.whole = (lab.record(alice, new_key()),), False
    assert await ask(records, clock, "12125551234") == source.tokens
    with pytest.raises(MalformedAnswer, match="fewer digits"):
        await ask(records, clock, "12125559999")


async def test_memory_is_bounded(
    records: PrefixRecords,
    source: Source,
    clock: Clock,
    lab: Any,
    alice: Any,
    new_key: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was used longest ago goes first: by number, by octets, and after a day."""
    source.tokens = (lab.record(alice, new_key()),)
    monkeypatch.setattr(room, "MOST_PREFIXES", 2)
    for number in ("12125551234", "16465551234", "12125551234", "14155551234"):
        await ask(records, clock, number)
    assert source.asked == ["1212555", "1646555", "1415555"]
    assert {prefix for _, prefix in records._kept} == {"1212555", "1415555"}
    monkeypatch.setattr(room, "MOST_OCTETS", 10)
    await ask(records, clock, "13055551234")
    assert {prefix for _, prefix in records._kept} == {"1305555"}
    clock.passed = IDLE_SECONDS + 1
    records.forget_idle()
    assert not records._kept


async def test_a_call_waits_no_longer_than_it_may(
    records: PrefixRecords, source: Source, clock: Clock
) -> None:
    """At the moment to give up the look-up goes on without the call."""
    with pytest.raises(Unavailable, match="time"):
        await records.tokens(CPS, "1212555", "12125551234", clock())
    await source.answered.wait()
    await records.close()
