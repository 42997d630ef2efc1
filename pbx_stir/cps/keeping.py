"""The CPS's records of keys: what it gives out for a number or prefix, and takes from holders.

Everybody may ask, since everybody may call; a record is its own authorisation (``records``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, answer, read_body, require_type
from pbx_stir.cps.records import RecordCheck, Shelved
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.shelf import MemoryShelf, RecordShelf
from pbx_stir.errors import Malformed, Refused, StoreUnavailable, Unavailable

MAX_RECORD_OCTETS = 32 * 1024
# Expiry is looked at whenever a record is given: this only frees room.
SWEEP_SECONDS = 30.0
_log = logging.getLogger(__name__)


class Keeping:
    """Answers GET and PUT for keys; without anchors no record can be checked, so none is kept."""

    def __init__(
        self, shelf: RecordShelf, check: RecordCheck | None, now: Callable[[], float]
    ) -> None:
        """``now`` is the wall clock, by which records expire."""
        self._shelf = shelf
        self._check = check
        self._now = now
        self._swept = 0.0

    @classmethod
    def of(cls, settings: CpsSettings, now: Callable[[], float]) -> Keeping:
        """Make what these settings describe."""
        check = None
        if settings.anchors is not None:
            check = RecordCheck(
                settings.anchors,
                settings.spc_policy,
                allow_plain=not settings.tls,
                revocation=settings.revocation,
            )
        shelf = MemoryShelf() if settings.shelf is None else settings.shelf
        return cls(shelf, check, now)

    async def records(self, number: str) -> web.Response:
        """Give the signed records of a number."""
        try:
            tokens = await self._shelf.tokens(number, self._now())
        except StoreUnavailable:
            raise _lost() from None
        return answer(200, wire.format_records(tokens), wire.JSON_TYPE)

    async def under(self, prefix: str, request: web.BaseRequest) -> web.Response:
        """Give a page of the records that name any number under a prefix."""
        after = request.query.get("after", "") if request.rel_url.raw_query_string else ""
        try:
            page = await self._shelf.under(prefix, self._now(), after)
        except StoreUnavailable:
            raise _lost() from None
        following = wire.next_keys_path(prefix, page.after) if page.after else ""
        return answer(200, wire.format_records(page.tokens, following), wire.JSON_TYPE)

    async def put(self, number: str, request: web.BaseRequest) -> web.Response:
        """Take a signed record, which is its own authorisation."""
        if self._check is None:
            raise Failure(503, "no anchors are configured, so no record can be checked")
        require_type(request, wire.RECORD_TYPE)
        body = await read_body(request, MAX_RECORD_OCTETS)
        now = self._now()
        try:
            record = self._check.check(number, body.decode("ascii").strip(), now)
            shelved = Shelved.NOT_THIS_NUMBER
            if record is not None:
                shelved = await self._shelf.put(number, record, now)
        except (Malformed, UnicodeDecodeError):
            raise Failure(400, "the body is not a signed record") from None
        except Refused as error:
            raise Failure(400, f"the record is refused: {error.message}") from None
        except StoreUnavailable:
            raise _lost() from None
        except Unavailable as error:
            raise Failure(
                503, f"the record cannot be checked: {error.message}", Retry_After="60"
            ) from None
        match shelved:
            case Shelved.KEPT:
                return answer(204)
            case Shelved.NOT_NEWER | Shelved.TOO_MANY:
                raise Failure(409, shelved.value)
            case Shelved.FULL:
                raise Failure(503, shelved.value, Retry_After="60")
            case Shelved.NOT_THIS_NUMBER:
                raise Failure(400, shelved.value)

    async def sweep(self) -> None:
        """Free what has expired, now and then. Raises ``StoreUnavailable``."""
        now = self._now()
        # Both ways: the wall clock may be set back.
        if abs(now - self._swept) >= SWEEP_SECONDS:
            self._swept = now
            await self._shelf.sweep(now)


def _lost() -> Failure:
    return Failure(503, "the records cannot be read or written now", Retry_After="1")
