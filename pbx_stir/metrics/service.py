"""Metrics of the service that serves PBXs (``pbx-stir run``).

Takes the lines of the call log (``calls.told``) and the service's parts (``watch``), which are
asked whenever somebody reads. It is made once and outlives a reload: counters go on, and the parts
of the new configuration take the place of those before. A part that is asked answers from memory;
only tokens are counted on the disk, in a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from pbx_stir.metrics.building import build_info, counter, gauge
from pbx_stir.metrics.calls import CallCounts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from pbx_stir.cps.feeds import Feed
    from pbx_stir.stir.certificate import Anchors

DAY_SECONDS: Final = 86_400.0
# a number may be a file's name
_NUMBER: Final = re.compile(r"[0-9]{7,}")


class WatchedPbx(Protocol):
    """A PBX (pbx.listener)."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        ...

    def heartbeat_age(self) -> float | None:
        """Seconds since it took our last heartbeat; None while we are not connected."""
        ...


class WatchedCps(Protocol):
    """What knows whether CPSs answer (cps.guarded)."""

    def is_silent(self, cps: str) -> bool:
        """Whether calls go on without this CPS until it answers a probe."""
        ...

    def is_unavailable(self, cps: str) -> bool:
        """Whether it gave nothing when it was last asked."""
        ...


@dataclass(frozen=True, slots=True)
class WatchedCredential:
    """A certificate of ours: the file that the configuration names, and when its chain ends."""

    file: str
    not_after: float


@dataclass(frozen=True, slots=True)
class Watched:
    """What is asked. ``leaving`` are connections to PBXs from before a reload, as long as the new
    ones are not there. ``cps`` are the URLs that the configuration names; ``tokens`` gives how many
    are left, by CPS, for those that want any; ``feeds`` are subscriptions by CPS. ``redis_up`` is
    None where none is used."""

    trunks: frozenset[str] = frozenset()
    pbxs: Sequence[WatchedPbx] = ()
    leaving: Collection[WatchedPbx] = ()
    cps: Sequence[str] = ()
    guards: Sequence[WatchedCps] = ()
    credentials: Sequence[WatchedCredential] = ()
    anchors: Callable[[], Anchors] | None = None
    tokens: Callable[[], Awaitable[Mapping[str, int]]] | None = None
    feeds: Mapping[str, Feed] | None = None
    under_way: Callable[[], int] = lambda: 0
    lines_lost: Callable[[], int] = lambda: 0
    refused: Callable[[], bool] = lambda: False
    redis_up: Callable[[], bool] | None = None


class ServiceMetrics:
    """All of them; ``Source`` of ``exposing``. Belongs to one event loop."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._watched = Watched()
        self.calls = CallCounts(lambda: self._watched.trunks)

    def watch(self, watched: Watched) -> None:
        """From now on ask these parts."""
        self._watched = watched

    async def families(self) -> Sequence[Metric]:
        """Give each metric as it stands."""
        watched, now = self._watched, self._now()
        tokens = {} if watched.tokens is None else await watched.tokens()
        return [
            build_info(),
            *self.calls.families(),
            gauge(
                "pbx_stir_calls_under_way",
                "Calls that are being served now.",
                (),
                {(): watched.under_way()},
            ),
            counter(
                "pbx_stir_call_log_lines_lost",
                "Lines that the call log could not write.",
                (),
                {(): watched.lines_lost()},
            ),
            gauge(
                "pbx_stir_configuration_refused",
                "1 where the last reload was refused: the configuration before is in force.",
                (),
                {(): float(watched.refused())},
            ),
            *_pbxs(watched),
            *_places(watched, tokens),
            *_certificates(watched, now),
        ]


def _pbxs(watched: Watched) -> list[Metric]:
    ages = {(one.name,): one.heartbeat_age() for one in watched.pbxs}
    before = {
        (one.name,): age
        for one in watched.leaving
        if (age := one.heartbeat_age()) is not None and ages.get((one.name,), age) is None
    }
    old = {name: float(name in before) for name in ages}
    ages |= before
    return [
        gauge(
            "pbx_stir_pbx_old_connection",
            "1 while a connection from before a reload serves, since the new one is not there.",
            ("pbx",),
            old,
        ),
        gauge(
            "pbx_stir_pbx_connected",
            "1 while the PBX takes our heartbeats, else 0.",
            ("pbx",),
            {name: float(age is not None) for name, age in ages.items()},
        ),
        gauge(
            "pbx_stir_heartbeat_age_seconds",
            "Since the PBX took our last heartbeat; beyond 5 its dialplan holds no calls for us.",
            ("pbx",),
            {name: age for name, age in ages.items() if age is not None},
        ),
    ]


def _places(watched: Watched, tokens: Mapping[str, int]) -> list[Metric]:
    """What is asked over the network: CPSs, subscriptions, Redis."""
    silent = {
        (cps,): float(any(one.is_silent(cps) for one in watched.guards)) for cps in watched.cps
    }
    unavailable = {
        (cps,): float(not any(one.is_unavailable(cps) for one in watched.guards))
        for cps in watched.cps
    }
    found = [
        gauge(
            "pbx_stir_cps_reachable",
            "0 where the CPS gave nothing when a call last asked it, else 1.",
            ("cps",),
            unavailable,
        ),
        gauge(
            "pbx_stir_cps_breaker_open",
            "1 while calls go on without the CPS, until it answers a probe.",
            ("cps",),
            silent,
        ),
        gauge(
            "pbx_stir_tokens_left",
            "Storage tokens for stores of today, of CPSs that want any.",
            ("cps",),
            {(cps,): tokens[cps] for cps in watched.cps if cps in tokens},
        ),
        gauge(
            "pbx_stir_subscription_live",
            "1 while calls rely on what the CPS pushes, 0 where they ask it.",
            ("cps",),
            {
                (cps,): float(all(one.is_live() for one in feed.subscriptions))
                for cps, feed in (watched.feeds or {}).items()
            },
        ),
    ]
    if watched.redis_up is not None:
        said = "1 while Redis answers; 0: no call can be verified, since single use is unknown."
        found.append(gauge("pbx_stir_redis_up", said, (), {(): float(watched.redis_up())}))
    return found


def _certificates(watched: Watched, now: float) -> list[Metric]:
    files = _labels([one.file for one in watched.credentials])
    days = {
        (name,): (one.not_after - now) / DAY_SECONDS
        for name, one in zip(files, watched.credentials, strict=True)
    }
    found = [
        gauge(
            "pbx_stir_certificate_days_left",
            "Until a certificate of ours, or one of its chain, ends; negative after that.",
            ("certificate",),
            days,
        )
    ]
    anchors = watched.anchors().certificates if watched.anchors is not None else ()
    if anchors:
        soonest = min(one.not_valid_after_utc.timestamp() for one in anchors)
        found.append(
            gauge(
                "pbx_stir_trust_anchors_days_left",
                "Until the first of the trust anchors ends.",
                (),
                {(): (soonest - now) / DAY_SECONDS},
            )
        )
    return found


def _labels(files: Sequence[str]) -> list[str]:
    """The files' names without folders and numbers, each only once."""
    found: list[str] = []
    for file in files:
        name = _NUMBER.sub("x", file.rpartition("/")[2]) or "certificate"
        same = sum(1 for one in found if one.partition(" ")[0] == name)
        found.append(f"{name} {same + 1}" if same else name)
    return found
