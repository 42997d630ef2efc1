"""Keeps the single-use memory across restarts, in a file of one JSON note a line.

Notes are written by one thread, from a queue with an end; a call waits for none of them. What a
process wrote last before it was killed may be missing: the queue is empty within milliseconds.
The file is begun anew, with what still matters, when it is opened and when it has grown.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from pbx_stir.errors import ConfigurationError
from pbx_stir.services.used import Note

log = logging.getLogger(__name__)

LONGEST_QUEUE: Final = 10_000
LARGEST_FILE: Final = 16 << 20
_decoder = msgspec.json.Decoder(Note)
_encoder = msgspec.json.Encoder()


class UsedFile:
    """The journal of services.used in a file of mode 0600."""

    def __init__(self, path: Path, now: float) -> None:
        """Read what ``path`` has, and begin it anew with what still matters at ``now``.

        Raises:
            ConfigurationError: the file cannot be read or written
        """
        self._path = path
        self._queue: queue.Queue[Note | None] = queue.Queue(LONGEST_QUEUE)
        self._lost = 0
        try:
            self.notes: tuple[Note, ...] = _alive(_read(path), now)
            self._stream = _begin(path, self.notes)
        except OSError as error:
            hint = "state_dir must be a folder that the service may write"
            raise ConfigurationError(f"{path}: {error.strerror}", hint=hint) from error
        self._most_octets = LARGEST_FILE
        self._cut = False
        self._thread = threading.Thread(target=self._write, name="used-file", daemon=True)
        self._thread.start()

    async def append(self, note: Note) -> None:
        """Have ``note`` outlive this process; never blocks, never raises."""
        try:
            self._queue.put_nowait(note)
        except queue.Full:
            self._said("the disk cannot keep up")

    def close(self, seconds: float = 2.0) -> None:
        """Write what is queued, for at most ``seconds``."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
            self._thread.join(seconds)

    def _write(self) -> None:
        while (note := self._queue.get()) is not None:
            try:
                self._add(_encoder.encode(note) + b"\n")
                if os.fstat(self._stream).st_size > self._most_octets:
                    self._begin_anew()
            except OSError as error:
                self._said(error.strerror or str(error))
        os.close(self._stream)

    def _add(self, line: bytes) -> None:
        # after a line that was cut off (a full disk) the next one must not continue it
        octets = b"\n" + line if self._cut else line
        written = os.write(self._stream, octets)
        self._cut = written < len(octets)
        if self._cut:
            self._said("the disk is full")

    def _begin_anew(self) -> None:
        # should nearly all of it still matter, or the disk be full: not again with every note
        self._most_octets *= 2
        kept = _alive(_read(self._path), time.time())
        old, self._stream = self._stream, _begin(self._path, kept)
        os.close(old)
        self._cut = False
        self._most_octets = max(LARGEST_FILE, 2 * os.fstat(self._stream).st_size)

    def _said(self, why: str) -> None:
        self._lost += 1
        if self._lost in {1, 10, 100} or self._lost % 1000 == 0:
            log.error("%s: %s: %d notes of used PASSporTs lost", self._path, why, self._lost)


def _read(path: Path) -> Iterable[Note]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        # the last line may be cut off; a damaged one is worth less than the service
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield _decoder.decode(line)


def _alive(notes: Iterable[Note], now: float) -> tuple[Note, ...]:
    last: dict[str, Note] = {}
    for note in notes:
        last.pop(note.key, None)
        if not note.free and note.until >= now:
            last[note.key] = note
    return tuple(last.values())


def _begin(path: Path, notes: Iterable[Note]) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    stream = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        with os.fdopen(stream, "wb", closefd=False) as file:
            file.write(b"".join(_encoder.encode(note) + b"\n" for note in notes))
        # only now: what was there before is worth more than the half of it
        fresh.replace(path)
    except OSError:
        os.close(stream)
        raise
    return stream
