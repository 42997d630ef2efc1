"""A watcher at a real CPS: polls numbers over HTTP and writes down what it sees of each entry.

The clock by which entries live is virtual, so that minutes of watching take seconds; latencies are
real. Calls are placed at random moments; what was stored for one is a real entry, everything else
a dummy: which is which the watcher is told afterwards.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.stir import sealing

LIFETIME_SECONDS = 30
WATCHED_SECONDS = 150.0
# As many calls to a number as it has dummies: one in twelve seconds.
CALLS_A_SECOND = 1 / 12
# The mean pause between two polls of a number is drawn for each between these.
PAUSES = (4.0, 16.0)
FORMS = ("expanded", "list", "uri-list")
# Sweeps of the server by the real clock, where the virtual one runs several times as fast.
SWEEP_SECONDS = 0.02
_KEYS = [sealing.new_private_key() for _ in range(16)]


class Answer(NamedTuple):
    """An answer: its head without the status line, its status, its body, seconds that it took."""

    status: int
    head: bytes
    body: bytes
    seconds: float


@dataclass(slots=True)
class Seen:
    """What was seen of one entry. Times are virtual seconds; ``polls`` are counted by form.

    ``before`` and ``after`` are the polls next to the first and the last that showed it, None where
    there were none. ``item`` is the answer to the first request for it, and ``nothing`` how long
    an unknown id took at the same moment, NaN where that was not measured.
    """

    number: str
    id: str
    first: float
    before: float | None
    last: float = 0.0
    after: float | None = None
    polls: list[int] = field(default_factory=lambda: [0, 0, 0])
    missed: list[int] = field(default_factory=lambda: [0, 0, 0])
    expanded: int = 0
    different: int = 0
    item: Answer | None = None
    nothing: float = math.nan
    real: bool = False


class Clock:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.moment = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.moment


class Connection(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._whole: asyncio.Future[None] | None = None
        self._needed = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._needed:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = self._received.find(b"Content-Length: ")
            digits = self._received[length + 16 :].split(b"\r\n", 1)[0]
            self._needed = end + 4 + int(digits)
        if len(self._received) >= self._needed and self._whole is not None:
            self._whole.set_result(None)
            self._whole = None

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        assert self._transport is not None
        self._received.clear()
        self._needed = 0
        self._whole = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(request)
        await self._whole
        seconds = time.perf_counter() - began
        status, _, rest = bytes(self._received).partition(b"\r\n")
        head, _, body = rest.partition(b"\r\n\r\n")
        return Answer(int(status[9:12]), head, body, seconds)

    async def get(self, path: str, more: str = "") -> Answer:
        """GET."""
        return await self.ask(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode())


@asynccontextmanager
async def connected(clock: Callable[[], float]) -> AsyncIterator[Connection]:
    """Run a CPS as it is run, but for its clock, and connect to it."""
    settings = CpsSettings(
        port=0, tls=False, tokens=False, lifetime_seconds=LIFETIME_SECONDS, max_octets=1 << 30
    )
    async with listening(settings, settings.new_store(), clock=clock) as url:
        port = int(url.rpartition(":")[2])
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        try:
            yield connection
        finally:
            transport.close()


class Watch:
    """A whole watch: ``polls`` polls, spread over as many numbers as that needs.

    ``seen`` is called with each entry once nothing more will be seen of it, so that a test keeps
    what it needs and not all octets.
    """

    def __init__(self, polls: int, seed: int, seen: Callable[[Seen], None]) -> None:
        self._random = random.Random(seed)
        self._clock = Clock()
        self._seen = seen
        self._watched: dict[str, dict[str, Seen]] = {}
        self._polled: dict[str, float] = {}
        self._real: set[str] = set()
        self._polls = polls
        # Pauses are drawn evenly: so many seconds there are to a poll.
        mean = (PAUSES[1] - PAUSES[0]) / math.log(PAUSES[1] / PAUSES[0])
        self._numbers = [
            f"1{self._random.randrange(10**9, 10**10)}"
            for _ in range(round(polls * mean / WATCHED_SECONDS))
        ]

    async def run(self) -> None:
        """Watch. Calls begin a lifetime before the first poll: there is no empty beginning."""
        events = sorted(self._events())
        async with connected(self._clock) as connection:
            for moment, number, call in events:
                self._clock.moment = moment
                if call:
                    await self._call(connection, number)
                else:
                    await self._poll(connection, number)
        for watched in self._watched.values():
            for each in watched.values():
                self._give(each)

    def _events(self) -> Iterable[tuple[float, str, bool]]:
        """Each number's polls and calls: (moment, number, whether it is a call)."""
        begin = self._clock.moment
        for number in self._numbers:
            pause = self._random.uniform(*PAUSES)
            for gap, since, call in (
                (pause, begin, False),
                (1 / CALLS_A_SECOND, begin - LIFETIME_SECONDS, True),
            ):
                moment = since + self._random.expovariate(1 / gap)
                while moment < begin + WATCHED_SECONDS:
                    yield moment, number, call
                    moment += self._random.expovariate(1 / gap)

    async def _call(self, connection: Connection, number: str) -> None:
        """Store what is sealed for a call."""
        token = "x" * self._random.randrange(300, 1500)
        public = sealing.public_octets(self._random.choice(_KEYS))
        body = sealing.to_wire(sealing.seal(token, [], public, number))
        head = (
            f"POST /cps/{number}/ppts HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/passport\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answer = await connection.ask(head.encode() + body)
        assert answer.status == 201
        location = answer.head.partition(b"Location: ")[2].split(b"\r\n", 1)[0]
        self._real.add(location.decode().rpartition("/")[2])

    async def _poll(self, connection: Connection, number: str) -> None:
        """Look at a number in one of the forms, then at each entry not met before."""
        now = self._clock.moment
        [form] = self._random.choices(range(3), (2, 1, 1))
        found = await _listed(connection, number, FORMS[form])
        watched = self._watched.setdefault(number, {})
        before = self._polled.get(number)
        new = [each for each in found if each not in watched]
        self._random.shuffle(new)
        for each in new:
            watched[each] = Seen(number, each, now, before)
        await self._look_at(connection, [watched[each] for each in new])
        for each in [one for one in watched.values() if one.id not in found]:
            # a list may leave one out that a later one shows: only its lifetime ends it
            if each.after is None:
                each.after = now
            each.missed[form] += 1
            if now > each.first + 1.5 * LIFETIME_SECONDS:
                self._give(watched.pop(each.id))
        for entry_id, wire in found.items():
            entry = watched[entry_id]
            entry.last, entry.after = now, None
            entry.missed = [0, 0, 0]
            entry.polls[form] += 1
            if wire is not None and entry.item is not None:
                entry.expanded += 1
                entry.different += wire != entry.item.body
        self._polled[number] = now

    async def _look_at(self, connection: Connection, new: list[Seen]) -> None:
        """Ask for each entry, and beside it for one that is not there, in random order.

        Every second time it is measured how long they take. The first request of all is slower, and
        more often an entry's own where few are new: it is one that nobody measures.
        """
        measured = self._random.randrange(2)
        for index, entry in enumerate(new):
            slash = "/" * self._random.randrange(2)
            own = f"/cps/{entry.number}/ppts/{entry.id}{slash}"
            other = f"/cps/{entry.number}/ppts/{'x' * 22}{slash}"
            if not measured:
                entry.item = await connection.get(own)
                continue
            if not index:
                await connection.get(other)
            if self._random.randrange(2):
                entry.nothing = (await connection.get(other)).seconds
                entry.item = await connection.get(own)
            else:
                entry.item = await connection.get(own)
                entry.nothing = (await connection.get(other)).seconds

    def _give(self, entry: Seen) -> None:
        entry.real = entry.id in self._real
        self._seen(entry)


async def _listed(connection: Connection, number: str, form: str) -> dict[str, bytes | None]:
    """Poll: id by id, with its text where the form has it."""
    path = f"/cps/{number}/ppts"
    if form == "uri-list":
        answer = await connection.get(path, "Accept: text/uri-list\r\n")
        return {line.rpartition("/")[2]: None for line in answer.body.decode().split()}
    answer = await connection.get(path + "?expand=1" * (form == "expanded"))
    listed = json.loads(answer.body)["ppts"]
    if form == "list":
        return {href.rpartition("/")[2]: None for href in listed}
    return {each["href"].rpartition("/")[2]: each["passport"].encode() for each in listed}
