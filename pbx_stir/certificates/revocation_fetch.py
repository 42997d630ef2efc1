"""Fetches revocation lists and OCSP answers, under the egress rule for what is signed itself.

As for an x5u, but http on port 80 is allowed, too: what comes is believed for its signature. Plain
http stays on its own port, and https on its own. At most 64 KiB, in at most 3 s, as every URL that
a stranger chose. It learns from nobody which call a list is wanted for.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

from pbx_stir.certificates.fetch import (
    FETCH_SECONDS,
    Fetched,
    Lookup,
    X5uFetcher,
    system_lookup,
)
from pbx_stir.stir.x5u import CheckedUrl, EgressRule

_PLAIN_PORTS: Final = frozenset({80})


class RevocationFetcher:
    """Fetches by https or, on port 80, by http; one fetch at a time per URL."""

    def __init__(
        self,
        *,
        origins: frozenset[tuple[str, int]] = frozenset(),
        origin_tls: Mapping[tuple[str, int], ssl.SSLContext] | None = None,
        lookup: Lookup = system_lookup,
        seconds: float = FETCH_SECONDS,
    ) -> None:
        """``origins`` are those that the configuration names: host, port and address are free."""
        self._plain = X5uFetcher(
            rule=EgressRule(ports=_PLAIN_PORTS, schemes=frozenset({"http"}), origins=origins),
            hosts=None,
            lookup=lookup,
            seconds=seconds,
        )
        self._secure = X5uFetcher(
            rule=EgressRule(origins=origins),
            hosts=None,
            origin_tls=origin_tls,
            lookup=lookup,
            seconds=seconds,
        )

    def check(self, url: str) -> CheckedUrl:
        """Refuse what will not be fetched, by its text alone. Raises ``UrlRefused``."""
        return self._of(url).check(url)

    async def fetch(self, url: str) -> Fetched:
        """Fetch in bounded time. Raises ``UrlRefused`` or ``CertificateUnavailable``."""
        return await self._of(url).fetch(url)

    async def close(self) -> None:
        """Break off what is under way and close the connections."""
        await self._plain.close()
        await self._secure.close()

    def _of(self, url: str) -> X5uFetcher:
        return self._plain if url[:5].lower() == "http:" else self._secure
