"""A desk that takes calls, and listeners that bring them to it, whichever PBX they listen to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from lab.event_socket import EventSocketDouble
from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.pbx.freeswitch import FreeSwitchPbx
from pbx_stir.pbx.listener import Listener, Timing
from pbx_stir.services.call import Call, Mode
from tests.pbx_room.fake_asterisk import FakeAsterisk
from tests.pbx_room.test_hook import FIELDS

AMI_QUICK = Timing(heartbeat=0.01, silence=0.1, first_retry=0.01, last_retry=0.05, echo=0.2)
ESL_QUICK = Timing(heartbeat=0.02, silence=0.3, first_retry=0.01, last_retry=0.05, echo=0.3)
PASSED = [("STIR_VERSTAT", "TN-Validation-Passed"), ("STIR_REASON", "verified")]
# the same, as FreeSWITCH's channels get it
SAID = "|TN-Validation-Passed|verified||||||||"

Adapter = TypeVar("Adapter", bound=Listener[Any])


class Desk:
    """Keeps calls; answers each once it is told to, or at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.over: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()
        self.taken: asyncio.Queue[bool] = asyncio.Queue()
        self.release = asyncio.Event()
        if at_once:
            self.release.set()

    async def receive(self, call: Call, pbx: Any) -> None:
        """Wait for the test, then answer."""
        self.calls.put_nowait(call)
        await self.release.wait()
        if call.mode is Mode.ON:
            self.taken.put_nowait(await pbx.answer(call, PASSED, time.monotonic() + 1))

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        """Remember it."""
        self.over.put_nowait((pbx, unique_id, answered))

    async def next(self) -> Call:
        """The next call that came."""
        async with asyncio.timeout(5):
            return await self.calls.get()


async def connected(adapter: Listener[Any]) -> None:
    """Wait until it is, and hears its PBX."""
    async with asyncio.timeout(5):
        await adapter.connected.wait()


async def started(adapter: Listener[Any]) -> asyncio.Task[None]:
    """What runs it, once it is connected; who asks for this stops it."""
    task = asyncio.create_task(adapter.run())
    await connected(adapter)
    return task


@asynccontextmanager
async def serving(adapter: Adapter) -> AsyncIterator[Adapter]:
    """One that is connected, and in the end is stopped."""
    task = asyncio.create_task(adapter.run())
    try:
        await connected(adapter)
        yield adapter
    finally:
        await adapter.stop(drain_seconds=0.2)
        await task


@asynccontextmanager
async def trying(adapter: Adapter) -> AsyncIterator[Adapter]:
    """One that may never be connected."""
    task = asyncio.create_task(adapter.run())
    try:
        yield adapter
    finally:
        await adapter.stop()
        await task


async def stop_before_connecting(adapter: Listener[Any]) -> None:
    """Stop one that waits to try again."""
    task = asyncio.create_task(adapter.run())
    await asyncio.sleep(0)
    await adapter.stop()
    async with asyncio.timeout(5):
        await task


def running_asterisk(
    pbx: FakeAsterisk, desk: Desk, *, max_waiting: int = 100, timing: Timing = AMI_QUICK
) -> AbstractAsyncContextManager[AsteriskPbx]:
    """An adapter that serves."""
    return serving(AsteriskPbx(pbx.settings(), desk, max_waiting=max_waiting, timing=timing))


def running_freeswitch(
    double: EventSocketDouble, desk: Desk, *, max_waiting: int = 100, timing: Timing = ESL_QUICK
) -> AbstractAsyncContextManager[FreeSwitchPbx]:
    """An adapter that serves."""
    return serving(FreeSwitchPbx(double.settings(), desk, max_waiting=max_waiting, timing=timing))


def announce(pbx: FakeAsterisk, adapter: AsteriskPbx, **changed: str) -> None:
    """A call waits at an Asterisk."""
    kept = {k: v for k, v in FIELDS.items() if k not in {"Event", "UserEvent"}}
    fields = {**kept, "Uniqueid": "pbx-1.1", "Listener": adapter.listener, **changed}
    pbx.event("PbxStir", **fields)


def answers(pbx: FakeAsterisk) -> list[tuple[str, str]]:
    """What was written to an Asterisk's channels."""
    return [(channel, value) for channel, _, value in pbx.writes if channel]
