"""A subscription is held, resumed and begun again, and says only what is so of its being live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pbx_stir.cps import events, subscription
from pbx_stir.cps.arrivals import Arrivals
from pbx_stir.cps.subscription import Subscription, Wanted
from pbx_stir.cps.wire import format_id
from pbx_stir.errors import CpsRefused, CpsUnavailable
from pbx_stir.stir import sealing
from pbx_stir.stir.number_set import NumberSet
from tests.cps.conftest import Authority, Clock

CPS = "https://cps.example.net"
BOB, CAROL, STRANGER = "13105552000", "13105552001", "13105559999"
NUMBERS = NumberSet.parse(["13105552000-13105552099"])


def blob(index: int) -> bytes:
    return sealing.dummy(bytes([index]) * 32)


def entry_id(index: int) -> str:
    return format_id(bytes([index]) * 16)


def event(index: int, number: str = BOB) -> bytes:
    return events.format_event(number, entry_id(index), sealing.to_wire(blob(index)))


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds, for as long as a busy machine may take."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@dataclass
class FakeStreams:
    """Streams that bring what the test puts into ``pieces``; None ends one, an error breaks it."""

    pieces: asyncio.Queue[bytes | Exception | None] = field(default_factory=asyncio.Queue)
    refusal: Exception | None = None
    hangs: bool = False
    last_ids: list[str] = field(default_factory=list)
    open: int = 0

    @asynccontextmanager
    async def opened(self, wanted: Wanted, last_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        self.last_ids.append(last_id)
        if self.hangs:
            await asyncio.Event().wait()
        if self.refusal is not None:
            raise self.refusal
        self.open += 1
        try:
            yield self._read()
        finally:
            self.open -= 1

    async def _read(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Scene:
    """A subscription that runs, with all that it is given."""

    def __init__(self, authority: Authority, **options: object) -> None:
        self.clock = Clock()
        self.streams = FakeStreams()
        self.arrivals = Arrivals(clock=self.clock)
        self.pauses: list[float] = []
        self.go = asyncio.Event()
        self.subscription = Subscription(
            Wanted(CPS, "131055520*", NUMBERS, authority.credential(BOB)),
            self.streams,
            self.arrivals,
            clock=self.clock,
            pause=self.pause,
            uniform=lambda low, high: high,
            **options,  # type: ignore[arg-type]
        )

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.go.wait()
        self.go.clear()

    async def connected(self) -> None:
        await eventually(
            lambda: self.streams.open == 1 and self.subscription._quiet_since is not None
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.subscription.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_is_pushed_is_there_for_its_number(authority: Authority) -> None:
    """An entry is kept under its number, however the stream is cut into pieces."""
    scene = Scene(authority)
    async with scene.running():
        for octet in events.OPENING + event(1) + events.HEARTBEAT + event(2, CAROL):
            scene.streams.pieces.put_nowait(bytes([octet]))
        await eventually(lambda: len(scene.arrivals) == 2)
    assert scene.arrivals.of(BOB) == (blob(1),)
    assert scene.arrivals.of(CAROL) == (blob(2),)


async def test_only_our_numbers_and_what_is_worth_it(authority: Authority) -> None:
    """What is for others' numbers, is no base64url, or does not open is not kept."""
    kept = []

    async def keep(number: str, one: bytes) -> bool:
        kept.append(number)
        return one != blob(3)

    scene = Scene(authority, keep=keep)
    async with scene.running():
        scene.streams.pieces.put_nowait(event(1, STRANGER) + event(3))
        scene.streams.pieces.put_nowait(events.format_event(BOB, entry_id(4), b"!!!"))
        scene.streams.pieces.put_nowait(event(5))
        await eventually(lambda: len(scene.arrivals) > 0)
    assert kept == [BOB, BOB]
    assert scene.arrivals.of(BOB) == (blob(5),)


async def test_live_from_the_first_comment(authority: Authority) -> None:
    """A CPS puts one right behind what is alive: until it is read calls ask, however long."""
    taken = asyncio.Event()

    async def keep(_number: str, _blob: bytes) -> bool:
        await taken.wait()
        return True

    scene = Scene(authority, keep=keep)
    async with scene.running():
        await scene.connected()
        scene.streams.pieces.put_nowait(events.OPENING + event(1) + events.HEARTBEAT)
        await eventually(lambda: scene.subscription._quiet_since is None)
        scene.clock.moment += 10
        assert not scene.subscription.is_live()
        taken.set()
        await eventually(scene.subscription.is_live)
        assert scene.arrivals.of(BOB) == (blob(1),)
        scene.streams.pieces.put_nowait(None)
        await eventually(lambda: bool(scene.pauses))
        assert not scene.subscription.is_live()


