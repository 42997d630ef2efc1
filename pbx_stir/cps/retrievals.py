"""All that a CPS is asked for what it holds: who asks, and which module answers.

Takes requests with their targets; lists, items, pages and streams answer them. Rates are admitted
before; nothing here knows how anything is stored.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.asking import Asking, unauthorised
from pbx_stir.cps.bulk import Bulk
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.holders import Holder, Holders
from pbx_stir.cps.push import Push, PushLimits
from pbx_stir.cps.retrieving import Retrieving
from pbx_stir.cps.settings import HOLDERS, OPEN, CpsSettings
from pbx_stir.cps.store import EntryStore
from pbx_stir.cps.wire import Target
from pbx_stir.errors import ConfigurationError
from pbx_stir.stir.signed_request import REPORT


class Retrievals:
    """Answers GET and HEAD for collections and items, of numbers and of prefixes."""

    def __init__(
        self,
        settings: CpsSettings,
        store: EntryStore,
        dummies: Dummies,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        """``clock`` is that of store and dummies, ``now`` the wall clock.

        Raises ``ConfigurationError`` for settings that cannot be carried out.
        """
        if settings.retrieval not in (OPEN, HOLDERS):
            raise ConfigurationError(f"cps.retrieval is {OPEN!r} or {HOLDERS!r}")
        if settings.anchors is None and (
            settings.retrieval == HOLDERS or settings.client_certificates
        ):
            raise ConfigurationError(
                "cps has no anchors, so that nobody can show to hold a number",
                hint="cps.trust names the authorities of the holders' certificates",
            )
        try:
            limits = PushLimits(
                settings.push_subscribers,
                settings.push_subscribers_of_a_leaf,
                settings.push_heartbeat_seconds,
            )
        except ValueError as error:
            raise ConfigurationError(f"cps: {error}") from error
        self._holders = Holders.of(settings, now)
        self._asking = Asking(self._holders, client_certificates=settings.client_certificates)
        only = settings.retrieval == HOLDERS
        held = dummies.apart()
        self._single = Retrieving(store, dummies, clock, holders_only=only, for_holders=held)
        self._bulk = Bulk(store, held, clock)
        self._push = Push(store, held, clock, self._is_still, limits)

    def begin(self) -> None:
        """Listen to arrivals, in the running loop."""
        self._push.begin()

    def end(self) -> None:
        """End the streams, which would not end by themselves."""
        self._push.end()

    def sweep(self) -> None:
        """Forget what is no longer needed."""
        self._bulk.sweep()
        if self._holders is not None:
            self._holders.sweep()

    @property
    def subscribers(self) -> int:
        """How many streams there are."""
        return len(self._push)

    async def collection(
        self, target: Target, request: web.BaseRequest, peer: str
    ) -> web.StreamResponse:
        """List a number's entries, or stream them."""
        if wire.prefers_events(request.headers.get("Accept", "")):
            holder = await self._asking.known_holder(request, peer)
            if not holder.may(target.number):
                raise unauthorised("the certificate does not cover this number")
            return await self._push.stream(request, holder, target.number, bulk=False)
        asker = await self._asking.holder(request, peer)
        return await self._single.collection(target.number, request, asker)

    async def item(self, target: Target, request: web.BaseRequest, peer: str) -> web.StreamResponse:
        """Give one of a number's entries."""
        asker = await self._asking.holder(request, peer)
        return await self._single.item(target, asker)

    async def bulk(self, target: Target, request: web.BaseRequest, peer: str) -> web.StreamResponse:
        """List what a prefix has, or stream it."""
        holder = await self._asking.known_holder(request, peer)
        if wire.prefers_events(request.headers.get("Accept", "")):
            return await self._push.stream(request, holder, target.number, bulk=True)
        return await self._bulk.page(target.number, request, holder)

    async def bulk_item(
        self, target: Target, request: web.BaseRequest, peer: str
    ) -> web.StreamResponse:
        """Give one of a prefix's entries."""
        holder = await self._asking.known_holder(request, peer)
        return await self._bulk.item(target.number, target.id, holder)

    async def who_reports(
        self, number: str, request: web.BaseRequest, peer: str, body: bytes
    ) -> Holder:
        """Give the holder of a number who signed a report on it. Raises ``Failure``."""
        holder = await self._asking.known_holder(request, peer, typ=REPORT, body=body)
        if not holder.may(number):
            raise unauthorised("the certificate does not cover this number")
        return holder

    def _is_still(self, holder: Holder) -> bool:
        return self._holders is not None and self._holders.is_still(holder)
