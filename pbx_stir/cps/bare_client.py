"""The client of CPSs that hold PASSporTs as they are, unsealed (RFC 9888 sections 5 and 6).

Takes tokens and canonical numbers; gives results, and never raises in the call path. Each request
is signed with the credential of ours that covers the number it is sent for, where there is one: a
submission with the caller's, a retrieval with the called party's. "The OOB-AS SHOULD authenticate
itself to the CPS via mutual TLS using its STIR credential": a signed request says the same and
needs no TLS stack that knows TNAuthLists; a TLS client certificate comes with the ``tls`` context.

Nothing here is shared with the client of sealed PASSporTs, which names nobody: no connection, no
TLS session and no type. What goes to the one never goes to the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Final, Protocol

from pbx_stir.cps import wire
from pbx_stir.cps.exchange import Exchange, Reply, expect
from pbx_stir.cps.getting import Getting
from pbx_stir.cps.holder import Holder, signer_of
from pbx_stir.cps.origin import CpsUrl
from pbx_stir.errors import CpsRefused, CpsUnavailable, Malformed, PbxStirError
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import (
    Answer,
    BareAnswer,
    CallPlacement,
    Retrieval,
    StoreResult,
)
from pbx_stir.stir import passport, signed_request
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.x5u import EgressRule

_UNAUTHORISED: Final = 401


class BareClient:
    """Speaks to CPSs of bare PASSporTs, as ``CpsClient`` does to others: tokens are the blobs.

    ``credentials`` are ours, ``retrieved_from`` the URLs of CPSs that we retrieve from,
    ``unsigned`` those to which nothing is signed. The rest is as for ``Exchange``.
    """

    def __init__(
        self,
        *,
        credentials: Sequence[Credential] = (),
        retrieved_from: Collection[str] = (),
        unsigned: Collection[str] = (),
        tls: ssl.SSLContext | None = None,
        allow_plain: bool = False,
        egress: EgressRule | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._exchange = Exchange(
            tls=tls, allow_plain=allow_plain, egress=egress, clock=clock, now=now
        )
        self._credentials = tuple(credentials)
        self._unsigned = frozenset(unsigned)
        holder = Holder(credentials, [one for one in retrieved_from if one not in unsigned])
        self._getting = Getting(self._exchange, holder, item_octets=passport.MAX_OCTETS)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._exchange.close()

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store every token (ASCII) at every CPS at the same time. Never raises."""
        return await asyncio.gather(
            *(self._store_at(one, number, blobs, give_up_at) for one in cps)
        )

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float
    ) -> AsyncGenerator[Answer, None]:
        """Give one answer a (CPS, number) as they arrive, tokens as they stood. Never raises."""
        tasks = [
            asyncio.create_task(self._getting.get(cps, number, give_up_at))
            for cps, number in wanted
        ]
        place = dict(zip(tasks, wanted, strict=True))
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    got, (cps, number) = task.result(), place[task]
                    yield Answer(cps, number, got.wires, got.reason, got.detail, got.clock_offset)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def clock_offset(self, cps: str, give_up_at: float) -> float | None:
        """Ask how far a CPS's clock is ahead of ours, as a sign that it answers.

        Raises ``CpsUnavailable``, ``UrlRefused``. RFC 9888 names no resource for it, so that one
        that has none answers, too.
        """
        origin = self._exchange.origin(cps)
        async with self._exchange.deadline(give_up_at):
            reply = await self._exchange.send(origin, "GET", "/health")
        with contextlib.suppress(CpsRefused):
            expect(reply, 200)
        return reply.clock_offset

    async def _store_at(
        self, cps: str, number: str, tokens: Sequence[bytes], give_up_at: float
    ) -> StoreResult:
        result = StoreResult(cps, Reason.STORED, "nothing to store")
        for token in tokens:
            result = await self._store(cps, number, token, give_up_at)
            if result.reason is not Reason.STORED:
                break
        return result

    async def _store(self, cps: str, number: str, token: bytes, give_up_at: float) -> StoreResult:
        try:
            origin = self._exchange.origin(cps)
            async with self._exchange.deadline(give_up_at):
                path = wire.collection_path(number)
                reply = await self._post(cps, origin, path, token)
                if reply.resent and reply.status == _UNAUTHORISED:
                    # its connection was closed behind a request that was read: the signed one that
                    # was sent again had been used
                    reply = await self._post(cps, origin, path, token)
        except PbxStirError as error:
            return StoreResult(cps, Reason.CPS_UNAVAILABLE, error.message)
        return _result(cps, reply)

    async def _post(self, cps: str, origin: CpsUrl, path: str, token: bytes) -> Reply:
        more = {} if cps in self._unsigned else self._signed(origin, path, token)
        return await self._exchange.send(origin, "POST", path, token, wire.PASSPORT_TYPE, more=more)

    def _signed(self, origin: CpsUrl, path: str, token: bytes) -> dict[str, str]:
        """Give the ``Authorization`` of a submission; nothing where we have no fitting credential.

        Raises ``MalformedPassport`` for a token that is none: nobody would take it.
        """
        now = self._exchange.time_at(origin)
        orig = passport.parse(token.decode("ascii", "replace"), max_digits=24).orig
        credential = signer_of(self._credentials, orig, now)
        if credential is None:
            return {}
        try:
            value = signed_request.sign_request(
                signed_request.SUBMISSION,
                audience=origin.host,
                method="POST",
                path=origin.url(path).raw_path_qs,
                body=token,
                now=now,
                credential=credential,
            )
        except Malformed:
            # a chain too long for a header field: the CPS may take it all the same
            return {}
        return {"Authorization": value}


