"""Stores through one client and retrievals through another, behind one breaker.

Takes two clients, gives what ``GuardedPlacement`` takes. Stores name nobody; retrievals of our own
numbers show who we are, signed or not. On a connection that both went over, the CPS would know whom
a store comes from. Source: RFC 8816 sections 7.5 and 13.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from pbx_stir.cps.client import CpsClient
from pbx_stir.services.placement_service import Answer, StoreResult


class Apart:
    """Implements services' CallPlacement. The clients are their maker's to close."""

    def __init__(self, *, storing: CpsClient, retrieving: CpsClient) -> None:
        self._storing = storing
        self._retrieving = retrieving

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store over the connections of stores; see ``CallPlacement``."""
        return await self._storing.store(cps, number, blobs, give_up_at)

    def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        """Retrieve over those of retrievals; see ``CallPlacement``."""
        return self._retrieving.retrieve(wanted, give_up_at)

    async def clock_offset(self, cps: str, give_up_at: float) -> float | None:
        """Ask whether a CPS answers, without a name; see ``CpsClient.clock_offset``."""
        return await self._storing.clock_offset(cps, give_up_at)
