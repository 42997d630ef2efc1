"""Push: entries to their holders as they arrive (RFC 8816 section 5.5, RFC 9888 section 6).

Takes requests of holders; gives streams of server-sent events (``events``) that begin with what is
alive. A CPS's arrivals are written straight into the subscribers' connections, each event encoded
once for all of them. Nobody can hold anything up: a reader that falls behind is cut off, and comes
back with the id of the last entry it got. The dummies of a number arrive like its other entries.

It knows nothing of tokens and paths, and logs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from pbx_stir.cps import events, wire
from pbx_stir.cps.answers import SERVER_NAME, WRITE_SECONDS, Failure, admit
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.holders import Holder
from pbx_stir.cps.limits import PeerBuckets
from pbx_stir.cps.places import Cursor
from pbx_stir.cps.store import EntryStore, Placed
from pbx_stir.cps.subscriber import Subscriber, Told
from pbx_stir.errors import StoreUnavailable

TICK_SECONDS: Final = 1.0
END_SECONDS: Final = 1.0
MAX_DUE: Final = 16_384
MAX_REPLAYED: Final = 4_096
REPLAYED_AT_A_TIME: Final = 1_024
# streams that one certificate opens a second, and at once: each looks at all that is alive
OPENED_RATE: Final = 20.0
OPENED_AT_ONCE: Final = 100.0
# Several processes do not see arrivals in the same order.
OVERLAP_SECONDS: Final = 1.0
# A TLS record each: some milliseconds until others have their turn.
_TOLD_AT_A_TIME: Final = 32


@dataclass(frozen=True, slots=True)
class PushLimits:
    """How many streams there may be, in all and of one certificate, and how often they are heard.

    Raises ``ValueError`` for limits that allow nothing.
    """

    subscribers: int = 2_000
    subscribers_of_a_leaf: int = 64
    heartbeat_seconds: float = 15.0

    def __post_init__(self) -> None:
        if self.subscribers < 1 or self.subscribers_of_a_leaf < 1 or self.heartbeat_seconds <= 0:
            raise ValueError("there must be room for one subscriber, and time between heartbeats")


class Push:
    """The streams of one process. ``clock`` is that of store and dummies.

    ``is_still`` says whether a holder still is one. Call ``begin`` in the loop, and ``end``.
    """

    def __init__(
        self,
        store: EntryStore,
        dummies: Dummies,
        clock: Callable[[], float],
        is_still: Callable[[Holder], bool],
        limits: PushLimits,
    ) -> None:
        self._store = store
        self._dummies = dummies
        self._clock = clock
        self._is_still = is_still
        self._limits = limits
        self._subscribers: dict[Subscriber, None] = {}
        self._by_key: dict[str, dict[Subscriber, None]] = {}
        self._by_leaf: dict[bytes, int] = {}
        at_once = max(OPENED_AT_ONCE, 2.0 * limits.subscribers_of_a_leaf)
        self._openings = PeerBuckets(OPENED_RATE, at_once)
        self._due: deque[tuple[Told, Iterator[Subscriber]]] = deque()
        self._stop: Callable[[], None] | None = None
        self._ticking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Count the streams."""
        return len(self._subscribers)

    def begin(self) -> None:
        """Listen to arrivals; streams can be had from now on."""
        self._stop = self._store.arrivals(self._arrived, self._lost)
        self._ticking = asyncio.create_task(self._tick_for_ever())

    def end(self) -> None:
        """End every stream, and give no more; a second time it does nothing."""
        if self._stop is not None and self._ticking is not None:
            self._stop()
            self._stop = None
            self._ticking.cancel()
        self._end_all()

    async def stream(
        self, request: web.BaseRequest, holder: Holder, digits: str, *, bulk: bool
    ) -> web.StreamResponse:
        """Answer with the events of a number, or of all the holder's numbers with a prefix.

        Raises ``Failure`` and ``StoreUnavailable``, all before anything is sent.
        """
        named = {
            "Content-Type": wire.EVENT_TYPE,
            "Cache-Control": "no-store",
            "Server": SERVER_NAME,
        }
        response = web.StreamResponse(headers=named)
        response.force_close()
        if request.method == "HEAD":
            return response
        narrowed = holder.narrowed(digits) if bulk else None
        admit(self._openings.take(holder.leaf.hex(), asyncio.get_running_loop().time()))
        # A holder of nothing there waits for a number that nobody can have.
        key = f"{'-' if narrowed is None else narrowed}*" if bulk else digits
        with self._subscribed(request, holder, key) as subscriber:
            if not self._store.is_complete:
                raise StoreUnavailable("arrivals are not heard of")
            number = holder.number_under(digits) if bulk else digits
            now = self._clock()
            alive = await self._alive(holder, key, number, now)
            replayed = _after(alive, request.headers.get("Last-Event-ID", ""))
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._write(response, request, subscriber, replayed)
                self._expect_dummy(subscriber, number, now)
                await subscriber.ended.wait()
            await _finish(response, subscriber)
        return response

    @contextlib.contextmanager
    def _subscribed(
        self, request: web.BaseRequest, holder: Holder, key: str
    ) -> Iterator[Subscriber]:
        """Take a place, and give it back. Raises ``Failure`` where there is none."""
        transport = request.transport
        if self._stop is None or transport is None:
            raise Failure(503, "the service is ending", close=True, Retry_After="5")
        if self._by_leaf.get(holder.leaf, 0) >= self._limits.subscribers_of_a_leaf:
            raise Failure(429, "too many streams of one certificate", Retry_After="30")
        if len(self._subscribers) >= self._limits.subscribers:
            raise Failure(503, "too many streams", Retry_After="30")
        subscriber = Subscriber(holder, key, transport, request.version >= (1, 1))
        self._subscribers[subscriber] = None
        self._by_key.setdefault(key, {})[subscriber] = None
        self._by_leaf[holder.leaf] = self._by_leaf.get(holder.leaf, 0) + 1
        try:
            yield subscriber
        finally:
            if subscriber.timer is not None:
                subscriber.timer.cancel()
            del self._subscribers[subscriber]
            del self._by_key[key][subscriber]
            if not self._by_key[key]:
                del self._by_key[key]
            self._by_leaf[holder.leaf] -= 1
            if not self._by_leaf[holder.leaf]:
                del self._by_leaf[holder.leaf]

    async def _alive(self, holder: Holder, key: str, number: str, now: float) -> list[Placed]:
        """Give what is alive for a subscriber, dummies among it, oldest first."""
        real: list[Placed] = []
        if key == number:
            real = [Placed(number, each) for each in await self._store.entries(number, now)]
        elif key != "-*":
            for placed in await everything_under(self._store, key[:-1], now):
                if holder.may(placed.number):
                    real.append(placed)
        made_up = [Placed(number, each) for each in self._dummies.entries(number, now)]
        return sorted([*real, *made_up], key=lambda each: (each.entry.arrival, each.entry.id))

    async def _write(
        self,
        response: web.StreamResponse,
        request: web.BaseRequest,
        subscriber: Subscriber,
        replayed: Sequence[Placed],
    ) -> None:
        """Begin the stream, with what was there before; what has arrived since comes behind it."""
        await response.prepare(request)
        await _write_in_time(response, events.OPENING)
        # After one lifetime nothing of it is alive any more.
        async with asyncio.timeout(self._store.lifetime_seconds):
            for number, entry in replayed:
                if subscriber.ended.is_set():
                    return
                await _write_in_time(response, events.format_event(number, entry.id, entry.wire))
        known = {entry.id for _, entry in replayed}
        now = asyncio.get_running_loop().time()
        waiting, subscriber.waiting = subscriber.waiting or [], None
        subscriber.heard_at = now
        for told in waiting:
            if told.entry.id not in known:
                subscriber.tell(told, now)
        # the reader has it all from here on
        subscriber.beat(now)

    def _arrived(self, placed: Placed) -> None:
        """Tell everybody who wants to know, soon: whoever stored it does not wait for that."""
        if not self._by_key:
            return
        number = placed.number
        keys = [number, *(f"{number[:length]}*" for length in range(len(number) + 1))]
        wanting = [each for key in keys for each in self._by_key.get(key, ())]
        if not wanting:
            return
        if len(self._due) >= MAX_DUE:
            self._lost()
            return
        self._due.append((Told(*placed), iter(wanting)))
        if len(self._due) == 1:
            asyncio.get_running_loop().call_soon(self._tell_some)

    def _lost(self) -> None:
        """End all streams: their readers ask, and come back for all that is then alive."""
        for subscriber in self._subscribers:
            subscriber.has_lost = True
        self._end_all()

    def _tell_some(self) -> None:
        """Tell some subscribers, in the order of arrivals, and go on when others had their turn."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for _ in range(_TOLD_AT_A_TIME):
            if not self._due:
                return
            told, wanting = self._due[0]
            subscriber = next(wanting, None)
            if subscriber is None:
                self._due.popleft()
            elif not subscriber.ended.is_set() and subscriber.holder.may(told.number):
                subscriber.tell(told, now)
        if self._due:
            loop.call_soon(self._tell_some)

    def _expect_dummy(self, subscriber: Subscriber, number: str, after: float) -> None:
        """See to it that the next dummy of a stream comes when it arrives."""
        loop = asyncio.get_running_loop()
        if subscriber.ended.is_set():
            return
        try:
            entry = self._dummies.coming(number, after)
        except StoreUnavailable:
            subscriber.ended.set()
            return

        def arrive() -> None:
            subscriber.tell(Told(number, entry), loop.time())
            self._expect_dummy(subscriber, number, max(entry.arrival, self._clock()))

        subscriber.timer = loop.call_later(max(0.0, entry.arrival - self._clock()), arrive)

    def _end_all(self, holder: Holder | None = None) -> None:
        """End all streams, or those of one holder."""
        if holder is None:
            self._due.clear()
        for subscriber in self._subscribers:
            if holder is None or subscriber.holder is holder:
                subscriber.ended.set()

    async def _tick_for_ever(self) -> None:
        """Keep streams alive, and end those whose reader or holder is gone."""
        loop = asyncio.get_running_loop()
        heartbeat = self._limits.heartbeat_seconds
        while True:
            await asyncio.sleep(min(TICK_SECONDS, heartbeat / 2))
            now = loop.time()
            self._openings.sweep(now)
            for subscriber in self._subscribers:
                subscriber.watch(now)
                if now - subscriber.heard_at >= heartbeat:
                    subscriber.beat(now)
            # Many streams of one holder are one question.
            for holder in {subscriber.holder for subscriber in self._subscribers}:
                if not self._is_still(holder):
                    self._end_all(holder)


async def everything_under(store: EntryStore, prefix: str, now: float) -> list[Placed]:
    """Give what is held under a prefix, newest first, ``MAX_REPLAYED`` of it at most."""
    found: list[Placed] = []
    before: Cursor | None = None
    while len(found) < MAX_REPLAYED:
        page, before = await store.under(prefix, now, before=before, most=REPLAYED_AT_A_TIME)
        found += page
        if before is None:
            break
        # among very many others there are many pages
        await asyncio.sleep(0)
    return found[:MAX_REPLAYED]


def _after(alive: Sequence[Placed], last_id: str) -> Sequence[Placed]:
    """Leave out what a subscriber has got; all is left where its last entry is not there."""
    last = next((each.entry for each in alive if each.entry.id == last_id), None)
    if last is None:
        return alive
    begin = last.arrival - OVERLAP_SECONDS
    return [each for each in alive if each.entry.arrival >= begin and each.entry is not last]


async def _write_in_time(response: web.StreamResponse, octets: bytes) -> None:
    """Write to a reader who takes it. Raises ``ConnectionError`` and ``TimeoutError``."""
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(octets)


async def _finish(response: web.StreamResponse, subscriber: Subscriber) -> None:
    """End a stream as HTTP ends it, where its reader takes that soon."""
    try:
        async with asyncio.timeout(END_SECONDS):
            if subscriber.has_lost:
                await response.write(events.BEGIN_ANEW)
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        subscriber.transport.abort()
