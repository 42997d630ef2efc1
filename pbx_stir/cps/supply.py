"""The supply of storage tokens: obtained at times of their own, given out in the call path.

Takes a wallet, what asks CPSs (``cps.obtaining``) and our credentials; gives ``TokenSource``. Whom
it supplies it is told at the start, and by ``take`` for every CPS that is met later. It never sees
a called number.

Tokens are asked for by name, and spent without one; what could tie the two together is time. So no
request is made because of one call, but for the first to a CPS that a call has met, up to an hour
later: ``run`` looks at each CPS every now and then, at random, and where there are fewer tokens
than the low mark it obtains whole batches, with random pauses, up to the high mark. Where calls
take them so fast that they would not last, all those pauses are cut to one share, and stay random
(``tokens.pace``); one request to a CPS is under way at a time. For the epoch ahead tokens are
obtained at a random time before it begins.

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
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pbx_stir.cps.account import Account
from pbx_stir.cps.obtaining import Obtaining
from pbx_stir.cps.origin import CpsUrl
from pbx_stir.cps.placing import NoToken
from pbx_stir.cps.refill import (
    BETWEEN_BATCHES,
    BETWEEN_LOOKS,
    BETWEEN_VISITS,
    LOOKS,
    Refill,
)
from pbx_stir.errors import ConfigurationError, CpsRefused, PbxStirError
from pbx_stir.stir.credential import Credential
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.wallet import Unspent, Wallet

LOW: Final = 200
HIGH: Final = 1_000
MOST_CPS: Final = 256

# (shortest, longest) of waits drawn at random, in seconds
AT_START: Final = (0.0, 1.0)
# the first request names us to a stranger: it must not follow from the store that came before it
MET_BY_A_CALL: Final = (60.0, 3_600.0)
BEFORE_NEW_KEYS: Final = (5.0, 60.0)
FIRST_RETRY_SECONDS: Final = 10.0
LONGEST_RETRY_SECONDS: Final = 3_600.0
# A 429 with no more than this in Retry-After is a CPS's limit of requests a second, which senders
# behind one address share: no failure. Random, so that they do not come again together.
SHORT_RETRY_SECONDS: Final = 5.0
FIRST_BESIDES_SECONDS: Final = 1.0
LONGEST_BESIDES_SECONDS: Final = 60.0
# so many of those in a row are said in the log
_MANY_REFUSALS = 5
_BETWEEN_WIPES_SECONDS = 20.0
_SHORTEST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 2.0

_uniform = random.SystemRandom().uniform
_log = logging.getLogger(__name__)


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
        self._wallet = wallet
        self.refill = Refill(
            wallet=wallet,
            obtaining=obtaining,
            credentials=credentials,
            marks=(low, high),
            now=now,
            clock=clock,
            draw=draw,
        )
        self._low = low
        self._now = now
        self._clock = clock
        self._draw = draw
        self._configured = frozenset(each.base for each in cps)
        self._accounts = {
            base: Account(base, clock() + draw(*AT_START)) for base in sorted(self._configured)
        }
        self._to_stock: set[str] = set(self._configured)
        self._stock_wanted = asyncio.Event()
        self._stock_wanted.set()
        self._due_sooner = asyncio.Event()
        self._wiped_at = clock()

    def take(self, origin: CpsUrl, now: float) -> Unspent | NoToken:
        """Give the token for one call's stores; see ``TokenSource``. It looks into memory alone."""
        account = self._accounts.get(origin.base) or self._meet(origin.base)
        if account.needs is False:
            return NoToken.NOT_NEEDED
        token = self._wallet.take(account.cps, now)
        account.pace.took(1 / self._wallet.calls_per_token, self._clock())
        if self._wallet.is_low(account.cps, now):
            if account.dry:
                self._hurry(account, now)
            else:
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
        # a CPS that is slow keeps none of the others waiting
        visits: set[asyncio.Task[None]] = set()
        pauses: set[asyncio.Future[Any]] = set()
        try:
            while True:
                visits |= {asyncio.create_task(self._visit(each)) for each in self._begun()}
                await self._wipe()
                self._due_sooner.clear()
                wait = min(max(self._next_due(), _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
                pauses = {
                    asyncio.ensure_future(pause(wait)),
                    asyncio.create_task(self._due_sooner.wait()),
                }
                done, _ = await asyncio.wait(visits | pauses, return_when=asyncio.FIRST_COMPLETED)
                for each in done & visits:
                    each.result()
                visits -= done
                await _cancelled(pauses)
        finally:
            await _cancelled([stocking, *visits, *pauses])

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
            await self.refill.fetch_keys(account)
        if account.needs:
            await self.refill.obtain(account)
            await self._stock(account.cps)
        return self._wallet.count(account.cps, epoch)

    async def visit_due(self) -> float:
        """Visit the CPSs that are due; gives in how many seconds the next one is."""
        await asyncio.gather(*map(self._visit, self._begun()))
        await self._wipe()
        return self._next_due()

    def _begun(self) -> list[Account]:
        """Those that are to be visited now; none is visited twice at a time."""
        now = self._clock()
        due = [one for one in self._accounts.values() if now >= one.due and not one.visiting]
        for one in due:
            one.visit(now)
        return due

    def _next_due(self) -> float:
        """In how many seconds there is one to visit."""
        due = [one.due for one in self._accounts.values() if not one.visiting]
        return min(due) - self._clock() if due else 60.0

    def _meet(self, cps: str) -> Account:
        """Begin to supply a CPS that a call has met, some time after the call."""
        strangers = [one for one in self._accounts if one not in self._configured]
        if len(self._accounts) >= MOST_CPS and strangers:
            del self._accounts[strangers[0]]
        account = Account(cps, self._clock() + self._draw(*MET_BY_A_CALL))
        self._accounts[cps] = account
        # an earlier run may have left tokens on the disk
        self._ask_for_stock(account)
        return account

    def _look_again(self, account: Account) -> None:
        """Fetch the list of keys soon: what was known of them may be over."""
        account.list_due = min(account.list_due, self._clock() + self._draw(*BEFORE_NEW_KEYS))

    def _ask_for_stock(self, account: Account) -> None:
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
        now = self._now()
        on_disk = await asyncio.to_thread(self._brought, cps, now)
        account = self._accounts.get(cps)
        if account is not None:
            account.on_disk = on_disk
            account.dry = self._wallet.is_low(cps, now)
            self._hurry(account, now)

    def _brought(self, cps: str, now: float) -> int:
        """Bring tokens into memory, in a thread; gives how many are left on the disk."""
        try:
            self._wallet.stock(cps, now)
        except ConfigurationError as error:
            _log.error("storage tokens cannot be read: %s", error)
        return self._wallet.files.count(cps, epoch_of(now))

    def _hurry(self, account: Account, now: float) -> None:
        """Visit sooner where calls take so many tokens that those left will not last."""
        if account.pause is None or account.keys is None:
            return
        left = self._left(account, now)
        if not account.filling and left >= self.refill.mark(account):
            return
        share = self._share(account, now)
        if share < 1 and not account.hurried:
            # One of its own: a calm one that is nearly over would end with the call that wants it.
            account.since, account.pause = self._clock(), self._draw(*BETWEEN_VISITS)
            account.hurried = True
        if account.hurry(share):
            self._due_sooner.set()

    def _share(self, account: Account, now: float) -> float:
        """What share of a calm pause there is time for; there is no hurry where nothing is had."""
        if epoch_of(now) in account.used_up:
            return 1.0
        return account.pace.share(self._left(account, now), self._clock())

    def _left(self, account: Account, now: float) -> int:
        """How many tokens there were a moment ago, without a look at the disk."""
        return account.on_disk + self._wallet.in_memory(account.cps, epoch_of(now))

    async def _visit(self, account: Account) -> None:
        """See to one CPS: its keys, then at most one batch of tokens."""
        try:
            wait = await self.refill.see_to(account)
            # there may be new ones on the disk, of ours or of another process
            await self._stock(account.cps)
        except PbxStirError as error:
            account.wait(self._backed_off(account, error), self._clock())
        else:
            account.failures, account.slowed = 0, 0
            self._rest(account, wait)
        finally:
            account.visiting = False

    def _rest(self, account: Account, wait: tuple[float, float]) -> None:
        """Pause until the next visit."""
        at = self._clock()
        if wait == BETWEEN_LOOKS:
            account.wait(self._draw(*wait), at)
        else:
            share, hurried = self._share(account, self._now()), wait == BETWEEN_BATCHES
            account.rest(self._draw(*wait), share, at, hurried=hurried)

    def _backed_off(self, account: Account, error: PbxStirError) -> float:
        """Say what went wrong, and for how long to leave the CPS in peace."""
        asked = max(float(getattr(error, "retry_after", 0)), 0.0)
        if _is_pace(error):
            account.slowed += 1
            is_news = account.slowed == _MANY_REFUSALS
            longest = FIRST_BESIDES_SECONDS * 2.0 ** min(account.slowed - 1, 12)
            longest = min(longest, LONGEST_BESIDES_SECONDS)
        else:
            account.failures += 1
            is_news = account.failures == 1
            longest = FIRST_RETRY_SECONDS * 2.0 ** min(account.failures, 12)
            longest = min(longest, LONGEST_RETRY_SECONDS)
        level = logging.WARNING if is_news else logging.DEBUG
        _log.log(level, "no storage tokens of %s: %s", account.cps, error)
        return asked + self._draw(longest / 2, longest)

    async def _wipe(self) -> None:
        """Erase what is over, every now and then."""
        if self._clock() - self._wiped_at < _BETWEEN_WIPES_SECONDS:
            return
        self._wiped_at = self._clock()
        try:
            await asyncio.to_thread(self._wallet.wipe, self._now())
        except ConfigurationError as error:
            _log.error("storage tokens that are over cannot be erased: %s", error)


def _is_pace(error: PbxStirError) -> bool:
    """Whether a CPS has had too many requests this moment, and takes more in the next one."""
    return (
        isinstance(error, CpsRefused)
        and error.status == 429
        and 0 < error.retry_after <= SHORT_RETRY_SECONDS
    )


async def _cancelled(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """End these, and wait until they have ended."""
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
