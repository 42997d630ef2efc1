"""Which calls wait for which CPS now: enough of them for long, and no other one is to join them.

Takes the beginning and the end of each wait, and answers as they come, with moments of one
monotonic clock. It knows nothing of what is asked. How long is long depends on how fast a CPS has
answered of late: one that is slow as a rule, or of which nothing is known yet, is waited for.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

# far more than a CPS takes that is well, far less than a call's budget
LONG_SECONDS: Final = 0.5
MANY: Final = 2
# so many times the slowest of its last answers is long, too
TIMES: Final = 4
LAST: Final = 8
FEWEST: Final = 4
MOST_CPS: Final = 256


@dataclass(slots=True)
class _Line:
    """The waits at one CPS, each by when it began, and when the CPS last answered any."""

    waits: list[float] = field(default_factory=list)
    heard: float = float("-inf")


class Waits:
    """The waits under way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        # seconds that each CPS's last answers have taken
        self._took: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lines)

    def are_long(self, cps: str) -> bool:
        """Whether so many wait so long for a CPS that has answered nobody for as long."""
        line = self._lines.get(cps)
        took = self._took.get(cps, ())
        if line is None or len(took) < FEWEST:
            return False
        long_ago = self._clock() - max(LONG_SECONDS, TIMES * max(took))
        return line.heard <= long_ago and sum(began <= long_ago for began in line.waits) >= MANY

    def begin(self, cps: str) -> Wait:
        """One more waits."""
        wait = Wait(self, cps, self._clock())
        self._lines.setdefault(cps, _Line()).waits.append(wait.began)
        return wait

    def end(self, wait: Wait, *, heard: bool) -> None:
        """One waits no more: ``heard`` where the CPS has answered it."""
        line = self._lines[wait.cps]
        line.waits.remove(wait.began)
        if heard:
            line.heard = self._clock()
            took = self._took.setdefault(wait.cps, deque(maxlen=LAST))
            took.append(line.heard - wait.began)
            self._took.move_to_end(wait.cps)
            if len(self._took) > MOST_CPS:
                self._took.popitem(last=False)
        if not line.waits:
            # whoever waits next begins after what was heard
            del self._lines[wait.cps]


@dataclass(slots=True, eq=False)
class Wait:
    """One call's wait for one CPS; it ends once, whoever ends it first."""

    _waits: Waits
    cps: str
    began: float
    _is_over: bool = False

    def end(self, *, heard: bool = False) -> None:
        """It is over: ``heard`` where the CPS has answered."""
        if not self._is_over:
            self._is_over = True
            self._waits.end(self, heard=heard)
