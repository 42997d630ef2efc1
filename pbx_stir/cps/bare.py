"""The call placement service of RFC 9888: PASSporTs as they are, for the provider whose calls
they are about.

Takes requests on the paths of RFC 8816 section 9; gives answers and problems. Nothing is sealed
here, so nothing is hidden either: there are no dummies, a list may be empty, and who retrieves must
show that the number is his. It listens on a socket of its own, keeps a store of its own, and takes
nothing but what parses as a PASSporT in full form, so that no sealed one is ever kept by mistake.

The checks of a submission, cheap ones first: peer's rate, path and number, method, content type,
whether it is signed at all, size, body, signature and signer, the signer's rate, the rate of all,
the PASSporT's form, its freshness, its dest. The rate of all comes so late that nobody takes of it
who may not submit. That the PASSporT's own signature holds is for who retrieves it: its certificate
is somewhere else.

Source: RFC 9888 sections 5 ("for no longer than the freshness interval of the PASSporT itself (a
maximum of sixty seconds)") and 6 ("will need to inspect the "dest" element"), RFC 8816 section 9.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, admit, answer, read_body, require_type
from pbx_stir.cps.asking import Asking, unauthorised
from pbx_stir.cps.holders import Holder, Holders
from pbx_stir.cps.limits import PeerBuckets, TokenBucket
from pbx_stir.cps.serving import Serving, Step
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import Entry, EntryStore, MemoryStore
from pbx_stir.cps.tally import Tally
from pbx_stir.cps.wire import Resource, Target
from pbx_stir.errors import ConfigurationError, Malformed
from pbx_stir.stir import jws, passport
from pbx_stir.stir.passport import Passport
from pbx_stir.stir.signed_request import SUBMISSION, is_signed

SIGNED: Final = "signed"
ANY: Final = "any"
_ALLOW: Final = {
    Resource.HEALTH: "GET, HEAD",
    Resource.COLLECTION: "GET, HEAD, POST",
    Resource.ITEM: "GET, HEAD",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BareSettings:
    """How the listener for unsealed PASSporTs runs. Rates are requests a second.

    ``common`` has what it shares with every listener: address, TLS, limits, anchors, the table of
    providers' codes, names. ``submitters`` and ``retrieval`` are ``SIGNED`` or ``ANY``;
    ``signer_rate`` is that of an address where nobody signs. Raises ``ConfigurationError`` where
    requests are to be signed and nobody could be trusted.
    """

    common: CpsSettings
    submitters: str = SIGNED
    retrieval: str = SIGNED
    submission_rate: float = 1_000.0
    signer_rate: float = 100.0

    def __post_init__(self) -> None:
        if not {self.submitters, self.retrieval} <= {SIGNED, ANY}:
            raise ConfigurationError(f"submitters and retrieval are {SIGNED!r} or {ANY!r}")
        if self.common.anchors is None and SIGNED in {self.submitters, self.retrieval}:
            raise ConfigurationError(
                "unsealed passports are for signed requests, and no anchors are configured",
                hint="cps.trust names the authorities of those who sign",
            )

    def new_store(self) -> MemoryStore:
        """Make a store of its own, with the longest lifetime there is."""
        return MemoryStore(
            passport.FRESHNESS_SECONDS,
            max_entries_of_a_number=self.common.max_entries_of_a_number,
            max_octets=self.common.max_octets,
        )


def build_bare_service(
    settings: BareSettings,
    store: EntryStore,
    now: Callable[[], float] = time.time,
    *,
    clock: Callable[[], float] = time.monotonic,
    tally: Tally | None = None,
) -> Serving:
    """Build the service; ``now`` is the wall clock, ``clock`` one that never steps.

    ``store`` must be this service's alone. ``tally`` counts what is answered, by resources of
    its own: "bare-collection" and the like. Raises ``ConfigurationError``.
    """
    service = _Bare(settings, store, now, clock)
    if tally is not None:
        service.count_in(tally, "bare-")
    return service


class _Bare(Serving):
    """What it answers to each resource and method."""

    def __init__(
        self,
        settings: BareSettings,
        store: EntryStore,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        common = settings.common
        super().__init__(_ALLOW, common.peer_rate, clock)
        self._settings = settings
        self._store = store
        self._now = now
        self._store_clock = store.clock or clock
        self._retrievals = TokenBucket(common.retrieval_rate, common.retrieval_rate)
        self._submissions = TokenBucket(settings.submission_rate, settings.submission_rate)
        self._signers = PeerBuckets(settings.signer_rate, settings.signer_rate)
        self._holders = Holders.of(common, now)
        self._asking = Asking(self._holders, client_certificates=common.client_certificates)

    async def _serve(
        self, target: Target, request: web.BaseRequest, peer: str
    ) -> web.StreamResponse:
        match target.resource, request.method:
            case Resource.COLLECTION | Resource.ITEM, "GET" | "HEAD":
                admit(self._retrievals.take(self._clock()))
                return await self._retrieve(target, request, peer)
            case Resource.COLLECTION, "POST":
                return await self._submit(target.number, request, peer)
        raise self.no_such_method(target)

    async def _submit(self, number: str, request: web.BaseRequest, peer: str) -> web.Response:
        """Take one PASSporT in full form; one that is there already has the id that it got."""
        require_type(request, wire.PASSPORT_TYPE)
        owner = ""
        signed = self._settings.submitters == SIGNED
        if signed and not self._says_who(request):
            raise unauthorised("submissions are signed with a stir credential here")
        if not signed:
            self._admit_submitter(peer)
        body = await read_body(request, passport.MAX_OCTETS)
        if signed:
            signer = await self._asking.known_holder(request, peer, typ=SUBMISSION, body=body)
            owner = signer.leaf.hex()
            self._admit_submitter(owner)
        token = self._fresh(number, body).token.encode("ascii")
        for held in await self._alive(number):
            if held.wire == token:
                return answer(201, Location=wire.item_path(number, held.id))
        entry_id = await self._store.add(number, token, self._store_clock(), owner=owner)
        return answer(201, Location=wire.item_path(number, entry_id))

    def _admit_submitter(self, name: str) -> None:
        """Admit who submits, a certificate or an address, and then at the rate of all.

        Loopback ("") has no rate of its own.
        """
        if name:
            admit(self._signers.take(name, self._clock()))
        admit(self._submissions.take(self._clock()))

    def _says_who(self, request: web.BaseRequest) -> bool:
        """Whether it is worth reading a body: it is signed, or TLS may have shown who sends it."""
        signed = any(map(is_signed, request.headers.getall("Authorization", ())))
        return signed or (self._settings.common.client_certificates and request.secure)

    def _fresh(self, number: str, body: bytes) -> Passport:
        """Read a PASSporT that belongs here and now. Raises ``Failure``."""
        try:
            # RFC 8816 section 9 shows a body in several lines
            token = passport.parse("".join(body.decode("ascii").split()))
        except (Malformed, UnicodeDecodeError) as error:
            why = error.message if isinstance(error, Malformed) else "not ascii"
            _log.debug("a submission is no passport: %s", why)
            raise Failure(400, "the body is not a passport in full form") from None
        age = self._now() - token.iat
        if age > passport.FRESHNESS_SECONDS:
            raise Failure(400, f"the passport is older than {passport.FRESHNESS_SECONDS} seconds")
        if age < -passport.FUTURE_TOLERANCE_SECONDS:
            raise Failure(400, "the passport is of the future")
        if number not in token.dest:
            raise Failure(400, "dest of the passport does not hold the number of the path")
        return token

    async def _retrieve(self, target: Target, request: web.BaseRequest, peer: str) -> web.Response:
        """List a number's PASSporTs, newest first, or give one of them."""
        if self._settings.retrieval == SIGNED:
            holder: Holder = await self._asking.known_holder(request, peer)
            if not holder.may(target.number):
                raise unauthorised("the certificate does not cover this number")
        entries = await self._alive(target.number)
        if target.resource is Resource.ITEM:
            entry = next((one for one in entries if one.id == target.id), None)
            if entry is None:
                raise Failure(404, "there is no such passport, or no longer")
            link = f'<{wire.collection_path(target.number)}>; rel="collection"'
            return answer(200, entry.wire, wire.PASSPORT_TYPE, Link=link)
        if request.rel_url.raw_query_string and request.query.get("expand") == "1":
            body = wire.format_expanded(target.number, ((one.id, one.wire) for one in entries))
            return answer(200, body, wire.JSON_TYPE)
        ids = [one.id for one in entries]
        if wire.prefers_uri_list(request.headers.get("Accept", "")):
            return answer(200, wire.format_uri_list(target.number, ids), wire.URI_LIST_TYPE)
        return answer(200, wire.format_list(target.number, ids), wire.JSON_TYPE)

    async def _alive(self, number: str) -> list[Entry]:
        """Give what is fresh: each goes sixty seconds after its iat, whenever it came."""
        oldest = self._now() - passport.FRESHNESS_SECONDS
        entries = await self._store.entries(number, self._store_clock())
        return [one for one in entries if _iat(one.wire) > oldest][: wire.MAX_LISTED]

    def _sweep(self) -> Sequence[Step]:
        return [
            lambda: self._signers.sweep(self._clock()),
            *([self._holders.sweep] if self._holders is not None else []),
            lambda: self._store.sweep(self._store_clock()),
        ]


class _Dated(msgspec.Struct):
    """The one claim that is read again."""

    iat: int


_read_dated = msgspec.json.Decoder(_Dated).decode


def _iat(token: bytes) -> int:
    """Read iat of a PASSporT that was parsed before it was stored."""
    payload = token.split(b".")[1].decode("ascii")
    return _read_dated(jws.decode_segment(payload)).iat
