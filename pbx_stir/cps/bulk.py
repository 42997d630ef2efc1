"""The CPS's bulk retrieval: what all numbers with a prefix have, for their holders alone.

Takes prefixes, requests and holders; gives pages (``pages``) of real entries whose numbers the
holder covers, and of dummies, alike. A retrieval changes nothing. Source: RFC 8816 section 6.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from pbx_stir.cps import pages, wire
from pbx_stir.cps.answers import Failure, admit, answer
from pbx_stir.cps.cursors import open_cursor, seal_cursor
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.holders import Holder
from pbx_stir.cps.limits import PeerBuckets
from pbx_stir.cps.places import Cursor
from pbx_stir.cps.store import MAX_ENTRIES_OF_A_NUMBER, EntryStore, Found, Placed

# of one certificate: pages and items a second, and at once
RATE: Final = 20.0
AT_ONCE: Final = 100.0
# how many entries are looked at for one page, most of them other holders' maybe
MAX_LOOKED_AT: Final = 256


class Bulk:
    """Answers GET for prefixes; ``clock`` is that of store and dummies."""

    def __init__(self, store: EntryStore, dummies: Dummies, clock: Callable[[], float]) -> None:
        self._store = store
        self._dummies = dummies
        self._clock = clock
        self._holders = PeerBuckets(RATE, AT_ONCE)

    async def page(self, prefix: str, request: web.BaseRequest, holder: Holder) -> web.Response:
        """Give a page, newest first; no path in it names a number. Raises ``Failure``."""
        now = self._clock()
        admit(self._holders.take(holder.leaf.hex(), now))
        query = request.query if request.rel_url.raw_query_string else {}
        after, expand = query.get("after", ""), query.get("expand") == "1"
        if after and not pages.is_cursor(after):
            raise Failure(400, "after is not from a page's next")
        key = self._dummies.key_for(b"cursors")
        before = open_cursor(after, key) if after else None
        real, cursor = Found((), None)
        # nothing is behind what is no place
        if before is not None or not after:
            real, cursor = await self._look(holder, prefix, now, before)
        entries = sorted(
            [*real, *self._made_up(holder, prefix, now)],
            key=lambda each: (-each.entry.arrival, each.entry.id),
        )
        following = ""
        if cursor is not None:
            following = pages.next_path(prefix, seal_cursor(cursor, key), expand=expand)
        linked = {"Link": f'<{following}>; rel="next"'} if following else {}
        if expand:
            expanded = ((each.entry.id, each.number, each.entry.wire) for each in entries)
            body = pages.format_expanded_page(prefix, expanded, following)
            return answer(200, body, wire.JSON_TYPE, **linked)
        ids = [each.entry.id for each in entries]
        if wire.prefers_uri_list(request.headers.get("Accept", "")):
            return answer(200, pages.format_uri_page(prefix, ids), wire.URI_LIST_TYPE, **linked)
        return answer(200, pages.format_page(prefix, ids, following), wire.JSON_TYPE, **linked)

    async def item(self, prefix: str, entry_id: str, holder: Holder) -> web.Response:
        """Give one entry of a prefix. Raises ``Failure``."""
        now = self._clock()
        admit(self._holders.take(holder.leaf.hex(), now))
        found = await self._store.find(entry_id, now)
        if found and not (found.number.startswith(prefix) and holder.may(found.number)):
            found = None
        for placed in self._made_up(holder, prefix, now):
            if placed.entry.id == entry_id:
                found = placed
        if found is None:
            raise Failure(404, "there is no such passport, or no longer")
        link = f'<{wire.bulk_path(prefix)}>; rel="collection"'
        return answer(200, found.entry.wire, wire.PASSPORT_TYPE, Link=link)

    def sweep(self) -> None:
        """Forget holders that have asked little."""
        self._holders.sweep(self._clock())

    async def _look(self, holder: Holder, prefix: str, now: float, before: Cursor | None) -> Found:
        """Give the holder's entries for one page, and where the next one goes on."""
        narrowed = holder.narrowed(prefix)
        if narrowed is None:
            return Found((), None)
        looked_at, cursor = await self._store.under(
            narrowed, now, before=before, most=MAX_LOOKED_AT
        )
        found = [each for each in looked_at if holder.may(each.number)]
        if len(found) > MAX_ENTRIES_OF_A_NUMBER:
            # as many as fit beside the dummies
            del found[MAX_ENTRIES_OF_A_NUMBER:]
            cursor = Cursor(found[-1].entry.arrival, found[-1].entry.id)
        return Found(found, cursor)

    def _made_up(self, holder: Holder, prefix: str, now: float) -> list[Placed]:
        """Give the dummies of a prefix: those of one number there."""
        number = holder.number_under(prefix)
        return [Placed(number, each) for each in self._dummies.entries(number, now)]
