"""What time it is at least: so that a clock which is set forth and back destroys nothing.

Takes the wall clock's time; gives a time that is never later, and that follows a step forward only
when the clock has kept to it for some minutes. What must be remembered until a moment, and what is
erased after one, goes by it: nothing is forgotten because of a clock that was wrong for a moment.
It knows no more than its process has seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# Longer than what is used once must be remembered: a step that is believed frees nothing early.
BELIEVED_SECONDS: Final = 300.0


class Passed:
    """Gives epoch seconds that have passed for sure; ``clock`` is one that never steps.

    A step forward is believed after ``believed`` seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, believed: float = BELIEVED_SECONDS
    ) -> None:
        self._clock = clock
        self._believed = believed
        # What the wall clock is ahead of ``clock``, as far as it is believed.
        self._ahead: float | None = None
        # Since when it has been further ahead, by ``clock``, and how far at least.
        self._since: float | None = None
        self._least = 0.0

    def __call__(self, now: float) -> float:
        """Give the time that it is at least, where the wall clock says that it is ``now``."""
        moment = self._clock()
        ahead = now - moment
        if self._ahead is None or ahead <= self._ahead:
            self._ahead, self._since = ahead, None
            return now
        if self._since is None:
            self._since, self._least = moment, ahead
        self._least = min(self._least, ahead)
        if moment - self._since >= self._believed:
            self._ahead, self._since = self._least, None
        return moment + self._ahead
