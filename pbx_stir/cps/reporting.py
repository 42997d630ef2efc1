"""What called parties report: entries that are bogus (RFC 8816 section 7.5).

"Potentially, feedback mechanisms could be developed that would allow the called parties to tell the
CPS when they are receiving unusual or bogus PASSporTs." Takes reports that a number's holder has
signed; each entry counts as one more store of its token. The answer is the same whatever the ids
are of: real entries, dummies, others' or nothing.

A report can silence nobody: it is of an entry of the reporter's own number, counts once, and costs
as much again as storing the entry has cost. Tokens are not linked, so that nobody learns who
stored, and who has other tokens goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, admit, answer, read_body, require_type
from pbx_stir.cps.holders import Holder
from pbx_stir.cps.limits import PeerBuckets
from pbx_stir.cps.store import EntryStore
from pbx_stir.tokens.checker import TokenChecker

MAX_OCTETS: Final = 4_096
# of one certificate: reports a second, and at once
REPORTS_RATE: Final = 2.0
REPORTS_AT_ONCE: Final = 20.0

Who = Callable[[str, web.BaseRequest, str, bytes], Awaitable[Holder]]


class _Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body: ids of entries, up to as many as one list has."""

    ids: list[str]


class Reporting:
    """Answers POST for reports; ``clock`` never steps, ``store_clock`` is the store's."""

    def __init__(
        self,
        store: EntryStore,
        store_clock: Callable[[], float],
        *,
        checker: TokenChecker | None,
        who: Who,
        clock: Callable[[], float],
    ) -> None:
        """``who`` gives the number's holder who has signed a request with this body, or fails."""
        self._store = store
        self._store_clock = store_clock
        self._checker = checker
        self._who = who
        self._clock = clock
        self._of_leaves = PeerBuckets(REPORTS_RATE, REPORTS_AT_ONCE)

    async def take(self, number: str, request: web.BaseRequest, peer: str) -> web.Response:
        """Take one report on entries of ``number``. Raises ``Failure``, ``StoreUnavailable``."""
        if self._checker is None:
            raise Failure(404, "stores need no token here, so that reports change nothing")
        require_type(request, wire.JSON_TYPE)
        body = await read_body(request, MAX_OCTETS)
        holder = await self._who(number, request, peer, body)
        admit(self._of_leaves.take(holder.leaf.hex(), self._clock()))
        for entry_id in _ids(body):
            owner = await self._store.owner(number, entry_id, self._store_clock())
            if owner:
                await self._checker.report(owner, number, entry_id)
        return answer(204)

    def sweep(self) -> None:
        """Forget who has reported little."""
        self._of_leaves.sweep(self._clock())


def _ids(body: bytes) -> list[str]:
    """Read a report, each id once."""
    try:
        ids = list(dict.fromkeys(msgspec.json.decode(body, type=_Report).ids))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Failure(400, "the body is not a list of ids") from None
    if not 1 <= len(ids) <= wire.MAX_LISTED or not all(map(wire.is_id, ids)):
        raise Failure(400, f"a report names 1 to {wire.MAX_LISTED} ids")
    return ids
