"""Who may look: the access token, and the sessions that browsers get for it.

Takes what a browser gave, and moments; gives decisions. A session is a signed moment until which
it holds, so that a restart of the service logs nobody out; a new token ends them all. Neither token
nor session is ever logged. Pure but for random numbers.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

MOST_ENDED: Final = 1_000
_LONGEST: Final = 200


class Sessions:
    """The sessions under one token, each ``seconds`` long. Moments are seconds since the epoch.

    ``ended``: who has logged out, by cookie, and when that would have ended by itself. It is handed
    on to the sessions of a board with other settings.
    """

    def __init__(self, token: str, seconds: float, ended: dict[str, float] | None = None) -> None:
        self._token = hashlib.sha256(token.encode()).digest()
        self._key = hmac.digest(token.encode(), b"pbx-stir board session v1", "sha256")
        self._seconds = seconds
        self._ended: dict[str, float] = {} if ended is None else ended

    def admits(self, given: str) -> bool:
        """Whether ``given`` is the token, in a time that does not say how much of it is right."""
        return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), self._token)

    def new(self, now: float) -> str:
        """A new session's cookie: when it ends, a random part, and a MAC over both."""
        said = f"{int(now + self._seconds)}.{secrets.token_urlsafe(12)}"
        return f"{said}.{self._mac(said)}"

    def left(self, cookie: str, now: float) -> float:
        """How many seconds a session still holds; 0 for what is none."""
        said, _, mac = cookie.rpartition(".")
        if len(cookie) > _LONGEST or not cookie.isascii() or cookie in self._ended:
            return 0.0
        if not hmac.compare_digest(mac, self._mac(said)):
            return 0.0
        # what bears our MAC has our form
        return max(0.0, min(int(said.partition(".")[0]) - now, self._seconds))

    def end(self, cookie: str, now: float) -> None:
        """Log out: forget a session until it would have ended by itself."""
        if not self.left(cookie, now):
            return
        for old in [one for one, until in self._ended.items() if until <= now]:
            del self._ended[old]
        while len(self._ended) >= MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        # its own end: sessions may be longer by then
        self._ended[cookie] = float(cookie.partition(".")[0])

    def _mac(self, said: str) -> str:
        return hmac.new(self._key, said.encode(), "sha256").hexdigest()
