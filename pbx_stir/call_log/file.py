"""Keeps the call log off the call path: a queue with an end, and a thread that writes.

Takes reception's records. While a disk is full lines wait in the queue; beyond its end, and where
something else is wrong, they are lost, counted and said. No call ever waits.
"""

from __future__ import annotations

import errno
import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pbx_stir.call_log.lines import Line, Lines
from pbx_stir.call_log.numbers import style
from pbx_stir.call_log.outputs import LogFile, Output, StandardOutput

if TYPE_CHECKING:
    from pbx_stir.services.reception import Record
    from pbx_stir.services.used import Claim

log = logging.getLogger(__name__)

LONGEST_QUEUE: Final = 10_000
# so long the writer sleeps at most before it looks whether a day has passed
IDLE_SECONDS: Final = 60.0
# what passes by itself, or when somebody makes room; and how often it is tried again meanwhile
_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
RETRY_SECONDS: Final = 1.0


class CallLogFile:
    """Appends to a file, or to standard output where ``path`` is None, or to an ``output`` given.

    ``numbers`` is "full", "short" or "hash", the last with its ``key``. Each of ``told`` is called
    with each line as it is queued, numbers as they stand in it, on the caller's thread: it must
    neither block nor raise, and not change the line.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        numbers: str = "full",
        told: Sequence[Callable[[Mapping[str, object]], None]] = (),
        key: bytes = b"",
        output: Output | None = None,
    ) -> None:
        if output is None:
            output = StandardOutput() if path is None else LogFile(path)
        self._output = output
        self._told = tuple(told)
        self._lines = Lines(style(numbers, key))
        self._queue: queue.Queue[bytes | None] = queue.Queue(LONGEST_QUEUE)
        self._lost = 0
        self._waits = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="call-log", daemon=True)
        self._thread.start()

    @property
    def lines_lost(self) -> int:
        """How many lines could not be written."""
        return self._lost

    def record(self, record: Record) -> None:
        """Write the one record of a call."""
        self._put(self._lines.call(record))

    def contested(self, first: Claim, second: Record) -> None:
        """Say that ``first``, which passed, and ``second`` claimed one PASSporT."""
        self._put(self._lines.contested(first, second))

    def close(self, seconds: float = 2.0) -> None:
        """Write what is queued, for at most ``seconds``; what a full disk does not take is lost."""
        self._closing.set()
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _put(self, line: Line) -> None:
        for tell in self._told:
            try:
                tell(line)
            except Exception:
                log.exception("a reader of the call log failed")
        try:
            # in ASCII: some of a stranger's characters end a line where others read it (U+2028)
            self._queue.put_nowait(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")
        except queue.Full:
            self._lose("the disk cannot keep up")

    def _lose(self, why: object) -> None:
        """Count a lost line, and say so: the first, then ever more rarely."""
        self._lost += 1
        if self._lost in {1, 10, 100} or self._lost % 1000 == 0:
            log.error("call log %s: %s: %d lines lost", self._output.name, why, self._lost)

    def _write(self) -> None:
        """Write until the queue ends."""
        output = self._output
        has_work = True
        while (line := self._next(has_work)) is not None:
            while line and not self._written(line):
                self._closing.wait(RETRY_SECONDS)
            has_work = output.tidy(idle=not line)
        output.close()

    def _written(self, line: bytes) -> bool:
        """Write a line, or lose it; returns False where it is to be tried again."""
        try:
            self._output.write(line, more=not self._queue.empty())
        except (OSError, ValueError) as error:
            passes = isinstance(error, OSError) and error.errno in _PASSING
            if passes and not self._closing.is_set():
                if not self._waits:
                    log.error("call log %s: %s: lines wait in memory", self._output.name, error)
                self._waits = True
                return False
            self._lose(error)
            return True
        if self._waits:
            log.warning("call log %s: lines are written again", self._output.name)
        self._waits = False
        return True

    def _next(self, has_work: bool) -> bytes | None:
        """The next line; empty where there is none now and the output has work of its own."""
        try:
            return self._queue.get(timeout=0.0 if has_work else IDLE_SECONDS)
        except queue.Empty:
            return b""
