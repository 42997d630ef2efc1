"""Which CPSs do not answer look-ups of keys, and for how long they are left in peace.

Takes failures and answers as they come, with moments of one monotonic clock; says of a CPS whether
it is to be asked. One that was refused at once costs a call nothing, and may be over the next
moment: only what kept a look-up waiting counts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pbx_stir.directory.routes import Route

SILENT_TIMES: Final = 2
MOST_SILENT: Final = 1_024
FAILURE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Silent:
    """A CPS that did not answer ``times`` in a row; it is left in peace until ``until``.

    ``number`` is one that it was asked for in vain, by ``route``.
    """

    times: int
    until: float
    number: str
    route: Route


class Silences:
    """The CPSs that did not answer when last asked; the one of longest ago is forgotten first."""

    def __init__(self) -> None:
        self._silent: OrderedDict[str, Silent] = OrderedDict()

    def __len__(self) -> int:
        return len(self._silent)

    def times(self, cps: str, now: float) -> int:
        """How often it did not answer, where that is a reason not to ask it now; else 0."""
        one = self._silent.get(cps)
        return one.times if one and one.times >= SILENT_TIMES and now < one.until else 0

    def failed(self, cps: str, number: str, route: Route, now: float) -> None:
        """It kept a look-up waiting, and gave nothing."""
        before = self._silent.get(cps)
        times = before.times + 1 if before is not None else 1
        self._silent[cps] = Silent(times, now + FAILURE_SECONDS, number, route)
        self._silent.move_to_end(cps)
        while len(self._silent) > MOST_SILENT:
            self._silent.popitem(last=False)

    def answered(self, cps: str) -> bool:
        """It answered; returns whether it had been silent."""
        return self._silent.pop(cps, None) is not None

    def last(self, most: int) -> list[tuple[str, Silent]]:
        """Those that are not asked for calls, at most so many: the latest of them."""
        found = [(cps, one) for cps, one in self._silent.items() if one.times >= SILENT_TIMES]
        return found[-most:]
