"""The stream of events: a snapshot, what comes, and where a page goes on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from lab.board import call
from pbx_stir.board import events
from pbx_stir.board.events import Stream, place_of
from pbx_stir.board.feed import Feed, Reader
from pbx_stir.board.server import serving
from tests.board.scene import Browser, board, settings
from tests.board.scene import Stream as Events

NOW = 1_795_311_330.0


def put(feed: Feed, *names: str) -> None:
    """Calls of these ids."""
    for name in names:
        feed.put(call(random.Random(name), NOW) | {"id": name})


def ids(items: list[dict[str, dict[str, str]]]) -> list[str]:
    """The ids of an event's calls."""
    return [one["line"]["id"] for one in items]


@contextlib.asynccontextmanager
async def streaming(
    feed: Feed | None = None, path: str = "/events", headers: Mapping[str, str] = {}, **changed: Any
) -> AsyncIterator[tuple[Browser, Events]]:
    """A board, who has logged in, and the stream of its events; all within half a minute."""
    async with asyncio.timeout(30), board(feed, **changed) as browser:
        await browser.log_in()
        async with browser.stream(path, **headers) as stream:
            yield browser, stream


async def test_a_page_begins_with_a_snapshot() -> None:
    """All that is kept with its counts, then each call once."""
    feed = Feed(2)
    put(feed, "a", "b", "c")
    async with streaming(feed) as (_, stream):
        first = await stream.next()
        assert first is not None
        assert first.kind == "snapshot"
        assert first.place == f"{feed.run_id}-3"
        assert ids(first.sent["calls"]) == ["b", "c"]
        assert first.sent["capacity"] == 2
        assert sum(row[5] for row in first.sent["counts"]) == 3
        put(feed, "d")
        then = await stream.next()
        assert then is not None
        assert (then.kind, ids(then.sent), then.place) == ("calls", ["d"], f"{feed.run_id}-4")


@pytest.mark.parametrize("by_header", [False, True])
async def test_a_page_goes_on_where_it_was(by_header: bool) -> None:
    """Nothing is sent twice, and nothing is left out, however it says where it was."""
    feed = Feed()
    put(feed, "a", "b", "c")
    place = f"{feed.run_id}-1"
    path = "/events" if by_header else f"/events?after={place}"
    headers = {"Last-Event-ID": place} if by_header else {}
    async with streaming(feed, path, headers) as (_, stream):
        first = await stream.next()
        assert first is not None
        assert (first.kind, ids(first.sent)) == ("calls", ["b", "c"])


@pytest.mark.parametrize("place", ["0123456789ab-1", "{run}-99", "{run}-0", "x", "{run}--1"])
async def test_a_page_that_was_away_too_long_begins_anew(place: str) -> None:
    """Another run's place, one that was never reached, one that is not kept any more."""
    feed = Feed(2)
    put(feed, "a", "b", "c")
    path = f"/events?after={place.format(run=feed.run_id)}"
    async with streaming(feed, path) as (_, stream):
        first = await stream.next()
        assert first is not None
        assert first.kind == "snapshot"


async def test_a_page_hears_that_nothing_happens() -> None:
    """So that it can tell silence from a service that hangs."""
    async with streaming(heartbeat_seconds=0.05) as (_, stream):
        kinds = [event.kind for event in [await stream.next() for _ in range(3)] if event]
    assert kinds == ["snapshot", "beat", "beat"]


async def test_a_session_that_is_over_ends_its_stream() -> None:
    """The page is told, so that it asks for the token."""
    async with streaming(session_seconds=1.5) as (_, stream):
        kinds = []
        while (event := await stream.next()) is not None:
            kinds.append(event.kind)
    assert kinds == ["snapshot", "ended"]


async def test_logging_out_ends_the_streams_of_that_session() -> None:
    """At its next event, another tab of the same browser stands still too."""
    feed = Feed()
    async with streaming(feed) as (browser, stream):
        await stream.next()
        # cookies of requests under way are those of when they began
        await browser.ask("/logout", "POST")
        put(feed, "a")
        event = await stream.next()
        assert event is not None
        assert event.kind == "ended"


async def test_the_end_of_a_board_ends_its_streams() -> None:
    """A service that stops waits for nobody's page, and cuts off none in the middle."""
    kinds = []
    async with asyncio.timeout(30), contextlib.AsyncExitStack() as ending:
        url = await ending.enter_async_context(serving(settings(), Feed()))
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            browser = Browser(url, client)
            await browser.log_in()
            async with browser.stream() as stream:
                kinds.append(await stream.next())
                await ending.aclose()
                assert await stream.next() is None
    assert [one.kind for one in kinds if one] == ["snapshot"]


class FakeResponse:
    """A page that takes nothing after its first event, for so long."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.takes = asyncio.Event()
        self.changed = asyncio.Condition()

    async def write(self, octets: memoryview) -> None:
        """Take it, or let it wait."""
        if self.written:
            await self.takes.wait()
        async with self.changed:
            self.written.append(bytes(octets))
            self.changed.notify_all()

    async def has(self, count: int) -> None:
        """Return once it has taken so many."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.written) >= count)


async def test_a_page_that_falls_behind_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it takes nothing calls go on; then it gets a snapshot, not a gap."""
    monkeypatch.setattr(events, "GATHER_SECONDS", 0)
    feed, reader, page = Feed(3), Reader(), FakeResponse()
    stream = Stream(feed, page, 60)  # type: ignore[arg-type]
    sending = asyncio.create_task(stream.send(reader, None, lambda: 60))
    async with asyncio.timeout(30):
        await page.has(1)
        for name in "abc":
            put(feed, name)
            reader.wake()
            await asyncio.sleep(0.01)
        put(feed, *"defgh")
        page.takes.set()
        await page.has(2)
        reader.wake()
        await page.has(3)
        reader.end()
        await sending
    assert page.written[1].startswith(b"event: calls")
    assert page.written[2].startswith(b"event: snapshot")
    assert b'"id":"h"' in page.written[2]


async def test_a_page_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds a place, and nobody reads it."""
    monkeypatch.setattr(events, "WRITE_SECONDS", 0.05)
    feed, reader, page = Feed(3), Reader(), FakeResponse()
    sending = asyncio.create_task(
        Stream(feed, page, 0.01).send(reader, None, lambda: 60)  # type: ignore[arg-type]
    )
    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            await sending


def test_places_are_read_strictly() -> None:
    """An id of this run; all else says nothing."""
    feed = Feed()
    assert place_of(f"{feed.run_id}-17", feed) == 17
    for text in ("", "17", f"{feed.run_id}", f"{feed.run_id}-1x", f"{feed.run_id}-{'9' * 30}"):
        assert place_of(text, feed) is None


async def test_a_slow_line_takes_a_snapshot_in_its_own_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each piece has the time that an event has: what goes on is not cut off."""
    monkeypatch.setattr(events, "PIECE_OCTETS", 1_000)
    feed, reader, page = Feed(), Reader(), FakeResponse()
    page.takes.set()
    put(feed, *"abcdefgh")
    reader.end()
    await Stream(feed, page, 60).send(reader, None, lambda: 60)  # type: ignore[arg-type]
    assert len(page.written) > 3
    assert max(map(len, page.written)) == 1_000
    assert b"".join(page.written).endswith(b"]}\n\n")
