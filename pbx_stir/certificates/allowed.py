"""Puts the x5u fetch together: rule, hosts, TLS, and the cache in front."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from pbx_stir.certificates.cache import CertificateCache
from pbx_stir.certificates.fetch import FETCH_SECONDS, X5uFetcher
from pbx_stir.errors import UsageError
from pbx_stir.stir.x5u import EgressRule


def origin_of(text: str) -> tuple[str, int]:
    """``HOST:PORT`` as an origin; an IPv6 address stands in brackets.

    Raises:
        UsageError: it is not of that form
    """
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]").lower()
    if not separator or not host or not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise UsageError(f"{text!r} is not HOST:PORT")
    if not 1 <= int(port) <= 65535:
        raise UsageError(f"{text!r}: no such port")
    return host, int(port)


def fetching(
    allow: Sequence[str],
    tls_ca: str | Path | None,
    hosts: frozenset[str] | None,
    *,
    seconds: float = FETCH_SECONDS,
) -> tuple[CertificateCache, Callable[[], Awaitable[None]]]:
    """A certificate source that fetches, and what closes it.

    ``allow`` are ``HOST:PORT`` origins for which host, port and address rules do not apply, reached
    with the CAs of ``tls_ca``; ``hosts`` are the others that are fetched from, None for any.
    ``seconds`` bound each fetch.

    Raises:
        UsageError: an origin that is none, or CAs that cannot be read
    """
    origins = frozenset(origin_of(one) for one in allow)
    origin_tls: dict[tuple[str, int], ssl.SSLContext] = {}
    if tls_ca is not None:
        try:
            context = ssl.create_default_context(cafile=str(tls_ca))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read CA certificates from {tls_ca}: {error}") from error
        origin_tls = dict.fromkeys(origins, context)
    rule = EgressRule(origins=origins)
    fetcher = X5uFetcher(rule=rule, hosts=hosts, origin_tls=origin_tls, seconds=seconds)
    cache = CertificateCache(fetcher)

    async def close() -> None:
        await cache.close()
        await fetcher.close()

    return cache, close
