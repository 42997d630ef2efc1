"""A number's CPSs and keys: routes first, then records, looked up once and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pbx_stir.directory import resolver as room
from pbx_stir.directory import silence
from pbx_stir.directory.resolver import (
    AT_ONCE_SECONDS,
    IDLE_SECONDS,
    LOOKUP_SECONDS,
    NO_KEY_SECONDS,
    OTHERS_SECONDS,
    REFRESH_SECONDS,
    Resolver,
)
from pbx_stir.directory.routes import Route, Routes, Sealing, Served
from pbx_stir.directory.silence import FAILURE_SECONDS, SILENT_TIMES
from pbx_stir.errors import (
    CpsRefused,
    CpsUnavailable,
    MalformedAnswer,
    PbxStirError,
    Unavailable,
)
from pbx_stir.services.call import Reason
from pbx_stir.stir.certificate import SpcPolicy

NOW = 1_750_000_000.0
NUMBER = "12125551234"
ONE, TWO = "https://one.example.net", "https://two.example.net"


class Clock:
    """Both clocks at once, set by hand."""

    def __init__(self) -> None:
        self.passed = 0.0

    def epoch(self) -> float:
        """The wall clock."""
        return NOW + self.passed

    def monotonic(self) -> float:
        """The steady clock."""
        return 1000.0 + self.passed


class Cps:
    """CPSs that return what they are told to, and count."""

    def __init__(self) -> None:
        self.tokens: dict[str, tuple[str, ...]] = {}
        self.errors: dict[str, PbxStirError] = {}
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        # how long an error takes, and by whose clock
        self.slow, self.clock = 0.0, Clock()

    async def get_records(self, cps: str, number: str, give_up_at: float) -> Sequence[str]:
        """Answer once the gate is open."""
        self.asked.append((cps, number))
        await self.gate.wait()
        if cps in self.errors:
            self.clock.passed += self.slow
            raise self.errors[cps]
        return self.tokens.get(cps, ())

    async def get_records_under(
        self, cps: str, prefix: str, give_up_at: float
    ) -> tuple[Sequence[str], bool]:
        """Answer for a prefix as for a number."""
        return await self.get_records(cps, prefix + "*", give_up_at), True


@pytest.fixture
def clock() -> Clock:
    """The clocks."""
    return Clock()


@pytest.fixture
def cps(clock: Clock) -> Cps:
    """The CPSs."""
    made = Cps()
    made.clock = clock
    return made


Make = Callable[..., Resolver]


@pytest.fixture
def make(lab: Any, clock: Clock, cps: Cps) -> Make:
    """Makes resolvers with these routes; random times are the latest possible."""

    def make(*routes: Route, served: Sequence[Served] = ()) -> Resolver:
        return Resolver(
            routes=Routes(routes or [Route("1212", (ONE, TWO))], served),
            records=cps,
            anchors=lambda: lab.anchors,
            spc_policy=SpcPolicy(),
            epoch=clock.epoch,
            monotonic=clock.monotonic,
            draw=lambda low, high: high,
        )

    return make


async def ask(resolver: Resolver, clock: Clock, number: str = NUMBER) -> Any:
    """Ask with time enough."""
    return await resolver.destination(number, clock.monotonic() + 60)


async def test_without_a_route_there_is_no_cps(make: Make, clock: Clock, cps: Cps) -> None:
    """Nobody is asked for a number that no route serves."""
    found = await ask(make(), clock, "4420555")
    assert (found.reason, found.cps, found.keys) == (Reason.NO_CPS, (), ())
    assert cps.asked == []


async def test_pinned_keys_need_no_record(make: Make, clock: Clock, cps: Cps, new_key: Any) -> None:
    """Configuration comes first: its keys are taken, and nobody is asked."""
    key = new_key()
    found = await ask(make(Route("1212", (ONE,), keys=(key,))), clock)
    assert (found.reason, found.cps, found.keys) == (None, (ONE,), (key,))
    assert cps.asked == []


async def test_an_unsealed_route_needs_no_key(make: Make, clock: Clock, cps: Cps) -> None:
    """Where the configuration says that nothing is sealed, nobody is asked for keys."""
    found = await ask(make(Route("1212", (ONE,), Sealing.NONE)), clock)
    assert (found.reason, found.cps, found.keys, found.sealed) == (None, (ONE,), (), False)
    assert cps.asked == []


class Elsewhere:
    """What an advertisement and ENUM say of every number, and how often ENUM was asked."""

    def __init__(self, *advertised: str, enum: Sequence[str] | PbxStirError = ()) -> None:
        self.advertised = advertised
        self.enum = enum
        self.asked = 0

    def cps(self, number: str) -> tuple[str, ...]:
        """The advertisement."""
        return self.advertised


class Dns:
    """ENUM's side of it."""

    def __init__(self, of: Elsewhere) -> None:
        self._of = of

    async def cps(self, number: str, give_up_at: float) -> tuple[str, ...]:
        """Answer, or fail."""
        self._of.asked += 1
        if isinstance(self._of.enum, PbxStirError):
            raise self._of.enum
        return tuple(self._of.enum)


