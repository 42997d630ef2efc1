"""Streams of events over HTTP: the connections that subscriptions are held on.

Takes what is wanted and the last entry's id; gives the octets as they come. Each connection is
signed anew, with a nonce of its own. Source: docs/retrieval (events), RFC 9888 section 6.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from pbx_stir.cps import wire
from pbx_stir.cps.exchange import Exchange, failures_mapped
from pbx_stir.cps.holder import authorization
from pbx_stir.cps.subscription import Wanted
from pbx_stir.errors import CpsRefused, CpsUnavailable

_MOST_PROBLEM_OCTETS: Final = 4096


class EventStreams:
    """Opens streams through one exchange. Implements ``cps.subscription.Streams``."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @asynccontextmanager
    async def opened(self, wanted: Wanted, last_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Connect to what ``wanted`` names; see ``Streams``."""
        origin = self._exchange.origin(wanted.cps)
        path = wire.collection_path(wanted.name)
        now = self._exchange.time_at(origin)
        headers = {"Accept": wire.EVENT_TYPE, "Cache-Control": "no-store"}
        headers.update(authorization(wanted.credential, origin, path, now))
        if last_id:
            headers["Last-Event-ID"] = last_id
        with failures_mapped():
            async with self._exchange.stream(origin, path, headers) as response:
                await _check(response)
                yield response.content.iter_any()


async def _check(response: aiohttp.ClientResponse) -> None:
    """Refuse what is no stream of events, with what the CPS says of it."""
    if response.status != 200:
        body = await response.content.read(_MOST_PROBLEM_OCTETS)
        said = wire.parse_problem(body)
        message = f"status {response.status}: {said}" if said else f"status {response.status}"
        # 429: too many streams of ours for now
        if 400 <= response.status < 500 and response.status != 429:
            raise CpsRefused(message, status=response.status)
        raise CpsUnavailable(message)
    if wire.media_type(response.headers.get("Content-Type", "")) != wire.EVENT_TYPE:
        raise CpsRefused("the CPS has no stream of events", status=response.status)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise CpsUnavailable("the stream has a content coding that was not asked for")
