"""Senders who obtain tokens from a curious CPS and store there, while all that it sees is kept.

Everything is real but the time, which is a number that goes when told: TLS over sockets, the
senders' own supply, wallet and client, and a CONNECT proxy. Each sender has an address of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from pbx_stir.certificates import issuing
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.obtaining import Obtaining
from pbx_stir.cps.proxy import parse_proxy
from pbx_stir.cps.supply import Supply
from pbx_stir.services.call import Reason
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import sealing
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.wallet import Unspent, Wallet
from tests.cps.proxies import proxy

from .curious_cps import Clock, CuriousCps, Log
from .minting import NOW

BATCH = 32
# as many as there are calls in a day, and more: what is obtained does not depend on calls then
LOW, HIGH = 12, 64


@dataclass(frozen=True)
class Habits:
    """How senders behave; what is not so by default is a planted leak.

    ``shared_connection``: requests for tokens and stores go through one exchange. ``resumed``: TLS
    sessions are resumed, whatever they were for. ``proxied``: stores go through the proxy.
    ``at_once``: a call obtains tokens, and spends one at once. ``in_turn``: senders call one after
    the other, in the order in which they obtained tokens, and spend as they were issued.
    ``scarce``: there are fewer tokens than calls, so that who has called much obtains more.
    ``wrong_clocks``: seconds by which senders' clocks are wrong, ``corrected`` as they are.
    """

    shared_connection: bool = False
    resumed: bool = False
    proxied: bool = True
    at_once: bool = False
    in_turn: bool = False
    scarce: bool = False
    wrong_clocks: tuple[float, ...] = ()
    corrected: bool = True


class ResumingContext(ssl.SSLContext):
    """Resumes the last TLS session there was."""

    last: ssl.SSLObject | None = None

    def wrap_bio(self, *arguments: object, **named: object) -> ssl.SSLObject:  # type: ignore[override]
        """Begin with the session of the one before."""
        if self.last is not None and self.last.session is not None:
            named["session"] = self.last.session
        self.last = super().wrap_bio(*arguments, **named)  # type: ignore[arg-type]
        return self.last


class Sender:
    """One company: credential, wallet, supply, client, an address, and a clock."""

    def __init__(
        self,
        index: int,
        folder: Path,
        cps: CuriousCps,
        through: str,
        habits: Habits,
        company: credentials.Credential,
    ) -> None:
        self.index = index
        self.cps = cps
        self.habits = habits
        wrong = habits.wrong_clocks[index] if habits.wrong_clocks else 0.0
        self.now: Callable[[], float] = lambda: cps.clock() + wrong
        tls = self._tls()
        common = {"clock": time.monotonic, "now": self.now}
        way = parse_proxy(through) if habits.proxied else None
        self.unnamed = Exchange(tls=self._tls(), proxy=way, keep=False, **common)
        self.named = Exchange(tls=tls, **common)
        self.wallet = Wallet(folder / f"sender-{index}")
        draw = random.Random(index * 7 + 1)
        self.supply = Supply(
            wallet=self.wallet,
            obtaining=Obtaining(unnamed=self.unnamed, named=self.named),
            credentials=lambda: [company],
            cps=[self.named.origin(cps.url)],
            low=LOW,
            high=BATCH if habits.scarce else HIGH,
            now=cps.clock,
            clock=cps.clock,
            draw=draw.uniform,
        )
        self.client = CpsClient(
            tls=tls if habits.resumed else self._tls(), proxy=way, tokens=self, now=self.now
        )
        if habits.shared_connection:
            self.client._exchange = self.client._placing._exchange = self.named
        if not habits.corrected:
            for each in (self.named, self.client._exchange):
                each.time_at = lambda _: self.now()  # type: ignore[method-assign]
                each.unnamed_time_at = each.time_at  # type: ignore[method-assign]
        self._last = 0.0

    def _tls(self) -> ssl.SSLContext:
        if not self.habits.resumed:
            return ssl.create_default_context(cafile=self.cps.ca)
        context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.cps.ca)
        # where the session is known as soon as the handshake is over
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def take(self, origin: object, now: float) -> object:
        """As the supply's; notes whose token it was, which the CPS does not learn."""
        token = self.supply.take(origin, self.cps.clock())  # type: ignore[arg-type]
        assert isinstance(token, Unspent), (self.index, token)
        self.cps.whose[token.token.key] = self.index
        return token

    def answered(self, *_: object) -> None:
        """Nothing follows from it here."""

    async def visit(self) -> None:
        """What is due."""
        self._from_my_address()
        await self.supply.visit_due()
        await self.supply._stock(self.cps.url)

    async def obtain(self) -> None:
        """A batch, whenever it is said."""
        self._from_my_address()
        account = self.supply._accounts[self.cps.url]
        if account.keys is None:
            await self.supply.refill.fetch_keys(account)
        assert account.keys is not None
        await self.supply.refill.batch(account, account.keys.keys[0])
        await self.supply._stock(self.cps.url)

    async def call(self, number: str) -> None:
        """Place a call; connections are kept as long as they would be."""
        kept = self.habits.shared_connection or self.habits.resumed
        if self.cps.clock() - self._last > 15 and not kept:
            await self.client.close()
        self._last = self.cps.clock()
        self._from_my_address()
        blob = sealing.dummy(os.urandom(32))
        [result] = await self.client.store([self.cps.url], number, [blob], time.monotonic() + 30)
        assert result.reason is Reason.STORED, result

    async def close(self) -> None:
        """End all."""
        for each in (self.unnamed, self.named, self.client):
            await each.close()
        self.wallet.close()

    def _from_my_address(self) -> None:
        """Connect from an address that no other sender has."""
        mine = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (f"127.0.1.{self.index + 1}", 0))
        for exchange in (self.unnamed, self.named, self.client._exchange):
            for proxied in (False, True):
                if proxied and exchange._proxy is None:
                    continue
                session = exchange._session(guarded=False, proxied=proxied)
                session.connector._local_addr_infos = [mine]  # type: ignore[union-attr]


