"""What the services await of a call placement service (RFC 8816 section 9).

Implemented in cps. Nothing here raises: a CPS that fails is a result, since another may do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pbx_stir.services.call import Reason


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What one CPS said to our stores: STORED, CPS_UNAVAILABLE, CPS_REFUSED or NO_TOKENS.

    ``clock_offset`` is the CPS's clock minus ours in seconds, None where it did not say.
    """

    cps: str
    reason: Reason
    detail: str = ""
    clock_offset: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one CPS holds for ``number``: ``blobs`` decoded from the wire, dummies among them.

    ``reason`` is None where it answered, CPS_UNAVAILABLE or CPS_REFUSED where it did not.
    ``clock_offset`` as in StoreResult.
    """

    cps: str
    number: str
    blobs: tuple[bytes, ...] = ()
    reason: Reason | None = None
    detail: str = ""
    clock_offset: float | None = None


@dataclass(frozen=True, slots=True)
class BareAnswer:
    """What a CPS of unsealed PASSporTs holds for ``number``: ``passports`` are texts, unread.

    The rest is as in ``Answer``. A type of its own, so that what is not sealed is never taken for
    something that was sealed to us, nor the other way round.
    """

    cps: str
    number: str
    passports: tuple[str, ...] = ()
    reason: Reason | None = None
    detail: str = ""
    clock_offset: float | None = None


class BarePlacement(Protocol):
    """Stores PASSporTs as they are, where the configuration says so (RFC 9888 section 5)."""

    async def store_bare(
        self, cps: Sequence[str], number: str, token: str, give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store one PASSporT in full form at every CPS; one result a CPS."""
        ...


class CallPlacement(Protocol):
    """Stores and retrieves at several CPSs at the same time; ``give_up_at`` is time.monotonic()."""

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store every blob at every CPS; one result a CPS, STORED only if it took all of them."""
        ...

    def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        """One answer for each (CPS, number) of ``wanted``, all asked at the same time.

        They come as they arrive, until the generator is closed; at ``give_up_at`` those still
        missing come as CPS_UNAVAILABLE.
        """
        ...


class Retrieval(Protocol):
    """What the verification service awaits: what is stored, and for a while what comes to be."""

    def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer | BareAnswer, None]:
        """As ``CallPlacement``, and after that more answers of each, until ``wait_until``.

        RFC 9888 section 6: a PASSporT "might be sent to the OOB-VS either before or after unsigned
        call signaling has been received". A later answer may repeat what an earlier one had.
        ``wait_until`` is a moment of time.monotonic() up to ``give_up_at``.
        """
        ...


class OwnCps(Protocol):
    """Knows where others store for our numbers."""

    def own_cps(self, number: str) -> tuple[str, ...]:
        """Return the CPSs to ask for ``number``, none where no route serves it."""
        ...
