"""Issuing storage tokens: blind signatures for who has a STIR credential (RFC 8816 section 7.5).

Takes requests signed with a STIR credential, gives blind signatures, or refuses. The checks, cheap
ones first: the nonce, which is ours and young, without any signature work; form and signature of
the request; audience, method, path, time and body; the batch; the path from the chain that came
along to an anchor, nothing is fetched; that the nonce is new; and what the signer may still have.
Then the whole batch is signed, or none of it.

How much one may have is counted for its leaf's key, for each authority above it up to the anchor,
and for each provider code of the leaf: whoever can make leaves, or authorities below itself, gets
no more by making them. A nonce needs no memory: it is a time and an HMAC.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import os
import secrets
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pbx_stir.errors import Malformed, Refused, RequestRefused, TokenRefused, Unavailable
from pbx_stir.stir import jws
from pbx_stir.stir.certificate import Anchors, Path, find_path
from pbx_stir.stir.signed_request import (
    MAX_TOKEN_OCTETS,
    TOKEN_REQUEST,
    WINDOW_SECONDS,
    SignedRequest,
    check_terms,
    is_signed,
    read_request,
)
from pbx_stir.tokens import exchange
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.exchange import BlindedBatch
from pbx_stir.tokens.key_files import COUNTED_SECONDS
from pbx_stir.tokens.keys import SigningKey, TokenKeys
from pbx_stir.tokens.ledger import Counter, Ledger
from pbx_stir.tokens.raw_rsa import RawSigner

NONCE_SECONDS: Final = 60
TOKENS_PER_LEAF: Final = 20_000
TOKENS_PER_ISSUER: Final = 1_000_000
TOKENS_PER_SPC: Final = 100_000
# signing threads, and batches that wait for one: a second or so of work
MOST_THREADS: Final = 2
MOST_WAITING: Final = 32

_TIME_OCTETS: Final = 8
_DRAWN_OCTETS: Final = 8
_MAC_OCTETS: Final = 16
_REMEMBERED_SECONDS: Final = NONCE_SECONDS + 2.0 * WINDOW_SECONDS


@dataclass(frozen=True, slots=True)
class IssuingLimits:
    """How many tokens of one epoch a signer may have, by what it is known by."""

    per_leaf: int = TOKENS_PER_LEAF
    per_issuer: int = TOKENS_PER_ISSUER
    per_spc: int = TOKENS_PER_SPC


class SigningPool:
    """Signs batches in threads, a bounded number at a time."""

    def __init__(self, threads: int | None = None, *, most_waiting: int = MOST_WAITING) -> None:
        self._threads = ThreadPoolExecutor(
            threads or min(MOST_THREADS, os.cpu_count() or 1), "blind-signing"
        )
        self._most_waiting = most_waiting
        self._taken = 0

    def take_room(self) -> None:
        """Make sure of a place for one batch. Raises ``Unavailable`` where there is none."""
        if self._taken >= self._most_waiting:
            raise Unavailable("blind signing is busy")
        self._taken += 1

    def give_room_back(self) -> None:
        """Leave a place that is not needed."""
        self._taken -= 1

    async def sign(self, signer: RawSigner, blinded: Sequence[bytes]) -> list[bytes]:
        """Sign all in the place that was taken, or raise ``Unavailable``; the place is free then.

        Where the caller gives up, it is free when the work is done.
        """
        try:
            work = self._threads.submit(lambda: [signer.sign(one) for one in blinded])
        except RuntimeError as error:
            self.give_room_back()
            raise Unavailable("blind signing has ended") from error
        loop = asyncio.get_running_loop()
        work.add_done_callback(lambda _: _tell(loop, self.give_room_back))
        return await asyncio.wrap_future(work)

    def close(self) -> None:
        """Take no more; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Issuer:
    """Issues the tokens of one CPS. ``names`` are its host names in lower case, without port."""

    def __init__(
        self,
        keys: TokenKeys,
        ledger: Ledger,
        names: Container[str],
        anchors: Callable[[], Anchors],
        *,
        pool: SigningPool,
        limits: IssuingLimits | None = None,
        check_path: Callable[[Path, float], None] | None = None,
    ) -> None:
        """``anchors`` gives whose chains are trusted now; ``check_path`` may refuse one more."""
        self._keys = keys
        self._ledger = ledger
        self._names = names
        self._anchors = anchors
        self._pool = pool
        self._limits = limits or IssuingLimits()
        self._check_path = check_path

    def read(self, authorizations: Sequence[str], now: float) -> SignedRequest:
        """Check all that needs no body, the nonce before any signature.

        ``authorizations`` are the values of this header field, all of them.
        Raises ``TokenRefused`` with status 401.
        """
        if len(authorizations) != 1 or not is_signed(authorizations[0]):
            raise TokenRefused("tokens are issued to requests signed with a STIR credential")
        token = authorizations[0].partition(" ")[2]
        try:
            claims = jws.read(token, typ=TOKEN_REQUEST, max_octets=MAX_TOKEN_OCTETS).claims
            if not nonce_holds(self._keys, str(claims.get("jti")), now):
                raise TokenRefused(f"the nonce is not ours, or older than {NONCE_SECONDS} s")
            return read_request(authorizations[0], TOKEN_REQUEST)
        except Malformed as error:
            raise TokenRefused(error.message) from error

    async def issue(self, signed: SignedRequest, body: bytes, now: float) -> bytes:
        """Give the answer's body to a request that ``read`` gave: all its signatures.

        Raises ``MalformedToken`` for a body that is none; ``TokenRefused`` with its status: 401
        where the signer is not shown, 409 where the nonce was used or the epoch is none to be had
        tokens of, 429 where there are no more; ``Unavailable`` where signing is busy.
        """
        try:
            check_terms(
                signed,
                audiences=self._names,
                method="POST",
                path=exchange.TOKENS_PATH,
                body=body,
                now=now,
            )
        except RequestRefused as error:
            raise TokenRefused(error.message, hint=error.hint) from error
        batch = exchange.parse_request(body)
        signing = self._key_for(batch, now)
        path = self._path(signed, now)
        self._pool.take_room()
        try:
            await self._count(signed, path, signing, len(batch.blinded), now)
        except BaseException:
            self._pool.give_room_back()
            raise
        return exchange.format_signatures(await self._pool.sign(signing.signer, batch.blinded))

    def _path(self, signed: SignedRequest, now: float) -> Path:
        """Find the signer's path to an anchor; nothing is fetched."""
        try:
            path = find_path(signed.statement.chain, self._anchors(), now)
            if self._check_path is not None:
                self._check_path(path, now)
        except (Malformed, Refused) as error:
            raise TokenRefused(error.message, hint=error.hint) from error
        if path.overreaches():
            raise TokenRefused("the signer's list goes beyond that of its authority")
        return path

    def _key_for(self, batch: BlindedBatch, now: float) -> SigningKey:
        signing = self._keys.of(batch.epoch)
        if signing is None or batch.epoch < epoch_of(now):
            raise TokenRefused(f"there are no tokens of epoch {batch.epoch} to be had", status=409)
        for blinded in batch.blinded:
            signing.signer.check(blinded)
        return signing

    async def _count(
        self, signed: SignedRequest, path: Path, signing: SigningKey, amount: int, now: float
    ) -> None:
        """Use up the nonce, and what the signer may have. Raises ``TokenRefused``."""
        # under its own epoch's secret, whichever epoch it asks for tokens of: it serves once
        maker = _maker(self._keys, jws.decode_segment(signed.nonce))
        if maker is None:
            raise TokenRefused("the nonce is of an epoch that is over")
        used = maker.hidden("issuing") + maker.hidden("nonce", signed.nonce.encode("ascii"))
        if not await self._ledger.once(used, _REMEMBERED_SECONDS):
            raise TokenRefused("the nonce was used before", status=409)
        # all counts of issuing begin with the same octets: they are spent together
        tag = signing.hidden("issuing")
        counted = {tag + signing.hidden(kind, name): most for kind, name, most in self._who(path)}
        counters = [Counter(key, most) for key, most in counted.items()]
        until = signing.public.not_after + COUNTED_SECONDS
        exhausted = await self._ledger.spend(counters, amount, until)
        if exhausted is not None:
            raise TokenRefused(
                f"no {amount} more tokens of epoch {signing.public.epoch} for this signer",
                status=429,
                retry_after=max(1, math.ceil(signing.public.not_after - now)),
            )

    def _who(self, path: Path) -> Iterator[tuple[str, bytes, int]]:
        """Name whom a path's tokens are counted for, and how many each may have."""
        limits = self._limits
        yield "leaf", _key_name(path.leaf), limits.per_leaf
        # an anchor that has others between itself and the leaf stands for all its customers
        above = path.certificates[1:2] + path.certificates[2:-1]
        for authority in above:
            yield "issuer", _key_name(authority), limits.per_issuer
        for code in path.tn_auth_list.spcs:
            yield "spc", code.encode("utf-8"), limits.per_spc


