"""The single-use memory of verification services on several machines.

Implements ``services.used.SingleUse`` on Redis, by the rules of ``services.used``: an entry is
read, changed here, and written where nobody has changed it since. What a call waits for is bounded;
beyond it, or where Redis is lost, the call has no verdict. The machines' clocks must agree: times
are the callers' own. Where Redis has forgotten (see ``sentinels``) a PASSporT from before passes no
call: nobody knows whether it has passed one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.connection import Connection, Script
from pbx_stir.redis_backend.sentinels import BUCKETS, NEW_SECONDS, SENTINEL, UNKNOWN, Sentinels
from pbx_stir.services import used
from pbx_stir.services.used import Claim, Entry, Reservation
from pbx_stir.stir.diversion import MOST_DIVERSIONS
from pbx_stir.stir.passport import FRESHNESS_SECONDS, FUTURE_TOLERANCE_SECONDS

# Beyond ``until``: the clocks of machines that keep time differ by less.
_MARGIN_SECONDS: Final = 5.0
_MOST_TRIES: Final = 8
# From when a PASSporT was made until it may be forgotten, at most.
_LONGEST_SECONDS: Final = FRESHNESS_SECONDS * (1 + MOST_DIVERSIONS) + FUTURE_TOLERANCE_SECONDS + 1
_FORGOT: Final = -2
_decoder = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()
Result = TypeVar("Result")

# ARGV[2]: what the key held when it was read, [3]: what it shall hold (either may be empty:
# nothing), [4]: until when (ms since 1970), [5]: from when on it may have held anything. 1: done,
# 0: it holds something else, -2: what it held may be lost, -3: nobody knows yet whether.
_EXCHANGE: Final = Script(
    SENTINEL
    + """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[2] == '' then
  if not since then return -3 end
  if tonumber(ARGV[5]) < since then return -2 end
end
if ARGV[3] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4])
end
return 1
"""
)
# A call's PASSporTs. ARGV: one of them, until when.
_NOTE: Final = Script(
    """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('SADD', KEYS[1], ARGV[1])
if now + redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
"""
)


class RedisUsed:
    """PASSporTs that were used, for all machines that ask the same Redis; ``run`` must run."""

    def __init__(self, connection: Connection, *, new_seconds: float = NEW_SECONDS) -> None:
        """``new_seconds``: see ``Sentinels``."""
        self._connection = connection
        self._sentinels = Sentinels(connection, b"u", new_seconds=new_seconds)

    @property
    def is_lost(self) -> bool:
        """Whether a server of it does not answer."""
        return self._connection.is_lost

    async def look(self) -> None:
        """Look whether Redis has forgotten. Raises ``StoreUnavailable``."""
        await self._sentinels.look()

    async def run(self) -> None:
        """Look whether Redis has forgotten, or may drop keys, for ever."""
        await self._sentinels.run()

    async def reserve(
        self, key: str, claim: Claim, until: float, now: float, made: float | None = None
    ) -> Reservation:
        """Take ``key`` for ``claim``. Raises StoreUnavailable: then nobody knows who has it."""
        # First, so that a call that has a PASSporT can always give it up when it ends.
        await self._connection.script(
            _NOTE, [_call(claim.pbx, claim.unique_id)], key, _milliseconds(until)
        )

        def change(entry: Entry | None) -> tuple[Entry | None, Reservation]:
            return used.reserved(entry, claim, until, now)

        made = until - _LONGEST_SECONDS if made is None else made
        return await self._change(key, change, made - FUTURE_TOLERANCE_SECONDS - _MARGIN_SECONDS)

    async def confirm(self, key: str, claim: Claim, now: float) -> None:
        """The PBX has taken the verdict."""
        await self._change_held(key, lambda entry: used.confirmed(entry, claim))

    async def give_back(self, key: str, claim: Claim, now: float) -> None:
        """The call was gone before its verdict."""
        await self._change_held(key, lambda entry: used.given_back(entry, claim))

    async def ended(self, pbx: str, unique_id: str, answered: bool, now: float) -> None:
        """The call is over."""
        if answered:
            return
        call = _call(pbx, unique_id)
        for key in await self._connection.run(call, "SMEMBERS", call):
            await self._change_held(
                key.decode(), lambda entry: used.ended(entry, pbx, unique_id, now)
            )

    async def _change_held(self, key: str, change_of: Callable[[Entry], Entry | None]) -> None:
        def change(entry: Entry | None) -> tuple[Entry | None, None]:
            return (None if entry is None else change_of(entry)), None

        await self._change(key, change)

    async def _change(
        self,
        key: str,
        change: Callable[[Entry | None], tuple[Entry | None, Result]],
        born: float = 0.0,
    ) -> Result:
        """Read, change, and write if it is still what was read; else all again.

        ``born`` is from when on there may have been something to read.
        """
        bucket = int(_digest(key)[:2], 16) % BUCKETS
        name = b"pbx-stir:used:%s:%s" % (self._sentinels.tag(bucket), _digest(key))
        for _ in range(_MOST_TRIES):
            held = await self._connection.run(name, "GET", name)
            before = _decoded(held)
            after, result = change(before)
            if after == before:
                return result
            written = _encoder.encode(after) if after is not None else b""
            until = _milliseconds(after.until) if after is not None else 0
            answer = await self._connection.script(
                _EXCHANGE,
                [name, self._sentinels.name(bucket)],
                self._sentinels.seen(bucket),
                held or b"",
                written,
                until,
                int(born * 1000),
                replicas=self._connection.settings.replicas,
            )
            if answer == _FORGOT:
                raise StoreUnavailable("redis has lost what was used when this passport was made")
            if answer == UNKNOWN:
                raise StoreUnavailable("redis is empty, and nobody knows yet since when")
            if answer:
                return result
        raise StoreUnavailable("a passport is claimed by too many calls at a time")


def _decoded(held: Any) -> Entry | None:
    if held is None:
        return None
    try:
        return _decoder.decode(held)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise StoreUnavailable("redis holds a use that cannot be read") from error


def _milliseconds(until: float) -> int:
    return int((until + _MARGIN_SECONDS) * 1000)


def _call(pbx: str, unique_id: str) -> bytes:
    return b"pbx-stir:call:{%s}" % _digest(f"{pbx}\n{unique_id}")


def _digest(text: str) -> bytes:
    """Name something without braces, blanks or a stranger's words."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest().encode()
