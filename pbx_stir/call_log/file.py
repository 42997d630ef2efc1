"""The call log: one JSON object a line, one line a call.

Takes reception's records, gives lines. They are written by a thread of their own, from a queue
with an end: a full disk or a slow one costs lines, counted and said, and never a call.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pbx_stir.call_log.numbers import hide_digits, shortened
from pbx_stir.services.call import Direction, Rejection
from pbx_stir.services.used import Claim

if TYPE_CHECKING:
    from pbx_stir.services.reception import Record

log = logging.getLogger(__name__)

LONGEST_QUEUE: Final = 10_000
MOST_REJECTIONS: Final = 20
LONGEST_DETAIL: Final = 200


class CallLogFile:
    """Appends to a file, or to standard output where ``path`` is None.

    ``numbers`` is "full" or "short". The file is made with mode 0640 and opened again when it was
    moved away, so that logrotate needs no signal. Each of ``told`` is called with each line as it
    is queued, numbers as they stand in it, on the caller's thread: it must neither block nor
    raise, and not change the line.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        numbers: str = "full",
        told: Sequence[Callable[[Mapping[str, object]], None]] = (),
    ) -> None:
        self._path = path
        self._told = tuple(told)
        self._show: Callable[[str], str] = shortened if numbers == "short" else str
        self._queue: queue.Queue[bytes | None] = queue.Queue(LONGEST_QUEUE)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="call-log", daemon=True)
        self._thread.start()

    @property
    def lines_lost(self) -> int:
        """How many lines could not be written."""
        return self._lost

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
            line["originator"] = [self._text(one) for one in call.originator]
            line["came_in"] = call.came_in
        else:
            line["verstat"] = outcome.verstat.value if outcome.verstat else ""
        line["attest"] = outcome.attest
        # a certificate may be named for the number it is for
        line["signer"] = self._text(outcome.signer)
        if outcome.diverted_by:
            line["diverted_by"] = self._show(outcome.diverted_by)
        if outcome.identity:
            line["identity_headers"] = len(outcome.identity)
        if outcome.name:
            line["name"] = self._text(outcome.name)
        if outcome.call_reason:
            line["call_reason"] = self._text(outcome.call_reason)
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
        if self._show is not str:
            call, outcome = record.call, record.outcome
            for number in {outcome.orig, outcome.dest, call.orig, call.dest} - {""}:
                # a short one only where it stands alone: "1" is not hidden in "10.1 s"
                alone = rf"(?<![\w.]){re.escape(number)}(?![\w.])"
                # a backslash in what a PBX says was called is no escape here
                shown = self._show(number).replace("\\", r"\\")
                detail = re.sub(alone, shown, detail)
        return self._text(detail)[:LONGEST_DETAIL]

    def _text(self, text: str) -> str:
        """Text that may have numbers in it."""
        return text if self._show is str else hide_digits(text)

    def _put(self, line: dict[str, object]) -> None:
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
            log.error("call log %s: %s: %d lines lost", self._path or "-", why, self._lost)

    def _write(self) -> None:
        """Write until the queue ends. What cannot be written is lost, whatever the reason."""
        output = _Output(self._path)
        while (line := self._queue.get()) is not None:
            try:
                output.write(line, more=not self._queue.empty())
            except (OSError, ValueError) as error:
                self._lose(error)
        output.close()


class _Output:
    """The file, opened again when it was moved away, or standard output; used by one thread."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._open: int | None = None
        self._cut = False

    def write(self, line: bytes, *, more: bool) -> None:
        """Write one line; ``more`` will follow at once. Raises OSError, ValueError (closed)."""
        if self._path is None:
            sys.stdout.buffer.write(line)
            if not more:
                sys.stdout.buffer.flush()
            return
        stream = self._stream(self._path)
        # after a line that was cut off (a full disk) the next one must not continue it
        octets = b"\n" + line if self._cut else line
        written = os.write(stream, octets)
        self._cut = written < len(octets) and (written > 0 or self._cut)
        if written < len(octets):
            raise OSError(f"{written} of {len(octets)} octets written")

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def _stream(self, path: Path) -> int:
        if self._open is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(self._open)):
                    return self._open
            self.close()
            self._cut = False
        self._open = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        return self._open


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
