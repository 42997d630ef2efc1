"""Which lines of a call log somebody wants to see.

Takes the words of a command line and the time, gives a ``Wanted`` that says of a line whether it is
one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pbx_stir.call_log.numbers import HASH_MARK, shortened
from pbx_stir.call_log.reading import VERDICTS, CallLine
from pbx_stir.errors import UsageError

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO: Final = re.compile(r"(\d{1,6})\s*([smhdw])(?:\s*ago)?")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_NOT_DIGITS: Final = re.compile(r"[ ()\-./+]")
# fewer digits than these would be the end of too many numbers
FEWEST_AT_END: Final = 7


def moment(text: str, now: datetime) -> datetime:
    """When ``text`` is: "2h" before ``now``, "today", "yesterday", "08:30", or ISO 8601.

    ``now`` has a zone, which is that of times without one.

    Raises:
        UsageError: it is none of these
    """
    wanted = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if wanted == "now":
            return now
        if wanted in {"today", "yesterday"}:
            return midnight - timedelta(days=wanted == "yesterday")
        if ago := _AGO.fullmatch(wanted):
            return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        if clock := _CLOCK.fullmatch(wanted):
            return midnight.replace(
                hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0)
            )
        found = datetime.fromisoformat(text.strip())
        return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError) as error:
        hint = 'such as 2h, today, 08:30, 2026-11-22 or "2026-11-22 08:30"'
        raise UsageError(f"no time: {text!r}", hint=hint) from error


class Number:
    """A number that is looked for: in full, from its beginning, or by its last digits."""

    def __init__(self, text: str, hashed: Callable[[str], str] | None = None) -> None:
        """``hashed`` gives a number's hash in this log, None where its key is not to be had.

        Raises:
            UsageError: ``text`` is no number
        """
        digits = _NOT_DIGITS.sub("", text)
        # as it stands in the log, hidden or hashed, it may be asked for too
        self._literal = text.strip()
        is_literal = self._literal.startswith(HASH_MARK) or digits.endswith("xxxx")
        if not is_literal and not (digits.isascii() and digits.isdecimal()):
            raise UsageError(f"no number: {text!r}", hint="digits, or the beginning of a number")
        self._digits = digits
        self._short = "" if is_literal else shortened(digits)
        self._make_hash = hashed
        self._hash = self._literal if self._literal.startswith(HASH_MARK) else ""

    def matches(self, line: CallLine) -> bool:
        """Whether it called or was called. Raises UsageError: a hash, and no key to compare."""
        given = (line.orig_given, line.dest_given, line.diverted_by)
        return any(map(self._is, (line.orig, line.dest, *given)))

    def _is(self, shown: str) -> bool:
        if not shown:
            return False
        if shown.startswith(HASH_MARK):
            return shown == self._hashed()
        core = shown if shown.isdecimal() else _NOT_DIGITS.sub("", shown)
        if core.startswith(self._digits) or (core.endswith("xxxx") and core == self._short):
            return True
        return len(self._digits) >= FEWEST_AT_END and core.endswith(self._digits)

    def _hashed(self) -> str:
        if not self._hash:
            if self._make_hash is None:
                hint = "name with --config the configuration that it was written by"
                raise UsageError("this log's numbers are hashed, and the key is missing", hint=hint)
            self._hash = self._make_hash(self._digits)
        return self._hash


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a line must have; what is empty or None is not asked for."""

    trunk: str = ""
    number: Number | None = None
    verdict: str = ""
    reason: str = ""
    direction: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def anything(self) -> bool:
        """Whether every line is wanted."""
        return self == Wanted()

    def has(self, line: CallLine) -> bool:
        """Whether ``line`` is wanted. Raises UsageError, as ``Number.matches``."""
        return (
            (not self.trunk or line.trunk == self.trunk)
            and (not self.reason or line.reason == self.reason)
            and (not self.verdict or line.verdict == self.verdict)
            and (not self.direction or line.direction == self.direction)
            and (self.since is None or line.time >= self.since)
            and (self.until is None or line.time < self.until)
            and (self.number is None or self.number.matches(line))
        )


def verdict(text: str) -> str:
    """One of the words of ``CallLine.verdict``, also for STIR_VERSTAT's. Raises UsageError."""
    words = ("passed", "failed", "none", "stored", "in-band", "skipped", "error")
    found = {one.lower(): word for one, word in VERDICTS.items()}.get(text.lower(), text.lower())
    if found not in words:
        raise UsageError(f"no verdict: {text!r}", hint=f"one of {', '.join(words)}")
    return found
