"""One stream of events: what its reader is told, and when it is given up.

Takes arrivals, and moments of the loop's clock; writes into the reader's connection. The octets of
an event are made once, for however many readers. What waits for a reader is in its connection's
buffer and nowhere else, and is bounded there in size and time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from pbx_stir.cps import events
from pbx_stir.cps.answers import WRITE_SECONDS
from pbx_stir.cps.holders import Holder
from pbx_stir.cps.store import Entry

MAX_BACKLOG_OCTETS: Final = 512 * 1024
# what arrives while a subscriber is still given what was there before
MAX_WAITING: Final = 1_024


class Told:
    """An entry as all its subscribers are told of it, encoded when the first one is."""

    def __init__(self, number: str, entry: Entry) -> None:
        self.number = number
        self.entry = entry

    @cached_property
    def text(self) -> bytes:
        """The event as it is in a body without a coding (HTTP/1.0)."""
        return events.format_event(self.number, self.entry.id, self.entry.wire)

    @cached_property
    def chunk(self) -> bytes:
        """The same as a chunk. Source: RFC 9112 section 7.1."""
        return _chunk(self.text)


@dataclass(slots=True, eq=False)
class Subscriber:
    """One stream. ``waiting`` is what arrived before it was this stream's turn, None after that.

    ``has_lost`` is whether its reader may lack what came before the last entry it got.
    ``behind_since`` is when something last began to wait for the reader, a moment of the loop.
    """

    holder: Holder
    key: str
    transport: asyncio.Transport
    is_chunked: bool
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: list[Told] | None = field(default_factory=list)
    has_lost: bool = False
    heard_at: float = 0.0
    behind_since: float | None = None
    timer: asyncio.TimerHandle | None = None

    def tell(self, told: Told, now: float) -> None:
        """Pass an arrival on, or cut the reader off."""
        if self.waiting is None:
            self.heard_at = now
            self._write(told.chunk if self.is_chunked else told.text)
        elif len(self.waiting) < MAX_WAITING:
            self.waiting.append(told)
        else:
            self.cut_off()

    def beat(self, now: float) -> None:
        """Say that we are there."""
        if self.waiting is None:
            self.heard_at = now
            self._write(_HEARTBEAT_CHUNK if self.is_chunked else events.HEARTBEAT)

    def watch(self, now: float) -> None:
        """Cut off a reader that has not taken all there was for too long.

        What was there before the stream began is much, and is bounded where it is written.
        """
        if self.transport.is_closing():
            self.ended.set()
        elif self.waiting is not None or not self.transport.get_write_buffer_size():
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now
        elif now - self.behind_since > WRITE_SECONDS:
            self.cut_off()

    def cut_off(self) -> None:
        """Hang up."""
        self.transport.abort()
        self.ended.set()

    def _write(self, octets: bytes) -> None:
        """Write a whole event, whatever else writes to this connection."""
        if self.transport.is_closing():
            self.ended.set()
        elif self.transport.get_write_buffer_size() > MAX_BACKLOG_OCTETS:
            self.cut_off()
        else:
            self.transport.write(octets)


def _chunk(text: bytes) -> bytes:
    """Write a body's part as a chunk. Source: RFC 9112 section 7.1."""
    return b"%x\r\n%s\r\n" % (len(text), text)


_HEARTBEAT_CHUNK: Final = _chunk(events.HEARTBEAT)
