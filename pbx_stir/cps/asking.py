"""Who asks: a request's holder, nobody, or a 401 (RFC 9888 section 6).

Takes requests; raises ``Failure`` where one says who it is from and that does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from pbx_stir.cps.answers import Failure
from pbx_stir.cps.client_certificates import shown_certificates
from pbx_stir.cps.holders import Holder, Holders
from pbx_stir.errors import Malformed, Refused, StoreUnavailable, Unavailable
from pbx_stir.stir.signed_request import RETRIEVAL, SCHEME, is_signed


class Asking:
    """Finds holders; without ``holders`` nobody can show to be one."""

    def __init__(self, holders: Holders | None, *, client_certificates: bool = False) -> None:
        """``client_certificates``: those that a TLS client showed count where nothing is signed."""
        self._holders = holders
        self._client_certificates = client_certificates

    async def holder(
        self, request: web.BaseRequest, peer: str, *, typ: str = RETRIEVAL, body: bytes = b""
    ) -> Holder | None:
        """Give who asks; None where the request does not say. Raises ``Failure``.

        A signed request must be of this ``typ``, and over this ``body``.
        """
        values = request.headers.getall("Authorization", ())
        try:
            if any(map(is_signed, values)):
                return await self._signer(request, values, peer, typ, body)
            if self._client_certificates and self._holders is not None:
                shown = shown_certificates(request.transport)
                return self._holders.of_certificates(shown, peer=peer) if shown else None
        except StoreUnavailable:
            raise
        except (Malformed, Refused, Unavailable) as error:
            raise unauthorised(error.message) from None
        return None

    async def known_holder(
        self, request: web.BaseRequest, peer: str, *, typ: str = RETRIEVAL, body: bytes = b""
    ) -> Holder:
        """Give who asks. Raises ``Failure`` where that is nobody."""
        holder = await self.holder(request, peer, typ=typ, body=body)
        if holder is None:
            raise unauthorised("this is for holders of numbers only")
        return holder

    async def _signer(
        self, request: web.BaseRequest, values: Sequence[str], peer: str, typ: str, body: bytes
    ) -> Holder:
        """Check a signed request."""
        if self._holders is None:
            raise Failure(503, "no anchors are configured, so no signature can be checked")
        if len(values) != 1:
            raise Malformed("authorization is there more than once")
        return await self._holders.of_request(
            values[0], request.method, request.raw_path, peer=peer, typ=typ, body=body
        )


def unauthorised(detail: str) -> Failure:
    """Say 401 (RFC 9110 section 15.5.2: with a challenge)."""
    return Failure(401, detail, WWW_Authenticate=SCHEME)
