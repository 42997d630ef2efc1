"""A thread of its own in which an event loop has work done, one piece after the other.

What ``concurrent.futures`` does for any number of threads, with half of its cost for one: a call
that is verified waits for such a piece twice. It takes functions, and gives what they give.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(slots=True)
class _Piece:
    """Work, and who waits for it in which loop."""

    loop: asyncio.AbstractEventLoop
    waits: asyncio.Future[Any]
    work: Callable[[], object]


class Lane:
    """``run`` is for coroutines of any loop; ``close`` ends the thread."""

    def __init__(self, name: str) -> None:
        """``name`` is the thread's."""
        self._pieces: SimpleQueue[_Piece | None] = SimpleQueue()
        # the thread knows the queue only: a lane that is forgotten ends
        self._thread = threading.Thread(target=_work, args=(self._pieces,), name=name, daemon=True)
        self._ends = weakref.finalize(self, self._pieces.put, None)
        self._thread.start()

    async def run(self, work: Callable[[], Result], seconds: float) -> Result:
        """Do ``work`` in the thread, and give what it gives or raise what it raises.

        Raises TimeoutError after ``seconds``: it may have been done, or still be. It is left out
        where it has not begun when its time is over, or whoever waits for it is cancelled. Raises
        RuntimeError where the lane is closed.
        """
        if not self._ends.alive:
            raise RuntimeError("it is closed")
        loop = asyncio.get_running_loop()
        waits: asyncio.Future[Result] = loop.create_future()
        timer = loop.call_later(seconds, _too_late, waits)
        self._pieces.put(_Piece(loop, waits, work))
        try:
            return await waits
        finally:
            timer.cancel()

    def close(self) -> None:
        """Finish what was begun and what waits, then end; waits for that."""
        self._ends()
        self._thread.join()


def _work(pieces: SimpleQueue[_Piece | None]) -> None:
    """The thread. It holds on to nothing while it waits."""
    while (piece := pieces.get()) is not None:
        if piece.waits.done():
            del piece
            continue
        result: object = None
        failure: BaseException | None = None
        try:
            result = piece.work()
        except BaseException as error:
            failure = error
        # a loop that is closed waits for nothing
        with contextlib.suppress(RuntimeError):
            piece.loop.call_soon_threadsafe(_tell, piece.waits, result, failure)
        del piece, result, failure


def _tell(waits: asyncio.Future[Any], result: object, failure: BaseException | None) -> None:
    if waits.done():
        return
    if failure is None:
        waits.set_result(result)
    else:
        waits.set_exception(failure)


def _too_late(waits: asyncio.Future[Any]) -> None:
    if not waits.done():
        waits.set_exception(TimeoutError())
