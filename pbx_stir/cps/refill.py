"""How one CPS's storage tokens are obtained: its keys, and a batch at a time.

Takes what asks CPSs (``cps.obtaining``), a wallet and our credentials; changes an ``Account``. When
that is done the supply decides (``cps.supply``). Source: RFC 8816 section 7.5.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from pbx_stir.cps.account import Account
from pbx_stir.cps.obtaining import Obtaining
from pbx_stir.errors import ConfigurationError, CpsRefused, TokenRefused
from pbx_stir.stir.credential import Credential
from pbx_stir.tokens.epochs import EpochKey, epoch_of
from pbx_stir.tokens.exchange import MOST_IN_A_REQUEST, BlindedBatch
from pbx_stir.tokens.wallet import Wallet, Wanted, signed, want

LOOKS: Final = 2
# (shortest, longest) of waits drawn at random, in seconds
BETWEEN_LOOKS: Final = (0.5, 3.0)
BETWEEN_BATCHES: Final = (1.0, 10.0)
BETWEEN_VISITS: Final = (20.0, 60.0)
BETWEEN_LISTS: Final = (1_800.0, 3_600.0)
# with fewer than calls take in so long, more are obtained though the low mark is not reached
LEAD_SECONDS: Final = 20.0
# what an epoch ahead needs is there so long before it begins
READY_SECONDS: Final = 3_600.0
# a batch that a CPS is signing when all ends is waited for, or its tokens were granted for nothing
LET_END_SECONDS: Final = 1.0
# a Retry-After that ends so near an epoch's end is that of what we may have of it
_USED_UP_SECONDS = 120.0

_log = logging.getLogger(__name__)


class Refill:
    """Obtains for one process. Its methods raise a ``PbxStirError`` where that fails."""

    def __init__(
        self,
        *,
        wallet: Wallet,
        obtaining: Obtaining,
        credentials: Callable[[], Sequence[Credential]],
        marks: tuple[int, int],
        now: Callable[[], float],
        clock: Callable[[], float],
        draw: Callable[[float, float], float],
    ) -> None:
        """As ``Supply`` takes them; ``marks`` are the low and the high one.

        Raises ``ConfigurationError`` where the marks are none.
        """
        self._low, self._high = marks
        if not 0 < self._low <= self._high:
            raise ConfigurationError("the low mark of tokens is not between 1 and the high mark")
        self._wallet = wallet
        self._obtaining = obtaining
        self._credentials = credentials
        self._now = now
        self._clock = clock
        self._draw = draw

    async def see_to(self, account: Account) -> tuple[float, float]:
        """Fetch its keys where it is time to, or obtain one batch; gives how long to wait then."""
        if self._clock() >= account.list_due:
            return await self.fetch_keys(account)
        if account.needs and account.keys is not None:
            return await self.obtain(account)
        return BETWEEN_VISITS

    async def fetch_keys(self, account: Account) -> tuple[float, float]:
        """Fetch the list of keys, and give how long to wait then."""
        listed = await self._obtaining.keys(account.cps)
        account.list_due = self._clock() + self._draw(*BETWEEN_LISTS)
        if listed is None:
            if account.needs is not False:
                _log.info("%s issues no storage tokens: stores carry none", account.cps)
            account.needs, account.keys, account.looks = False, None, 0
            return BETWEEN_VISITS
        try:
            account.keys = await asyncio.to_thread(
                self._wallet.pin, account.cps, listed, self._now()
            )
        except TokenRefused:
            # what we have is under the keys seen first; under others nothing is obtained
            account.needs, account.keys, account.looks, account.list_due = True, None, 0, 0.0
            raise
        account.needs = True
        account.looks += 1
        if account.looks < LOOKS:
            account.list_due = 0.0
        return BETWEEN_LOOKS

    async def obtain(self, account: Account) -> tuple[float, float]:
        """Obtain one batch where tokens are wanted, and give how long to wait then."""
        key = await self._wanted(account)
        if key is None:
            return BETWEEN_VISITS
        turn = self._wallet.files.filling(account.cps)
        try:
            if not await asyncio.to_thread(turn.begin):
                # another process of ours is at it
                account.filling = False
                return BETWEEN_VISITS
            await self.batch(account, key)
        except CpsRefused as error:
            if not self._is_used_up(key, error):
                raise
            account.used_up = {one for one in account.used_up if one >= key.epoch} | {key.epoch}
            _log.warning("%s gives no more storage tokens today: %s", account.cps, error)
        finally:
            turn.end()
        return BETWEEN_BATCHES if await self._wanted(account) else BETWEEN_VISITS

    async def _wanted(self, account: Account) -> EpochKey | None:
        """The key of the epoch that tokens are to be obtained for now, if any."""
        keys, now = account.keys, self._now()
        if keys is None:
            return None
        epochs = epoch_of(now), epoch_of(now) + 1
        there, there_ahead = await asyncio.to_thread(
            lambda: [self._wallet.count(account.cps, epoch) for epoch in epochs]
        )
        current, ahead = (
            None if key is None or key.epoch in account.used_up else key
            for key in map(keys.of, epochs)
        )
        account.filling, few = current is not None and account.filling, False
        if current is not None:
            account.filling = there < (self._high if account.filling else self.mark(account))
            few = there < self._low
        # calls may take for hours what is obtained: that must not keep the next epoch waiting
        waits = account.filling and few
        due = ahead is not None and not waits and self._is_ahead_due(account, ahead)
        if due and there_ahead < self._high:
            return ahead
        return current if account.filling else None

    def _is_ahead_due(self, account: Account, ahead: EpochKey) -> bool:
        """Whether it is time to obtain tokens of an epoch that has not begun."""
        now = self._now()
        if ahead.epoch not in account.fill_at:
            latest = max(now, ahead.not_before - READY_SECONDS)
            account.fill_at = {ahead.epoch: self._draw(now, latest)}
        return now >= account.fill_at[ahead.epoch]

    def _is_used_up(self, key: EpochKey, refused: CpsRefused) -> bool:
        """Whether a CPS refuses more tokens of this one epoch, for as long as they would be good.

        What we may have of the next one is another count, and must not wait for its beginning.
        """
        ends_in = key.not_after - self._now() - _USED_UP_SECONDS
        return refused.status == 429 and refused.retry_after >= max(ends_in, _USED_UP_SECONDS)

    async def batch(self, account: Account, key: EpochKey) -> None:
        """Obtain one batch, always of the same size, and put it into the wallet.

        Who cancels it has to wait for what a CPS has been asked for, ``LET_END_SECONDS`` at most.
        """
        assert account.keys is not None
        issuer = account.keys.issuer
        credential = self._signer(account)
        wanted = await asyncio.to_thread(
            lambda: [want(issuer, key) for _ in range(MOST_IN_A_REQUEST)]
        )
        await _let_end(self._have_signed(account, key, wanted, credential))

    async def _have_signed(
        self, account: Account, key: EpochKey, wanted: Sequence[Wanted], credential: Credential
    ) -> None:
        """Ask for the signatures of a batch, and keep its tokens."""
        batch = BlindedBatch(key.epoch, tuple(each.blinded.blinded for each in wanted))
        try:
            signatures = await self._obtaining.signatures(account.cps, batch, credential)
        except CpsRefused as error:
            if error.status in (401, 403):
                # perhaps the CPS trusts another one of ours
                account.signer += 1
            raise

        def keep() -> int:
            pairs = zip(wanted, signatures, strict=True)
            records = [signed(each, key, signature) for each, signature in pairs]
            most = self._high + MOST_IN_A_REQUEST
            return self._wallet.put(account.cps, key.epoch, records, most)

        kept = await asyncio.to_thread(keep)
        _log.info("%d storage tokens of %s for epoch %d", kept, account.cps, key.epoch)

    def _signer(self, account: Account) -> Credential:
        """One of our credentials that is valid now."""
        now = self._now()
        valid = [each for each in self._credentials() if each.valid_at(now)]
        if not valid:
            raise ConfigurationError(
                "no valid credential to obtain storage tokens with",
                hint="a [[credential]] whose certificate has not ended",
            )
        return valid[account.signer % len(valid)]

    def mark(self, account: Account) -> int:
        """With fewer tokens than these more are obtained."""
        lead = int(LEAD_SECONDS * account.pace.a_second(self._clock()))
        return min(self._high, max(self._low, lead))


async def _let_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it; when cancelled, cancel it only where it does not end within ``LET_END_SECONDS``."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        # what became of it nobody asks any more
        await asyncio.wait([task], timeout=LET_END_SECONDS)
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
