"""What a page is sent: a snapshot, then calls as they come, as server-sent events.

::

    GET /events                  event: snapshot   {"calls": [...], "counts": [...], ...}
    GET /events?after=RUN-12     what came after number 12 of that run, or a snapshot
                                 event: calls      [...]         id: RUN-15
                                 event: beat       {}            where nothing else was sent
                                 event: ended      {}            the session is over: log in again

A header ``Last-Event-ID`` counts as ``after`` does. A reader that takes nothing for ten seconds is
cut off, one that has fallen behind what is kept gets a snapshot.
Source: HTML Living Standard, section 9.2.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from pbx_stir.board.feed import Feed, Item, Reader
from pbx_stir.cps.answers import WRITE_SECONDS

# so many answers a second to one reader, however many calls there are
GATHER_SECONDS: Final = 0.1
PIECE_OCTETS: Final = 32 * 1024
_PLACE: Final = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})")


def place_of(text: str, feed: Feed) -> int | None:
    """The number that an event id of this run says; None for another run's, or what is none."""
    found = _PLACE.fullmatch(text)
    return int(found[2]) if found and found[1] == feed.run_id else None


class Stream:
    """One page's events, from its answer's headers to its end."""

    def __init__(self, feed: Feed, response: web.StreamResponse, heartbeat_seconds: float) -> None:
        self._feed = feed
        self._response = response
        self._heartbeat_seconds = heartbeat_seconds
        self._at = 0

    async def send(self, reader: Reader, after: int | None, left: Callable[[], float]) -> None:
        """Send until the reader is ended, the session is over (``left`` gives 0) or nobody reads.

        Raises ConnectionError where the page is gone, TimeoutError where it reads nothing.
        """
        await self._catch_up(after)
        while not reader.ended:
            await reader.wait(min(self._heartbeat_seconds, max(left(), 0.001)))
            if reader.ended:
                return
            if not left():
                await self._write("ended", b"{}")
                return
            if self._at == self._feed.last:
                await self._write("beat", b"{}")
                continue
            await self._catch_up(self._at)
            await asyncio.sleep(GATHER_SECONDS)

    async def _catch_up(self, after: int | None) -> None:
        found = None if after is None else self._feed.after(after)
        if found is None:
            await self._snapshot()
        elif found:
            self._at = found[-1].number
            await self._write("calls", _array(found))
        else:
            self._at = self._feed.last
            await self._write("beat", b"{}")

    async def _snapshot(self) -> None:
        about = {"counts": self._feed.counts(), "capacity": self._feed.capacity}
        self._at = self._feed.last
        head = json.dumps(about, separators=(",", ":")).encode("ascii")
        await self._write("snapshot", head[:-1] + b',"calls":' + _array(self._feed.kept()) + b"}")

    async def _write(self, kind: str, octets: bytes) -> None:
        text = f"event: {kind}\nid: {self._feed.run_id}-{self._at}\ndata: ".encode("ascii")
        event = memoryview(text + octets + b"\n\n")
        # piece by piece: a page behind a slow line takes a snapshot in its own time
        for begin in range(0, len(event), PIECE_OCTETS):
            async with asyncio.timeout(WRITE_SECONDS):
                await self._response.write(event[begin : begin + PIECE_OCTETS])


def _array(items: Sequence[Item]) -> bytes:
    return b"[" + b",".join(item.octets for item in items) + b"]"
