"""The supply of storage tokens: obtained at times of their own, given out in the call path.

Takes a wallet, what asks CPSs (``cps.obtaining``) and our credentials; gives ``TokenSource``. Whom
it supplies it is told at the start, and by ``take`` for every CPS that is met later. It never sees
a called number.

Tokens are asked for by name, and spent without one; what could tie the two together is time. So no
request is made because of a call, but for the first to a CPS that a call has met, up to an hour
later: ``run`` looks at each CPS every now and then, at random, and where there are fewer tokens
than the low mark it obtains whole batches, with random pauses, up to the high mark. For the epoch
ahead that is done at a random time before it begins.

A CPS could give each sender token keys of his own, and know him by them. So its list is fetched
without a name, over a new connection each time and by the path that stores take, twice before
anything is obtained; and the first key seen for an epoch is the only one that is used
(``tokens.wallet_files``). Source: RFC 8816 sections 7.5 and 13.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pbx_stir.cps.obtaining import Obtaining
from pbx_stir.cps.origin import CpsUrl
from pbx_stir.cps.placing import NoToken
from pbx_stir.errors import (
    ConfigurationError,
    CpsRefused,
    PbxStirError,
    TokenRefused,
)
from pbx_stir.stir.credential import Credential
from pbx_stir.tokens.epochs import EpochKey, KeyList, epoch_of
from pbx_stir.tokens.exchange import MOST_IN_A_REQUEST, BlindedBatch
from pbx_stir.tokens.wallet import Unspent, Wallet, signed, want

LOW: Final = 200
HIGH: Final = 1_000
MOST_CPS: Final = 256
LOOKS: Final = 2

# (shortest, longest) of waits drawn at random, in seconds
AT_START: Final = (0.0, 1.0)
# the first request names us to a stranger: it must not follow from the store that came before it
MET_BY_A_CALL: Final = (60.0, 3_600.0)
BEFORE_NEW_KEYS: Final = (5.0, 60.0)
BETWEEN_LOOKS: Final = (0.5, 3.0)
BETWEEN_BATCHES: Final = (1.0, 10.0)
BETWEEN_VISITS: Final = (20.0, 60.0)
BETWEEN_LISTS: Final = (1_800.0, 3_600.0)
FIRST_RETRY_SECONDS: Final = 10.0
LONGEST_RETRY_SECONDS: Final = 3_600.0
# what an epoch ahead needs is there so long before it begins
READY_SECONDS: Final = 3_600.0
_LONGEST_PAUSE_SECONDS = 2.0

_uniform = random.SystemRandom().uniform
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Account:
    """What is known of one CPS. Times are of the monotonic clock, but for ``fill_at``.

    ``needs``: whether stores need a token, None where that is not known yet. ``dry``: nothing more
    is on the disk to bring into memory. ``fill_at``: when tokens of an epoch ahead are obtained.
    """

    cps: str
    due: float
    list_due: float = 0.0
    needs: bool | None = None
    keys: KeyList | None = None
    looks: int = 0
    filling: bool = False
    dry: bool = False
    failures: int = 0
    signer: int = 0
    fill_at: dict[int, float] = field(default_factory=dict)


class Supply:
    """Implements ``TokenSource``. Belongs to one event loop; ``run`` it there."""

    def __init__(
        self,
        *,
        wallet: Wallet,
        obtaining: Obtaining,
        credentials: Callable[[], Sequence[Credential]],
        cps: Sequence[CpsUrl] = (),
        low: int = LOW,
        high: int = HIGH,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = _uniform,
    ) -> None:
        """``credentials`` gives ours, any of which may sign; ``cps`` are the configured ones;
        ``draw`` gives a random number between two others."""
        if not 0 < low <= high:
            raise ConfigurationError("the low mark of tokens is not between 1 and the high mark")
        self._wallet = wallet
        self._obtaining = obtaining
        self._credentials = credentials
        self._low = low
        self._high = high
        self._now = now
        self._clock = clock
        self._draw = draw
        self._configured = frozenset(each.base for each in cps)
        self._accounts = {
            base: _Account(base, clock() + draw(*AT_START)) for base in sorted(self._configured)
        }
        self._to_stock: set[str] = set(self._configured)
        self._stock_wanted = asyncio.Event()
        self._stock_wanted.set()

    def take(self, origin: CpsUrl, now: float) -> Unspent | NoToken:
        """Give the token for one call's stores; see ``TokenSource``. It looks into memory alone."""
        account = self._accounts.get(origin.base) or self._meet(origin.base)
        if account.needs is False:
            return NoToken.NOT_NEEDED
        token = self._wallet.take(account.cps, now)
        if not account.dry and self._wallet.is_low(account.cps, now):
            self._ask_for_stock(account)
        if token is not None:
            return token
        return NoToken.NOT_NEEDED if account.needs is None else NoToken.NONE_LEFT

    def answered(self, origin: CpsUrl, token: Unspent | None, status: int) -> None:
        """Learn from what a CPS answered to a store whether it wants tokens, and takes ours."""
        account = self._accounts.get(origin.base)
        if account is None:
            return
        if token is None and status == 201 and account.needs is None:
            account.needs = False
        elif token is None and status == 401 and not account.needs:
            account.needs = True
            self._look_again(account)
        elif token is not None and status in (401, 429):
            self._wallet.discard(account.cps)
            if status == 401:
                self._look_again(account)

    async def has_spare(self, origin: CpsUrl) -> bool:
        """Tell whether there are so many tokens that some may go elsewhere than to calls.

        False where it is not known yet whether the CPS wants any. At half the low mark: what goes
        elsewhere is replaced as what calls take is, or one call would bring it back.
        """
        account = self._accounts.get(origin.base)
        if account is None or account.needs is None:
            return False
        if not account.needs:
            return True
        epoch = epoch_of(self._now())
        return await asyncio.to_thread(self._wallet.count, account.cps, epoch) > self._low // 2

    async def left(self) -> Mapping[str, int]:
        """How many tokens are left for stores of today, by configured CPS that wants any."""
        wanting = [one.cps for one in self._accounts.values() if one.needs]
        asked = [cps for cps in wanting if cps in self._configured]
        epoch = epoch_of(self._now())
        return await asyncio.to_thread(
            lambda: {cps: self._wallet.count(cps, epoch) for cps in asked}
        )

    async def run(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Supply, for ever: the disk from the CPSs, and memory from the disk."""
        stocking = asyncio.create_task(self._keep_stocked())
        try:
            while True:
                wait = await self.visit_due()
                await pause(min(max(wait, 0.05), _LONGEST_PAUSE_SECONDS))
        finally:
            stocking.cancel()
            await asyncio.gather(stocking, return_exceptions=True)

    async def ready(self, origin: CpsUrl) -> int:
        """Have tokens of a CPS in memory, for a command; gives how many were obtained for it now.

        Those that it obtains are spent at once, so that the CPS can tell by the time whose store it
        is: not for calls. Raises a ``PbxStirError`` where it obtains none that it needs.
        """
        account = self._accounts.get(origin.base) or self._meet(origin.base)
        await self._stock(account.cps)
        epoch = epoch_of(self._now())
        if self._wallet.in_memory(account.cps, epoch):
            return 0
        for _ in range(LOOKS):
            await self._fetch_keys(account)
        if account.needs:
            await self._obtain(account)
            await self._stock(account.cps)
        return self._wallet.count(account.cps, epoch)

    async def visit_due(self) -> float:
        """Visit the CPSs that are due; gives in how many seconds the next one is."""
        due = [each for each in self._accounts.values() if self._clock() >= each.due]
        await asyncio.gather(*map(self._visit, due))
        if due:
            await asyncio.to_thread(self._wipe)
        return min((each.due for each in self._accounts.values()), default=60.0) - self._clock()

    def _meet(self, cps: str) -> _Account:
        """Begin to supply a CPS that a call has met, some time after the call."""
        strangers = [one for one in self._accounts if one not in self._configured]
        if len(self._accounts) >= MOST_CPS and strangers:
            del self._accounts[strangers[0]]
        account = _Account(cps, self._clock() + self._draw(*MET_BY_A_CALL))
        self._accounts[cps] = account
        # an earlier run may have left tokens on the disk
        self._ask_for_stock(account)
        return account

    def _look_again(self, account: _Account) -> None:
        """Fetch the list of keys soon: what was known of them may be over."""
        account.list_due = min(account.list_due, self._clock() + self._draw(*BEFORE_NEW_KEYS))

    def _ask_for_stock(self, account: _Account) -> None:
        self._to_stock.add(account.cps)
        self._stock_wanted.set()

    async def _keep_stocked(self) -> None:
        """Bring tokens from the disk into memory whenever ``take`` has asked for them."""
        while True:
            await self._stock_wanted.wait()
            self._stock_wanted.clear()
            while self._to_stock:
                await self._stock(self._to_stock.pop())

    async def _stock(self, cps: str) -> None:
        account = self._accounts.get(cps)
        try:
            await asyncio.to_thread(self._wallet.stock, cps, self._now())
        except ConfigurationError as error:
            _log.error("storage tokens cannot be read: %s", error)
        if account is not None:
            account.dry = self._wallet.is_low(cps, self._now())

    async def _visit(self, account: _Account) -> None:
        """See to one CPS: its keys, then at most one batch of tokens."""
        try:
            if self._clock() >= account.list_due:
                wait = await self._fetch_keys(account)
            elif account.needs and account.keys is not None:
                wait = await self._obtain(account)
            else:
                wait = BETWEEN_VISITS
            # there may be new ones on the disk, of ours or of another process
            await self._stock(account.cps)
        except PbxStirError as error:
            account.due = self._clock() + self._backed_off(account, error)
            return
        account.failures = 0
        account.due = self._clock() + self._draw(*wait)

    async def _fetch_keys(self, account: _Account) -> tuple[float, float]:
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

    async def _obtain(self, account: _Account) -> tuple[float, float]:
        """Obtain one batch where tokens are wanted, and give how long to wait then."""
        key = self._wanted(account)
        if key is None:
            return BETWEEN_VISITS
        turn = await asyncio.to_thread(self._wallet.files.begin_filling, account.cps)
        if turn is None:
            # another process of ours is at it
            account.filling = False
            return BETWEEN_VISITS
        try:
            await self._batch(account, key)
        finally:
            self._wallet.files.end_filling(turn)
        return BETWEEN_BATCHES if self._wanted(account) else BETWEEN_VISITS

    def _wanted(self, account: _Account) -> EpochKey | None:
        """The key of the epoch that tokens are to be obtained for now, if any."""
        keys, now = account.keys, self._now()
        if keys is None:
            return None
        current, ahead = keys.of(epoch_of(now)), keys.of(epoch_of(now) + 1)
        if current is not None:
            count = self._wallet.count(account.cps, current.epoch)
            account.filling = count < (self._high if account.filling else self._low)
            if account.filling:
                return current
        if ahead is None:
            return None
        if ahead.epoch not in account.fill_at:
            latest = max(now, ahead.not_before - READY_SECONDS)
            account.fill_at = {ahead.epoch: self._draw(now, latest)}
        few = self._wallet.count(account.cps, ahead.epoch) < self._high
        return ahead if few and now >= account.fill_at[ahead.epoch] else None

    async def _batch(self, account: _Account, key: EpochKey) -> None:
        """Obtain one batch, always of the same size, and put it into the wallet."""
        assert account.keys is not None
        issuer = account.keys.issuer
        credential = self._signer(account)
        wanted = await asyncio.to_thread(
            lambda: [want(issuer, key) for _ in range(MOST_IN_A_REQUEST)]
        )
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

    def _signer(self, account: _Account) -> Credential:
        """One of our credentials that is valid now."""
        now = self._now()
        valid = [each for each in self._credentials() if each.valid_at(now)]
        if not valid:
            raise ConfigurationError(
                "no valid credential to obtain storage tokens with",
                hint="a [[credential]] whose certificate has not ended",
            )
        return valid[account.signer % len(valid)]

    def _backed_off(self, account: _Account, error: PbxStirError) -> float:
        """Say what went wrong, and for how long to leave the CPS in peace."""
        account.failures += 1
        level = logging.WARNING if account.failures == 1 else logging.DEBUG
        _log.log(level, "no storage tokens of %s: %s", account.cps, error)
        longest = min(FIRST_RETRY_SECONDS * 2.0 ** min(account.failures, 12), LONGEST_RETRY_SECONDS)
        asked = float(getattr(error, "retry_after", 0))
        return max(asked, 0.0) + self._draw(longest / 2, longest)

    def _wipe(self) -> None:
        """Erase what is over."""
        try:
            self._wallet.wipe(self._now())
        except ConfigurationError as error:
            _log.error("storage tokens that are over cannot be erased: %s", error)
