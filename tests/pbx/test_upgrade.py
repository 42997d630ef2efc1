"""The whole service on a real Asterisk with calls running: another takes its place, it reloads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.companies import Authority, Company
from lab.processes import Service
from tests.pbx.scene import Caller, Desk, eventually, listening
from tests.pbx.test_slow_cps import TRUNK, eventually_heard, slow_cps

pytestmark = pytest.mark.pbx

# each call is held for so long, so that some always are
HELD_SECONDS = 0.3
BETWEEN_SECONDS = 0.05
BUDGET_MS = 9_000
READ_AGAIN = "configuration read again"


@asynccontextmanager
async def calls_running(caller: Caller) -> AsyncIterator[list[str]]:
    """Calls come in one after the other as long as the block lasts: their tags."""
    tags: list[str] = []
    over = asyncio.Event()

    async def placing() -> None:
        while not over.is_set():
            tags.append(await caller.place("in", "16465550100"))
            await asyncio.sleep(BETWEEN_SECONDS)

    task = asyncio.create_task(placing())
    try:
        yield tags
    finally:
        over.set()
        await task


async def each_was_served_once(caller: Caller, tags: list[str], log: Path) -> None:
    """Every call has its verdict, none waited its budget, and each stands in the log once."""
    seen = [await caller.seen(tag, 20) for tag in tags]
    assert Counter(one["Reason"] for one in seen) == {"no-passport": len(tags)}
    assert max(int(one["Ms"]) for one in seen) < BUDGET_MS / 2
    text = await asyncio.to_thread(log.read_text)
    lines = [json.loads(line) for line in text.splitlines()]
    assert len({line["id"] for line in lines}) == len({line["uniqueid"] for line in lines})
    assert len(lines) == len(tags)
    assert all(line["released"] for line in lines)
    assert {one["Id"] for one in seen} == {line["id"] for line in lines}


async def more(tags: list[str], count: int) -> None:
    """Return once so many more calls have come."""
    until = len(tags) + count
    await eventually(lambda: len(tags) >= until, 30)


def logged_in(service: Service) -> Callable[[], bool]:
    """Whether a service listens at the PBX."""
    return lambda: "logged in at" in service.said


def has_read(service: Service, times: int) -> Callable[[], bool]:
    """Whether a service has read its configuration again so often."""
    return lambda: service.said.count(READ_AGAIN) >= times


async def test_an_upgrade_and_a_reload_miss_no_call(caller: Caller, tmp_path: Path) -> None:
    """The new one is started, the old one ended, and the new one reads two configurations: of the
    calls that come all the while, one after the other, each has one verdict, in time."""
    authority = Authority.new(tmp_path, "Lab")
    company = Company("company-b", "16465550100", 100, tmp_path / "b")
    with slow_cps(tmp_path, HELD_SECONDS) as (url, ca):
        company.configure(
            authority=authority,
            trust=authority.anchor,
            cps=url,
            cps_ca=ca,
            routes=["1"],
            pbxs=[caller.instance],
            more=TRUNK,
        )
        arguments = ["run", "--config", str(company.config)]
        old, new = Service("old", arguments, tmp_path), Service("new", arguments, tmp_path)
        with old, contextlib.ExitStack() as ended:
            ended.callback(new.stop)
            await eventually_heard(caller)
            await caller.set_global("STIR_BUDGET_on-1", str(BUDGET_MS))
            async with calls_running(caller) as tags:
                await more(tags, 10)
                new.start()
                await eventually(logged_in(new), 30)
                os.kill(old.pid, signal.SIGTERM)
                await eventually(lambda: not old.running, 30)
                await more(tags, 20)
                text = company.config.read_text()
                for changed in (
                    text.replace("[publish]", "[publish]\nkey_days = 3.0", 1),
                    text.replace("[verification]", '[verification]\nspc = "refuse"', 1),
                ):
                    wanted = new.said.count(READ_AGAIN) + 1
                    company.config.write_text(changed)
                    os.kill(new.pid, signal.SIGHUP)
                    await eventually(has_read(new, wanted), 30)
                    await more(tags, 10)
            await each_was_served_once(caller, tags, company.folder / "calls.jsonl")
    assert "Traceback" not in old.said + new.said


async def test_a_pbx_is_handed_over_at_any_moment(caller: Caller) -> None:
    """However the heartbeats of the two lie, no call between them finds that nobody listens."""
    desk = Desk()
    await caller.set_global("STIR_BUDGET_on-1", str(BUDGET_MS))
    async with contextlib.AsyncExitStack() as all_listeners:
        old = contextlib.AsyncExitStack()
        await old.enter_async_context(listening(caller.instance, desk))
        async with calls_running(caller) as tags:
            for phase in range(8):
                new = contextlib.AsyncExitStack()
                all_listeners.push_async_exit(new)
                await new.enter_async_context(listening(caller.instance, desk))
                await asyncio.sleep(phase / 8)
                await old.aclose()
                old = new
        seen = [await caller.seen(tag, 20) for tag in tags]
    assert Counter(one["Reason"] for one in seen) == {"verified": len(tags)}
    assert max(int(one["Ms"]) for one in seen) < BUDGET_MS / 2
    assert len(desk.calls) == len(tags)