def companies(count: int) -> list[credentials.Credential]:
    """Credentials that name their senders."""
    root, key = issuing.new_root("Lab", NOW - 1000, 30)
    made = []
    for index in range(count):
        own = issuing.new_key()
        listed = TnAuthList(numbers=(f"1212555{index:04}",))
        leaf = issuing.issue_leaf(
            root, key, own.public_key(), f"sender {index}", listed, NOW - 1000, 20
        )
        pem = leaf.public_bytes(serialization.Encoding.PEM)
        secret = own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        made.append(credentials.load(pem, secret, x5u="https://cert.example.com/c.pem"))
    return made


@contextlib.asynccontextmanager
async def curious(folder: Path, habits: Habits) -> AsyncIterator[CuriousCps]:
    """Run a curious CPS."""
    cps = CuriousCps(folder, Clock())
    if habits.resumed:
        # a session keeps its name then
        cps.context.options |= ssl.OP_NO_TICKET
    server = await asyncio.start_server(cps.serve, "127.0.0.1", 0, ssl=cps.context)
    cps.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield cps
    finally:
        server.close()
        await asyncio.sleep(0)


async def watch(folder: Path, senders: int, calls: int, habits: Habits, seed: int = 1) -> Log:
    """Let so many senders make so many calls each, in two hours; give the log."""
    chance = random.Random(seed)
    async with curious(folder, habits) as cps, proxy("http") as running:
        crowd = [
            Sender(index, folder, cps, running.url, habits, company)
            for index, company in enumerate(companies(senders))
        ]
        try:
            await _play(cps, crowd, _events(senders, calls, habits, chance), chance)
        finally:
            for sender in crowd:
                await sender.close()
    return cps.log


def _events(
    senders: int, calls: int, habits: Habits, chance: random.Random
) -> list[tuple[float, int]]:
    """When who calls."""
    if habits.in_turn:
        return [(NOW + 600 + n, n // calls) for n in range(senders * calls)]
    if habits.scarce:
        # each has his busy quarter of an hour
        return [
            (NOW + 600 + 900 * (n // calls) + n % calls, n // calls) for n in range(senders * calls)
        ]
    return sorted(
        (NOW + 600 + chance.uniform(0, 7_200), index)
        for index in range(senders)
        for _ in range(calls)
    )


async def _play(
    cps: CuriousCps, crowd: list[Sender], events: list[tuple[float, int]], chance: random.Random
) -> None:
    for at, index in events:
        caller = crowd[index]
        if caller.habits.in_turn or caller.habits.at_once:
            for sender in crowd if not cps.log.issued and caller.habits.in_turn else [caller]:
                if caller.habits.at_once or not cps.log.stored:
                    cps.clock.moment = min(at, cps.clock.moment + 1)
                    await sender.obtain()
        else:
            await _supplied(cps, crowd, at)
        cps.clock.moment = at
        await caller.call(f"1310555{chance.randrange(10_000):04}")


async def _supplied(cps: CuriousCps, crowd: list[Sender], at: float) -> None:
    """What the supplies do until then, in the order of their times."""
    while True:
        due = [(each.due, s.index) for s in crowd for each in s.supply._accounts.values()]
        when, index = min(due)
        if when > at:
            return
        cps.clock.moment = max(cps.clock.moment, when)
        await crowd[index].visit()
