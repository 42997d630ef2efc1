"""Raises the rate of calls, in one run of SIPp, until they are no longer answered in time.

Calls begin evenly, and more of them in each interval than in the one before. What is carried is the
rate of the last interval in which nearly all were answered within half a second, before two in
succession in which they were not: a moment in which the machine stood still is forgiven.
"""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import sipp
from lab.debian import LabError

# half a second: SIP's T1, after which a request is sent again (RFC 3261, section 17.1.1.1)
IN_TIME: Final = 0.5
# what of an interval's calls must be answered in time
ANSWERED_IN_TIME: Final = 0.97
# SIPp begins so many of an interval's calls in the next one; of few calls that is more than 3 %
_LATER: Final = 2
_FROM: Final = 0.7
_TRIES: Final = 4
# for calls that stand when SIPp is told to end
_END_SECONDS: Final = 20.0

# SIPp with these options: the folder that it writes to, and the process
Start = Callable[[Sequence[str]], tuple[Path, subprocess.Popen[bytes]]]


class Ramp(msgspec.Struct, frozen=True):
    """Calls a second at first, how many more each interval, its seconds, how many intervals."""

    first: int
    more: int
    interval: int
    intervals: int

    @classmethod
    def around(cls, expected: float, interval: int) -> Ramp:
        """From 0.7 of a rate to 2.2 of it, by a thirtieth of it."""
        first, more = max(1, round(_FROM * expected)), max(1, round(expected / 30))
        return cls(first, more, interval, math.ceil((2.2 * expected - first) / more) + 1)

    def rate(self, one: int) -> int:
        """Calls a second in an interval, counted from 0."""
        return self.first + self.more * one

    @property
    def calls(self) -> int:
        """All of them."""
        return sum(self.rate(one) * self.interval for one in range(self.intervals))


class Carried(msgspec.Struct, frozen=True):
    """The highest rate carried (0: not even the first one), and whether it is known to be that."""

    rate: float
    ended: bool


def judge(answered: Iterable[tuple[float, float]], ramp: Ramp, now: float) -> Carried:
    """What calls carried, of (second at which it began, seconds to its answer) of each answered.

    ``now`` is the second up to which SIPp has spoken: intervals whose calls may still be answered
    in time do not count yet.
    """
    in_time = Counter(
        int(begun // ramp.interval) for begun, waited in answered if waited <= IN_TIME
    )
    rate, bad = 0.0, 0
    for one in range(ramp.intervals):
        if (one + 1) * ramp.interval + IN_TIME > now:
            return Carried(rate, ended=False)
        begun = ramp.rate(one) * ramp.interval - _LATER
        if in_time[one] >= ANSWERED_IN_TIME * begun:
            rate, bad = in_time[one] / ramp.interval, 0
        else:
            bad += 1
        if bad == 2:
            return Carried(rate, ended=True)
    return Carried(rate, ended=False)


def carried(start: Start, ramp: Ramp, audio_seconds: float = 0.0) -> float:
    """Calls a second that are carried, each with so many seconds of audio.

    Where more is carried than the ramp has, or less than it begins with, others are tried. Raises
    LabError where that does not help.
    """
    for _ in range(_TRIES):
        found = _raised(start, ramp, audio_seconds)
        if found.ended and found.rate:
            return found.rate
        ramp = Ramp.around(ramp.first * (0.5 if found.ended else 2) / _FROM, ramp.interval)
    raise LabError(f"no rate was found that is carried, last by {ramp}: {found}")


def _raised(start: Start, ramp: Ramp, audio_seconds: float) -> Carried:
    """What one ramp shows."""
    run, process = start(
        ("-m", str(ramp.calls), "-r", str(ramp.first), "-rate_increase", str(ramp.more),
         "-rate_interval", f"{ramp.interval}s", "-no_rate_quit"),
    )  # fmt: skip
    found = Carried(0.0, ended=False)
    try:
        while not found.ended and process.poll() is None:
            time.sleep(0.5)
            now = sipp.seconds_so_far(run)
            found = judge(sipp.answers(run), ramp, now)
    finally:
        _end(process, audio_seconds)
    return found


def _end(process: subprocess.Popen[bytes], audio_seconds: float) -> None:
    """No call begins any more; those that stand may end."""
    if process.poll() is None:
        process.send_signal(signal.SIGUSR1)
    try:
        process.wait(_END_SECONDS + audio_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
