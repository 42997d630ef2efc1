"""How a sender asks a CPS for its token keys and for blind signatures.

Takes two exchanges, gives parsed answers. The keys are fetched without a name, by the path that
stores take but over connections of their own; what is signed with our credential goes by another
path. It checks forms alone and remembers nothing. Source: RFC 8816 section 7.5.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pbx_stir.cps import wire
from pbx_stir.cps.exchange import Exchange, expect
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import TOKEN_REQUEST, sign_request
from pbx_stir.tokens.epochs import MAX_LIST_OCTETS, KeyList, parse_key_list
from pbx_stir.tokens.exchange import (
    KEYS_PATH,
    MAX_ANSWER_OCTETS,
    TOKENS_PATH,
    BlindedBatch,
    format_request,
    parse_nonce,
    parse_signatures,
)

ANSWER_SECONDS = 10.0


class Obtaining:
    """Asks CPSs for keys and signatures. The exchanges are their maker's to close."""

    def __init__(
        self,
        *,
        unnamed: Exchange,
        named: Exchange,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``unnamed`` takes the stores' path, ``named`` may show who we are; ``clock`` is that of
        their deadlines. They must not be one, nor be what stores go through."""
        self._unnamed = unnamed
        self._named = named
        self._clock = clock

    async def keys(self, cps: str) -> KeyList | None:
        """Fetch a CPS's token keys; None where it issues no tokens (404).

        Raises ``CpsUnavailable``, ``CpsRefused``, ``UrlRefused``, ``MalformedToken``.
        """
        origin = self._unnamed.origin(cps)
        async with self._unnamed.deadline(self._clock() + ANSWER_SECONDS):
            reply = await self._unnamed.send(origin, "GET", KEYS_PATH, limit=MAX_LIST_OCTETS)
        if reply.status == 404:
            return None
        return parse_key_list(expect(reply, 200).body)

    async def signatures(
        self, cps: str, batch: BlindedBatch, credential: Credential
    ) -> tuple[bytes, ...]:
        """Have a batch signed; not checked whether the signatures hold.

        Raises ``CpsUnavailable``, ``CpsRefused`` (with ``retry_after``), ``UrlRefused``,
        ``MalformedToken``, ``Malformed`` (a credential whose chain is too long).
        """
        origin = self._named.origin(cps)
        body = format_request(batch)
        async with self._named.deadline(self._clock() + ANSWER_SECONDS):
            given = await self._named.send(origin, "GET", TOKENS_PATH, limit=MAX_ANSWER_OCTETS)
            # before any signature is made, ours or theirs
            nonce = parse_nonce(expect(given, 200).body)
            authorization = sign_request(
                TOKEN_REQUEST,
                audience=origin.host,
                method="POST",
                path=TOKENS_PATH,
                body=body,
                now=self._named.time_at(origin),
                credential=credential,
                nonce=nonce,
            )
            reply = await self._named.send(
                origin,
                "POST",
                TOKENS_PATH,
                body,
                wire.JSON_TYPE,
                limit=MAX_ANSWER_OCTETS,
                more={"Authorization": authorization},
            )
        return parse_signatures(expect(reply, 201).body, len(batch.blinded))
