"""A call log as it grows: over rotation and truncation.

Takes the log's path, gives its lines as they are written. The file is looked at a few times a
second; nothing else tells on every file system.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from pbx_stir.call_log.reading import LONGEST_LINE, CallLine, parsed

LOOK_SECONDS: Final = 0.3
_BLOCK: Final = 256 * 1024


class Follower:
    """Reads on where it left off; half a line waits for its other half."""

    def __init__(self, path: Path) -> None:
        """Begins at the beginning of the file. Raises OSError, unless it is only missing."""
        self._path = path
        self._stream: IO[bytes] | None = None
        self._rest = b""
        self._is_huge = False
        with contextlib.suppress(FileNotFoundError):
            self._stream = path.open("rb")

    def more(self) -> Iterator[tuple[CallLine, bytes]]:
        """What has been written since. Raises OSError, but for a file that is not there."""
        yield from self._read()
        if self._has_moved():
            # what was written to the old one until it was moved
            yield from self._read()
            self.close()
            self._rest, self._is_huge = b"", False
            with contextlib.suppress(FileNotFoundError):
                self._stream = self._path.open("rb")
                yield from self._read()

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _has_moved(self) -> bool:
        if self._stream is None:
            return True
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._stream.fileno()))
        except FileNotFoundError:
            # between two: the old one is read on until there is a new one
            return False

    def _read(self) -> Iterator[tuple[CallLine, bytes]]:
        stream = self._stream
        if stream is None:
            return
        if os.fstat(stream.fileno()).st_size < stream.tell():
            # truncated: copied away
            stream.seek(0)
            self._rest, self._is_huge = b"", False
        while block := stream.read(_BLOCK):
            *whole, rest = (self._rest + block).split(b"\n")
            for octets in whole:
                found = None if self._is_huge else parsed(octets)
                self._is_huge = False
                if found is not None:
                    yield found, octets
            self._rest = rest
            if len(rest) > LONGEST_LINE:
                self._rest, self._is_huge = b"", True