def with_elsewhere(make: Make, elsewhere: Elsewhere, *routes: Route) -> Resolver:
    """A resolver that has both besides its routes."""
    resolver = make(*(routes or (Route("44", (ONE,)),)))
    resolver._advertised = elsewhere
    resolver._enum = Dns(elsewhere)
    return resolver


async def test_an_advertisement_names_the_cps_where_no_route_does(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """RFC 9888 section 4; the keys are in the records of the CPS that it names."""
    key = new_key()
    cps.tokens[TWO] = (lab.record(alice, key),)
    elsewhere = Elsewhere(TWO, enum=(ONE,))
    found = await ask(with_elsewhere(make, elsewhere), clock)
    assert (found.cps, found.keys, found.sealed, elsewhere.asked) == ((TWO,), (key,), True, 0)
    assert cps.asked == [(TWO, NUMBER)]


async def test_a_route_comes_before_advertisements(make: Make, clock: Clock, cps: Cps) -> None:
    """What the administrator says counts, even where it leads to no key."""
    elsewhere = Elsewhere(TWO, enum=(TWO,))
    found = await ask(with_elsewhere(make, elsewhere, Route("1212", (ONE,))), clock)
    assert (found.cps, found.reason, elsewhere.asked) == ((ONE,), Reason.NO_KEY, 0)


async def test_enum_is_asked_last(make: Make, clock: Clock, cps: Cps) -> None:
    """Where neither routes nor advertisements name a CPS, DNS may."""
    found = await ask(with_elsewhere(make, Elsewhere(enum=(TWO,))), clock)
    assert (found.cps, found.reason, found.sealed) == ((TWO,), Reason.NO_KEY, True)
    found = await ask(with_elsewhere(make, Elsewhere()), clock)
    assert found.reason is Reason.NO_CPS


async def test_a_failing_enum_is_said(make: Make, clock: Clock, cps: Cps) -> None:
    """A name server that is down is no proof that there is no CPS."""
    found = await ask(with_elsewhere(make, Elsewhere(enum=Unavailable("dns is down"))), clock)
    assert (found.reason, found.detail) == (Reason.CPS_UNAVAILABLE, "dns is down")


async def test_what_was_advertised_is_refreshed_where_it_is_advertised_now(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """A provider that moves to another CPS is followed without a call."""
    cps.tokens[ONE] = cps.tokens[TWO] = (lab.record(alice, new_key()),)
    elsewhere = Elsewhere(ONE)
    resolver = with_elsewhere(make, elsewhere)
    await ask(resolver, clock)
    elsewhere.advertised = (TWO,)
    clock.passed += REFRESH_SECONDS
    assert await resolver.refresh_due() == 1
    assert cps.asked == [(ONE, NUMBER), (TWO, NUMBER)]
    elsewhere.advertised, elsewhere.enum = (), Unavailable("dns is down")
    clock.passed += REFRESH_SECONDS
    await resolver.refresh_due()
    assert len(cps.asked) == 2


async def test_the_keys_of_all_cps_are_joined(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """Every CPS of the route is asked; the keys of all signers are taken."""
    keys = new_key(), new_key()
    cps.tokens = {
        ONE: (lab.record(alice, keys[0]),),
        TWO: (lab.record(lab.credential("Bob"), keys[1]),),
    }
    found = await ask(make(), clock)
    assert (found.reason, found.cps, set(found.keys)) == (None, (ONE, TWO), set(keys))


async def test_a_second_call_asks_nobody(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """What was looked up is kept until the record expires, also when nobody refreshes it."""
    cps.tokens = {ONE: (lab.record(alice, new_key()),)}
    resolver = make()
    first = await ask(resolver, clock)
    asked = len(cps.asked)
    clock.passed = 86_400 - 1
    assert await ask(resolver, clock) == first
    assert len(cps.asked) == asked
    clock.passed = 86_401
    assert (await ask(resolver, clock)).reason is Reason.BAD_RECORD


async def test_calls_at_the_same_time_share_a_look_up(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """Ten calls to one number are one question; who gives up gets what is known."""
    cps.tokens = {ONE: (lab.record(alice, new_key()),)}
    cps.gate.clear()
    resolver = make(Route("1212", (ONE,)))
    waiting = [asyncio.create_task(ask(resolver, clock)) for _ in range(10)]
    late = await resolver.destination(NUMBER, clock.monotonic())
    assert late.reason is Reason.CPS_UNAVAILABLE
    cps.gate.set()
    assert all(found.keys for found in await asyncio.gather(*waiting))
    assert len(cps.asked) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CpsUnavailable("down"), Reason.CPS_UNAVAILABLE),
        (MalformedAnswer("garbage"), Reason.CPS_UNAVAILABLE),
        (CpsRefused("not you", status=403), Reason.CPS_UNAVAILABLE),
        (CpsRefused("no such thing", status=404), Reason.NO_KEY),
    ],
)
async def test_a_cps_that_fails_has_its_reason(
    make: Make, clock: Clock, cps: Cps, error: PbxStirError, reason: Reason
) -> None:
    """A failure names the CPS; one that keeps no records has no key."""
    cps.errors = {ONE: error}
    found = await ask(make(Route("1212", (ONE,))), clock)
    assert found.reason is reason
    assert (ONE in found.detail) == (reason is Reason.CPS_UNAVAILABLE)


async def test_one_cps_is_enough(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """While one is down the other's records do."""
    cps.errors = {ONE: CpsUnavailable("down")}
    cps.tokens = {TWO: (lab.record(alice, new_key()),)}
    assert (await ask(make(), clock)).keys


class HalfSilentCps(Cps):
    """The first CPS does not answer at all; the second one as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.left = asyncio.Event()

    async def get_records(self, cps: str, number: str, give_up_at: float) -> Sequence[str]:
        """Wait for ever at the first one."""
        if cps == ONE:
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()
        return await super().get_records(cps, number, give_up_at)


async def test_a_silent_cps_does_not_hold_up_another_ones_key(
    lab: Any, clock: Clock, alice: Any, new_key: Any
) -> None:
    """A call has the key as soon as one CPS gives it; the other is broken off at the end."""
    cps = HalfSilentCps()
    cps.tokens = {TWO: (lab.record(alice, new_key()),)}
    resolver = Resolver(
        routes=Routes([Route("1212", (ONE, TWO))], ()),
        records=cps,
        anchors=lambda: lab.anchors,
        spc_policy=SpcPolicy(),
        epoch=clock.epoch,
        monotonic=clock.monotonic,
        draw=lambda low, high: high,
    )
    async with asyncio.timeout(0.9 * LOOKUP_SECONDS):
        assert (await ask(resolver, clock)).keys
    assert not cps.left.is_set()
    await resolver.close()
    assert cps.left.is_set()


async def test_a_quick_cps_without_a_key_does_not_end_a_look_up(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """What gives no key, garbage too, leaves the others all the time there is."""
    cps.tokens = {ONE: ("garbage",), TWO: (lab.record(alice, new_key()),)}
    late = asyncio.Event()
    at_once = cps.get_records

    async def get_records(cps: str, number: str, give_up_at: float) -> Sequence[str]:
        if cps == TWO:
            await late.wait()
        return await at_once(cps, number, give_up_at)

    cps.get_records = get_records  # type: ignore[method-assign]
    asking = asyncio.create_task(ask(make(), clock))
    done, _ = await asyncio.wait({asking}, timeout=2 * OTHERS_SECONDS)
    assert not done
    late.set()
    assert (await asking).keys


async def test_bad_records_are_said(
    make: Make, clock: Clock, cps: Cps, lab: Any, new_key: Any
) -> None:
    """Records that no one with authority signed are BAD_RECORD, with why."""
    mallory = lab.credential("Mallory", ranges=(("1415555", 10),))
    cps.tokens = {ONE: ("garbage", lab.record(mallory, new_key(), numbers=(NUMBER,)))}
    found = await ask(make(), clock)
    assert found.reason is Reason.BAD_RECORD
    assert found.detail


async def test_failures_are_remembered_briefly(make: Make, clock: Clock, cps: Cps) -> None:
    """No key: a minute; a CPS that is silent: half of that; one that refuses at once: 2 s."""
    resolver = make(Route("1212", (ONE,)))
    down = CpsUnavailable("x")
    for error, slow, seconds in (
        (None, 0.0, NO_KEY_SECONDS),
        (down, LOOKUP_SECONDS, FAILURE_SECONDS),
        (down, 0.0, AT_ONCE_SECONDS),
    ):
        cps.errors, cps.slow = {ONE: error} if error else {}, slow
        number = f"1212{int(seconds)}"
        asked = len(cps.asked)
        await ask(resolver, clock, number)
        clock.passed += seconds - 1
        await ask(resolver, clock, number)
        assert len(cps.asked) == asked + 1
        clock.passed += 1
        await ask(resolver, clock, number)
        assert len(cps.asked) == asked + 2
        clock.passed += FAILURE_SECONDS


async def test_a_cps_that_refuses_at_once_is_asked_on(make: Make, clock: Clock, cps: Cps) -> None:
    """It costs a call nothing, and where it is being restarted it is back the next moment."""
    cps.errors = {ONE: CpsUnavailable("connection refused")}
    resolver = make(Route("1212", (ONE,)))
    for last in range(5):
        found = await ask(resolver, clock, f"1212555000{last}")
        assert found.reason is Reason.CPS_UNAVAILABLE
    assert len(cps.asked) == 5
    cps.errors = {}
    assert (await ask(resolver, clock, "12125550009")).reason is Reason.NO_KEY


async def test_a_silent_cps_is_left_in_peace(make: Make, clock: Clock, cps: Cps) -> None:
    """After it failed twice, calls to other numbers do not find out one by one."""
    cps.errors, cps.slow = {ONE: CpsUnavailable("black hole")}, LOOKUP_SECONDS
    resolver = make(Route("1212", (ONE,)))
    for last in range(5):
        found = await ask(resolver, clock, f"1212555000{last}")
        assert found.reason is Reason.CPS_UNAVAILABLE
    assert len(cps.asked) == SILENT_TIMES
    clock.passed += FAILURE_SECONDS
    cps.errors = {}
    assert (await ask(resolver, clock, "12125550009")).reason is Reason.NO_KEY


async def test_a_silent_cps_is_probed_off_the_call_path(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """No call finds out that it is silent still; once it answers, what was in vain is forgiven."""
    cps.errors, cps.slow = {ONE: CpsUnavailable("black hole")}, LOOKUP_SECONDS
    resolver = make(Route("1212", (ONE,)))
    numbers = [f"1212555123{last}" for last in range(4)]
    for one in numbers:
        await ask(resolver, clock, one)
    for _ in range(9):
        clock.passed += FAILURE_SECONDS / 3
        await resolver.refresh_due()
        asked = len(cps.asked)
        assert (await ask(resolver, clock, "12125559999")).reason is Reason.CPS_UNAVAILABLE
        assert len(cps.asked) == asked
    cps.errors, cps.tokens = {}, {ONE: (lab.record(alice, new_key()),)}
    await resolver.refresh_due()
    for one in numbers:
        assert (await ask(resolver, clock, one)).reason is not Reason.CPS_UNAVAILABLE


async def test_few_silent_cps_are_remembered(
    make: Make, clock: Clock, cps: Cps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: the one that failed longest ago is asked again first."""
    monkeypatch.setattr(silence, "MOST_SILENT", 2)
    cps.slow = LOOKUP_SECONDS
    cps.errors = {f"https://{n}.example.net": CpsUnavailable("black hole") for n in range(3)}
    resolver = make(*(Route(f"1212{n}", (one,)) for n, one in enumerate(cps.errors)))
    for _ in range(SILENT_TIMES):
        for n in (0, 1):
            await ask(resolver, clock, f"1212{n}55000{len(cps.asked)}")
    asked = len(cps.asked)
    await ask(resolver, clock, "12120550010")
    assert len(cps.asked) == asked
    await ask(resolver, clock, "12122550011")
    await ask(resolver, clock, "12121550012")
    assert len(cps.asked) == asked + 1
    await ask(resolver, clock, "12120550013")
    assert len(cps.asked) == asked + 2


async def test_refreshing_happens_off_the_call_path(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """What is due is looked up again by the background work, and a tombstone is learned of."""
    cps.tokens = {ONE: (lab.record(alice, new_key(), serial=1),)}
    resolver = make(Route("1212", (ONE,)))
    await ask(resolver, clock)
    clock.passed = REFRESH_SECONDS - 1
    assert await resolver.refresh_due() == 0
    clock.passed = REFRESH_SECONDS
    cps.tokens = {ONE: (lab.record(alice, serial=2),)}
    assert await resolver.refresh_due() == 1
    asked = len(cps.asked)
    assert (await ask(resolver, clock)).reason is Reason.NO_KEY
    assert len(cps.asked) == asked == 2


async def test_a_failing_refresh_keeps_what_there_is(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """A CPS that is down, or that lost its records, does not take keys away before they expire."""
    cps.tokens = {ONE: (lab.record(alice, new_key()),)}
    resolver = make(Route("1212", (ONE,)))
    first = await ask(resolver, clock)
    for answer in (CpsUnavailable("down"), None):
        cps.errors = {ONE: answer} if answer else {}
        cps.tokens = {}
        clock.passed += REFRESH_SECONDS
        assert await resolver.refresh_due() == 1
        assert await ask(resolver, clock) == first


async def test_who_is_no_longer_called_is_forgotten(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """After a day without a call the CPS is no longer asked."""
    cps.tokens = {ONE: (lab.record(alice, new_key(), seconds=7 * 86_400),)}
    resolver = make(Route("1212", (ONE,)))
    await ask(resolver, clock)
    clock.passed = IDLE_SECONDS + 1
    assert await resolver.refresh_due() == 0
    assert len(cps.asked) == 1


async def test_memory_is_bounded(
    make: Make, clock: Clock, cps: Cps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number least called goes first."""
    monkeypatch.setattr(room, "MOST_NUMBERS", 2)
    resolver = make(Route("1212", (ONE,)))
    for last in (1, 2, 1, 3, 1):
        await ask(resolver, clock, f"1212{last}")
    assert [number for _, number in cps.asked] == ["12121", "12122", "12123"]


async def test_it_refreshes_at_random_times(make: Make, cps: Cps) -> None:
    """The background work pauses for drawn times, for ever."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await make().run(pause)
    assert pauses == [5.0] * 3


def test_our_own_cps_come_from_configuration(make: Make) -> None:
    """Where others store for our numbers."""
    resolver = make(Route("1", (ONE,)), served=[Served(frozenset({NUMBER}), (TWO,))])
    assert resolver.own_cps(NUMBER) == (TWO,)
    assert resolver.own_cps("12125550000") == (ONE,)


async def test_after_close_nothing_is_under_way(make: Make, clock: Clock, cps: Cps) -> None:
    """Who still waits is told that the CPS cannot be asked."""
    cps.gate.clear()
    resolver = make()
    waiting = asyncio.create_task(ask(resolver, clock))
    await asyncio.sleep(0)
    await resolver.close()
    assert (await waiting).reason is Reason.CPS_UNAVAILABLE