async def test_a_stream_that_begins_anew_is_not_live_before_its_comment(
    authority: Authority,
) -> None:
    """What was heard on the stream before says nothing of this one."""
    scene = Scene(authority)
    async with scene.running():
        scene.streams.pieces.put_nowait(events.HEARTBEAT)
        await eventually(scene.subscription.is_live)
        scene.streams.pieces.put_nowait(None)
        await eventually(lambda: bool(scene.pauses))
        scene.go.set()
        await scene.connected()
        assert not scene.subscription.is_live()


async def test_live_after_silence(authority: Authority) -> None:
    """A CPS that puts no comment behind what is alive has given it all when it is silent."""
    scene = Scene(authority)
    assert not scene.subscription.is_live()
    async with scene.running():
        await scene.connected()
        for index in (1, 2):
            scene.clock.moment += subscription.QUIET_SECONDS - 0.1
            assert not scene.subscription.is_live()
            scene.streams.pieces.put_nowait(event(index))
            await eventually(lambda index=index: len(scene.arrivals) == index)  # type: ignore[misc]
            await scene.connected()
        scene.clock.moment += subscription.QUIET_SECONDS
        assert scene.subscription.is_live()
        scene.streams.pieces.put_nowait(event(3))
        await eventually(lambda: len(scene.arrivals) == 3)
        assert scene.subscription.is_live()
    assert not scene.subscription.is_live()


async def test_a_frozen_cps_is_not_live(authority: Authority) -> None:
    """A heartbeat that is overdue ends it at that moment, though the connection still stands."""
    scene = Scene(authority)
    async with scene.running():
        await scene.connected()
        scene.clock.moment += 15
        scene.streams.pieces.put_nowait(events.HEARTBEAT)
        await eventually(lambda: scene.subscription._heard_at == scene.clock.moment)
        scene.clock.moment += subscription.TRUSTED_SECONDS - 0.1
        assert scene.subscription.is_live()
        scene.clock.moment += 0.1
        assert not scene.subscription.is_live()
        assert scene.streams.open == 1
        scene.streams.pieces.put_nowait(events.HEARTBEAT)
        await eventually(scene.subscription.is_live)


async def test_silence_ends_the_connection(authority: Authority) -> None:
    """Without a line for the time of two heartbeats it is begun again."""
    scene = Scene(authority, end_seconds=0.05)
    async with scene.running():
        await eventually(lambda: scene.pauses == [1.0])
        assert scene.streams.open == 0


async def test_a_slow_drip_is_silence(authority: Authority) -> None:
    """Octets that never make a line do not keep a stream alive."""
    scene = Scene(authority, end_seconds=5.0)
    async with scene.running():
        await scene.connected()
        for _ in range(8):
            scene.clock.moment += 1
            scene.streams.pieces.put_nowait(b"d")
        await eventually(lambda: bool(scene.pauses))
        assert not scene.subscription.is_live()


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 20_000,
        b"data: " + b"1" * 20_000 + b"\n\n",
        b"data: 1\n" * 4_000,
        b"id: C8hG3pTtEEpRzCw1ezMBWA\ndata: {}\n\n",
        b'id: 1\ndata: {"href":"/a","number":"13105552000","passport":"AAAA"}\n\n',
        b'id: C8hG3pTtEEpRzCw1ezMBWA\ndata: {"href":"/a","number":"1-2","passport":"AAAA"}\n\n',
        b"data: \xff\xfe\n\n",
        b"data: " + b"[" * 10_000 + b"\n\n",
    ],
)
async def test_garbage_ends_the_stream(authority: Authority, garbage: bytes) -> None:
    """What is no event of an entry, or is too large, is hung up on; nothing else happens."""
    scene = Scene(authority)
    async with scene.running():
        for start in range(0, len(garbage), 1000):
            scene.streams.pieces.put_nowait(garbage[start : start + 1000])
        await eventually(lambda: bool(scene.pauses))
    assert len(scene.arrivals) == 0


