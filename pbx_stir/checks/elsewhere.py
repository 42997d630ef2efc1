"""Checks of what RFC 9888 adds: advertisements of others, and CPSs where nothing is sealed.

Connects to sources of advertisements and to those CPSs as the service does, and stays with none.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from pbx_stir import configured
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.config import Loaded
from pbx_stir.cps.bare_client import BareClient
from pbx_stir.errors import ConfigurationError, PbxStirError

SECONDS = 5.0


async def check_elsewhere(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give which advertisements and which CPSs of unsealed PASSporTs cannot be had."""
    try:
        routes = configured.routes(loaded)
        anchors = configured.anchors(loaded, "verification.trust", loaded.values.verification.trust)
        advertised, close = configured.advertisements(loaded, anchors.current)
        client = BareClient(
            tls=configured.bare_tls(loaded), allow_plain=loaded.values.outgoing.plain_loopback
        )
    except ConfigurationError:
        # has its own finding
        return
    if advertised is not None and close is not None:
        await advertised.load_all()
        await close()
        hint = "signed_by says who must have signed it, verification.trust whom we believe"
        for failure in advertised.failures():
            yield warning("advertisement-unusable", failure, str(loaded.path), hint)
    try:
        for cps in sorted(routes.bare_cps):
            yield note(
                "unsealed",
                "what is stored there is not sealed: it says who calls whom",
                cps,
                "docs/rfc9888.md",
            )
            try:
                await client.clock_offset(cps, time.monotonic() + SECONDS)
            except PbxStirError as wrong:
                hint = wrong.hint or "its address, its certificate (outgoing.tls_ca), or it is down"
                yield error("cps-unreachable", wrong.message, cps, hint)
    finally:
        await client.close()
