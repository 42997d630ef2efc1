"""What the verification service awaits of our encryption keys (RFC 8816 section 8.2 step 1).

Implemented by directory.keyring. "Not sealed to us" is nothing that is told: it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pbx_stir.stir.sealing import Opened


@dataclass(frozen=True, slots=True)
class OpenedSet:
    """What of some blobs was sealed to us: ``opened``, in the order given.

    ``malformed`` were ours but not of the form, ``unread`` were left when the budget was over.
    """

    opened: tuple[Opened, ...] = ()
    malformed: int = 0
    unread: int = 0


class SealedOpener(Protocol):
    """Opens with our keys; more than a little of it off the event loop."""

    async def open_sealed(
        self, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> OpenedSet:
        """Open what is sealed to us and to ``number``, until ``give_up_at``; never raises."""
        ...
