"""The CPS's side of a store: one sealed PASSporT, taken or refused (RFC 8816 sections 6.1, 7.5).

The order: what of the token needs no body, cheap things first; content type; announced size; body;
the proof, and what the token may still store; last the form of what is inside.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, answer, read_body, require_type
from pbx_stir.cps.issuing import refuse
from pbx_stir.cps.store import EntryStore
from pbx_stir.errors import Malformed, TokenRefused
from pbx_stir.stir import sealing
from pbx_stir.tokens.checker import TokenChecker


class Storing:
    """Answers POST for collections; ``clock`` is the store's."""

    def __init__(
        self,
        store: EntryStore,
        clock: Callable[[], float],
        *,
        now: Callable[[], float],
        checker: TokenChecker | None,
    ) -> None:
        """``checker`` demands a storage token with each store; ``now`` is the wall clock."""
        self._store = store
        self._clock = clock
        self._now = now
        self._checker = checker

    async def add(self, number: str, request: web.BaseRequest) -> web.Response:
        """Store one sealed PASSporT."""
        owner = ""
        if self._checker is None:
            require_type(request, wire.PASSPORT_TYPE)
            body = await read_body(request, sealing.MAX_WIRE_OCTETS)
        else:
            body, owner = await self._paid(self._checker, number, request)
        sealed = sealed_octets(body)
        entry_id = await self._store.add(number, sealed, self._clock(), owner=owner, packed=True)
        return answer(201, Location=wire.item_path(number, entry_id))

    async def _paid(
        self, checker: TokenChecker, number: str, request: web.BaseRequest
    ) -> tuple[bytes, str]:
        """Check the token, and only then read the body, which the token's proof is over.

        Gives the body, and the name under which its entry is counted.
        """
        headers = request.headers
        try:
            presented = checker.read(
                headers.getall("Authorization", []), headers.getall("Host", []), self._now()
            )
            require_type(request, wire.PASSPORT_TYPE)
            body = await read_body(request, sealing.MAX_WIRE_OCTETS)
            return body, await checker.spend(presented, number, wire.PASSPORT_TYPE, body)
        except TokenRefused as error:
            refuse(error)


def sealed_octets(body: bytes) -> bytes:
    """Check a body's form and give what is in it; each answer writes that in the one way.

    As it came, folded lines would tell a real entry from a dummy. Raises ``Failure``.
    """
    try:
        blob = sealing.from_wire(body)
    except Malformed:
        raise Failure(400, "the body is not base64url") from None
    if not sealing.looks_sealed(blob):
        detail = f"a sealed passport has {sealing.SEALED_OCTETS} octets"
        raise Failure(413 if len(blob) > sealing.SEALED_OCTETS else 400, detail)
    return blob
