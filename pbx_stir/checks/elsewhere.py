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


async def check_advertisements(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give which sources of advertisements cannot be had or not be believed."""
    try:
        anchors = configured.anchors(loaded, "verification.trust", loaded.values.verification.trust)
        advertised, close = configured.advertisements(loaded, anchors.current)
    except ConfigurationError:
        # has its own finding
        return
    if advertised is None or close is None:
        return
    try:
        await advertised.load_all()
    finally:
        await close()
    hint = "signed_by says who must have signed it, verification.trust whom we believe"
    for failure in advertised.failures():
        yield warning("advertisement-unusable", failure, str(loaded.path), hint)


async def check_bare_cps(loaded: Loaded, cps: str) -> AsyncIterator[Finding]:
    """Give that nothing is sealed at this CPS, and whether it answers."""
    what = "what is stored there is not sealed: it says who calls whom"
    yield note("unsealed", what, cps, "docs/rfc9888.md says when that has to be")
    try:
        tls = configured.bare_tls(loaded)
    except ConfigurationError:
        # has its own finding
        return
    client = BareClient(tls=tls, allow_plain=loaded.values.outgoing.plain_loopback)
    try:
        await client.clock_offset(cps, time.monotonic() + SECONDS)
    except PbxStirError as wrong:
        hint = wrong.hint or "its address, its certificate (outgoing.tls_ca), or it is down"
        yield error("cps-unreachable", wrong.message, cps, hint)
    finally:
        await client.close()
