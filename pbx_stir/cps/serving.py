"""What every application of a CPS does with a request before and after it is answered.

Takes requests; admits each peer at its rate, reads the path, knows how many requests are under way,
sweeps every second what has expired, and turns what goes wrong into problems. What a resource
answers is the subclass's. Every answer is counted, by resource, method and status alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, admit, answer, failures_as_problems
from pbx_stir.cps.limits import PeerBuckets, peer_name
from pbx_stir.cps.tally import Tally
from pbx_stir.cps.wire import Resource, Target
from pbx_stir.errors import MalformedNumber, StoreUnavailable

SWEEP_SECONDS = 1.0
# One thing that a sweep does.
Step = Callable[[], Awaitable[None] | None]
_log = logging.getLogger(__name__)
_peer_name = functools.lru_cache(maxsize=1024)(peer_name)


class Serving(ABC):
    """Serves the resources that ``allow`` names, each with its methods as Allow says them."""

    def __init__(
        self, allow: Mapping[Resource, str], peer_rate: float, clock: Callable[[], float]
    ) -> None:
        """``clock`` never steps; by it a peer's ``peer_rate`` requests a second are kept."""
        self.allow = allow
        self._clock = clock
        self._peers = PeerBuckets(peer_rate, peer_rate)
        self._tally: Tally | None = None
        self._prefix = ""
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @abstractmethod
    async def _serve(
        self, target: Target, request: web.BaseRequest, peer: str
    ) -> web.StreamResponse:
        """Answer a request for one of the resources, or raise ``Failure``."""

    @abstractmethod
    def _sweep(self) -> Sequence[Step]:
        """Give what frees what has expired, in this order; each may raise."""

    async def _begin(self) -> None:  # noqa: B027 - most have nothing to do
        """Get ready, in the running loop."""

    def _end(self) -> None:  # noqa: B027 - most have nothing to do
        """End what would not end by itself; may come twice."""

    def _close(self) -> None:  # noqa: B027 - most have nothing to do
        """Close what was used, when no request is under way any more."""

    def count_in(self, tally: Tally, prefix: str = "") -> None:
        """Count every answer; ``prefix`` stands before the resources' names."""
        self._tally = tally
        self._prefix = prefix

    async def drained(self) -> bool:
        """End what would not end by itself, and wait until no request is under way."""
        self._end()
        return await self._idle.wait()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever becomes of it."""
        self._under_way += 1
        self._idle.clear()
        try:
            response = await failures_as_problems(self._answer(request))
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
        if self._tally is not None:
            self._count(self._tally, request, response.status)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Admit the peer, read the path, and hand on."""
        peer = _peer_name(request.remote or "")
        if peer:
            admit(self._peers.take(peer, self._clock()))
        try:
            target = wire.parse_target(request.rel_url.raw_path)
        except MalformedNumber:
            raise Failure(400, "the path does not name a telephone number") from None
        if target is None or target.resource not in self.allow:
            raise Failure(404, "there is no such resource")
        if target.resource is Resource.HEALTH and request.method in {"GET", "HEAD"}:
            return answer(200, b'{"status":200,"message":"OK"}', wire.JSON_TYPE)
        return await self._serve(target, request, peer)

    def no_such_method(self, target: Target) -> Failure:
        """Give the failure of a method that a resource has not."""
        return Failure(405, "the resource has no such method", Allow=self.allow[target.resource])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be ready to answer as long as the context lasts."""
        await self._begin()
        task = asyncio.create_task(self._sweep_for_ever())
        try:
            yield
        finally:
            self._end()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._close()

    async def _sweep_for_ever(self) -> None:
        """Keep promises of lifetime also where nobody asks."""
        failing: set[str] = set()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            failed = [why for step in self._steps() if (why := await _failure(step))]
            for why in dict.fromkeys(failed):
                if why not in failing:
                    _log.warning("not swept: %s", why)
            failing = set(failed)

    def _steps(self) -> list[Step]:
        return [lambda: self._peers.sweep(self._clock()), *self._sweep()]

    def _count(self, tally: Tally, request: web.BaseRequest, status: int) -> None:
        """Count one answer."""
        try:
            target = wire.parse_target(request.rel_url.raw_path)
        except MalformedNumber:
            target = None
        known = target is not None and target.resource in self.allow
        resource = target.resource.value if target is not None and known else "none"
        tally.answered(f"{self._prefix}{resource}", request.method, status)


async def _failure(step: Step) -> str:
    """Take a step of a sweep, and say why it failed; empty where it did not.

    Whatever it is: the other steps, and the next sweep, must come.
    """
    try:
        under_way = step()
        if under_way is not None:
            await under_way
    except StoreUnavailable as error:
        return str(error)
    except Exception as error:
        # its type alone: what it says may hold a number
        return type(error).__name__
    return ""
