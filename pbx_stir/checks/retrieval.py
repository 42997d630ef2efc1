"""Checks of how PASSporTs are got, where that takes a signature: ``[publish] retrieve``.

Connects to the CPSs of our own numbers as the service does, and stays with none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from pbx_stir import configured, configured_retrieval
from pbx_stir.checks.finding import Finding, error
from pbx_stir.clients import subscribing_exchange
from pbx_stir.config import Loaded
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.streams import EventStreams
from pbx_stir.cps.subscription import Wanted
from pbx_stir.directory.holdings import first_number
from pbx_stir.errors import ConfigurationError, PbxStirError
from pbx_stir.services.call import Reason

SECONDS = 5.0
_HINT = "does the CPS's cps.trust have our authority, does it know itself by this name (cps.names)?"


async def check_retrieval(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give which CPSs refuse our signed requests, or a subscription."""
    try:
        credentials = configured.credentials(loaded)
        holder = configured_retrieval.holder(loaded, credentials)
        if holder is None:
            return
        published = configured.published(loaded, credentials)
        wanted = configured_retrieval.subscriptions(loaded, published)
        tls = configured.tls_of(loaded, "outgoing.tls_ca", loaded.values.outgoing.tls_ca)
    except ConfigurationError:
        # has its own finding
        return
    plain = loaded.values.outgoing.plain_loopback
    client = CpsClient(tls=tls, allow_plain=plain, holder=holder)
    try:
        for one in published[:1]:
            async for found in _signed(client, one.cps, first_number(one.named[0])):
                yield found
    finally:
        await client.close()
    async for found in _subscribed(loaded, wanted):
        yield found


async def _signed(client: CpsClient, cps: Sequence[str], number: str) -> AsyncIterator[Finding]:
    wanted = [(one, number) for one in cps]
    async for answer in client.retrieve(wanted, time.monotonic() + SECONDS):
        # one that does not answer at all has its own finding
        if answer.reason is Reason.CPS_REFUSED:
            yield error("retrieval-refused", answer.detail, answer.cps, _HINT)


async def _subscribed(loaded: Loaded, wanted: Sequence[Wanted]) -> AsyncIterator[Finding]:
    if not wanted:
        return
    exchange = subscribing_exchange(loaded)
    try:
        said = await asyncio.gather(*(_opened(exchange, one) for one in wanted))
    finally:
        await exchange.close()
    for one, why in zip(wanted, said, strict=True):
        if why:
            what = f"no subscription, calls ask instead: {why}"
            yield error("subscription-refused", what, one.cps, _HINT)


async def _opened(exchange: Exchange, one: Wanted) -> str:
    """Subscribe and leave; why that was not possible."""
    try:
        async with asyncio.timeout(SECONDS), EventStreams(exchange).opened(one, ""):
            return ""
    except PbxStirError as wrong:
        return wrong.message
    except TimeoutError:
        return "no answer in time"
