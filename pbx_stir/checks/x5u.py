"""Checks of where others get our certificate: is it there, and is it the one that we sign with."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir import configured
from pbx_stir.certificates.allowed import origin_of
from pbx_stir.certificates.fetch import X5uFetcher
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.places import place
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError, Malformed, PbxStirError, UsageError
from pbx_stir.stir import credential
from pbx_stir.stir.chain import parse_pem_chain
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.x5u import EgressRule

SECONDS: Final = 5.0
# RFC 6761 section 6.4: there is no such host; chosen where the certificate is published nowhere
_NOWHERE: Final = ".invalid"


async def check_x5u(loaded: Loaded, index: int) -> AsyncIterator[Finding]:
    """Give whether the x5u of one ``[[credential]]`` serves its certificate."""
    section = loaded.values.credential[index]
    where = place(loaded, f"credential[{index}].x5u")
    try:
        one = credential.load(
            loaded.read(where, section.certificate),
            loaded.read_private(where, section.key),
            x5u=section.x5u,
            ppt=section.ppt,
        )
        fetcher = _fetcher(loaded, section.x5u)
    except (ConfigurationError, UsageError, ValueError):
        # has its own finding
        return
    needed = _is_needed(loaded)
    if (urlsplit(one.x5u).hostname or "").lower().endswith(_NOWHERE):
        await fetcher.close()
        if needed:
            what = f"{one.x5u} is a place that cannot be, and PASSporTs travel without certificates"
            hint = "publish the certificate file over https, and say where: x5u"
            yield error("x5u-unreachable", what, where, hint)
        return
    try:
        body = (await fetcher.fetch(one.x5u)).body
    except PbxStirError as wrong:
        make = error if needed else note
        why = "" if needed else ": no matter while every PASSporT is sealed with its certificates"
        hint = "serve the certificate file there, over https, to everybody"
        yield make("x5u-unreachable", f"{wrong.message}{why}", where, hint)
        return
    finally:
        await fetcher.close()
    found = await asyncio.to_thread(_compare, body, one, where, needed)
    if found is not None:
        yield found


def _is_needed(loaded: Loaded) -> bool:
    """Whether others fetch it: where a PASSporT travels without its certificates."""
    values = loaded.values
    return any(one.in_band for one in values.trunk) or any(
        one.sealing == "none" for one in values.route
    )


def _fetcher(loaded: Loaded, url: str) -> X5uFetcher:
    """One for our own place: wherever it is, with the CAs that are configured for it."""
    parts = urlsplit(url)
    origin = ((parts.hostname or "").lower(), parts.port or 443)
    section = loaded.values.verification
    tls: dict[tuple[str, int], ssl.SSLContext] = {}
    if origin in {origin_of(one) for one in section.x5u_allow}:
        context = configured.tls_of(loaded, "verification.x5u_tls_ca", section.x5u_tls_ca)
        if context is not None:
            tls[origin] = context
    rule = EgressRule(origins=frozenset({origin}))
    return X5uFetcher(rule=rule, origin_tls=tls, seconds=SECONDS)


def _compare(body: bytes, one: Credential, where: str, needed: bool) -> Finding | None:
    make = error if needed else warning
    hint = "put the file of credential.certificate there, whenever it is renewed"
    try:
        served = [each.public_bytes(Encoding.DER) for each in parse_pem_chain(body)]
    except Malformed as wrong:
        what = f"{one.x5u} serves no certificate: {wrong.message}"
        return make("x5u-other-certificate", what, where, hint)
    if one.chain[0] not in served:
        what = f"{one.x5u} serves another certificate than the one we sign with"
        return make("x5u-other-certificate", what, where, hint)
    missing = [each for each in one.chain[1:] if each not in served]
    if missing:
        what = f"{one.x5u} serves our certificate without {len(missing)} of its authorities"
        return warning("x5u-chain-incomplete", what, where, hint)
    return None
