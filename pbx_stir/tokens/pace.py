"""How fast calls take a CPS's tokens, and how much of a calm pause there is time for then.

Takes counts and moments of a clock that never steps; pure, and quick enough for the call path. A
pause that is cut short stays a random one, and lasts as long as some calls take: it is a share of
how long what is left, and a batch more, will last.
"""

from __future__ import annotations

import math
from typing import Final

from pbx_stir.tokens.exchange import MOST_IN_A_REQUEST

# what the pace is a mean over, the last seconds weighing most
MEAN_SECONDS: Final = 10.0
# what lasts so long is supplied in time by calm pauses
CALM_SECONDS: Final = 120.0


class Pace:
    """Counts what calls ask for, whether they get it or not."""

    __slots__ = ("_at", "_weight")

    def __init__(self) -> None:
        self._weight = 0.0
        self._at = 0.0

    def took(self, tokens: float, at: float) -> None:
        """Note that a call asked for so many tokens."""
        self._weight = self._faded(at) + tokens
        self._at = at

    def a_second(self, at: float) -> float:
        """How many tokens a second calls ask for."""
        return self._faded(at) / MEAN_SECONDS

    def share(self, left: int, at: float) -> float:
        """What share of a calm pause there is time for with so many ``left``: 0 to 1, never 0.

        A batch counts as left, so that none left and a call now and then is no hurry: the request
        would follow from that call.
        """
        lasts = CALM_SECONDS * self.a_second(at)
        return min(1.0, (left + MOST_IN_A_REQUEST) / lasts) if lasts > 0 else 1.0

    def _faded(self, at: float) -> float:
        return self._weight * math.exp(min(0.0, self._at - at) / MEAN_SECONDS)
