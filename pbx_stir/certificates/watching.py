"""Puts revocation together: files, URLs of the configuration, and the fetch in the background."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pbx_stir.certificates.revocation import Policy, RevocationWatch
from pbx_stir.certificates.revocation_files import RevocationFiles
from pbx_stir.errors import UsageError
from pbx_stir.stir.certificate import Anchors

_SCHEMES = ("http://", "https://")


def is_url(text: str) -> bool:
    """Tell whether an item of ``crls`` is a URL, not a pattern of files."""
    return text.lower().startswith(_SCHEMES)


def watching(
    *,
    anchors: Callable[[], Anchors],
    policy: Policy,
    crls: Sequence[str] = (),
    signers: Sequence[str] = (),
    fetch: bool = True,
    allow: Sequence[str] = (),
    tls_ca: str | Path | None = None,
) -> tuple[RevocationWatch, Callable[[], Awaitable[None]]]:
    """Give a watch, and what closes it. Blocks while it reads the files.

    ``crls`` are patterns of files (DER or PEM) and http or https URLs; ``signers`` patterns of PEM
    files with the certificates of who signs lists. The host, port and address rules do not apply to
    the origins of these URLs and to those of ``allow`` (``HOST:PORT``), which are reached with the
    CAs of ``tls_ca`` where it is given. Without ``fetch`` there are the files alone.

    Raises:
        ConfigurationError: a file that cannot be read, or holds no list or certificate
        UrlRefused, UsageError: a URL, an origin or a file of CAs that is none
    """
    urls = [one for one in crls if is_url(one)]
    patterns = tuple(one for one in crls if not is_url(one))
    files = RevocationFiles(patterns, tuple(signers))
    if not fetch or policy == "off":
        alone = RevocationWatch(anchors=anchors, policy=policy, files=files)
        return alone, alone.close
    from pbx_stir.certificates.allowed import origin_of
    from pbx_stir.certificates.revocation_fetch import RevocationFetcher

    allowed = frozenset(map(origin_of, allow))
    origin_tls = {} if tls_ca is None else dict.fromkeys(allowed, _client_tls(tls_ca))
    fetcher = RevocationFetcher(
        origins=allowed.union(map(_origin_of_url, urls)), origin_tls=origin_tls
    )
    watch = RevocationWatch(anchors=anchors, policy=policy, fetcher=fetcher, files=files, urls=urls)

    async def close() -> None:
        await watch.close()
        await fetcher.close()

    return watch, close


def _client_tls(tls_ca: str | Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(tls_ca))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read CA certificates from {tls_ca}: {error}") from error


def _origin_of_url(url: str) -> tuple[str, int]:
    """Give the origin of a URL that the configuration names."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return (parts.hostname or "").lower(), port
    except ValueError as error:
        raise UsageError(f"{url!r} is not a URL") from error
