"""The PBX's clock beside our own: how long has a call waited when its announcement is read?

Usually a millisecond. But a listener that was frozen reads, once it goes on, announcements whose
calls the dialplan has long let go; counted from the reading, their budgets would seem to be whole.
The nonce is the PBX's time in microseconds, and each ping's answer says what that is.
"""

from __future__ import annotations

# A ping that took longer says too little of the other clock.
MAX_ROUND_TRIP_SECONDS = 0.25
# A nonce further away is no time of this clock.
MAX_AGE_SECONDS = 1800.0


class PbxTime:
    """What is known of one PBX's clock; all moments of ours are of ``time.monotonic``."""

    def __init__(self) -> None:
        # Seconds from our clock to the PBX's; None: not known.
        self._offset: float | None = None

    def heard(self, timestamp: str, asked_at: float, answered_at: float) -> None:
        """A ping's answer: ``timestamp`` are seconds since the epoch, as a decimal."""
        if answered_at - asked_at <= MAX_ROUND_TRIP_SECONDS:
            # The answer's way here counts as none: an age is rather too small than too great.
            self._offset = float(timestamp) - answered_at

    def age_ms(self, nonce: str, now: float) -> int:
        """Whole milliseconds since the nonce was made; 0 where that cannot be told."""
        if self._offset is None or not (nonce.isascii() and nonce.isdigit()):
            return 0
        age = now + self._offset - int(nonce) / 1e6
        return int(age * 1000) if 0 < age <= MAX_AGE_SECONDS else 0
