"""Who may retrieve what: holders of numbers, shown by STIR credentials (RFC 9888 section 6).

Takes what a request carries, gives a ``Holder`` that answers for each number whether its
certificate covers it, or refuses. A signed request is checked in this order: form and signature;
audience, method, path, time and body; the path to an anchor; single use. Nothing is fetched: the
chain comes along. "the STIR credential of the terminating domain can be used by the CPS to
determine the range of TNAuthLists for which an OOB-VS is entitled to receive PASSporTs".
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.cps.limits import PeerBuckets
from pbx_stir.cps.names import cps_names
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import CertificateUntrusted, Refused, RequestRefused, Unavailable
from pbx_stir.services.judgement import RevocationSource
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy, find_path, parse_chain
from pbx_stir.stir.digits import MAX_DIGITS, Intervals, inside, joined
from pbx_stir.stir.signed_request import (
    RETRIEVAL,
    WINDOW_SECONDS,
    SignedRequest,
    check_terms,
    read_request,
)
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.ledger import Ledger, MemoryLedger

MAX_HOLDERS: Final = 1_024
# A path may cost two dozen signature checks: new chains a second of one peer, and at once.
NEW_CHAINS_RATE: Final = 100.0
NEW_CHAINS_AT_ONCE: Final = 1_000.0
# of numbers whose length nobody knows: country code, area and subscriber, as most are
_USUAL_DIGITS: Final = 11


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """Who has shown a certificate that holds. ``leaf`` names it: the SHA-256 of its DER.

    ``anchors`` is the digest of those under which the path was found. One holder is one object as
    long as its path is remembered.
    """

    leaf: bytes
    path: Path
    policy: SpcPolicy
    anchors: bytes
    _rows: tuple[Intervals, ...]

    @classmethod
    def of(cls, path: Path, policy: SpcPolicy, anchors: Anchors) -> Holder:
        """Prepare a path's lists, of thousands of entries maybe, to be asked for every arrival."""
        own = (path.tn_auth_list,) if path.tn_auth_list.has_numbers else ()
        return cls(
            hashlib.sha256(path.leaf.public_bytes(Encoding.DER)).digest(),
            path,
            policy,
            anchors.digest,
            tuple(joined(_spans(listed)) for listed in (*own, *path.above)),
        )

    @property
    def not_after(self) -> float:
        """The epoch second after which the path holds no more."""
        return self.path.not_after

    def may(self, number: str) -> bool:
        """Say whether what is stored under a canonical number is for this holder.

        The same as ``Path.authorises``, for a path that does not overreach.
        """
        listed = self.path.tn_auth_list
        if not listed.has_numbers and self.policy.owners(number).isdisjoint(listed.spcs):
            return False
        return all(inside(row, len(number), int(number), int(number)) for row in self._rows)

    def number_under(self, prefix: str) -> str:
        """Give one number with a prefix, always the same: this holder's where it has some there.

        It is what the dummies of that prefix are made for.
        """
        draw = hashlib.sha256(b"pbx-stir number under\0" + self.leaf + prefix.encode()).digest()
        spans = list(self._spans_under(prefix))
        if not spans:
            spans = [_span(prefix, max(_USUAL_DIGITS, len(prefix)))]
        digits, first, last = spans[int.from_bytes(draw[:8], "big") % len(spans)]
        return str(first + int.from_bytes(draw[8:], "big") % (last - first + 1)).zfill(digits)

    def narrowed(self, prefix: str) -> str | None:
        """Give the longest prefix that all this holder's numbers with a prefix have; None for none.

        So that what is looked through is what may be given, as far as that can be.
        """
        ends = [
            str(each).zfill(digits)
            for digits, first, last in self._spans_under(prefix)
            for each in (first, last)
        ]
        if not ends:
            return None
        least, most = min(ends), max(ends)
        same = (at for at, digit in enumerate(least) if digit != most[at : at + 1])
        return least[: next(same, len(least))]

    def _spans_under(self, prefix: str) -> Iterator[tuple[int, int, int]]:
        """Give what the holder has with a prefix, as (digits, first, last)."""
        listed = self.path.tn_auth_list
        if listed.has_numbers:
            for digits, first, last in _spans(listed):
                if digits >= len(prefix):
                    _, lowest, highest = _span(prefix, digits)
                    low, high = max(lowest, first), min(highest, last)
                    if low <= high:
                        yield digits, low, high
            return
        for region, owners in self.policy.table.items():
            if not owners.isdisjoint(listed.spcs):
                longer = max(region, prefix, key=len)
                if longer.startswith(region) and longer.startswith(prefix):
                    yield _span(longer, min(MAX_DIGITS, max(_USUAL_DIGITS, len(longer))))


