"""What a CPS counts of itself, for whoever operates it. No number and no peer is among it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

# Methods that are told apart; a peer may write anything.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT"})


class Tally:
    """Counters since the start, and gauges that are read when somebody asks.

    ``requests`` counts answers by (resource, method, status); ``gauges`` are what there is now, by
    name.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.gauges: dict[str, Callable[[], float]] = {}

    def answered(self, resource: str, method: str, status: int) -> None:
        """Count one answer; ``resource`` is "" where the path names none."""
        known = method if method in _METHODS else "other"
        self.requests[resource or "none", known, status] += 1