def new_nonce(keys: TokenKeys, now: float) -> str:
    """Make a nonce: time, eight random octets, and an HMAC over both; base64url."""
    signing = keys.of(epoch_of(now))
    if signing is None:
        raise Unavailable("there is no token key for this epoch yet")
    shown = int(now).to_bytes(_TIME_OCTETS, "big") + secrets.token_bytes(_DRAWN_OCTETS)
    return jws.encode_segment(shown + signing.hidden("nonce made", shown))


def nonce_holds(keys: TokenKeys, nonce: str, now: float) -> bool:
    """Tell whether a nonce is one of ours and young enough."""
    try:
        octets = jws.decode_segment(nonce)
    except Malformed:
        return False
    if len(octets) != _TIME_OCTETS + _DRAWN_OCTETS + _MAC_OCTETS:
        return False
    time = int.from_bytes(octets[:_TIME_OCTETS], "big")
    # the second of which it is has not ended; workers' clocks may differ by as much again
    if not -2 < now - time <= NONCE_SECONDS:
        return False
    maker = _maker(keys, octets)
    shown, mac = octets[:-_MAC_OCTETS], octets[-_MAC_OCTETS:]
    return maker is not None and hmac.compare_digest(mac, maker.hidden("nonce made", shown))


def _maker(keys: TokenKeys, nonce: bytes) -> SigningKey | None:
    """Give the key of the epoch that a nonce was made in, by the time that it bears."""
    return keys.of(epoch_of(int.from_bytes(nonce[:_TIME_OCTETS], "big")))


def _key_name(certificate: x509.Certificate) -> bytes:
    """Name a certificate by its key: a new certificate for the same key is no new signer."""
    key = certificate.public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    """Call back in the loop, which may have ended meanwhile."""
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:
        pass
