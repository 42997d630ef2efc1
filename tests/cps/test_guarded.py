"""A silent CPS costs two calls their budget, and no more; it is asked again when it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from pbx_stir.cps import guarded as room
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.cps.waits import FEWEST, LONG_SECONDS
from pbx_stir.errors import CpsUnavailable
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import Answer, StoreResult

GOOD, SILENT, DOWN = "https://good.example", "https://silent.example", "https://down.example"
BUDGET = 1.3
Way = Callable[..., Awaitable[object]]


@dataclass
class FakeClient:
    """One CPS answers, one says nothing to the end, one refuses the connection at once."""

    time: float = 100.0
    silent: set[str] = field(default_factory=lambda: {SILENT})
    asked: list[str] = field(default_factory=list)
    probed: int = 0
    lasts: float | None = None
    takes: float = 0.0
    hangs: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def _reason(self, cps: str, give_up_at: float) -> Reason | None:
        self.asked.append(cps)
        if cps in self.silent:
            self.time = give_up_at if self.lasts is None else self.time + self.lasts
            return Reason.CPS_UNAVAILABLE
        self.time += self.takes
        return Reason.CPS_UNAVAILABLE if cps == DOWN else None

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        if self.hangs:
            self.asked += cps
            await asyncio.Event().wait()
        return [StoreResult(one, self._reason(one, give_up_at) or Reason.STORED) for one in cps]

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        for cps, number in wanted:
            if self.hangs and cps in self.silent:
                self.asked.append(cps)
                await asyncio.Event().wait()
            yield Answer(cps, number, reason=self._reason(cps, give_up_at))

    async def clock_offset(self, cps: str, give_up_at: float) -> float | None:
        self.probed += 1
        if cps in self.silent:
            raise CpsUnavailable("silent")
        return 0.0

    async def pause(self, seconds: float) -> None:
        await self.gate.wait()
        self.gate.clear()


def guarded(client: FakeClient) -> GuardedPlacement:
    return GuardedPlacement(client, clock=lambda: client.time, pause=client.pause)


async def store(one: GuardedPlacement, client: FakeClient, *cps: str) -> list[Reason]:
    found = await one.store(cps, "12125551234", [b""], client.time + BUDGET)
    return [each.reason for each in found]


async def retrieve(one: GuardedPlacement, client: FakeClient, *cps: str) -> list[Reason | None]:
    wanted = [(each, "12125551234") for each in cps]
    async with aclosing(one.retrieve(wanted, client.time + BUDGET)) as answers:
        return [answer.reason async for answer in answers]


async def test_after_two_silent_calls_it_is_not_asked() -> None:
    """Two calls pay at most their budget, later ones nothing; the other CPSs are asked as ever."""
    client = FakeClient()
    one = guarded(client)
    for _ in range(5):
        before = client.time
        reasons = await store(one, client, SILENT, GOOD)
        assert reasons == [Reason.CPS_UNAVAILABLE, Reason.STORED]
        paid = client.time - before
        assert paid in (0.0, BUDGET) or abs(paid - BUDGET) < 1e-6
    assert client.asked.count(SILENT) == 2
    assert client.asked.count(GOOD) == 5
    await one.close()


async def test_what_is_known_of_a_cps_can_be_asked() -> None:
    """Silent while it is not asked; unavailable from an answer that gave nothing to one that did,
    which the probe's is."""
    client = FakeClient()
    one = guarded(client)
    assert (one.is_silent(SILENT), one.is_unavailable(SILENT)) == (False, False)
    await store(one, client, SILENT, DOWN, GOOD)
    assert [one.is_unavailable(cps) for cps in (SILENT, DOWN, GOOD)] == [True, True, False]
    await store(one, client, SILENT, DOWN)
    assert [one.is_silent(cps) for cps in (SILENT, DOWN)] == [True, False]
    client.silent.clear()
    while one.is_silent(SILENT):
        client.gate.set()
        await asyncio.sleep(0)
    assert not one.is_unavailable(SILENT)
    await one.close()


