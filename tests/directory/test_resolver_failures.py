"""A number's CPSs that are silent, slow, down or refuse: what that costs a call, and the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pbx_stir.directory import silence
from pbx_stir.directory.resolver import (
    AT_ONCE_SECONDS,
    LOOKUP_SECONDS,
    NO_KEY_SECONDS,
    OTHERS_SECONDS,
)
from pbx_stir.directory.routes import Route
from pbx_stir.directory.silence import FAILURE_SECONDS, SILENT_TIMES
from pbx_stir.errors import CpsRefused, CpsUnavailable, MalformedAnswer, PbxStirError
from pbx_stir.services.call import Reason
from tests.directory.resolving import NUMBER, ONE, TWO, Clock, Cps, Make, ask


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
    make: Make, lab: Any, clock: Clock, alice: Any, new_key: Any
) -> None:
    """A call has the key as soon as one CPS gives it; the other is broken off at the end."""
    cps = HalfSilentCps()
    cps.tokens = {TWO: (lab.record(alice, new_key()),)}
    resolver = make(records=cps)
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
