"""A silent CPS costs two calls their budget, and no more; it is asked again when it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.errors import CpsUnavailable
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import Answer, StoreResult

GOOD, SILENT, DOWN = "https://good.example", "https://silent.example", "https://down.example"
BUDGET = 1.3


@dataclass
class FakeClient:
    """One CPS answers, one says nothing to the end, one refuses the connection at once."""

    time: float = 100.0
    silent: set[str] = field(default_factory=lambda: {SILENT})
    asked: list[str] = field(default_factory=list)
    probed: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def _reason(self, cps: str, give_up_at: float) -> Reason | None:
        self.asked.append(cps)
        if cps in self.silent:
            self.time = give_up_at
            return Reason.CPS_UNAVAILABLE
        return Reason.CPS_UNAVAILABLE if cps == DOWN else None

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        return [StoreResult(one, self._reason(one, give_up_at) or Reason.STORED) for one in cps]

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        for cps, number in wanted:
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
