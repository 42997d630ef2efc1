"""Stores at one CPS, with the storage token that a call spends there.

Takes sealed octets and a source of tokens, gives a ``StoreResult``. One token is spent a call and
CPS: each copy that goes there carries it, with a proof of its own. A call never waits for a token;
where there is none that is the result. Source: RFC 8816 sections 7.5 and 9.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from pbx_stir.cps import wire
from pbx_stir.cps.exchange import Exchange, Reply, expect
from pbx_stir.cps.origin import CpsUrl
from pbx_stir.errors import CpsRefused, CpsUnavailable, PbxStirError
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import StoreResult
from pbx_stir.stir import sealing

if TYPE_CHECKING:
    from pbx_stir.tokens.wallet import Unspent

_NONCE_OCTETS = 16
# far within what a CPS allows, far more than what clocks that are set are wrong by
BLUR_SECONDS: Final = 5.0
_uniform = random.SystemRandom().uniform


class NoToken(Enum):
    """Why there is no token to go with a store."""

    NOT_NEEDED = "as far as is known the CPS takes stores without"
    NONE_LEFT = "no storage token is left; they are fetched at times of their own"


class TokenSource(Protocol):
    """Where tokens come from (cps.supply.Supply). It neither waits nor reads a disk."""

    def take(self, origin: CpsUrl, now: float) -> Unspent | NoToken:
        """Give the token for one call's stores at a CPS; ``now`` is that CPS's time."""
        ...

    def answered(self, origin: CpsUrl, token: Unspent | None, status: int) -> None:
        """Learn what a CPS answered (an HTTP status) to a store with this token."""
        ...


class Placing:
    """Stores through one exchange. Without ``tokens`` stores carry none."""

    def __init__(
        self,
        exchange: Exchange,
        tokens: TokenSource | None = None,
        *,
        draw: Callable[[int], bytes] = secrets.token_bytes,
        blur: Callable[[], float] = lambda: _uniform(-BLUR_SECONDS, BLUR_SECONDS),
    ) -> None:
        """``draw`` gives so many random octets, for the proofs' nonces; ``blur`` seconds that are
        added to a call's proofs' time, so that small errors of a clock name nobody."""
        self._exchange = exchange
        self._blur = blur
        self._tokens = tokens
        self._draw = draw

    async def store_at(
        self, cps: str, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> StoreResult:
        """Store all blobs at one CPS; the worst of what it says is the result. Never raises."""
        if not blobs:
            return StoreResult(cps, Reason.STORED, "nothing to store")
        token: Unspent | None = None
        try:
            origin = self._exchange.origin(cps)
            if self._tokens is not None:
                taken = self._tokens.take(origin, self._exchange.unnamed_time_at(origin))
                if taken is NoToken.NONE_LEFT:
                    return StoreResult(cps, Reason.NO_TOKENS, taken.value)
                token = None if isinstance(taken, NoToken) else taken
        except PbxStirError as error:
            return StoreResult(cps, Reason.CPS_UNAVAILABLE, error.message)
        now = self._exchange.unnamed_time_at(origin) + self._blur()
        results = await asyncio.gather(
            *(self._store(cps, origin, number, blob, (token, now), give_up_at) for blob in blobs)
        )
        failed = [each for each in results if each.reason is not Reason.STORED]
        return (failed or results)[0]

    async def _store(
        self,
        cps: str,
        origin: CpsUrl,
        number: str,
        blob: bytes,
        shown: tuple[Unspent | None, float],
        give_up_at: float,
    ) -> StoreResult:
        """Store one blob at one CPS, showing a token at a time."""
        body = sealing.to_wire(blob)
        try:
            async with self._exchange.deadline(give_up_at):
                reply = await self._exchange.send(
                    origin,
                    "POST",
                    wire.collection_path(number),
                    body,
                    wire.PASSPORT_TYPE,
                    more=self._proof(origin, number, body, *shown),
                )
        except PbxStirError as error:
            return StoreResult(cps, Reason.CPS_UNAVAILABLE, error.message)
        if self._tokens is not None:
            self._tokens.answered(origin, shown[0], reply.status)
        return _result(cps, reply)

    def _proof(
        self, origin: CpsUrl, number: str, body: bytes, token: Unspent | None, now: float
    ) -> dict[str, str]:
        """The header field that shows the token to be ours, and meant for this very store."""
        if token is None:
            return {}
        value = token.authorization(
            host=origin.host,
            number=number,
            content_type=wire.PASSPORT_TYPE,
            body=body,
            now=now,
            nonce=self._draw(_NONCE_OCTETS),
        )
        return {"Authorization": value}


def _result(cps: str, reply: Reply) -> StoreResult:
    """What a CPS's answer to a store stands for."""
    try:
        # Sent again after its connection was closed, and refused as sent before: it was stored.
        expect(reply, 201, *((409,) if reply.resent else ()))
    except CpsRefused as error:
        reason = Reason.NO_TOKENS if error.status == 401 else Reason.CPS_REFUSED
        return StoreResult(cps, reason, error.message, reply.clock_offset)
    except CpsUnavailable as error:
        return StoreResult(cps, Reason.CPS_UNAVAILABLE, error.message, reply.clock_offset)
    return StoreResult(cps, Reason.STORED, "", reply.clock_offset)