async def test_endless_input_is_read_at_a_bounded_pace(authority: Authority) -> None:
    """A CPS that floods does not have the processor: the rest waits in the connection."""
    scene = Scene(authority)
    piece = b":" + b"x" * 1022 + b"\n"
    lines = b"".join([piece, b"\n"]) * 256
    async with scene.running():
        for _ in range(40):
            scene.streams.pieces.put_nowait(lines)
        await eventually(lambda: bool(scene.pauses))
        assert scene.streams.open == 1
        assert scene.streams.pieces.qsize() > 20
        assert 0 < scene.pauses[0] <= 1


async def test_resumed_behind_the_last_entry(authority: Authority) -> None:
    """A new connection names the last entry that came, also when none came in between."""
    scene = Scene(authority)
    async with scene.running():
        scene.streams.pieces.put_nowait(event(1) + event(2))
        scene.streams.pieces.put_nowait(None)
        for _ in range(2):
            await eventually(lambda: bool(scene.pauses))
            scene.pauses.clear()
            scene.streams.pieces.put_nowait(None)
            scene.go.set()
        await eventually(lambda: len(scene.streams.last_ids) == 3)
    assert scene.streams.last_ids == ["", entry_id(2), entry_id(2)]


async def test_begun_anew_where_something_may_be_missing(authority: Authority) -> None:
    """A CPS that has lost arrivals makes us forget the last entry: all that is alive comes."""
    scene = Scene(authority)
    async with scene.running():
        scene.streams.pieces.put_nowait(event(1) + events.BEGIN_ANEW)
        scene.streams.pieces.put_nowait(None)
        await eventually(lambda: bool(scene.pauses))
        scene.go.set()
        await eventually(lambda: len(scene.streams.last_ids) == 2)
    assert scene.streams.last_ids == ["", ""]


async def test_pauses_grow_while_it_fails(authority: Authority) -> None:
    """A CPS that is down is asked less and less often, at most about once a minute."""
    scene = Scene(authority)
    scene.streams.refusal = CpsUnavailable("down")
    async with scene.running():
        for count in range(1, 10):
            await eventually(lambda count=count: len(scene.pauses) == count)  # type: ignore[misc]
            scene.go.set()
    assert scene.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_good_stream_makes_pauses_short_again(authority: Authority) -> None:
    """A stream that lasted is begun again soon."""
    scene = Scene(authority)
    scene.streams.refusal = CpsUnavailable("down")
    async with scene.running():
        for count in range(1, 4):
            await eventually(lambda count=count: len(scene.pauses) == count)  # type: ignore[misc]
            if count == 3:
                scene.streams.refusal = None
            scene.go.set()
        await scene.connected()
        scene.clock.moment += subscription.GOOD_SECONDS
        scene.streams.pieces.put_nowait(None)
        await eventually(lambda: len(scene.pauses) == 4)
    assert scene.pauses[-1] == 1.0


async def test_who_is_refused_asks_rarely(authority: Authority) -> None:
    """A CPS that has no stream for us is asked once more at once, and then after minutes."""
    scene = Scene(authority)
    scene.streams.refusal = CpsRefused("status 401", status=401)
    async with scene.running():
        await eventually(lambda: scene.pauses == [1.0])
        scene.go.set()
        await eventually(lambda: scene.pauses == [1.0, subscription.REFUSED_PAUSE_SECONDS])


async def test_a_connection_that_does_not_come_is_given_up(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPS that takes the request and never answers costs a bounded time."""
    monkeypatch.setattr(subscription, "CONNECT_SECONDS", 0.02)
    scene = Scene(authority)
    scene.streams.hangs = True
    async with scene.running():
        await eventually(lambda: bool(scene.pauses))


async def test_losing_it_wakes_who_waits_and_is_logged_once(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that listens learns at once that nothing will come; no number is logged."""
    scene = Scene(authority)
    async with scene.running():
        await scene.connected()
        with scene.arrivals.watched(BOB) as event_:
            scene.streams.pieces.put_nowait(CpsUnavailable("connection reset"))
            async with asyncio.timeout(10):
                await event_.wait()
        scene.streams.refusal = CpsUnavailable("down")
        await eventually(lambda: len(scene.pauses) == 1)
        scene.go.set()
        await eventually(lambda: len(scene.pauses) == 2)
        scene.streams.refusal = None
        scene.go.set()
        scene.streams.pieces.put_nowait(events.HEARTBEAT)
        await eventually(lambda: len(caplog.messages) == 2)
    assert caplog.messages == [
        f"the subscription at {CPS} is lost: connection reset",
        f"the subscription at {CPS} is there again",
    ]
