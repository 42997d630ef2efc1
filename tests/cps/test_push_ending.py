"""Tests of pbx_stir.cps.push: how many streams there may be, and what ends them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import pytest

from pbx_stir.cps import push as push_module
from pbx_stir.cps.push import PushLimits
from pbx_stir.cps.store import MemoryStore, Placed
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.credential import Credential

from .conftest import Authority, Run
from .signing import Asker
from .streaming import BULK, NUMBER, PATH, add, running

OTHER = "16465550000"


async def gone(cps_url: str, asker: Asker, count: int) -> None:
    """Wait until so many streams can be had again."""
    async with asyncio.timeout(20), contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            while True:
                try:
                    await stack.enter_async_context(asker.stream(PATH))
                    break
                except AssertionError:
                    await asyncio.sleep(0.02)


async def test_there_is_room_for_so_many(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 for one certificate's too many, 503 for all's; a closed stream gives its place back."""
    monkeypatch.setattr(push_module, "TICK_SECONDS", 0.01)
    limits = {"push_subscribers": 3, "push_subscribers_of_a_leaf": 2}
    asked = {"Accept": "text/event-stream"}
    second = authority.credential(NUMBER, name="Second")
    async with (
        running(run, authority, **limits) as cps,
        Asker(cps.url, company) as asker,
        Asker(cps.url, second) as other,
    ):
        async with asker.stream(PATH), asker.stream(BULK):
            status, headers, _ = await asker.ask(PATH, **asked)
            assert (status, headers["Retry-After"]) == (429, "30")
            async with other.stream(PATH):
                status, headers, _ = await other.ask(PATH, **asked)
                assert (status, headers["Retry-After"]) == (503, "30")
        await gone(cps.url, asker, 2)


async def test_one_certificate_opens_so_many(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens and closes streams without end is told to wait; others are not."""
    monkeypatch.setattr(push_module, "OPENED_AT_ONCE", 2.0)
    monkeypatch.setattr(push_module, "OPENED_RATE", 0.001)
    async with running(run, authority, push_subscribers_of_a_leaf=1) as cps:
        async with Asker(cps.url, company) as asker:
            statuses = [
                (await asker.ask(PATH, "HEAD", Accept="text/event-stream"))[0],
                (await asker.ask(f"/cps/{OTHER}/ppts", Accept="text/event-stream"))[0],
            ]
            for _ in range(2):
                with contextlib.suppress(AssertionError):
                    async with asker.stream(PATH):
                        pass
            status, headers, _ = await asker.ask(PATH, Accept="text/event-stream")
            assert (statuses, status) == ([200, 401], 429)
            assert int(headers["Retry-After"]) > 0
        async with Asker(cps.url, authority.credential(NUMBER)) as other, other.stream(PATH):
            pass


async def test_the_end_of_a_certificate_ends_its_streams(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the anchors change; the stream ends as HTTP ends it."""
    monkeypatch.setattr(push_module, "TICK_SECONDS", 0.01)
    trusted: list[Anchors] = [authority.anchors]
    async with (
        run(anchors=lambda: trusted[0]) as cps,
        Asker(cps.url, company) as asker,
        asker.stream(BULK) as stream,
    ):
        await stream.read_until(b"id: ")
        trusted[0] = Authority().anchors
        await stream.ended()
        status, _, _ = await asker.ask(BULK, Accept="text/event-stream")
        assert status == 401


@pytest.mark.parametrize("path", [PATH, BULK])
async def test_lost_arrivals_end_streams(
    run: Run, authority: Authority, company: Credential, path: str
) -> None:
    """Who may lack something hears so, comes back, and gets all that is alive."""
    losing: list[Callable[[], None]] = []
    with pytest.MonkeyPatch.context() as patch:
        listen = MemoryStore.arrivals

        def arrivals(
            store: MemoryStore, told: Callable[[Placed], None], lost: Callable[[], None]
        ) -> Callable[[], None]:
            losing.append(lost)
            return listen(store, told)

        patch.setattr(MemoryStore, "arrivals", arrivals)
        async with running(run, authority) as cps, Asker(cps.url, company) as asker:
            early = await add(cps)
            late = await add(cps, seconds=9)
            async with asker.stream(path) as stream:
                await stream.until(early, late)
                losing[0]()
                await stream.ended()
                assert stream.octets.endswith(b"\n\nid:\n\n")
                assert stream.reader.last_id == ""
            cps.store.is_complete = False
            status, headers, _ = await asker.ask(path, Accept="text/event-stream")
            assert (status, "Retry-After" in headers) == (503, True)
            cps.store.is_complete = True
            async with asker.stream(path) as stream:
                await stream.until(early, late)


async def test_too_many_arrivals_at_once_end_streams(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be told in time is not told, and no reader takes that for all there is."""
    monkeypatch.setattr(push_module, "MAX_DUE", 2)
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        async with asker.stream(BULK) as stream:
            await stream.read_until(b"\n\n:\n\n")
            stored = [await add(cps) for _ in range(3)]
            await stream.ended()
            assert stream.reader.last_id == ""
        async with asker.stream(BULK) as stream:
            await stream.until(*stored)


async def test_draining_ends_streams_at_once(
    run: Run, authority: Authority, company: Credential
) -> None:
    """The end of the service does not wait for who would listen for ever."""
    async with contextlib.AsyncExitStack() as stack:
        async with running(run, authority) as cps:
            asker = await stack.enter_async_context(Asker(cps.url, company))
            streams = [
                await stack.enter_async_context(asker.stream(path)) for path in (PATH, BULK) * 5
            ]
            began = time.monotonic()
        assert time.monotonic() - began < 4
        for stream in streams:
            await stream.ended()


@pytest.mark.parametrize(
    "wrong",
    [
        {"subscribers": 0},
        {"subscribers_of_a_leaf": 0},
        {"heartbeat_seconds": 0},
        {"heartbeat_seconds": -1.0},
    ],
)
def test_limits_that_allow_nothing_are_refused(wrong: dict[str, int]) -> None:
    """There is room for one stream at least, and time between two heartbeats."""
    with pytest.raises(ValueError, match="room"):
        PushLimits(**wrong)
