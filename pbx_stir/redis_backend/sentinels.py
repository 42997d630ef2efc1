"""How it is noticed that a Redis has forgotten: a sentinel in each of 64 buckets.

What must not be done twice lies in a bucket with a sentinel, on the same server and for as long. A
process that has seen the sentinel and finds it missing, or finds another one that claims that
nothing was there before, knows that something was lost, and writes since when: nothing older is
sure. A process that has seen none cannot tell a Redis that is new from one that was emptied. So it
does not say that nothing was there until all others had time to find the loss: for
``NEW_SECONDS``, more than two of their looks.

Sentinels also tell whether Redis may drop keys at all: one that may is not relied on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.redis_backend.connection import Connection, Script

BUCKETS: Final = 64
LOOK_SECONDS: Final = 2.0
NEW_SECONDS: Final = 5.0
CHECK_SECONDS: Final = 30.0
# What a script answers where there is no sentinel, and it is not known why.
UNKNOWN: Final = -3
_LOOK_AT_NEW_SECONDS: Final = 0.25
# What a process says that has waited; no sentinel is like it.
_NEW: Final = b"new"
_log = logging.getLogger(__name__)

# The beginning of scripts. KEYS: the sentinel last. ARGV[1]: what ``Sentinels.seen`` gives. A
# sentinel is two times, in ms: since when nothing is lost (0: ever), and when it was written.
SENTINEL: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local name, seen = KEYS[#KEYS], ARGV[1]
local sentinel = redis.call('GET', name)
if not sentinel and seen ~= '' or
    sentinel and string.sub(sentinel, 1, 2) == '0 ' and
    seen ~= '' and seen ~= 'new' and seen ~= sentinel then
  sentinel = string.format('%.0f %.0f', seen == 'new' and 0 or now, now)
  redis.call('SET', name, sentinel)
end
local since = sentinel and tonumber(string.match(sentinel, '^%d+'))
"""
_LOOK: Final = Script(SENTINEL + "return sentinel")


class Sentinels:
    """The sentinels of one kind of bucket, whose names begin with ``kind``; ``run`` must run.

    ``new_seconds`` is how long a missing one is left to processes that may know more.
    """

    def __init__(
        self, connection: Connection, kind: bytes, *, new_seconds: float = NEW_SECONDS
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._new_seconds = new_seconds
        self._seen = [b""] * BUCKETS
        # Since when one was found missing (monotonic), where it was never seen.
        self._missing: dict[int, float] = {}
        self._unfit = ""

    def tag(self, bucket: int) -> bytes:
        """Give the hash tag of all keys of a bucket."""
        return b"{%s%d}" % (self._kind, bucket)

    def name(self, bucket: int) -> bytes:
        """Give the key of a sentinel."""
        return b"pbx-stir:sentinel:" + self.tag(bucket)

    def seen(self, bucket: int) -> bytes:
        """Give what a script is told of a bucket. Raises ``StoreUnavailable``."""
        if self._unfit:
            raise StoreUnavailable(self._unfit)
        return self._seen[bucket]

    async def look(self) -> None:
        """Look at all sentinels, and set those that are due.

        Raises ``StoreUnavailable`` where a server does not answer; the others were looked at.
        """
        found = await asyncio.gather(*map(self._look, range(BUCKETS)), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one

    async def check(self) -> None:
        """Ask whether Redis keeps what it is given; as long as it does not, ``seen`` raises.

        Raises as ``Connection.check``.
        """
        try:
            await self._connection.check()
        except ConfigurationError as error:
            if not self._unfit:
                _log.error("redis is not relied on: %s", error)
            self._unfit = error.message
            raise
        self._unfit = ""

    async def run(self) -> None:
        """Look and check for ever, so that a loss is found before somebody new comes."""
        check_at = 0.0
        while True:
            if time.monotonic() >= check_at:
                with suppress(StoreUnavailable, ConfigurationError):
                    await self.check()
                    check_at = time.monotonic() + CHECK_SECONDS
            with suppress(StoreUnavailable):
                await self.look()
            await asyncio.sleep(_LOOK_AT_NEW_SECONDS if self._missing else LOOK_SECONDS)

    async def _look(self, bucket: int) -> None:
        seen = self._seen[bucket]
        missing = self._missing.get(bucket)
        if missing is not None and time.monotonic() - missing >= self._new_seconds:
            seen = _NEW
        try:
            held = await self._connection.script(_LOOK, [self.name(bucket)], seen)
        except StoreUnavailable:
            # What is missing when it is back may be so for another reason.
            self._missing.pop(bucket, None)
            raise
        if isinstance(held, bytes):
            self._seen[bucket] = held
            self._missing.pop(bucket, None)
        elif missing is None:
            self._missing[bucket] = time.monotonic()
            if self._new_seconds <= 0:
                await self._look(bucket)
