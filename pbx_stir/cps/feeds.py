"""All subscriptions of ours, by CPS.

Takes what is wanted; gives for each CPS what its subscriptions have brought, and whether a call may
rely on it. ``names_of`` says with how few subscriptions numbers can be had: of a prefix a CPS sends
only the numbers that the certificate covers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pbx_stir.cps.arrivals import Arrivals
from pbx_stir.cps.subscription import TRUSTED_SECONDS, Streams, Subscription, Wanted, keep_all
from pbx_stir.services.sealed_opener import SealedOpener
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number_set import NumberSet

OPENING_SECONDS: Final = 1.0


@dataclass(slots=True)
class Feed:
    """What is pushed from one CPS."""

    arrivals: Arrivals
    subscriptions: list[Subscription] = field(default_factory=list)

    def is_live_for(self, number: str) -> bool:
        """Tell whether what has come for a number is all there is, as far as is known now."""
        return any(number in one.wanted.numbers and one.is_live() for one in self.subscriptions)


class Feeds:
    """The feeds of all CPSs, in ``by_cps``; ``run`` holds their subscriptions."""

    def __init__(
        self,
        wanted: Sequence[Wanted],
        streams: Streams,
        *,
        keep: Callable[[str, bytes], Awaitable[bool]] = keep_all,
        clock: Callable[[], float] = time.monotonic,
        trusted_seconds: float = TRUSTED_SECONDS,
    ) -> None:
        """``keep`` and ``trusted_seconds`` as for ``Subscription``."""
        self.by_cps: dict[str, Feed] = {}
        for one in wanted:
            feed = self.by_cps.setdefault(one.cps, Feed(Arrivals(clock=clock)))
            subscription = Subscription(
                one,
                streams,
                feed.arrivals,
                clock=clock,
                keep=keep,
                trusted_seconds=trusted_seconds,
            )
            feed.subscriptions.append(subscription)

    async def run(self) -> None:
        """Hold all subscriptions until cancelled."""
        async with asyncio.TaskGroup() as group:
            for feed in self.by_cps.values():
                for one in feed.subscriptions:
                    group.create_task(one.run())


def sealed_to_us(
    opener: SealedOpener, clock: Callable[[], float] = time.monotonic
) -> Callable[[str, bytes], Awaitable[bool]]:
    """Give a ``keep`` that leaves out what calls could not open: dummies, and what is others'.

    What could not be tried is kept; ``clock`` is the opener's.
    """

    async def keep(number: str, blob: bytes) -> bool:
        found = await opener.open_sealed(number, [blob], clock() + OPENING_SECONDS)
        return bool(found.opened or found.unread)

    return keep


def wanted_of(
    credential: Credential, numbers: Sequence[str], cps: Sequence[str]
) -> tuple[Wanted, ...]:
    """What is subscribed to at each CPS, for numbers and ranges that a credential covers.

    ``numbers`` are written as in records: "12125551234", "12125551200-12125551299".
    """
    covered = NumberSet.parse(numbers)
    return tuple(
        Wanted(url, name, _Under(name, covered), credential)
        for url in cps
        for name in names_of(numbers)
    )


@dataclass(frozen=True, slots=True)
class _Under:
    """Those of some numbers that a name holds: no stream brings the others."""

    name: str
    numbers: NumberSet

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, str) or number not in self.numbers:
            return False
        prefix = self.name.removesuffix("*")
        return number.startswith(prefix) if prefix != self.name else number == self.name


def names_of(numbers: Sequence[str]) -> tuple[str, ...]:
    """The names under which a CPS is asked for numbers and ranges: numbers, or prefixes with ``*``.

    One for all numbers that begin with the same digit: the longest prefix that they share.
    """
    ends: dict[str, set[str]] = {}
    for one in numbers:
        first, _, last = one.partition("-")
        last = last or first
        for digit in map(str, range(int(first[0]), int(last[0]) + 1)):
            rest = len(first) - 1
            low, high = max(first, digit + "0" * rest), min(last, digit + "9" * rest)
            ends.setdefault(digit, set()).update((low, high))
    return tuple(
        min(found) if len(found) == 1 else f"{_shared(min(found), max(found))}*"
        for _, found in sorted(ends.items())
    )


def _shared(first: str, last: str) -> str:
    """What two texts begin with; all that stand between them in order begin with it too."""
    count = 0
    while count < min(len(first), len(last)) and first[count] == last[count]:
        count += 1
    return first[:count]