class Holders:
    """Tells who asks. ``now`` is the wall clock; ``anchors`` gives those in force, None for none.

    ``audiences`` are the CPS's names in lower case. Paths that held are remembered until they end
    or the anchors change.
    """

    def __init__(
        self,
        anchors: Callable[[], Anchors | None],
        policy: SpcPolicy,
        audiences: Container[str],
        used: Ledger,
        now: Callable[[], float],
        revocation: RevocationSource | None = None,
        since: float = 0.0,
    ) -> None:
        """``used`` remembers which requests were used ``since`` then; older ones are refused."""
        self._anchors = anchors
        self._since = since
        self._revocation = revocation
        self._policy = policy
        self._audiences = audiences
        self._used = used
        self._now = now
        self._known: OrderedDict[bytes, Holder] = OrderedDict()
        self._new_chains = PeerBuckets(NEW_CHAINS_RATE, NEW_CHAINS_AT_ONCE)

    @classmethod
    def of(cls, settings: CpsSettings, now: Callable[[], float]) -> Holders | None:
        """Make what these settings describe; None where nobody could be trusted.

        Raises ``ConfigurationError``.
        """
        if settings.anchors is None:
            return None
        kept = [one for one in (settings.used, settings.ledger) if one is not None]
        return cls(
            settings.anchors,
            settings.spc_policy,
            cps_names(settings.names, certificate=settings.certificate if settings.tls else ""),
            kept[0] if kept else MemoryLedger(now),
            now,
            revocation=settings.revocation,
            since=settings.since,
        )

    async def of_request(
        self,
        authorization: str,
        method: str,
        path: str,
        *,
        peer: str = "",
        typ: str = RETRIEVAL,
        body: bytes = b"",
    ) -> Holder:
        """Check a signed request of this ``typ``; ``path`` is as it came, query and all.

        Raises ``Malformed``, ``Refused`` and ``Unavailable``, of these ``StoreUnavailable`` where
        it is the memory of used requests that does not answer.
        """
        signed = read_request(authorization, typ)
        check_terms(
            signed,
            audiences=self._audiences,
            method=method,
            path=path,
            body=body,
            now=self._now(),
        )
        if signed.iat < int(self._since):
            raise RequestRefused(
                "a signed request from before this service was started",
                hint="sign a new one; is the clock right?",
            )
        holder = self._holder(signed.statement.chain, peer)
        if not await self._used.once(_use(holder, signed), 2 * WINDOW_SECONDS):
            raise RequestRefused("a signed request that was used before")
        return holder

    def of_certificates(self, ders: Sequence[bytes], *, peer: str = "") -> Holder:
        """Take the certificates of a TLS client, leaf first, who has shown to have the leaf's key.

        Raises ``Malformed``, ``Refused`` and ``Unavailable``.
        """
        return self._holder(parse_chain(ders), peer)

    def is_still(self, holder: Holder) -> bool:
        """Say whether what made this a holder still holds."""
        anchors = self._anchors()
        now = self._now()
        if anchors is None or anchors.digest != holder.anchors or int(now) > holder.not_after:
            return False
        try:
            self._check_revocation(holder.path, now)
        except (Refused, Unavailable):
            return False
        return True

    def sweep(self) -> None:
        """Forget peers that have asked little, and paths that have ended."""
        now = self._now()
        self._new_chains.sweep(now)
        for key in [each for each, holder in self._known.items() if not self.is_still(holder)]:
            del self._known[key]

    def _holder(self, chain: Sequence[x509.Certificate], peer: str) -> Holder:
        """Find the chain's path, or remember it."""
        anchors = self._anchors()
        if anchors is None:
            raise RequestRefused("no anchors are configured")
        ders = [each.public_bytes(Encoding.DER) for each in chain]
        key = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in ders)).digest()
        holder = self._known.get(key)
        if holder is not None and self.is_still(holder):
            self._known.move_to_end(key)
            return holder
        now = self._now()
        if self._new_chains.take(peer, now) > 0:
            raise RequestRefused("too many certificates that were not seen before")
        path = find_path(chain, anchors, now)
        if path.overreaches():
            raise CertificateUntrusted("its list goes beyond that of its authority")
        self._check_revocation(path, now)
        holder = self._known[key] = Holder.of(path, self._policy, anchors)
        if len(self._known) > MAX_HOLDERS:
            self._known.popitem(last=False)
        return holder

    def _check_revocation(self, path: Path, now: float) -> None:
        """Refuse what is revoked, by what is known. Raises ``Refused`` and ``Unavailable``."""
        if self._revocation is not None:
            self._revocation.check(path, now)


def _use(holder: Holder, signed: SignedRequest) -> bytes:
    """Name one use of a nonce; it is random, so that the name tells nobody anything."""
    nonce = signed.nonce.encode("ascii")
    return hashlib.sha256(b"pbx-stir retrieval\0" + holder.leaf + nonce).digest()


def _spans(listed: TnAuthList) -> Iterator[tuple[int, int, int]]:
    """Give each entry made of digits as (digits, first, last)."""
    singles = ((each, 1) for each in listed.numbers if each.isdigit())
    for start, count in (*listed.ranges, *singles):
        yield len(start), int(start), min(int(start) + count, 10 ** len(start)) - 1


def _span(prefix: str, digits: int) -> tuple[int, int, int]:
    """Give all numbers of so many digits with a prefix, as (digits, first, last)."""
    return digits, int(prefix.ljust(digits, "0")), int(prefix.ljust(digits, "9"))
