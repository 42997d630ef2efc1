"""What was found not to be sealed to us, so that it costs nothing when it is seen again.

Takes hashes of blobs and the time, gives what was found of them. Two halves take turns: the older
one goes as a whole once the younger is full, or as old as an entry at a CPS may become: nobody is
shown it again. Not safe for several threads.
"""

from __future__ import annotations

from typing import Final

# RFC 8816 has an entry live for seconds, our CPSs for 60 at most
SECONDS: Final = 60.0


class NotOurs:
    """Up to ``most`` of them, each for ``SECONDS`` at least where there is room."""

    def __init__(self, most: int) -> None:
        """``most`` is two or more."""
        self._half = most // 2
        self._young: dict[bytes, bool] = {}
        self._old: dict[bytes, bool] = {}
        self._turned = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, digest: bytes, now: float) -> bool | None:
        """What was put under ``digest``, None: nothing; ``now`` in seconds, by any clock."""
        self._turn(now)
        found = self._young.get(digest)
        if found is None:
            found = self._old.pop(digest, None)
            if found is not None:
                self.put(digest, found, now)
        return found

    def put(self, digest: bytes, found: bool, now: float) -> None:
        """Remember it."""
        if len(self._young) >= self._half:
            self._begin(now)
        self._young[digest] = found

    def clear(self) -> None:
        """Forget all."""
        self._young, self._old = {}, {}

    def _turn(self, now: float) -> None:
        if not 0 <= now - self._turned < SECONDS:
            if not 0 <= now - self._turned < 2 * SECONDS:
                self._young = {}
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._young, self._old = {}, self._young
        self._turned = now