class Asked(CallPlacement, Protocol):
    """What is asked (cps.subscribed.SubscribedPlacement over a ``BareClient`` behind breakers)."""

    def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer, None]:
        """As ``CallPlacement``, and then what comes until ``wait_until``."""
        ...


class BarePlacements:
    """The typed front of it: services' BarePlacement, and the half of a ``Retrieval`` that is bare.

    Behind it tokens are octets like any others; before it they are of no type that may be opened.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    async def store_bare(
        self, cps: Sequence[str], number: str, token: str, give_up_at: float
    ) -> Sequence[StoreResult]:
        """Store one PASSporT in full form at every CPS; see ``BarePlacement``."""
        return await self._asked.store(cps, number, [token.encode("ascii")], give_up_at)

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer | BareAnswer, None]:
        """Give what is there, and what comes until ``wait_until``."""
        retrieval = self._asked.retrieve(wanted, give_up_at, wait_until)
        async with contextlib.aclosing(retrieval) as answers:
            async for answer in answers:
                yield _bare(answer)


class BothKinds:
    """Retrieves sealed and bare PASSporTs at the same time. Implements services' Retrieval."""

    def __init__(self, sealed: Retrieval, bare: BarePlacements, bare_cps: Collection[str]) -> None:
        """``bare_cps`` are the URLs of CPSs with bare PASSporTs; all others have sealed ones."""
        self._sealed = sealed
        self._bare = bare
        self._bare_cps = frozenset(bare_cps)

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer | BareAnswer, None]:
        """Give answers of both kinds as they arrive; see ``Retrieval``."""
        sealed = [one for one in wanted if one[0] not in self._bare_cps]
        bare = [one for one in wanted if one[0] in self._bare_cps]
        sources: list[AsyncGenerator[Answer | BareAnswer, None]] = []
        if sealed:
            sources.append(self._sealed.retrieve(sealed, give_up_at, wait_until))
        if bare:
            sources.append(self._bare.retrieve(bare, give_up_at, wait_until))
        source = sources[0] if len(sources) == 1 else _merged(sources)
        async with contextlib.aclosing(source) as answers:
            async for answer in answers:
                yield answer


async def _merged(
    sources: Sequence[AsyncGenerator[Answer | BareAnswer, None]],
) -> AsyncGenerator[Answer | BareAnswer, None]:
    """Give what each source gives, as it comes; ends them all when it is closed."""
    arrived: asyncio.Queue[Answer | BareAnswer | None] = asyncio.Queue()

    async def drain(source: AsyncGenerator[Answer | BareAnswer, None]) -> None:
        try:
            async with contextlib.aclosing(source):
                async for answer in source:
                    arrived.put_nowait(answer)
        finally:
            arrived.put_nowait(None)

    tasks = [asyncio.create_task(drain(source)) for source in sources]
    try:
        left = len(tasks)
        while left:
            found = await arrived.get()
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bare(answer: Answer) -> BareAnswer:
    # what is no ASCII is no token: it is found out where tokens are read
    tokens = tuple(blob.decode("ascii", "replace").strip() for blob in answer.blobs)
    return BareAnswer(
        answer.cps, answer.number, tokens, answer.reason, answer.detail, answer.clock_offset
    )


def _result(cps: str, reply: Reply) -> StoreResult:
    """What a CPS's answer to a submission stands for."""
    try:
        expect(reply, 201)
    except CpsRefused as error:
        return StoreResult(cps, Reason.CPS_REFUSED, error.message, reply.clock_offset)
    except CpsUnavailable as error:
        return StoreResult(cps, Reason.CPS_UNAVAILABLE, error.message, reply.clock_offset)
    return StoreResult(cps, Reason.STORED, "", reply.clock_offset)
