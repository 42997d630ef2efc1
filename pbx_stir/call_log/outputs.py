"""Where the lines of the call log go: standard output, or a file that is rotated.

Used by one thread, the log's own. What cannot be written raises, and is counted as lost there;
``tidy`` never raises, and does little at a time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from pbx_stir.call_log.rotation import OlderFiles, Rotation

log = logging.getLogger(__name__)

# while calls keep coming, older files are compressed piece by piece between so many lines
LINES_A_PIECE: Final = 64
# where the folder does not let us rename, this long goes by before it is tried again
RETRY_SECONDS: Final = 3600.0


class Output(Protocol):
    """Takes lines. Each ends in a line feed, is ASCII, and holds one JSON object."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def write(self, line: bytes, *, more: bool) -> None:
        """Write one line; ``more`` will follow at once. Raises OSError, ValueError (closed)."""
        ...

    def tidy(self, *, idle: bool) -> bool:
        """Do a little of what is to be done besides writing; returns whether some is left.

        ``idle``: no line waits.
        """
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class StandardOutput:
    """Lines on standard output, for a journal or a container's log to keep."""

    name = "-"

    def write(self, line: bytes, *, more: bool) -> None:
        """Write one line; ``more`` will follow at once. Raises OSError, ValueError (closed)."""
        sys.stdout.buffer.write(line)
        if not more:
            sys.stdout.buffer.flush()

    def tidy(self, *, idle: bool) -> bool:
        """Nothing to do besides."""
        return False

    def close(self) -> None:
        """Standard output is not ours to close."""


class LogFile:
    """A file, opened again when it was moved away, so that logrotate needs no signal.

    Made with mode 0640. With a ``rotation`` it is moved aside when its day (in local time) is over
    or it has become too large, unless it is none of its own: a link, a pipe, a device. Several
    processes may write to one file; one of them rotates it.
    """

    def __init__(
        self,
        path: Path,
        rotation: Rotation | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = str(path)
        self._path = path
        self._now = now
        self._open: int | None = None
        self._cut = False
        self._rotation = rotation
        self._older = OlderFiles(path, rotation) if rotation and rotation.keep_days else None
        # of the file that is open: when its day is over, and how large it is
        self._day = date.min
        self._over_at = 0.0
        self._octets = 0
        self._is_plain = False
        self._not_before = 0.0
        self._swept = date.min
        self._since_piece = 0

    def write(self, line: bytes, *, more: bool) -> None:
        """Write one line. Raises OSError; a line that was cut off does not spoil the next one."""
        stream = self._stream(self._path)
        if self._older is not None and self._is_due() and self._move(stream):
            stream = self._stream(self._path)
        # after a line that was cut off (a full disk) the next one must not continue it
        octets = b"\n" + line if self._cut else line
        written = os.write(stream, octets)
        self._octets += written
        self._cut = written < len(octets) and (written > 0 or self._cut)
        if written < len(octets):
            # a disk takes less than it is given when it is full
            why = f"{written} of {len(octets)} octets written"
            raise OSError(errno.ENOSPC, why)

    def tidy(self, *, idle: bool) -> bool:
        """Rotate what is due though nobody calls, compress a piece, remove what is too old."""
        if self._older is None:
            return False
        self._since_piece += 1
        if not idle and self._since_piece < LINES_A_PIECE:
            return self._older.has_work
        self._since_piece = 0
        try:
            if idle and self._open is not None and self._is_due():
                self._move(self._open)
            today = _day_of(self._now())
            if today != self._swept:
                self._swept = today
                self._older.sweep(today)
            return self._older.compress_piece()
        except OSError as error:
            log.warning("call log %s: cannot tidy up: %s", self.name, error)
            return False

    def close(self) -> None:
        """Let go of the file, and of what is half compressed."""
        self._let_go()
        if self._older is not None:
            self._older.close()

    def _let_go(self) -> None:
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def _is_due(self) -> bool:
        now = self._now()
        if now < self._not_before or self._rotation is None or self._octets == 0:
            return False
        if not self._is_plain:
            return False
        return now >= self._over_at or self._octets >= self._rotation.most_octets

    def _move(self, stream: int) -> bool:
        """Move the file aside, unless another process is at it; returns whether it was moved."""
        if self._older is None:
            return False
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(self._path.stat(), os.fstat(stream)):
                self._older.move(self._path, self._day)
        except OSError as error:
            # rather one file that grows than lines lost
            self._not_before = self._now() + RETRY_SECONDS
            log.warning("call log %s: cannot be rotated: %s", self.name, error)
            return False
        self._swept = date.min
        self._let_go()
        return True

    def _stream(self, path: Path) -> int:
        if self._open is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(self._open)):
                    return self._open
            self._let_go()
            self._cut = False
        self._open = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        found = os.fstat(self._open)
        self._octets = found.st_size
        # neither a pipe or a device, nor what a link leads to
        self._is_plain = stat.S_ISREG(path.lstat().st_mode)
        # what another day's process has left is of the day it was written last
        self._day = _day_of(found.st_mtime if found.st_size else self._now())
        self._over_at = _midnight_after(self._day)
        return self._open


def _day_of(moment: float) -> date:
    """The local day."""
    return datetime.fromtimestamp(moment, UTC).astimezone().date()


def _midnight_after(day: date) -> float:
    return datetime.combine(day + timedelta(days=1), datetime.min.time()).timestamp()
