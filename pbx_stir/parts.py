"""The parts of a running service: made, kept while their settings stay the same, and ended.

Takes what makes each part and the settings that it is made from; gives the part of before where
those are the same. So a service takes up a new configuration while it goes on: what did not change
keeps its connections and what it remembers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 5.0
Work = Callable[[], Awaitable[None]]
Made = TypeVar("Made")
# a task that nothing refers to may be collected before it is done
_ABANDONED: Final[set[asyncio.Task[None]]] = set()


@dataclass(slots=True, eq=False)
class Part:
    """One part. Whoever makes it says what runs with it, and what ends it.

    ``begins`` are awaited before it takes its place (a socket that cannot be had is a mistake of
    the configuration), ``tasks`` run as long as it does, ``reloads`` read its files again on
    SIGHUP. At its end ``stops`` are awaited while its tasks still run, then those are cancelled,
    then ``closes`` are called, the last one first. A part is vital where its tasks never end by
    themselves: without them there is no service.
    """

    name: str
    settings: object = None
    value: object = None
    tasks: list[Work] = field(default_factory=list)
    reloads: list[Callable[[], object]] = field(default_factory=list)
    stops: list[Work] = field(default_factory=list)
    closes: list[Callable[[], Awaitable[None] | None]] = field(default_factory=list)
    begins: list[Callable[[], Awaitable[object]]] = field(default_factory=list)
    is_vital: bool = False
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def hold(self, context: AbstractAsyncContextManager[object]) -> None:
        """Enter ``context`` when it begins, and leave that at its end."""
        stack = AsyncExitStack()
        self.begins.append(lambda: stack.enter_async_context(context))
        self.closes.append(stack.aclose)

    async def begin(self) -> None:
        """Open what it listens on. Raises ConfigurationError."""
        for begin in self.begins:
            await begin()

    def start(self) -> None:
        """Begin its tasks."""
        self.running += [asyncio.create_task(kept_up(work)) for work in self.tasks]

    async def stop(self) -> None:
        """Let it finish what it has in hand; never raises."""
        await asyncio.gather(*(stop() for stop in self.stops), return_exceptions=True)

    async def close(self) -> None:
        """End its tasks, and close what it holds; never raises."""
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        for close in reversed(self.closes):
            try:
                waiting = close()
                if waiting is not None:
                    await waiting
            except Exception as error:
                log.warning("%s could not be closed: %s", self.name, error)

    @property
    def is_alive(self) -> bool:
        """Whether none of its tasks has ended that should run."""
        return not (self.is_vital and any(task.done() for task in self.running))


class Parts:
    """All parts of a service, by name; ``before`` are those that it is made of until now."""

    def __init__(self, before: Parts | None = None) -> None:
        self._before = {} if before is None else before.by_name
        self.by_name: dict[str, Part] = {}
        # called when these take the place of those before, all within one turn of the event loop
        self.at_switch: list[Callable[[], None]] = []

    def keep(self, name: str, settings: object, make: Callable[[Part], Made]) -> Made:
        """What ``make`` makes; or made before, with equal settings (None: whatever they are)."""
        part = self._before.get(name)
        if part is None or part.settings != settings:
            part = Part(name, settings)
            # first, so that what is begun is closed where the making fails
            self.by_name[name] = part
            part.value = make(part)
        self.by_name[name] = part
        return cast(Made, part.value)

    def __iter__(self) -> Iterator[Part]:
        """All of them, in the order in which they were made."""
        return iter(self.by_name.values())

    @property
    def new(self) -> list[Part]:
        """Those that were not there before."""
        return [one for one in self if self._before.get(one.name) is not one]

    @property
    def gone(self) -> list[Part]:
        """Those of before that are not here, the last one first."""
        before = reversed(self._before.values())
        return [one for one in before if self.by_name.get(one.name) is not one]

    async def begin(self) -> None:
        """Open what is new, beside those before. Raises ConfigurationError."""
        for part in self.new:
            await part.begin()

    def switch(self) -> None:
        """Take the place of those before: what is new begins."""
        for part in self.new:
            part.start()
        for take_up in self.at_switch:
            take_up()
        self.at_switch.clear()

    def abandon(self) -> None:
        """``discard`` in a task of its own, for who is no coroutine."""
        if self.new:
            task = asyncio.get_running_loop().create_task(self.discard())
            _ABANDONED.add(task)
            task.add_done_callback(_ABANDONED.discard)

    async def discard(self) -> None:
        """Close what is new: those before go on. For parts that never took their place."""
        for part in reversed(self.new):
            await part.close()


async def kept_up(work: Work, again_seconds: float = AGAIN_SECONDS) -> None:
    """Work off the call path is begun again when it fails: calls go on meanwhile."""
    while True:
        try:
            await work()
            return
        except Exception:
            log.exception("background work failed")
        await asyncio.sleep(again_seconds)
