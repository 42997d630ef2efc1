"""Counts of calls by hour and by reason, and the share that was verified.

Takes lines in any order, gives counts; memory is bounded by how many hours and reasons there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pbx_stir.call_log.reading import CallLine
from pbx_stir.call_log.table import BOLD, paint, safe

MOST_HOURS: Final = 100_000
MOST_REASONS: Final = 200
_SHOWN: Final = ("inbound", "passed", "failed", "outbound", "stored")


@dataclass(slots=True)
class Hour:
    """The calls that began in one hour; ``stored`` are also those that carry it themselves."""

    inbound: int = 0
    passed: int = 0
    failed: int = 0
    outbound: int = 0
    stored: int = 0

    def add(self, other: Hour) -> None:
        """Count another hour's calls in."""
        for name in _SHOWN:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class Counts:
    """All of it. ``contested`` counts events, the rest calls."""

    hours: dict[datetime, Hour] = field(default_factory=dict)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    contested: int = 0
    _begun: dict[datetime, datetime] = field(default_factory=dict)

    def add(self, line: CallLine) -> None:
        """Count one line."""
        if line.event != "call":
            self.contested += line.event == "contested"
            return
        hour = self._hour(line.time)
        if line.direction == "out":
            hour.outbound += 1
            hour.stored += line.verdict in {"stored", "in-band"}
        else:
            hour.inbound += 1
            hour.passed += line.verdict == "passed"
            hour.failed += line.verdict == "failed"
        key = (line.direction, line.reason)
        if key not in self.reasons and len(self.reasons) >= MOST_REASONS:
            key = ("", "(others)")
        self.reasons[key] += 1

    def _hour(self, at: datetime) -> Hour:
        quarter = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
        began = self._begun.get(quarter)
        if began is None:
            # some zones are half an hour off, or a quarter
            began = quarter.astimezone().replace(minute=0)
            if len(self._begun) >= 4 * MOST_HOURS:
                self._begun.clear()
            self._begun[quarter] = began
        if began not in self.hours and len(self.hours) >= MOST_HOURS:
            began = min(self.hours)
        return self.hours.setdefault(began, Hour())

    def total(self) -> Hour:
        """All hours together."""
        total = Hour()
        for hour in self.hours.values():
            total.add(hour)
        return total

    def as_json(self) -> dict[str, object]:
        """One object: hours, reasons, the total."""
        return {
            "hours": [
                {"hour": began.astimezone().isoformat(timespec="minutes")} | _numbers(hour)
                for began, hour in sorted(self.hours.items())
            ],
            "reasons": [
                {"direction": direction, "reason": reason, "calls": calls}
                for (direction, reason), calls in self.reasons.most_common()
            ],
            "total": _numbers(self.total()) | {"contested": self.contested},
        }

    def csv(self) -> Iterator[str]:
        """The hours, for a spreadsheet; times and numbers need no quoting."""
        yield ",".join(("hour", *_SHOWN))
        for began, hour in sorted(self.hours.items()):
            at = began.astimezone().isoformat(timespec="minutes")
            yield ",".join([at, *(str(getattr(hour, name)) for name in _SHOWN)])

    def table(self, *, colours: bool) -> Iterator[str]:
        """The same for people, in lines of up to 80 columns."""
        heads = f"{'HOUR':<17}{'IN':>9}{'PASSED':>9}{'SHARE':>8}{'FAILED':>8}"
        heads += f"{'OUT':>11}{'STORED':>9}{'SHARE':>8}"
        yield paint(heads, BOLD, colours=colours)
        day = ""
        for began, hour in sorted(self.hours.items()):
            at = began.astimezone()
            name = f"{at:%Y-%m-%d}" if f"{at:%Y-%m-%d}" != day else ""
            day = f"{at:%Y-%m-%d}"
            yield _row(f"{name:<10} {at:%H:%M}", hour)
        yield paint(_row("all", self.total()), BOLD, colours=colours)
        yield ""
        yield paint(f"{'REASON':<28}{'DIR':<5}{'CALLS':>9}{'SHARE':>8}", BOLD, colours=colours)
        total = self.total()
        for (direction, reason), calls in self.reasons.most_common():
            of = total.outbound if direction == "out" else total.inbound
            yield f"{safe(reason)[:27]:<28}{safe(direction)[:4]:<5}{calls:>9}{share(calls, of):>8}"
        if self.contested:
            yield ""
            yield f"{self.contested} times two calls claimed one signature (contested)"


def _numbers(hour: Hour) -> dict[str, object]:
    return {name: getattr(hour, name) for name in _SHOWN}


def _row(name: str, hour: Hour) -> str:
    inbound = f"{hour.inbound:>9}{hour.passed:>9}{share(hour.passed, hour.inbound):>8}"
    outbound = f"{hour.outbound:>11}{hour.stored:>9}{share(hour.stored, hour.outbound):>8}"
    return f"{name:<17}{inbound}{hour.failed:>8}{outbound}".rstrip()


def share(part: int, whole: int) -> str:
    """A percentage; empty of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else ""
