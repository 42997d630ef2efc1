"""A subscription: what is stored for numbers of ours comes to us, before their calls do.

Takes a CPS, numbers and the credential that covers them; fills ``Arrivals``. A stream of
server-sent events is held open as long as ``run`` runs: signed anew on each connection, resumed
behind the last entry, begun again after a random pause that grows while it fails. What comes is
hostile: read at a bounded pace, in bounded pieces (``cps.events``), and kept only for our numbers
and where ``keep`` says so. A stream that brings no line for ``END_SECONDS`` is over.

A subscription says honestly whether a call may rely on it: ``is_live`` is false until what was
there before has come, and as soon as a heartbeat is overdue, long before the connection is given
up.
Source: RFC 8816 sections 4 (first architecture) and 5.5, RFC 9888 section 6 (push), docs/retrieval.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Final, Protocol

from pbx_stir.cps.arrivals import Arrivals
from pbx_stir.cps.events import Arrived, EventReader
from pbx_stir.errors import CpsRefused, CpsUnavailable, Malformed, PbxStirError
from pbx_stir.stir import sealing
from pbx_stir.stir.credential import Credential

# a CPS sends a heartbeat every 15 s; one that is later than this is overdue
TRUSTED_SECONDS: Final = 17.5
# "A client that hears nothing for twice as long should connect again"
END_SECONDS: Final = 31.0
# what is alive comes first; a CPS that puts no comment behind its last is then silent so long
QUIET_SECONDS: Final = 3.0
CONNECT_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 1.0
LAST_PAUSE_SECONDS: Final = 60.0
# a CPS that says no will say it again
REFUSED_PAUSE_SECONDS: Final = 600.0
# a stream that lasted so long was a good one: the next pause is short again
GOOD_SECONDS: Final = 30.0
MOST_OCTETS_A_SECOND: Final = 4 * 1024 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is subscribed to at ``cps``: ``name`` is a number, or a prefix with ``*`` behind it.

    ``numbers`` are those of ours that the name holds and ``credential`` covers.
    """

    cps: str
    name: str
    numbers: Container[str]
    credential: Credential


class Streams(Protocol):
    """Opens streams of events (cps.streams)."""

    def opened(
        self, wanted: Wanted, last_id: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Connect, and give what comes, in pieces; ``last_id`` is empty at first.

        Raises ``CpsUnavailable``, ``CpsRefused``, ``UrlRefused``, also while it is read.
        """
        ...


async def keep_all(_number: str, _blob: bytes) -> bool:
    """Where nobody sifts."""
    return True


class Subscription:
    """One subscription; ``run`` holds it. Belongs to one event loop."""

    def __init__(
        self,
        wanted: Wanted,
        streams: Streams,
        arrivals: Arrivals,
        *,
        clock: Callable[[], float],
        keep: Callable[[str, bytes], Awaitable[bool]] = keep_all,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        end_seconds: float = END_SECONDS,
        trusted_seconds: float = TRUSTED_SECONDS,
    ) -> None:
        """``clock`` does not run backwards, and is that of ``arrivals``.

        ``keep`` says of a number's blob whether it is worth being kept; it never raises. After
        ``trusted_seconds`` without a line it is not live, after ``end_seconds`` begun again.
        """
        self.wanted = wanted
        self._streams = streams
        self._arrivals = arrivals
        self._clock = clock
        self._keep = keep
        self._pause = pause
        self._uniform = uniform
        self._end_seconds = end_seconds
        self._trusted_seconds = trusted_seconds
        self._last_id = ""
        self._has_caught_up = False
        # since when all that has come is taken, and nothing comes; None while something is taken
        self._quiet_since: float | None = None
        self._heard_at = 0.0
        self._pace = (0.0, 0)
        self._said = ""

    def is_live(self) -> bool:
        """Tell whether what has come is all there is, as far as can be known now."""
        now = self._clock()
        has_caught_up = self._has_caught_up or self._is_quiet(now)
        return has_caught_up and now < self._heard_at + self._trusted_seconds

    async def run(self) -> None:
        """Hold the subscription until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        refused = 0
        while True:
            began = self._clock()
            longest = pause
            try:
                await self._listen()
                self._say("the stream ended")
            except CpsRefused as error:
                self._say(error.message)
                refused += 1
                # the first time it may have been our clock, which that answer has told of
                longest = REFUSED_PAUSE_SECONDS if refused > 1 else pause
            except PbxStirError as error:
                self._say(error.message)
            finally:
                self._has_caught_up, self._quiet_since = False, None
                self._arrivals.wake()
            if self._clock() >= began + GOOD_SECONDS:
                pause = longest = FIRST_PAUSE_SECONDS
                refused = 0
            # a CPS that comes back is not to meet all its subscribers at once
            await self._pause(self._uniform(longest / 2, longest))
            pause = min(2 * pause, LAST_PAUSE_SECONDS)

    async def _listen(self) -> None:
        """Read one stream to its end. Raises what ends it otherwise."""
        reader = EventReader(self._last_id)
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    opened = self._streams.opened(self.wanted, self._last_id)
                    pieces = await stack.enter_async_context(opened)
            except TimeoutError:
                raise CpsUnavailable("no stream of events in time") from None
            self._heard_at = self._clock()
            while (piece := await self._next(pieces)) is not None:
                # an event that drips in, an octet now and then, says nothing
                if b"\n" in piece:
                    self._heard_at = self._clock()
                for arrived in reader.feed(piece):
                    await self._take(arrived)
                self._last_id = reader.last_id
                self._has_caught_up |= reader.has_comment
                self._say("")
                await self._keep_pace(len(piece))

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        """Wait for what comes next; None where the stream has ended."""
        self._quiet_since = self._clock()
        seconds = self._heard_at + self._end_seconds - self._quiet_since
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise CpsUnavailable(f"nothing heard for {self._end_seconds:.0f} s") from None
        self._has_caught_up |= self._is_quiet(self._clock())
        self._quiet_since = None
        return piece

    def _is_quiet(self, now: float) -> bool:
        """Tell whether nothing has come for so long that nothing of what was there is missing."""
        return self._quiet_since is not None and now >= self._quiet_since + QUIET_SECONDS

    async def _take(self, arrived: Arrived) -> None:
        """Keep an entry, if it may be sealed to us and is for one of our numbers."""
        if arrived.number not in self.wanted.numbers:
            return
        try:
            blob = sealing.from_wire(arrived.wire)
        except Malformed:
            return
        if await self._keep(arrived.number, blob):
            self._arrivals.add(arrived.number, arrived.id, blob)
        # a thousand entries at once do not hold up a call
        await asyncio.sleep(0)

    async def _keep_pace(self, octets: int) -> None:
        """Read no more than so much a second: the rest waits in the connection."""
        began, read = self._pace
        now = self._clock()
        if now >= began + 1:
            began, read = now, 0
        self._pace = began, read + octets
        if read + octets > MOST_OCTETS_A_SECOND:
            await self._pause(began + 1 - now)

    def _say(self, problem: str) -> None:
        """Log that it is lost and that it is there again, once each; never a number."""
        if problem and not self._said:
            _log.warning("the subscription at %s is lost: %s", self.wanted.cps, problem)
        elif self._said and not problem:
            _log.warning("the subscription at %s is there again", self.wanted.cps)
        self._said = problem
