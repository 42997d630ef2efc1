"""With how few subscriptions our numbers can be had, and which of them a call may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.feeds import Feeds, names_of, sealed_to_us, wanted_of
from pbx_stir.cps.subscription import QUIET_SECONDS, Wanted
from pbx_stir.errors import CpsUnavailable
from pbx_stir.services.sealed_opener import OpenedSet
from pbx_stir.stir.sealing import Opened
from tests.cps.conftest import Authority, Clock

ONE, TWO = "https://one.example.net", "https://two.example.net"


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        (["12125551234"], ["12125551234"]),
        (["12125551200-12125551299"], ["121255512*"]),
        (["12125551200-12125551299", "12125559000"], ["1212555*"]),
        (["12125551234", "442071234567"], ["12125551234", "442071234567"]),
        (["19999999990-20000000009"], ["1999999999*", "2000000000*"]),
        (["1", "12"], ["1*"]),
        (["10000-39999"], ["1*", "2*", "3*"]),
        ([], []),
    ],
)
def test_few_names_hold_all_numbers(numbers: list[str], names: list[str]) -> None:
    """One name for all numbers that begin with the same digit, as long as it can be."""
    assert list(names_of(numbers)) == names


@given(st.lists(st.tuples(st.integers(10**6, 10**8 - 1), st.integers(0, 10**6)), max_size=6))
def test_every_number_is_under_a_name(spans: list[tuple[int, int]]) -> None:
    """Both ends of every range, and what is between, begin with one of the names."""
    ranges = [(first, min(first + more, 10 ** len(str(first)) - 1)) for first, more in spans]
    names = names_of([f"{first}-{last}" for first, last in ranges])
    assert len(names) <= 10
    for first, last in ranges:
        for number in {first, (first + last) // 2, last}:
            assert any(str(number).startswith(name.removesuffix("*")) for name in names)


class Streams:
    """Opens a stream that says nothing, at the CPSs that are up."""

    def __init__(self, up: set[str], refused: Collection[str] = ()) -> None:
        self.up = up
        self.refused = refused
        self.opened_at: list[str] = []

    @asynccontextmanager
    async def opened(self, wanted: Wanted, last_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if wanted.cps not in self.up or wanted.name in self.refused:
            raise CpsUnavailable("down")
        self.opened_at.append(f"{wanted.cps} {wanted.name}")
        yield self._nothing()

    async def _nothing(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


async def test_a_call_may_rely_on_a_live_subscription_only(authority: Authority) -> None:
    """A number is live at the CPS whose stream is up, and only where the credential covers it."""
    credential = authority.credential("12125551234")
    wanted = wanted_of(credential, ["12125551200-12125551299", "442071234567"], [ONE, TWO])
    clock, streams = Clock(), Streams({ONE})
    feeds = Feeds(wanted, streams, clock=clock)
    task = asyncio.create_task(feeds.run())
    try:
        async with asyncio.timeout(10):
            while len(streams.opened_at) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        clock.moment += QUIET_SECONDS
        assert set(streams.opened_at) == {f"{ONE} 121255512*", f"{ONE} 442071234567"}
        assert feeds.by_cps[ONE].is_live_for("12125551234")
        assert feeds.by_cps[ONE].is_live_for("442071234567")
        assert not feeds.by_cps[ONE].is_live_for("12125551300")
        assert not feeds.by_cps[TWO].is_live_for("12125551234")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not feeds.by_cps[ONE].is_live_for("12125551234")


async def test_each_subscription_speaks_for_its_own_numbers(authority: Authority) -> None:
    """Of numbers with two first digits, those whose stream is refused are not live."""
    credential = authority.credential("12125551234", "442071838750")
    wanted = wanted_of(credential, ["12125551200-12125551299", "442071838750"], [ONE])
    assert [
        [each in one.numbers for each in ("12125551234", "442071838750")] for one in wanted
    ] == [
        [True, False],
        [False, True],
    ]
    clock, streams = Clock(), Streams({ONE}, refused={"442071838750"})
    feeds = Feeds(wanted, streams, clock=clock)
    task = asyncio.create_task(feeds.run())
    try:
        async with asyncio.timeout(10):
            while not streams.opened_at:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        clock.moment += QUIET_SECONDS
        assert feeds.by_cps[ONE].is_live_for("12125551234")
        assert not feeds.by_cps[ONE].is_live_for("442071838750")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass
class Opener:
    """Opens what begins with "ours", and has no time for what begins with "late"."""

    asked: list[tuple[str, float]] = field(default_factory=list)

    async def open_sealed(
        self, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> OpenedSet:
        self.asked.append((number, give_up_at))
        [blob] = blobs
        opened = (Opened("token", ()),) if blob.startswith(b"ours") else ()
        return OpenedSet(opened, int(blob == b"malformed"), int(blob == b"late"))


async def test_only_what_calls_could_open_is_kept() -> None:
    """Dummies and what is sealed to others take no room; what could not be tried is kept."""
    opener = Opener()
    keep = sealed_to_us(opener, Clock(50.0))
    kept = [await keep("12125551234", one) for one in (b"ours", b"dummy", b"malformed", b"late")]
    assert kept == [True, False, False, True]
    assert opener.asked[0] == ("12125551234", 51.0)
