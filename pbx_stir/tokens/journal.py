"""What a ledger in memory has remembered, on disk: so that a restart lets nothing be spent twice.

Takes records, each before what it allows is allowed, and gives them all at the next start. For one
process at a time. Records that expire together lie in one file, which is removed when they have: no
trace of a store outlives what it is for. A count has a place in its file, and is written over.

It outlives a process that is killed. It is not forced to the disk with every record: a machine that
loses its power may forget its last seconds, and takes longer than a proof lives to come back.

A record has 48 octets: key (32), count (8, 0 for what is used up once), until (8, epoch seconds
times 1000), integers with the most significant octet first.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbx_stir.errors import ConfigurationError, StoreUnavailable

# records whose ends lie within so many seconds share a file
FILE_SECONDS: Final = 128
_RECORD: Final = struct.Struct(">32sQQ")
_SUFFIX: Final = ".spent"
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Record:
    """That ``key`` (32 octets) stands at ``count`` until ``until`` (epoch seconds).

    ``place`` is where it lies in its file, -1 where it is not written yet.
    """

    key: bytes
    count: int
    until: float
    place: int = -1


class _File:
    """An open file and how much of it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, _FLAGS, 0o600)
        self.size = os.fstat(self.descriptor).st_size // _RECORD.size * _RECORD.size


class Journal:
    """A directory of such files."""

    def __init__(self, directory: Path) -> None:
        """Open it, made with mode 0700 where it is missing.

        Raises ``ConfigurationError``, also where another process has it open.
        """
        self._directory = directory
        self._files: dict[int, _File] = {}
        self._lock = -1
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", _FLAGS, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in directory.glob("*" + _SUFFIX):
                if path.stem.isascii() and path.stem.isdigit():
                    self._files[int(path.stem)] = _File(path)
        except BlockingIOError as error:
            self.close()
            raise ConfigurationError(
                f"another process counts what is stored in {directory}",
                hint="several processes need a ledger that they share, such as redis",
            ) from error
        except OSError as error:
            self.close()
            raise ConfigurationError(f"cannot use {directory}: {error.strerror}") from error

    def records(self) -> Iterator[Record]:
        """Give all that was written. Raises ``ConfigurationError``."""
        for file in self._files.values():
            try:
                octets = os.pread(file.descriptor, file.size, 0)
            except OSError as error:
                raise ConfigurationError(f"cannot read {file.path}: {error.strerror}") from error
            for place in range(0, len(octets) - _RECORD.size + 1, _RECORD.size):
                key, count, until = _RECORD.unpack_from(octets, place)
                yield Record(key, count, until / 1000, place)

    def write(self, record: Record) -> int:
        """Write a record at its place, or at a new one; gives the place.

        Raises ``StoreUnavailable`` where the disk takes no more.
        """
        end = -int(-record.until // FILE_SECONDS) * FILE_SECONDS
        octets = _RECORD.pack(record.key, record.count, int(record.until * 1000))
        try:
            file = self._files.get(end)
            if file is None:
                file = self._files[end] = _File(self._directory / f"{end}{_SUFFIX}")
            place = file.size if record.place < 0 else record.place
            if os.pwrite(file.descriptor, octets, place) != len(octets):
                raise StoreUnavailable("the journal of what was spent has no room")
        except OSError as error:
            raise StoreUnavailable(f"the journal of what was spent: {error.strerror}") from error
        file.size = max(file.size, place + _RECORD.size)
        return place

    def forget(self, now: float) -> None:
        """Remove the files in which all has expired."""
        for end in [one for one in self._files if one <= now]:
            file = self._files.pop(end)
            with suppress(OSError):
                os.close(file.descriptor)
                file.path.unlink()

    def close(self) -> None:
        """Let another process have it."""
        for descriptor in (*(file.descriptor for file in self._files.values()), self._lock):
            with suppress(OSError):
                os.close(descriptor)
        self._files.clear()
        self._lock = -1
