"""The client of call placement services: stores, retrieves, publishes and looks up records.

Takes CPS URLs, canonical numbers and sealed octets; gives results. In the call path nothing raises
and nothing waits beyond the caller's deadline. How it is said to a CPS, and what its answers may
be, is ``cps.exchange``'s; what a store carries besides, ``cps.placing``'s.
Source: RFC 8816 section 9 (interface), RFC 9888 sections 5 and 6.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from pbx_stir.cps import wire
from pbx_stir.cps.exchange import MAX_ANSWER_OCTETS, Exchange, expect
from pbx_stir.cps.getting import Getting
from pbx_stir.cps.holder import Holder
from pbx_stir.cps.origin import CpsUrl
from pbx_stir.cps.placing import Placing, TokenSource
from pbx_stir.cps.proxy import Proxy
from pbx_stir.errors import Malformed
from pbx_stir.services.placement_service import Answer, StoreResult
from pbx_stir.stir import sealing
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import REPORT, sign_request
from pbx_stir.stir.x5u import EgressRule

# of one prefix
MOST_PAGES = 64
MOST_OCTETS_UNDER = 8 * 1024 * 1024


class CpsClient:
    """Speaks to any number of CPSs at the same time, over connections that are kept.

    Its connections are its own: what is sent under our name and what is sent without it go through
    clients of their own. Without ``tokens`` stores carry none; without ``holder`` no retrieval is
    signed. The rest is as for ``Exchange``. Belongs to the event loop that uses it first; ``close``
    it there.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        allow_plain: bool = False,
        max_answer_octets: int = MAX_ANSWER_OCTETS,
        egress: EgressRule | None = None,
        proxy: Proxy | None = None,
        tokens: TokenSource | None = None,
        holder: Holder | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._exchange = Exchange(
            tls=tls,
            allow_plain=allow_plain,
            max_answer_octets=max_answer_octets,
            egress=egress,
            proxy=proxy,
            clock=clock,
            now=now,
        )
        self._placing = Placing(self._exchange, tokens)
        self._getting = Getting(self._exchange, holder, item_octets=sealing.MAX_WIRE_OCTETS)

    def origin(self, cps: str) -> CpsUrl:
        """Parse and judge a CPS's URL. Raises ``UrlRefused``."""
        return self._exchange.origin(cps)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._exchange.close()

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store every blob at every CPS at the same time; see ``CallPlacement``. Never raises."""
        return await asyncio.gather(
            *(self._placing.store_at(each, number, blobs, give_up_at) for each in cps)
        )

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        """Give one answer a (CPS, number) as they arrive, at ``give_up_at`` what is known.

        Never raises. Close the generator (``contextlib.aclosing``) to cancel what has not answered.
        """
        if len(wanted) == 1:
            # as nearly always: nobody to be waited for at the same time
            yield await self._retrieve_from(*wanted[0], give_up_at)
            return
        tasks = [
            asyncio.create_task(self._retrieve_from(cps, number, give_up_at))
            for cps, number in wanted
        ]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def get_records(self, cps: str, number: str, give_up_at: float) -> tuple[str, ...]:
        """Fetch a number's signed records, not checked in any way.

        Raises ``CpsUnavailable``, ``CpsRefused``, ``MalformedAnswer``, ``UrlRefused``.
        """
        origin = self._exchange.origin(cps)
        async with self._exchange.deadline(give_up_at):
            reply = await self._exchange.send(origin, "GET", wire.keys_path(number))
        return wire.parse_records(expect(reply, 200).body)

    async def get_records_under(
        self, cps: str, prefix: str, give_up_at: float
    ) -> tuple[tuple[str, ...], bool]:
        """Fetch the signed records of all numbers with a prefix, not checked, page by page.

        Gives those that came, each once, and whether that is all: beyond ``MOST_PAGES`` or
        ``MOST_OCTETS_UNDER`` no more is asked for. Raises as ``get_records`` does.
        """
        origin = self._exchange.origin(cps)
        found: dict[str, None] = {}
        after, octets = "", 0
        async with self._exchange.deadline(give_up_at):
            for _ in range(MOST_PAGES):
                path = wire.next_keys_path(prefix, after) if after else wire.bulk_keys_path(prefix)
                reply = await self._exchange.send(origin, "GET", path)
                tokens, following = wire.parse_records_page(expect(reply, 200).body)
                found.update(dict.fromkeys(tokens))
                octets += len(reply.body)
                if not following:
                    return tuple(found), True
                if following == after or octets > MOST_OCTETS_UNDER:
                    break
                after = following
        return tuple(found), False

    async def put_record(self, cps: str, number: str, token: str, give_up_at: float) -> None:
        """Publish a signed record under a number.

        Raises ``CpsUnavailable``, ``CpsRefused`` (409: the CPS has a newer one), ``UrlRefused``.
        """
        origin = self._exchange.origin(cps)
        async with self._exchange.deadline(give_up_at):
            reply = await self._exchange.send(
                origin, "PUT", wire.keys_path(number), token.encode("ascii"), wire.RECORD_TYPE
            )
        expect(reply, 200, 201, 204)

    async def report(
        self, cps: str, number: str, ids: Sequence[str], credential: Credential, give_up_at: float
    ) -> None:
        """Tell a CPS that entries of a number are bogus, signed by its holder's ``credential``.

        Raises ``CpsUnavailable``, ``CpsRefused``, ``UrlRefused``, ``Malformed`` (a chain too long).
        """
        origin = self._exchange.origin(cps)
        path, body = wire.reports_path(number), json.dumps({"ids": list(ids)}).encode("ascii")
        signed = sign_request(
            REPORT,
            audience=origin.host,
            method="POST",
            path=origin.url(path).raw_path_qs,
            body=body,
            now=self._exchange.time_at(origin),
            credential=credential,
        )
        async with self._exchange.deadline(give_up_at):
            reply = await self._exchange.send(
                origin, "POST", path, body, wire.JSON_TYPE, more={"Authorization": signed}
            )
        expect(reply, 204)

    async def clock_offset(self, cps: str, give_up_at: float) -> float | None:
        """Ask how far a CPS's clock is ahead of ours, in seconds; None where it does not say.

        Raises ``CpsUnavailable``, ``CpsRefused``, ``UrlRefused``.
        """
        origin = self._exchange.origin(cps)
        async with self._exchange.deadline(give_up_at):
            reply = await self._exchange.send(origin, "GET", "/health")
        return expect(reply, 200).clock_offset

    async def _retrieve_from(self, cps: str, number: str, give_up_at: float) -> Answer:
        """Retrieve all that one CPS has for a number, and decode it."""
        got = await self._getting.get(cps, number, give_up_at)
        blobs = _decode(got.wires)
        skipped, detail = len(got.wires) - len(blobs), got.detail
        if skipped and not detail:
            detail = f"{skipped} entries cannot be decoded"
        return Answer(cps, number, blobs, got.reason, detail, got.clock_offset)


def _decode(wires: Sequence[bytes]) -> tuple[bytes, ...]:
    """Decode what is base64url, and leave out what is not: anybody may have stored it."""
    blobs = []
    for each in wires:
        try:
            blobs.append(sealing.from_wire(each))
        except Malformed:
            continue
    return tuple(blobs)
