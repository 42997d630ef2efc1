"""Calls that come in, with a real CPS: pushed, polled, stored late, frozen."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.certificates import issuing
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.feeds import Feeds, wanted_of
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.cps.holder import Holder
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.streams import EventStreams
from pbx_stir.cps.subscribed import SubscribedPlacement
from pbx_stir.services.call import Outcome, Reason, Verstat
from pbx_stir.services.trunk import Callers
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import sealing
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.cps.conftest import private_pem
from tests.services.world import BOB, CALLERS, NOW, World, call

BUDGET = 10.0


@dataclass
class Relay:
    """A connection to the CPS that can be frozen: nothing goes through, and nothing is closed."""

    port: int
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        self.thawed.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        others = await asyncio.open_connection("127.0.0.1", self.port)
        for source, sink in ((reader, others[1]), (others[0], writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                while octets := await source.read(65_536):
                    await self.thawed.wait()
                    sink.write(octets)
                    await sink.drain()
            finally:
                sink.close()


class Scene:
    """Bob's company at a CPS for holders, and Alice's, who stores there."""

    def __init__(self, url: str, relay: Relay, holder: credentials.Credential) -> None:
        self.world = World()
        self.url, self.relay = url, relay
        self.client = CpsClient(allow_plain=True, holder=Holder([holder], [url]))
        self.storing = CpsClient(allow_plain=True)
        self.exchange = Exchange(allow_plain=True, keep=False)
        self.guarded = GuardedPlacement(self.client)
        self.feeds = Feeds(
            wanted_of(holder, ["13105552000-13105552099"], [url]),
            EventStreams(self.exchange),
            trusted_seconds=4.0,
        )
        self.feed = self.feeds.by_cps[url]
        self.world.directory.cps = (url,)
        self.world.service.monotonic = time.monotonic
        self.polls()

    def polls(self) -> None:
        """Let calls be answered by asking the CPS."""
        self.world.service.placement = SubscribedPlacement(self.guarded)

    def is_subscribed(self) -> None:
        """Let calls be answered by the subscription."""
        self.world.service.placement = SubscribedPlacement(self.guarded, self.feeds.by_cps)

    def waits(self, milliseconds: int) -> None:
        """Let calls wait for late PASSporTs."""
        trunk = replace(CALLERS.trunks["carrier"], wait_for_passport_ms=milliseconds)
        self.world.service.callers = Callers({"carrier": trunk})

    async def store(self) -> None:
        """Alice's service stores for a call to Bob, at the CPS itself."""
        one = self.world
        blob = sealing.seal(one.token().token, one.company.chain, one.public, BOB)
        give_up_at = time.monotonic() + BUDGET
        url = f"http://127.0.0.1:{self.relay.port}"
        [result] = await self.storing.store([url], BOB, [blob], give_up_at)
        assert result.reason is Reason.STORED

    async def call(self, budget: float = BUDGET) -> Outcome:
        """Alice calls Bob."""
        return await self.world.service.verify(call(), "id", NOW, time.monotonic() + budget)

    async def until_live(self, *, live: bool = True) -> None:
        async with asyncio.timeout(30):
            while self.feed.is_live_for(BOB) is not live:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """A CPS that gives what is stored to holders alone, and a subscription to it."""
    root, root_key = issuing.new_root("Holders", time.time() - 1000, 30)
    key = issuing.new_key()
    numbers = TnAuthList(ranges=(("13105552000", 100),))
    leaf = issuing.issue_leaf(
        root, root_key, key.public_key(), "Company B", numbers, time.time() - 1000, 20
    )
    pem = leaf.public_bytes(Encoding.PEM)
    holder = credentials.load(pem, private_pem(key), x5u="https://cert.example.com/b.pem")
    settings = CpsSettings(
        port=0,
        tls=False,
        tokens=False,
        anchors=lambda: Anchors.of([root]),
        retrieval="holders",
        push_heartbeat_seconds=1.0,
    )
    async with contextlib.AsyncExitStack() as stack:
        cps = await stack.enter_async_context(listening(settings, settings.new_store()))
        relay = Relay(int(cps.rpartition(":")[2]))
        one = Scene(await stack.enter_async_context(relay.running()), relay, holder)
        for closing in (one.exchange, one.client, one.storing, one.guarded):
            stack.push_async_callback(closing.close)
        task = asyncio.create_task(one.feeds.run())
        stack.callback(task.cancel)
        await one.until_live()
        yield one
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_pushed_before_the_call() -> None:
    """What was stored is there when the call comes, and the CPS is not asked for it."""
    async with scene() as one:
        one.is_subscribed()
        one.world.service.placement._placement = None  # type: ignore[attr-defined]
        await one.store()
        assert (await one.call()).verstat is Verstat.PASSED


async def test_polled_by_its_holder() -> None:
    """Without a subscription a signed request gets it; one that is not signed gets dummies."""
    async with scene() as one:
        await one.store()
        assert (await one.call()).verstat is Verstat.PASSED
        one.world.service.placement = SubscribedPlacement(one.storing)
        assert (await one.call()).reason is Reason.NO_PASSPORT


@pytest.mark.parametrize("subscribed", [True, False])
async def test_stored_after_the_call(subscribed: bool) -> None:
    """A call that waits passes with what is stored after it came, pushed or polled."""
    async with scene() as one:
        if subscribed:
            one.is_subscribed()
        assert (await one.call()).reason is Reason.NO_PASSPORT
        one.waits(8000)
        waiting = asyncio.create_task(one.call())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        began = time.monotonic()
        await one.store()
        assert (await waiting).verstat is Verstat.PASSED
        assert time.monotonic() - began < 5


async def test_a_frozen_cps_is_noticed_and_asked() -> None:
    """What a freeze keeps back does not pass; when a heartbeat is overdue the CPS is asked again.

    Until then a call finds nothing, as if nothing had been stored, and pays a tenth of a second;
    after that it pays what it pays without a subscription. Thawed, all is as before.
    """
    async with scene() as one:
        one.is_subscribed()
        one.relay.thawed.clear()
        await one.store()
        assert one.feed.is_live_for(BOB)
        assert (await one.call()).reason is Reason.NO_PASSPORT
        await one.until_live(live=False)
        assert (await one.call(budget=0.3)).reason is Reason.CPS_UNAVAILABLE
        one.relay.thawed.set()
        await one.until_live()
        assert (await one.call()).verstat is Verstat.PASSED


async def test_a_lost_connection_is_resumed() -> None:
    """What was stored while there was no connection is there after the next one."""
    async with scene() as one:
        one.is_subscribed()
        await one.store()
        for task in one.relay.tasks:
            task.cancel()
        await one.until_live(live=False)
        assert (await one.call()).verstat is Verstat.PASSED, "it was asked"
        await one.until_live()
