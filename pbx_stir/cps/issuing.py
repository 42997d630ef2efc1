"""The CPS's storage tokens over HTTP: its keys, nonces and blind signatures (RFC 8816 section 7.5).

Takes requests for ``/cps/token-keys`` and ``/cps/tokens``, gives answers or ``Failure``. It keeps
the keys in use up to date meanwhile; what is issued and refused is decided in ``tokens.issuer``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from aiohttp import web

from pbx_stir.cps import wire
from pbx_stir.cps.answers import Failure, answer, read_body, require_type
from pbx_stir.cps.names import cps_names
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import (
    ConfigurationError,
    MalformedToken,
    StoreUnavailable,
    TokenRefused,
    Unavailable,
)
from pbx_stir.stir.signed_request import SCHEME
from pbx_stir.tokens import exchange, storage_token
from pbx_stir.tokens.checker import TokenChecker
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.issuer import Issuer, IssuingLimits, SigningPool, new_nonce
from pbx_stir.tokens.journal import Journal
from pbx_stir.tokens.key_files import KeyFiles, MemoryKeys
from pbx_stir.tokens.keys import KeySource, TokenKeys
from pbx_stir.tokens.ledger import MemoryLedger

# another worker may have made keys, and an epoch ends once a day
REFRESH_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Issuing:
    """Answers for token keys and tokens; ``checker`` is for the stores that are made with them."""

    def __init__(
        self,
        keys: TokenKeys,
        checker: TokenChecker,
        issuer: Issuer | None,
        pool: SigningPool,
        now: Callable[[], float],
        own_ledger: MemoryLedger | None = None,
    ) -> None:
        """Without an ``issuer`` nobody can be trusted, so nothing is issued.

        ``own_ledger`` is to be closed at the end.
        """
        self.checker = checker
        self._keys = keys
        self._issuer = issuer
        self._pool = pool
        self._now = now
        self._own_ledger = own_ledger
        self._refreshed = (0.0, 0)

    @classmethod
    def of(cls, settings: CpsSettings, now: Callable[[], float]) -> Issuing | None:
        """Make what these settings describe; None where stores need no token.

        Raises ``ConfigurationError``.
        """
        if not settings.tokens:
            return None
        certificate = settings.certificate if settings.tls else ""
        names = cps_names(settings.names, certificate=certificate)
        keys = TokenKeys(_key_source(settings), _issuer_name(settings, names))
        ledger, own_ledger = settings.ledger, None
        if ledger is None:
            ledger = own_ledger = _ledger(settings, now)
        pool = SigningPool()
        checker = TokenChecker(
            keys,
            ledger,
            names,
            stores_per_token=settings.stores_per_token,
            stores_per_token_and_number=settings.stores_per_token_and_number,
        )
        issuer = None
        if settings.anchors is not None:
            issuer = Issuer(
                keys,
                ledger,
                names,
                settings.anchors,
                pool=pool,
                limits=IssuingLimits(
                    settings.tokens_per_leaf, settings.tokens_per_issuer, settings.tokens_per_spc
                ),
                check_path=settings.revocation.check if settings.revocation else None,
            )
        return cls(keys, checker, issuer, pool, now, own_ledger)

    async def begin(self) -> None:
        """Have keys, made now where there are none yet. Raises ``ConfigurationError``."""
        now = self._now()
        await asyncio.to_thread(self._keys.prepare, now)
        self._refreshed = (now, epoch_of(now))

    async def refresh(self) -> None:
        """Look after the keys, once a minute and when an epoch begins."""
        now = self._now()
        at, epoch = self._refreshed
        if epoch == epoch_of(now) and 0 <= now - at < REFRESH_SECONDS:
            return
        try:
            await self.begin()
        except ConfigurationError as error:
            self._refreshed = (now, epoch_of(now))
            _log.error("token keys: %s", error)

    def end(self) -> None:
        """Sign and count nothing more."""
        self._pool.close()
        if self._own_ledger is not None:
            self._own_ledger.close()

    def keys(self) -> web.Response:
        """Give the list of token keys."""
        return answer(200, self._keys.listed(self._now()), wire.JSON_TYPE)

    def nonce(self) -> web.Response:
        """Give a nonce for one request for tokens."""
        try:
            nonce = new_nonce(self._keys, self._now())
        except Unavailable as error:
            raise _later(error) from None
        return answer(200, exchange.format_nonce(nonce), wire.JSON_TYPE)

    async def issue(self, request: web.BaseRequest) -> web.Response:
        """Sign a batch of blinded messages, or refuse it as a whole."""
        if self._issuer is None:
            raise Failure(503, "no anchors are configured, so no token can be issued")
        try:
            signed = self._issuer.read(request.headers.getall("Authorization", []), self._now())
            require_type(request, wire.JSON_TYPE)
            body = await read_body(request, exchange.MAX_REQUEST_OCTETS)
            signatures = await self._issuer.issue(signed, body, self._now())
        except TokenRefused as error:
            refuse(error, SCHEME)
        except MalformedToken as error:
            raise Failure(400, error.message) from None
        except StoreUnavailable:
            raise
        except Unavailable as error:
            raise _later(error) from None
        return answer(201, signatures, wire.JSON_TYPE)


def refuse(error: TokenRefused, scheme: str = storage_token.SCHEME) -> NoReturn:
    """Say that a token, or a request for some, is refused, and what would not be."""
    failure = Failure(error.status, str(error))
    if error.status == 401:
        failure.headers["WWW-Authenticate"] = scheme
    if error.retry_after:
        failure.headers["Retry-After"] = str(error.retry_after)
    raise failure from None


def _later(error: Unavailable) -> Failure:
    return Failure(503, error.message, Retry_After="1")


def _key_source(settings: CpsSettings) -> KeySource:
    """Keep keys where the settings say. Raises ``ConfigurationError``."""
    if settings.token_keys is not None:
        return settings.token_keys
    return KeyFiles(Path(settings.state_dir) / "token-keys") if settings.state_dir else MemoryKeys()


def _ledger(settings: CpsSettings, now: Callable[[], float]) -> MemoryLedger:
    """Count for one process; keys that outlive it need counts that do.

    Raises ``ConfigurationError``.
    """
    if not settings.state_dir:
        return MemoryLedger(now)
    return MemoryLedger(now, journal=Journal(Path(settings.state_dir) / "token-counts"))


def _issuer_name(settings: CpsSettings, names: Iterable[str]) -> str:
    """Choose the one name that tokens bear: the first configured, else a name before an address."""
    if settings.names:
        return settings.names[0].strip("[]").lower()
    return min(names, key=lambda name: (":" in name or name[-1:].isdigit(), name))
