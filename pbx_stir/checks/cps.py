"""Checks of the CPSs that the configuration names, and of our records there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from pbx_stir import configured
from pbx_stir.checks.credentials import usable
from pbx_stir.checks.finding import Finding, error, warning
from pbx_stir.checks.round_trip import try_round_trip
from pbx_stir.checks.state import own_keys
from pbx_stir.clients import proxy_of
from pbx_stir.config import Loaded
from pbx_stir.cps.client import CpsClient
from pbx_stir.directory.holdings import first_number
from pbx_stir.errors import ConfigurationError, PbxStirError
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.record import check_record, parse_record

SECONDS: Final = 5.0
MOST_RECORDS: Final = 16
_CLOCK_WARNING_SECONDS: Final = 5.0
_CLOCK_ERROR_SECONDS: Final = 30.0


def every_cps(loaded: Loaded) -> tuple[str, ...]:
    """The CPSs where PASSporTs are sealed: those of our own numbers, and those of routes."""
    values = loaded.values
    sealed = (route for route in values.route if route.sealing == "required")
    every = [*values.publish.cps, *(cps for route in sealed for cps in route.cps)]
    return tuple(dict.fromkeys(every))


async def check_cps(loaded: Loaded, cps: str) -> AsyncIterator[Finding]:
    """Give what is wrong with one CPS: its health, its clock, and a PASSporT sent through it."""
    try:
        client = _client(loaded, "store_proxy")
    except ConfigurationError:
        # has its own finding
        return
    try:
        offset = await client.clock_offset(cps, time.monotonic() + SECONDS)
    except PbxStirError as wrong:
        hint = wrong.hint or "its address, its certificate (outgoing.tls_ca), or it is down"
        yield error("cps-unreachable", wrong.message, cps, hint)
        return
    finally:
        await client.close()
    if offset is not None and abs(offset) >= _CLOCK_WARNING_SECONDS:
        make = error if abs(offset) >= _CLOCK_ERROR_SECONDS else warning
        yield make(
            "clock",
            f"this machine's clock is {abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} "
            "the CPS's",
            cps,
            "PASSporTs live 60 s: run chrony or systemd-timesyncd",
        )
    async for found in try_round_trip(loaded, cps):
        yield found


async def check_records(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give whether others find our keys, would believe them, and whether we have those keys."""
    trust = loaded.values.verification.trust
    if not trust:
        # has its own finding
        return
    try:
        anchors = configured.anchors(loaded, "verification.trust", trust).current()
        published = configured.published(loaded, usable(loaded))
        client = _client(loaded, "retrieve_proxy")
        keys = {one.public for one in await asyncio.to_thread(own_keys, loaded)}
    except ConfigurationError:
        # has its own finding
        return
    plain = loaded.values.outgoing.plain_loopback
    looking = _Looking(client, anchors, configured.spc_policy(loaded), keys, plain)
    try:
        spots = [
            (cps, first_number(one.named[0])) for one in published[:MOST_RECORDS] for cps in one.cps
        ]
        for found in await asyncio.gather(*(looking.at(*spot) for spot in spots)):
            if found is not None:
                yield found
    finally:
        await client.close()


@dataclass(frozen=True, slots=True)
class _Looking:
    """Looks at records as those who call us do; ``keys`` are the public halves of ours."""

    client: CpsClient
    anchors: Anchors
    policy: SpcPolicy
    keys: set[bytes]
    allow_plain: bool

    async def at(self, cps: str, number: str) -> Finding | None:
        """Give what is wrong with the records of one of our numbers at one of our CPSs."""
        try:
            tokens = await self.client.get_records(cps, number, time.monotonic() + SECONDS)
        except PbxStirError:
            # an unreachable CPS has its own finding
            return None
        named, why = await asyncio.to_thread(self._keys, tokens)
        if not named:
            return warning(
                "record-missing",
                f"nobody can seal to {number}: no good record of its keys ({why})",
                cps,
                "pbx-stir keys publish; the service publishes when it starts",
            )
        if not named & self.keys:
            return error(
                "record-other-key",
                f"the record of {number} names keys that are not in our state_dir: what is "
                "sealed to them cannot be opened",
                cps,
                "is state_dir the service's? Then: pbx-stir keys publish",
            )
        return None

    def _keys(self, tokens: Sequence[str]) -> tuple[set[bytes], str]:
        """The keys of the records that others would believe, and why not of one of the others."""
        found: set[bytes] = set()
        why = "there is none"
        for token in tokens:
            try:
                signed = parse_record(token)
                check_record(
                    signed, self.anchors, time.time(), self.policy, allow_plain=self.allow_plain
                )
            except PbxStirError as wrong:
                why = wrong.message
                continue
            found.update(key.public for key in signed.record.keys)
        return found, why


def _client(loaded: Loaded, proxy: str) -> CpsClient:
    """A client that goes the way that the service goes."""
    section = loaded.values.outgoing
    return CpsClient(
        tls=configured.tls_of(loaded, "outgoing.tls_ca", section.tls_ca),
        allow_plain=section.plain_loopback,
        proxy=proxy_of(loaded, proxy),
    )
