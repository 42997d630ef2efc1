"""Older files of a call log: named by day, compressed piece by piece, removed when too old.

Takes the log's path, works beside it: ``calls.jsonl`` of 22 November becomes
``calls.jsonl-20261122``, then ``calls.jsonl-20261122.gz``; a second one of that day is
``calls.jsonl-20261122-2.gz``. Files with other names are never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Final

PIECE: Final = 256 * 1024
MOST_A_DAY: Final = 10_000
_UNFINISHED: Final = ".part"


@dataclass(frozen=True, slots=True)
class Rotation:
    """``keep_days``: older files are removed after as many days, 0: nothing is rotated at all.

    A file is moved aside when it has ``most_octets``, even within a day.
    """

    keep_days: int = 30
    most_octets: int = 100 * 1024 * 1024


class OlderFiles:
    """The files beside ``path``; used by one thread."""

    def __init__(self, path: Path, rotation: Rotation) -> None:
        self._folder = path.parent
        self._path = path
        self._rotation = rotation
        self._named = re.compile(
            rf"{re.escape(path.name)}-(\d{{8}})(?:-\d{{1,5}})?(\.gz|\.gz{re.escape(_UNFINISHED)})?"
        )
        self._waiting: list[Path] = []
        self._compressing: _Compressing | None = None

    @property
    def has_work(self) -> bool:
        """Whether a file is to be compressed."""
        return self._compressing is not None or bool(self._waiting)

    def move(self, path: Path, day: date) -> None:
        """Give ``path`` the name of its day. Raises OSError."""
        for count in range(1, MOST_A_DAY):
            more = "" if count == 1 else f"-{count}"
            aside = self._folder / f"{self._path.name}-{day:%Y%m%d}{more}"
            if not aside.exists() and not self._compressed(aside).exists():
                path.rename(aside)
                return
        raise OSError(f"{MOST_A_DAY} files of one day")

    def sweep(self, today: date) -> None:
        """Remove what is too old, and note what is to be compressed. Raises OSError."""
        oldest = today - timedelta(days=self._rotation.keep_days)
        self._waiting = []
        for path in sorted(self._folder.iterdir()):
            named = self._named.fullmatch(path.name)
            if named is None:
                continue
            if _day(named[1]) < oldest:
                path.unlink(missing_ok=True)
            elif named[2] is None:
                self._waiting.append(path)

    def compress_piece(self) -> bool:
        """Compress some of a file; returns whether more is to be done. Raises OSError."""
        if self._compressing is None:
            if not self._waiting:
                return False
            path = self._waiting.pop(0)
            self._compressing = _Compressing.begin(path, self._compressed(path))
            return self.has_work
        try:
            if self._compressing.piece():
                return True
        except OSError:
            self._compressing.give_up()
            self._compressing = None
            raise
        self._compressing = None
        return self.has_work

    def close(self) -> None:
        """Leave what is half compressed for the next start."""
        if self._compressing is not None:
            self._compressing.give_up()
            self._compressing = None

    def _compressed(self, path: Path) -> Path:
        return path.with_name(path.name + ".gz")


class _Compressing:
    """One file on its way; the other name appears when it is whole, then the file goes."""

    def __init__(self, path: Path, target: Path, source: IO[bytes]) -> None:
        self._path = path
        self._target = target
        self._source = source
        self._unfinished = target.with_name(target.name + _UNFINISHED)
        descriptor = os.open(
            self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640
        )
        self._raw = os.fdopen(descriptor, "wb")
        self._sink = gzip.GzipFile("", "wb", 6, self._raw, mtime=0)

    @classmethod
    def begin(cls, path: Path, target: Path) -> _Compressing | None:
        """Begin, unless another process is at it or the file has gone. Raises OSError."""
        try:
            source = path.open("rb")
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(path, target, source)
        except BlockingIOError:
            source.close()
            return None
        except OSError:
            source.close()
            raise

    def piece(self) -> bool:
        """Compress the next piece; returns whether it was not the last. Raises OSError."""
        octets = self._source.read(PIECE)
        if octets:
            self._sink.write(octets)
            return True
        self._sink.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        found = os.fstat(self._source.fileno())
        self._raw.close()
        # its time is that of its last line
        os.utime(self._unfinished, (found.st_atime, found.st_mtime))
        self._unfinished.replace(self._target)
        self._path.unlink(missing_ok=True)
        self._source.close()
        return False

    def give_up(self) -> None:
        """Nothing has happened."""
        for one in (self._sink, self._raw, self._source):
            with contextlib.suppress(OSError, ValueError):
                one.close()
        with contextlib.suppress(OSError):
            self._unfinished.unlink()


def _day(digits: str) -> date:
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return date.max
