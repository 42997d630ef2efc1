"""The CPS's collections and items: what a retrieval is answered with.

Takes numbers and requests, gives answers in which real entries and dummies stand alike
(RFC 8816 section 6.2). A retrieval changes nothing. Where retrieval is for holders, the store is
not even asked for anybody else: nothing of an answer, its time included, depends on what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, answer
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.holders import Holder
from pbx_stir.cps.store import Entry, EntryStore
from pbx_stir.cps.wire import Target


class Retrieving:
    """Answers GET for collections and items; ``clock`` is that of store and dummies."""

    def __init__(
        self,
        store: EntryStore,
        dummies: Dummies,
        clock: Callable[[], float],
        *,
        holders_only: bool = False,
        for_holders: Dummies | None = None,
    ) -> None:
        """``holders_only`` gives dummies alone to whoever has not shown to hold the number.

        ``for_holders`` are the same dummies, apart: nobody else can tell that a holder has looked.
        """
        self._store = store
        self._dummies = dummies
        self._for_holders = dummies if for_holders is None else for_holders
        self._clock = clock
        self._holders_only = holders_only

    async def collection(
        self, number: str, request: web.BaseRequest, holder: Holder | None = None
    ) -> web.Response:
        """List a collection, newest first; it is never empty (RFC 8816 section 6.2)."""
        now = self._clock()
        real = await self._real(number, holder, now)
        if request.rel_url.raw_query_string and request.query.get("expand") == "1":
            entries = self._entries(number, real, holder, now)
            body = wire.format_expanded(number, ((each.id, each.wire) for each in entries))
            return answer(200, body, wire.JSON_TYPE)
        ids = self._ids(number, real, holder, now)
        if wire.prefers_uri_list(request.headers.get("Accept", "")):
            return answer(200, wire.format_uri_list(number, ids), wire.URI_LIST_TYPE)
        return answer(200, wire.format_list(number, ids), wire.JSON_TYPE)

    async def item(self, target: Target, holder: Holder | None = None) -> web.Response:
        """Give one entry; the whole collection is written for any, so that all cost the same.

        Also where it is not there: octets that have not been touched for a while take longer.
        """
        now = self._clock()
        real = await self._real(target.number, holder, now)
        entries = self._entries(target.number, real, holder, now)
        wires = {entry.id: entry.wire for entry in entries}
        text = wires.get(target.id)
        if text is None:
            raise Failure(404, "there is no such passport, or no longer")
        link = f'<{wire.collection_path(target.number)}>; rel="collection"'
        return answer(200, text, wire.PASSPORT_TYPE, Link=link)

    async def _real(self, number: str, holder: Holder | None, now: float) -> Sequence[Entry]:
        """Give what is stored for a number, as far as it is for who asks."""
        if self._holders_only and (holder is None or not holder.may(number)):
            return ()
        return await self._store.entries(number, now)

    def _entries(
        self, number: str, real: Sequence[Entry], holder: Holder | None, now: float
    ) -> list[Entry]:
        """Give real entries and dummies alike, newest first."""
        is_held = holder is not None and holder.may(number)
        dummies = self._for_holders if is_held else self._dummies
        entries = [*real, *dummies.entries(number, now)]
        entries.sort(key=lambda entry: (-entry.arrival, entry.id))
        return entries[: wire.MAX_LISTED]

    def _ids(
        self, number: str, real: Sequence[Entry], holder: Holder | None, now: float
    ) -> list[str]:
        """Give the ids of the same, at the cost of the same: an item is most likely asked next."""
        return [entry.id for entry in self._entries(number, real, holder, now)]
