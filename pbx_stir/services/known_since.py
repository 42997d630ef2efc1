"""A single-use memory that took another one's place, and knows nothing of what that knew.

Implements ``used.SingleUse`` on the new one. What may have been used by the word of the one before
has no verdict: nobody knows.
"""

from __future__ import annotations

from typing import Final

from pbx_stir.errors import StoreUnavailable
from pbx_stir.services.used import Claim, Reservation, SingleUse
from pbx_stir.stir.diversion import MOST_DIVERSIONS
from pbx_stir.stir.passport import FRESHNESS_SECONDS, FUTURE_TOLERANCE_SECONDS

# From when a PASSporT was made until it may be forgotten, at most.
_LONGEST_SECONDS: Final = FRESHNESS_SECONDS * (1 + MOST_DIVERSIONS) + FUTURE_TOLERANCE_SECONDS + 1


def refuse_older(since: float, until: float, made: float | None) -> None:
    """Raise StoreUnavailable for what may have been used up to ``since``; see ``reserve``."""
    made = until - _LONGEST_SECONDS if made is None else made
    # its signer's clock may be ahead of ours
    if made - FUTURE_TOLERANCE_SECONDS <= since:
        raise StoreUnavailable("made before what was used is remembered here")


class KnownSince:
    """``memory``, complete for PASSporTs made after ``since`` (epoch seconds; 0: for all)."""

    def __init__(self, memory: SingleUse, since: float) -> None:
        self.memory = memory
        self._since = since

    async def reserve(
        self, key: str, claim: Claim, until: float, now: float, made: float | None = None
    ) -> Reservation:
        """Take ``key`` for ``claim``. Raises StoreUnavailable where it may have been used."""
        refuse_older(self._since, until, made)
        return await self.memory.reserve(key, claim, until, now, made)

    async def confirm(self, key: str, claim: Claim, now: float) -> None:
        """The PBX has taken the verdict."""
        await self.memory.confirm(key, claim, now)

    async def give_back(self, key: str, claim: Claim, now: float) -> None:
        """The call was gone before its verdict."""
        await self.memory.give_back(key, claim, now)

    async def ended(self, pbx: str, unique_id: str, answered: bool, now: float) -> None:
        """The call is over."""
        await self.memory.ended(pbx, unique_id, answered, now)
