"""The CPS's records of keys: what it gives out for a number, and takes from its holders."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, answer, read_body, require_type
from pbx_stir.cps.records import RecordShelf, Shelved
from pbx_stir.errors import Malformed, Refused

MAX_RECORD_OCTETS = 32 * 1024


class Keeping:
    """Answers GET and PUT for keys; without a shelf no record can be checked, so none is kept."""

    def __init__(self, shelf: RecordShelf | None, now: Callable[[], float]) -> None:
        """``now`` is the wall clock, by which records expire."""
        self._shelf = shelf
        self._now = now

    async def records(self, number: str) -> web.Response:
        """Give the signed records of a number."""
        tokens = self._shelf.tokens(number, self._now()) if self._shelf else ()
        return answer(200, wire.format_records(tokens), wire.JSON_TYPE)

    async def put(self, number: str, request: web.Request) -> web.Response:
        """Take a signed record, which is its own authorisation."""
        if self._shelf is None:
            raise Failure(503, "no anchors are configured, so no record can be checked")
        require_type(request, wire.RECORD_TYPE)
        body = await read_body(request, MAX_RECORD_OCTETS)
        try:
            shelved = self._shelf.put(number, body.decode("ascii").strip(), self._now())
        except (Malformed, UnicodeDecodeError):
            raise Failure(400, "the body is not a signed record") from None
        except Refused as error:
            raise Failure(400, f"the record is refused: {error.message}") from None
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
        """Free what has expired."""
        if self._shelf is not None:
            self._shelf.sweep(self._now())
