"""Metrics of a CPS: what its ``Tally`` has counted, and what there is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pbx_stir.metrics.building import build_info, counter, gauge

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from pbx_stir.cps.tally import Tally

PREFIX: Final = "pbx_stir_cps_"
# what the gauges of a tally are; ``_turned_away`` only grows
_SAID: Final[Mapping[str, str]] = {
    "connections": "Connections that are open.",
    "connections_turned_away": "Connections that were closed at once, by a limit.",
    "entries": "Entries in memory; not there where they are on Redis.",
    "store_octets": "What the entries in memory take.",
    "streams": "Subscriptions that are open.",
    "redis_up": "1 while Redis answers, 0 while it is lost and requests are answered 503.",
}
_COUNTERS: Final = frozenset({"connections_turned_away"})


class TallySource:
    """Gives a tally's counts; ``Source`` of ``exposing``."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    async def families(self) -> Sequence[Metric]:
        """Give each counter and gauge as it stands."""
        found: list[Metric] = [build_info()]
        requests = counter(
            f"{PREFIX}requests",
            "Answers by resource, method and status.",
            ("resource", "method", "status"),
            {
                (resource, method, str(status)): count
                for (resource, method, status), count in self._tally.requests.items()
            },
        )
        found.append(requests)
        for name, ask in sorted(self._tally.gauges.items()):
            make = counter if name in _COUNTERS else gauge
            found.append(make(PREFIX + name, _SAID.get(name, f"{name} now."), (), {(): ask()}))
        return found
