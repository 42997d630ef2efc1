"""One retrieval from one CPS: what it holds for a number, as it stands on the wire.

Takes a CPS's URL and a canonical number, gives the octets of each entry that it lists, in one
request where the CPS knows how to expand a list, one by one where it does not. It knows nothing of
what they hold, sealed or bare. Source: RFC 8816 section 9, RFC 9888 section 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pbx_stir.cps import wire
from pbx_stir.cps.exchange import Exchange, Reply, expect, failures_mapped
from pbx_stir.cps.holder import Holder
from pbx_stir.cps.origin import CpsUrl
from pbx_stir.errors import CpsRefused, PbxStirError
from pbx_stir.services.call import Reason

_ITEMS_AT_A_TIME: Final = 16
_UNAUTHORISED: Final = 401


@dataclass(frozen=True, slots=True)
class Got:
    """What came of it: the entries' texts on the wire, of base64url or whatever somebody stored.

    ``reason`` is None where the CPS answered, CPS_UNAVAILABLE or CPS_REFUSED where it did not;
    ``clock_offset`` is its clock minus ours in seconds, None where it did not say.
    """

    wires: tuple[bytes, ...]
    reason: Reason | None = None
    detail: str = ""
    clock_offset: float | None = None


class Getting:
    """Retrieves; with a ``holder`` signed, where a CPS is to see who asks."""

    def __init__(self, exchange: Exchange, holder: Holder | None, *, item_octets: int) -> None:
        """``item_octets`` is the most that is read of an entry that is fetched by itself."""
        self._exchange = exchange
        self._holder = holder
        self._item_octets = item_octets

    async def get(self, cps: str, number: str, give_up_at: float) -> Got:
        """Retrieve all that one CPS has for a number, at ``give_up_at`` what has come. No raise."""
        wires: list[bytes] = []
        reply: Reply | None = None
        reason: Reason | None = None
        detail = ""
        try:
            origin = self._exchange.origin(cps)
            async with self._exchange.deadline(give_up_at):
                reply = await self._send(origin, number, f"{wire.collection_path(number)}?expand=1")
                listed = wire.parse_list(expect(reply, 200).body, reply.content_type)
                wires += [each.wire for each in listed if each.wire is not None]
                hrefs = [each.href for each in listed if each.wire is None]
                if hrefs:
                    await self._fetch_items(origin, number, hrefs, wires)
        except CpsRefused as error:
            reason, detail = Reason.CPS_REFUSED, error.message
        except PbxStirError as error:
            # What came before the deadline may be what the call waits for.
            reason, detail = None if wires else Reason.CPS_UNAVAILABLE, error.message
        return Got(tuple(wires), reason, detail, reply.clock_offset if reply else None)

    async def _send(self, origin: CpsUrl, number: str, path: str, limit: int = 0) -> Reply:
        more = self._authorization(origin, number, path)
        reply = await self._exchange.send(origin, "GET", path, limit=limit, more=more)
        if more and reply.resent and reply.status == _UNAUTHORISED:
            # its connection was closed behind a request that was read: the signed one that was sent
            # again had been used
            more = self._authorization(origin, number, path)
            reply = await self._exchange.send(origin, "GET", path, limit=limit, more=more)
        return reply

    def _authorization(self, origin: CpsUrl, number: str, path: str) -> Mapping[str, str]:
        """Sign anew, where this CPS is to see who asks."""
        if self._holder is None:
            return {}
        return self._holder.authorization(origin, path, number, self._exchange.time_at(origin))

    async def _fetch_items(
        self, origin: CpsUrl, number: str, hrefs: list[str], wires: list[bytes]
    ) -> None:
        """Fetch entries one by one where only paths are listed; those that fail are left out."""
        room = asyncio.Semaphore(_ITEMS_AT_A_TIME)

        async def fetch(href: str) -> None:
            async with room:
                try:
                    with failures_mapped():
                        # One answer must not become larger because it comes in pieces.
                        path = origin.path_of(href)
                        reply = await self._send(origin, number, path, self._item_octets)
                except PbxStirError:
                    return
            if reply.status == 200:
                wires.append(reply.body)

        async with asyncio.TaskGroup() as group:
            for href in hrefs:
                group.create_task(fetch(href))