async def test_few_silent_cps_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names any number of silent CPSs in records has as many probed as there is room for;
    the one that was silent longest ago costs its two calls again."""
    monkeypatch.setattr(room, "MOST_BREAKERS", 3)
    many = [f"https://{n}.example" for n in range(10)]
    client = FakeClient(silent=set(many))
    one = guarded(client)
    for cps in [*many, GOOD]:
        for _ in range(3):
            await store(one, client, cps)
    await asyncio.sleep(0)
    assert [client.asked.count(cps) for cps in (*many, GOOD)] == [2] * 10 + [3]
    probes = [task for task in asyncio.all_tasks() if "_probe" in repr(task.get_coro())]
    assert len(probes) == 3
    await store(one, client, many[-1])
    await store(one, client, many[0])
    assert (client.asked.count(many[-1]), client.asked.count(many[0])) == (2, 3)
    await one.close()


async def test_retrievals_count_as_stores_do() -> None:
    """A silent CPS is silent both ways, and every (CPS, number) still has its answer."""
    client = FakeClient()
    one = guarded(client)
    for _ in range(4):
        reasons = await retrieve(one, client, SILENT, GOOD)
        assert sorted(map(str, reasons)) == sorted(map(str, [Reason.CPS_UNAVAILABLE, None]))
    await store(one, client, SILENT)
    assert client.asked.count(SILENT) == 2
    await one.close()


@pytest.mark.parametrize("way", [store, retrieve])
async def test_calls_do_not_join_those_that_wait_long(way: Way) -> None:
    """While two wait for a CPS that answers nobody a third has its result at once."""
    client = FakeClient(silent=set())
    one = guarded(client)
    for _ in range(FEWEST):
        await way(one, client, SILENT)
    client.asked.clear()
    client.hangs, client.silent = True, {SILENT}
    waiting = [asyncio.create_task(way(one, client, SILENT)) for _ in range(2)]
    async with asyncio.timeout(5):
        while client.asked.count(SILENT) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        client.time += LONG_SECONDS
        assert await way(one, client, SILENT) == [Reason.CPS_UNAVAILABLE]
    assert client.asked.count(SILENT) == 2
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    client.hangs, client.silent = False, set()
    await way(one, client, SILENT)
    assert client.asked.count(SILENT) == 3
    await one.close()


async def test_it_is_probed_off_the_call_path_and_asked_again() -> None:
    """No call pays to find out that it is back."""
    client = FakeClient()
    one = guarded(client)
    for _ in range(2):
        await store(one, client, SILENT)
    await asyncio.sleep(0)
    assert client.probed == 1
    client.silent.clear()
    client.gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert client.probed == 2
    assert await store(one, client, SILENT) == [Reason.STORED]
    await one.close()


async def test_what_fails_at_once_is_asked_every_time() -> None:
    """A refused connection costs a call nothing, and may be over with the next one."""
    client = FakeClient()
    one = guarded(client)
    for _ in range(5):
        await store(one, client, DOWN)
    assert client.asked.count(DOWN) == 5
    await one.close()


async def test_one_answer_between_forgets_the_silence() -> None:
    """Two in a row are needed."""
    client = FakeClient()
    one = guarded(client)
    await store(one, client, SILENT)
    client.silent.clear()
    await store(one, client, SILENT)
    client.silent.add(SILENT)
    await store(one, client, SILENT)
    assert await store(one, client, SILENT) == [Reason.CPS_UNAVAILABLE]
    assert client.asked.count(SILENT) == 4
    await one.close()


@pytest.mark.parametrize(("share", "asked"), [(0.3, 5), (0.6, 2)])
async def test_what_breaks_off_late_costs_as_silence_does(share: float, asked: int) -> None:
    """A CPS that fails in the second half of the budget is not asked for ever, a quick one is."""
    client = FakeClient(lasts=share * BUDGET)
    one = guarded(client)
    for _ in range(5):
        await store(one, client, SILENT)
    assert client.asked.count(SILENT) == asked
    await one.close()


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("way", [store, retrieve])
async def test_a_call_cancelled_at_its_end_counts(way: Way, early: bool) -> None:
    """A CPS is silent where the caller's own net ends the wait; cancelled early says nothing."""
    client = FakeClient(hangs=True)
    one = guarded(client)
    for _ in range(2):
        end = client.time + BUDGET
        call = asyncio.create_task(way(one, client, SILENT))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        client.time = end - (BUDGET / 4 if early else 0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    client.hangs = False
    await way(one, client, SILENT)
    assert client.asked.count(SILENT) == (3 if early else 2)
    await one.close()


@pytest.mark.parametrize(("answered_at", "asked"), [(0.1, 1), (0.9, 0)])
async def test_closed_at_its_end_counts_who_was_waited_for(answered_at: float, asked: int) -> None:
    """A caller busy with one answer has not waited for the others; one that got it late has."""
    client = FakeClient(hangs=True, takes=answered_at * BUDGET)
    one = guarded(client)
    for _ in range(3):
        end = client.time + BUDGET
        answers = one.retrieve([(GOOD, "12125551234"), (SILENT, "12125551234")], end)
        async with aclosing(answers):
            assert (await anext(answers)).reason is None
            client.time = end
    client.hangs = False
    client.asked.clear()
    await retrieve(one, client, SILENT)
    assert len(client.asked) == asked
    await one.close()


async def test_one_call_counts_once() -> None:
    """A call that asks one CPS for several numbers is one call."""
    client = FakeClient()
    one = guarded(client)
    await retrieve(one, client, SILENT, SILENT, SILENT)
    client.asked.clear()
    await retrieve(one, client, SILENT)
    assert client.asked == [SILENT]
    await one.close()
