"""The secrets of the dummies, shared by all workers of a CPS.

Implements ``cps.dummies.SecretSource``: an epoch's secret is drawn by whichever worker needs it
first, and taken by all others. Redis forgets it when its last dummy has expired, the workers
overwrite theirs. A worker offers again what it holds, so that a Redis that has come back empty
gets the same secrets as before.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from pbx_stir.cps.dummies import EPOCH_SECONDS
from pbx_stir.errors import StoreUnavailable
from pbx_stir.redis_backend.connection import Connection, Script

SECRET_OCTETS: Final = 32
# A look draws the three slots, of 2/5 of a lifetime each, that started last: see cps.dummies.
_DRAWN_LIFETIMES: Final = 1.2
_PHASE_EPOCHS: Final = 24
_PHASE: Final = b"pbx-stir:{dummies}:phase"
# KEYS: the phases' secret, then epochs. ARGV: what is offered for each, then until when (ms) each
# is kept. Gives what is held now. The phases' is kept longer with every call, the others are not.
_SHARE: Final = Script(
    """
local held = {}
for each, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[each], 'NX', 'PXAT', ARGV[#KEYS + each])
  held[each] = redis.call('GET', key) or ARGV[each]
end
redis.call('PEXPIREAT', KEYS[1], ARGV[#KEYS + 1])
return held
"""
)


class SharedSecrets:
    """Secrets by epoch, the same for all workers once they are prepared."""

    def __init__(
        self,
        connection: Connection,
        lifetime_seconds: int,
        *,
        epoch_seconds: int = EPOCH_SECONDS,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._connection = connection
        self._lifetime_seconds = lifetime_seconds
        self._epoch_seconds = epoch_seconds
        self._draw = draw
        self._phase_key: bytes | None = None
        self._secrets: dict[int, bytearray] = {}

    @property
    def phase_key(self) -> bytes:
        """The secret of the phases. Raises ``StoreUnavailable`` before the first ``prepare``."""
        if self._phase_key is None:
            raise StoreUnavailable("the dummies' secrets are not fetched yet")
        return self._phase_key

    def of(self, epoch: int) -> bytearray:
        """Give an epoch's secret, 32 octets. Raises ``StoreUnavailable`` for one not prepared."""
        secret = self._secrets.get(epoch)
        if secret is None:
            raise StoreUnavailable("the dummies' secret of this hour is not fetched yet")
        return secret

    async def prepare(self, first: int, last: int) -> None:
        """Have the secrets of these epochs in memory. Raises ``StoreUnavailable``."""
        epochs = range(first, last + 1)
        offered = [self._phase_key or self._draw(SECRET_OCTETS)]
        offered += [bytes(self._secrets.get(one) or self._draw(SECRET_OCTETS)) for one in epochs]
        until = [self._until_ms(last + _PHASE_EPOCHS)] + [self._until_ms(one) for one in epochs]
        keys = [_PHASE] + [b"pbx-stir:{dummies}:%d" % one for one in epochs]
        held = await self._connection.script(_SHARE, keys, *offered, *until)
        if not isinstance(held, list) or [len(one) for one in held] != [SECRET_OCTETS] * len(keys):
            raise StoreUnavailable("redis holds a secret that is none")
        self._phase_key = held[0]
        for epoch, secret in zip(epochs, held[1:], strict=True):
            if self._secrets.get(epoch) != secret:
                self._secrets[epoch] = bytearray(secret)

    def erase_before(self, epoch: int) -> None:
        """Erase the secrets of all epochs before this one."""
        for old in [each for each in self._secrets if each < epoch]:
            secret = self._secrets.pop(old)
            secret[:] = bytes(len(secret))

    def _until_ms(self, epoch: int) -> int:
        """Say when an epoch's last dummy is drawn no more, in ms since 1970."""
        end = (epoch + 1) * self._epoch_seconds
        return int((end + _DRAWN_LIFETIMES * self._lifetime_seconds) * 1000)
