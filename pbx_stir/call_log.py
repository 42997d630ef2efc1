"""The call log: one JSON object a line, one line a call.

Takes reception's records, gives lines. They are written by a thread of their own, from a queue
with an end: a full disk or a slow one costs lines, counted and said, and never a call.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from pbx_stir.services.call import Direction, Rejection
from pbx_stir.services.reception import Record
from pbx_stir.services.used import Claim

log = logging.getLogger(__name__)

LONGEST_QUEUE: Final = 10_000
MOST_REJECTIONS: Final = 20
LONGEST_DETAIL: Final = 200


def shortened(number: str) -> str:
    """``number`` with its last four digits hidden; what is shorter is hidden whole."""
    return number[:-4] + "xxxx" if len(number) > 6 else "x" * len(number)


class CallLogFile:
    """Appends to a file, or to standard output where ``path`` is None.

    ``numbers`` is "full" or "short". The file is made with mode 0640 and opened again when it was
    moved away, so that logrotate needs no signal.
    """

    def __init__(self, path: Path | None, *, numbers: str = "full") -> None:
        self._path = path
        self._show: Callable[[str], str] = shortened if numbers == "short" else str
        self._queue: queue.Queue[bytes | None] = queue.Queue(LONGEST_QUEUE)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="call-log", daemon=True)
        self._thread.start()

    def record(self, record: Record) -> None:
        """Write the one record of a call."""
        self._put(self._line(record))

    def contested(self, first: Claim, second: Record) -> None:
        """Say that ``first``, which passed, and ``second`` claimed one PASSporT."""
        self._put(
            {
                "event": "contested",
                "time": _stamp(second.at),
                "id": first.call_id,
                "pbx": first.pbx,
                "uniqueid": first.unique_id,
                "claimed_by": second.call_id,
                "note": "two calls claimed this signature; either may be the genuine one",
            }
        )

    def close(self, seconds: float = 2.0) -> None:
        """Write what is queued, for at most ``seconds``."""
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _line(self, record: Record) -> dict[str, object]:
        call, outcome = record.call, record.outcome
        line: dict[str, object] = {
            "event": "call",
            "time": _stamp(record.at),
            "id": record.call_id,
            "pbx": call.pbx,
            "uniqueid": call.unique_id,
            "linkedid": call.linked_id,
            "direction": call.direction.value,
            "mode": call.mode.value,
            "trunk": call.trunk,
            "orig": self._show(outcome.orig or call.orig),
            "dest": self._show(outcome.dest or call.dest),
            "reason": outcome.reason.value,
            "ms": round(record.ms, 1),
            "released": record.released,
        }
        if call.direction is Direction.OUTBOUND:
            line["status"] = outcome.status.value if outcome.status else ""
            line["originator"] = list(call.originator)
            line["came_in"] = call.came_in
        else:
            line["verstat"] = outcome.verstat.value if outcome.verstat else ""
        line["attest"] = outcome.attest
        line["signer"] = outcome.signer
        if outcome.detail:
            line["detail"] = self._said(outcome.detail, record)
        shown = outcome.rejections[:MOST_REJECTIONS]
        if shown:
            line["rejections"] = [self._rejection(one, record) for one in shown]
        if len(outcome.rejections) > len(shown):
            line["rejections_left_out"] = len(outcome.rejections) - len(shown)
        return line

    def _rejection(self, rejection: Rejection, record: Record) -> dict[str, str]:
        said = {"step": rejection.step, "reason": rejection.reason.value}
        if rejection.detail:
            said["detail"] = self._said(rejection.detail, record)
        return said

    def _said(self, detail: str, record: Record) -> str:
        """A detail may quote the numbers; they are shown as everywhere in the line."""
        call, outcome = record.call, record.outcome
        for number in {outcome.orig, outcome.dest, call.orig, call.dest} - {""}:
            detail = detail.replace(number, self._show(number))
        if self._show is not str:
            detail = _hide_digits(detail)
        return detail[:LONGEST_DETAIL]

    def _put(self, line: dict[str, object]) -> None:
        try:
            self._queue.put_nowait(msgspec.json.encode(line) + b"\n")
        except queue.Full:
            self._lost += 1
            if self._lost in {1, 10, 100} or self._lost % 1000 == 0:
                log.error("the call log cannot keep up: %d lines lost", self._lost)

    def _write(self) -> None:
        if self._path is None:
            while (line := self._queue.get()) is not None:
                sys.stdout.buffer.write(line)
                if self._queue.empty():
                    sys.stdout.buffer.flush()
            return
        stream: BinaryIO | None = None
        while (line := self._queue.get()) is not None:
            try:
                stream = self._open(stream)
                stream.write(line)
                stream.flush()
            except OSError as error:
                self._lost += 1
                log.error("call log %s: %s: %d lines lost", self._path, error, self._lost)
        if stream is not None:
            stream.close()

    def _open(self, stream: BinaryIO | None) -> BinaryIO:
        path = self._path
        assert path is not None
        if stream is not None:
            try:
                if path.stat().st_ino == _inode(stream):
                    return stream
            except FileNotFoundError:
                pass
            stream.close()
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), "ab")


def _hide_digits(text: str) -> str:
    """``text`` with the end of each run of digits that could be a number hidden."""
    words, run = [], ""
    for character in [*text, ""]:
        if character.isdigit():
            run += character
            continue
        words.append(shortened(run) if len(run) > 6 else run)
        words.append(character)
        run = ""
    return "".join(words)


def _inode(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_ino


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
