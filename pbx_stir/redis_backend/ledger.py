"""What must not be spent twice, counted on Redis for all workers.

Takes keys that are HMACs (32 octets) and says whether they were spent; it sees no number, no token.
Each question is one script, that is one step at one server. It is sent once: where the answer is
lost the count stands, and the caller hears ``StoreUnavailable``; asked again it has been spent.

A server that comes back empty has forgotten, see ``sentinels``: then a bucket answers
``StoreUnavailable`` for as long as something may have been spent before. Counts of an epoch that
are lost stay lost; docs/scaling.md says how Redis keeps them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.connection import Connection, Script
from pbx_stir.redis_backend.sentinels import BUCKETS, NEW_SECONDS, SENTINEL, UNKNOWN, Sentinels
from pbx_stir.tokens.ledger import Counter

KEY_OCTETS: Final = 32
TAG_OCTETS: Final = 16
_FORGOT: Final = -2

# ARGV[2]: for how many ms. 1: the first time, 0: not; nobody knows: -2
# after a loss, -3 before it is known whether there was one.
_ONCE: Final = Script(
    SENTINEL
    + """
if not since then return -3 end
if now < since + ARGV[2] then return -2 end
return redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[2]) and 1 or 0
"""
)
# ARGV[2]: how much, [3]: until when (ms), [4] on: how much each counter holds at most.
# -1: spent, else the index of the first counter that holds no more.
_SPEND: Final = Script(
    SENTINEL
    + """
for each = 1, #KEYS - 1 do
  if tonumber(redis.call('GET', KEYS[each]) or 0) + ARGV[2] > tonumber(ARGV[3 + each]) then
    return each - 1
  end
end
for each = 1, #KEYS - 1 do
  redis.call('INCRBY', KEYS[each], ARGV[2])
  redis.call('PEXPIREAT', KEYS[each], ARGV[3])
end
return -1
"""
)


class RedisLedger:
    """Implements ``tokens.ledger.Ledger``; ``run`` must run meanwhile."""

    def __init__(self, connection: Connection, *, new_seconds: float = NEW_SECONDS) -> None:
        """``new_seconds``: see ``Sentinels``."""
        self._connection = connection
        self._sentinels = Sentinels(connection, b"l", new_seconds=new_seconds)

    async def once(self, key: bytes, seconds: float) -> bool:
        """Say True the first time within ``seconds``. Raises ``StoreUnavailable``."""
        answer = await self._count(_ONCE, [key], b"o", int(seconds * 1000))
        if answer == _FORGOT:
            raise StoreUnavailable(f"redis has lost what was spent in the last {seconds:.0f} s")
        if answer == UNKNOWN:
            raise StoreUnavailable("redis is empty, and nobody knows yet since when")
        return answer == 1

    async def spend(self, counters: Sequence[Counter], amount: int, until: float) -> int | None:
        """Add ``amount`` to all counters or to none, to be forgotten at ``until`` (epoch seconds).

        The first 16 octets of all keys are the same. None where it is spent, else the index of the
        first counter that holds no more. Raises ``StoreUnavailable``.
        """
        if not counters:
            return None
        keys = [counter.key for counter in counters]
        limits = [counter.most for counter in counters]
        answer = await self._count(_SPEND, keys, b"c", amount, int(until * 1000), *limits)
        return None if answer == -1 else answer

    async def open(self) -> None:
        """Look at all sentinels. Raises ``StoreUnavailable``."""
        await self._sentinels.look()

    async def run(self) -> None:
        """Look for the sentinels for ever."""
        await self._sentinels.run()

    async def _count(
        self, script: Script, keys: Sequence[bytes], kind: bytes, *arguments: int
    ) -> int:
        if len({key[:TAG_OCTETS] for key in keys}) != 1:
            raise ValueError("the keys are not to be counted together")
        if any(len(key) != KEY_OCTETS for key in keys):
            raise ValueError(f"a key has not {KEY_OCTETS} octets")
        bucket = keys[0][0] % BUCKETS
        tag = self._sentinels.tag(bucket)
        names = [b"pbx-stir:%s:%s:%s" % (kind, tag, base64.urlsafe_b64encode(key)) for key in keys]
        answer = await self._connection.script(
            script,
            [*names, self._sentinels.name(bucket)],
            self._sentinels.seen(bucket),
            *arguments,
            replicas=self._connection.settings.replicas,
        )
        if not isinstance(answer, int):
            raise StoreUnavailable("redis counts what cannot be read")
        return answer
