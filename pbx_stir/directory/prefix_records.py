"""Records by prefix, so that a CPS does not learn which number is called (RFC 8816 section 11).

Takes a CPS, a prefix and one number of it; gives the tokens that say they name the number, out of
all that the CPS has under the prefix. Those are asked for once and kept; a call to another number
of the prefix asks nobody. What a token says of its numbers is not checked here: a CPS that lies
only withholds, as it always can. Source: RFC 8816 sections 6.2 and 11.

What is kept is renewed in the background when it is used after its time, at random. What the CPS
does not have is asked for again a minute later at the earliest, and only for a call.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pbx_stir.certificates.single_flight import SingleFlight
from pbx_stir.errors import CpsRefused, Malformed, MalformedAnswer
from pbx_stir.stir.record import claimed

FETCH_SECONDS: Final = 10.0
RENEW_SECONDS: Final = 3_600.0
MISS_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 86_400.0
MOST_PREFIXES: Final = 256
MOST_OCTETS: Final = 32 << 20
MOST_FETCHES: Final = 8

# a CPS and the digits asked for
_Key = tuple[str, str]


class PrefixSource(Protocol):
    """Gets records by prefix (cps.client.CpsClient)."""

    async def get_records_under(
        self, cps: str, prefix: str, give_up_at: float
    ) -> tuple[Sequence[str], bool]:
        """Get the tokens under ``prefix``, and whether they are all there are.

        Raises CpsUnavailable, CpsRefused or MalformedAnswer.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Named:
    """A token, and what it says of its numbers."""

    spans: tuple[tuple[str, str], ...]
    token: str

    def names(self, number: str) -> bool:
        return any(len(a) == len(number) and a <= number <= b for a, b in self.spans)


@dataclass(slots=True)
class _Kept:
    """What a CPS has under a prefix. Times are monotonic."""

    named: tuple[_Named, ...]
    whole: bool
    octets: int
    fetched: float
    renew_at: float
    used: float


class PrefixRecords:
    """What CPSs have under prefixes, in bounded memory."""

    def __init__(
        self,
        source: PrefixSource,
        *,
        epoch: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``monotonic`` is the clock of every ``give_up_at``; ``draw`` gives a random number."""
        self._source = source
        self._epoch = epoch
        self._monotonic = monotonic
        self._draw = draw
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._flights: SingleFlight[_Key, None] = SingleFlight(most=MOST_FETCHES, clock=monotonic)

    async def tokens(
        self, cps: str, prefix: str, number: str, give_up_at: float
    ) -> tuple[str, ...]:
        """Give the tokens for ``number``, from memory where it is known.

        Raises ``CpsUnavailable``, ``MalformedAnswer`` where the CPS has no records by prefix, or
        more than are taken and none for the number, and ``Unavailable`` at ``give_up_at``.
        """
        key = cps, prefix
        now = self._monotonic()
        kept = self._kept.get(key)
        found = self._recall(key, number, now)
        if kept is None or (not found and now >= kept.fetched + MISS_SECONDS):
            await self._flights.join(key, lambda: self._fetch(key), give_up_at)
            found = self._recall(key, number, now)
        elif now >= kept.renew_at:
            self._flights.launch(key, lambda: self._fetch(key))
        kept = self._kept.get(key)
        if not found and kept is not None and not kept.whole:
            raise MalformedAnswer(f"more records under {prefix}* than are taken: hide fewer digits")
        return found

    def forget_idle(self) -> None:
        """Forget what nobody asked for in a day."""
        now = self._monotonic()
        for key in [key for key, kept in self._kept.items() if now - kept.used > IDLE_SECONDS]:
            del self._kept[key]

    async def close(self) -> None:
        """Break off the fetches under way."""
        await self._flights.close()

    def _recall(self, key: _Key, number: str, now: float) -> tuple[str, ...]:
        kept = self._kept.get(key)
        if kept is None:
            return ()
        kept.used = now
        self._kept.move_to_end(key)
        return tuple(each.token for each in kept.named if each.names(number))

    async def _fetch(self, key: _Key) -> None:
        """Get all pages and keep them; what was kept stays where that fails."""
        cps, prefix = key
        try:
            tokens, whole = await self._source.get_records_under(
                cps, prefix, self._monotonic() + FETCH_SECONDS
            )
        except CpsRefused as error:
            # 404 must not pass for "no record": the number itself is not asked for instead
            raise MalformedAnswer(f"no records by prefix: {error.message}") from error
        named, soonest = await asyncio.to_thread(_read, tokens)
        now = self._monotonic()
        # records are renewed half-way through their lives: well before the first one ends
        longest = min(RENEW_SECONDS, max(MISS_SECONDS, 0.9 * (soonest - self._epoch())))
        self._kept[key] = _Kept(
            named,
            whole,
            sum(len(each.token) for each in named),
            now,
            now + self._draw(longest / 2, longest),
            now,
        )
        self._kept.move_to_end(key)
        octets = sum(kept.octets for kept in self._kept.values())
        while len(self._kept) > 1 and (len(self._kept) > MOST_PREFIXES or octets > MOST_OCTETS):
            octets -= self._kept.popitem(last=False)[1].octets


def _read(tokens: Sequence[str]) -> tuple[tuple[_Named, ...], float]:
    """Read what tokens say of their numbers, and when the first of them ends."""
    named = []
    soonest = float("inf")
    for token in tokens:
        try:
            record = claimed(token)
        except Malformed:
            continue
        named.append(_Named(tuple(record.ranges()), token))
        soonest = min(soonest, record.exp)
    return tuple(named), soonest
