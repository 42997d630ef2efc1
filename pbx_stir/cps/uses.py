"""What must be used once only, remembered in the memory of one process.

Takes names of uses (octets that say nothing of who or what) and how long each is remembered; says
whether it is the first. Full of what is still remembered it refuses rather than forget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from pbx_stir.errors import StoreUnavailable

MAX_USES: Final = 200_000


class MemoryUses:
    """Implements ``holders.SingleUse``. ``clock`` does not run backwards.

    All uses are remembered equally long, so that the oldest is the first to be forgotten.
    """

    def __init__(self, clock: Callable[[], float], *, most: int = MAX_USES) -> None:
        self._clock = clock
        self._most = most
        self._until: dict[bytes, float] = {}
        self._by_age: deque[bytes] = deque()

    async def once(self, key: bytes, seconds: float) -> bool:
        """Say True the first time within ``seconds``. Raises ``StoreUnavailable`` when full."""
        now = self._clock()
        while self._by_age and self._until[self._by_age[0]] <= now:
            del self._until[self._by_age.popleft()]
        if key in self._until:
            return False
        if len(self._until) >= self._most:
            raise StoreUnavailable("the memory of used requests is full")
        self._until[key] = now + seconds
        self._by_age.append(key)
        return True
