"""Checks of what the configuration names on the network: PBXs and call placement services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from pbx_stir import configured, configured_pbxs
from pbx_stir.checks.elsewhere import check_elsewhere
from pbx_stir.checks.event_socket import check_freeswitches, is_loopback
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.redis import check_redis
from pbx_stir.checks.retrieval import check_retrieval
from pbx_stir.clients import proxy_of
from pbx_stir.config import AsteriskSection, Loaded
from pbx_stir.cps.client import CpsClient
from pbx_stir.errors import ConfigurationError, PbxStirError, PbxUnavailable
from pbx_stir.pbx.ami import AmiConnection, AsteriskSettings, LoginRefused
from pbx_stir.pbx.hearing import Deaf, Hearing, MayNotSpeak
from pbx_stir.stir.record import check_record, parse_record

SECONDS = 5.0
ECHO_SECONDS = 2.5
_CLOCK_WARNING_SECONDS = 5.0
_CLOCK_ERROR_SECONDS = 30.0
_CONTEXTS = ("pbx-stir-outbound", "pbx-stir-inbound")
_SWITCHES = ("on", "off", "monitor")


async def check_connections(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give what is wrong with the PBXs and CPSs that ``loaded`` names."""
    try:
        settings = configured_pbxs.asterisks(loaded)
    except ConfigurationError:
        # has its own finding, as the CAs of outgoing.tls_ca have
        settings = []
    for one, section in zip(settings, loaded.values.asterisk, strict=False):
        async for found in _pbx(loaded, one, section):
            yield found
    async for found in check_freeswitches(loaded):
        yield found
    async for found in check_redis(loaded):
        yield found
    try:
        storing, retrieving = (_client(loaded, name) for name in ("store_proxy", "retrieve_proxy"))
    except ConfigurationError:
        return
    try:
        for cps in _every_cps(loaded):
            async for found in _cps(storing, cps):
                yield found
        async for found in _own_records(loaded, retrieving):
            yield found
    finally:
        await storing.close()
        await retrieving.close()
    async for found in check_retrieval(loaded):
        yield found
    async for found in check_elsewhere(loaded):
        yield found


def _client(loaded: Loaded, proxy: str) -> CpsClient:
    """A client that goes the way that the service goes."""
    section = loaded.values.outgoing
    return CpsClient(
        tls=configured.tls_of(loaded, "outgoing.tls_ca", section.tls_ca),
        allow_plain=section.plain_loopback,
        proxy=proxy_of(loaded, proxy),
    )


async def _pbx(
    loaded: Loaded, settings: AsteriskSettings, section: AsteriskSection
) -> AsyncIterator[Finding]:
    where = f"{settings.name} ({settings.host}:{settings.port})"
    if settings.tls is None and not is_loopback(settings.host):
        yield error(
            "ami-cleartext",
            "the manager interface is reached over the network without TLS",
            where,
            "tls = true here, tlsenable = yes in manager.conf",
        )
    hearing = Hearing()
    try:
        connection = await AmiConnection.open(settings, hearing.take, SECONDS)
    except LoginRefused as wrong:
        yield error("ami-login-refused", wrong.message, where, wrong.hint)
        return
    except PbxUnavailable as wrong:
        hint = "is Asterisk running, and does manager.conf say enabled = yes?"
        yield error("ami-unreachable", wrong.message, where, hint)
        return
    try:
        try:
            await hearing.prove(connection, min(SECONDS, ECHO_SECONDS))
        except MayNotSpeak as wrong:
            yield error("ami-rights", wrong.message, where, wrong.hint)
            return
        except Deaf as wrong:
            yield error("ami-deaf", wrong.message, where, wrong.hint)
        async for found in _dialplan(loaded, connection, where):
            yield found
    except PbxStirError as wrong:
        yield error("ami-broken", wrong.message, where)
    finally:
        await connection.close()


async def _dialplan(
    loaded: Loaded, connection: AmiConnection, where: str
) -> AsyncIterator[Finding]:
    allowed = True
    for context in _CONTEXTS:
        answer = await connection.request(
            "Getvar", (("Variable", f"DIALPLAN_EXISTS({context},s,1)"),), SECONDS
        )
        if "permission" in str(answer.message).lower():
            allowed = False
            break
        if answer.value == "0":
            yield error(
                "dialplan-missing",
                f"the dialplan has no context {context}",
                where,
                "#include pbx-stir.conf in extensions.conf, then: dialplan reload",
            )
    if not allowed:
        hint = "write = call,user in manager.conf, see manager.conf.sample"
        yield error("ami-rights", "the AMI user may not set variables", where, hint)
        return
    for section in loaded.values.trunk:
        switches = []
        for way in ("OUT", "IN"):
            name = f"STIR_{way}_{section.name}"
            answer = await connection.request("Getvar", (("Variable", f"GLOBAL({name})"),), SECONDS)
            switches.append(answer.value)
            if answer.value and answer.value not in _SWITCHES:
                hint = "on, off or monitor; anything else is off"
                yield error("switch-unknown", f"{name} is {answer.value!r}", where, hint)
        if not any(value in {"on", "monitor"} for value in switches):
            yield note(
                "trunk-off",
                f"trunk {section.name} is off both ways",
                where,
                f"[globals] STIR_OUT_{section.name}=monitor is how to begin",
            )


def _every_cps(loaded: Loaded) -> tuple[str, ...]:
    values = loaded.values
    sealed = (route for route in values.route if route.sealing == "required")
    every = [*values.publish.cps, *(cps for route in sealed for cps in route.cps)]
    return tuple(dict.fromkeys(every))


async def _cps(client: CpsClient, cps: str) -> AsyncIterator[Finding]:
    try:
        offset = await client.clock_offset(cps, time.monotonic() + SECONDS)
    except PbxStirError as wrong:
        hint = wrong.hint or "its address, its certificate (outgoing.tls_ca), or it is down"
        yield error("cps-unreachable", wrong.message, cps, hint)
        return
    if offset is None or abs(offset) < _CLOCK_WARNING_SECONDS:
        return
    make = error if abs(offset) >= _CLOCK_ERROR_SECONDS else warning
    yield make(
        "clock",
        f"this machine's clock is {abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} "
        "the CPS's",
        cps,
        "PASSporTs live 60 s: run chrony or systemd-timesyncd",
    )


async def _own_records(loaded: Loaded, client: CpsClient) -> AsyncIterator[Finding]:
    """Whether others find our keys, and would believe them."""
    publish = loaded.values.publish
    try:
        anchors = configured.anchors(
            loaded, "verification.trust", loaded.values.verification.trust
        ).current()
    except ConfigurationError:
        return
    policy = configured.spc_policy(loaded)
    for named in publish.numbers[:8]:
        if named.endswith("*"):
            continue
        number = named.partition("-")[0].removeprefix("+")
        for cps in publish.cps:
            try:
                tokens = await client.get_records(cps, number, time.monotonic() + SECONDS)
            except PbxStirError:
                # an unreachable CPS has its own finding
                continue
            valid, why = 0, "there is none"
            for token in tokens:
                try:
                    signed = parse_record(token)
                    await asyncio.to_thread(check_record, signed, anchors, time.time(), policy)
                except PbxStirError as wrong:
                    why = wrong.message
                    continue
                valid += bool(signed.record.keys)
            if not valid:
                yield warning(
                    "record-missing",
                    f"nobody can seal to {number}: no good record of its keys ({why})",
                    cps,
                    "pbx-stir keys publish; the service publishes when it starts",
                )
