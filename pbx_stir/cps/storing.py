"""The CPS's side of a store: one sealed PASSporT, taken or refused (RFC 8816 section 6.1)."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, answer, read_body, require_type
from pbx_stir.cps.store import EntryStore
from pbx_stir.errors import Malformed
from pbx_stir.stir import sealing


class Storing:
    """Answers POST for collections; ``clock`` is the store's."""

    def __init__(self, store: EntryStore, clock: Callable[[], float], *, tokens: bool) -> None:
        """``tokens`` demands a storage token with each store."""
        self._store = store
        self._clock = clock
        self._tokens = tokens

    async def add(self, number: str, request: web.Request) -> web.Response:
        """Store one sealed PASSporT."""
        if self._tokens:
            raise Failure(
                401,
                "this service stores only with a storage token, and issues none yet",
                WWW_Authenticate="StorageToken",
            )
        require_type(request, wire.PASSPORT_TYPE)
        wire_text = sealed_text(await read_body(request, sealing.MAX_WIRE_OCTETS))
        entry_id = await self._store.add(number, wire_text, self._clock())
        return answer(201, Location=wire.item_path(number, entry_id))


def sealed_text(body: bytes) -> bytes:
    """Check a body's form and give it in the one way of writing it.

    Written anew: folded lines would tell a real entry from a dummy. Raises ``Failure``.
    """
    try:
        blob = sealing.from_wire(body)
    except Malformed:
        raise Failure(400, "the body is not base64url") from None
    if not sealing.looks_sealed(blob):
        detail = f"a sealed passport has {sealing.SEALED_OCTETS} octets"
        raise Failure(413 if len(blob) > sealing.SEALED_OCTETS else 400, detail)
    return sealing.to_wire(blob)
