"""Checks of a FreeSWITCH: its event socket, our script in it, and what its switches say."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import AsyncIterator

from pbx_stir import configured_pbxs
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError, PbxStirError, PbxUnavailable
from pbx_stir.pbx import esl
from pbx_stir.pbx.esl import Headers
from pbx_stir.pbx.event_socket import (
    AddressRefused,
    EventSocket,
    FreeSwitchSettings,
    PasswordRefused,
)
from pbx_stir.pbx.freeswitch import HEARTBEAT, REQUEST

SECONDS = 5.0
ECHO_SECONDS = 2.5
SCRIPT = "pbx_stir.lua"
# The dialplan takes an older heartbeat for that of a listener that has died.
_STALE_SECONDS = 5
_SWITCHES = ("on", "off", "monitor")
_BEAT = re.compile(r"[0-9a-f]+:([0-9]{1,12})", re.ASCII)
_PATH = re.compile(r"[!-~]{1,1000}", re.ASCII)


async def check_freeswitches(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give what is wrong with the FreeSWITCHes that ``loaded`` names."""
    try:
        every = configured_pbxs.freeswitches(loaded)
    except ConfigurationError:
        # has its own finding
        return
    for settings in every:
        async for found in check_event_socket(loaded, settings):
            yield found


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def check_event_socket(
    loaded: Loaded, settings: FreeSwitchSettings
) -> AsyncIterator[Finding]:
    """Give what is wrong with one FreeSWITCH."""
    where = f"{settings.name} ({settings.host}:{settings.port})"
    if not is_loopback(settings.host):
        yield error(
            "event-socket-cleartext",
            "the event socket is reached over the network, and has no TLS",
            where,
            "run pbx-stir on FreeSWITCH's machine, or through a tunnel",
        )
    events: asyncio.Queue[Headers] = asyncio.Queue(maxsize=10_000)
    try:
        connection = await EventSocket.open(settings, lambda event: _keep(events, event), SECONDS)
    except PasswordRefused as wrong:
        yield error("event-socket-password", wrong.message, where, wrong.hint)
        return
    except AddressRefused as wrong:
        yield error("event-socket-acl", wrong.message, where, wrong.hint)
        return
    except PbxUnavailable as wrong:
        hint = "is FreeSWITCH running, with mod_event_socket and this listen-ip and listen-port?"
        yield error("event-socket-unreachable", wrong.message, where, hint)
        return
    try:
        seconds = await _heard(connection, events)
        if seconds is None:
            hint = "mod_event_socket's rights of this user, and whether FreeSWITCH is overloaded"
            yield error("event-socket-deaf", "the event socket brings no events", where, hint)
        async for found in _script(connection, where):
            yield found
        async for found in _heartbeat(connection, seconds, where):
            yield found
        async for found in _trunks(loaded, connection, where):
            yield found
    except PbxStirError as wrong:
        yield error("event-socket-broken", wrong.message, where)
    finally:
        await connection.close()


def _keep(events: asyncio.Queue[Headers], event: Headers) -> None:
    if not events.full():
        events.put_nowait(event)


async def _ask(connection: EventSocket, text: str) -> str:
    """What an API call says; nothing where it is an error."""
    frame = await connection.request(esl.command(f"api {text}"), SECONDS)
    return frame.reply if frame.is_ok else ""


async def _heard(connection: EventSocket, events: asyncio.Queue[Headers]) -> int | None:
    """FreeSWITCH's time, epoch seconds, of an event of ours that came back; None if it did not."""
    echo = secrets.token_hex(16)
    await connection.request(esl.command(f"event plain CUSTOM {REQUEST} pbx_stir::ended"), SECONDS)
    await connection.request(esl.send_event(REQUEST, {"Stir-Echo": echo}), SECONDS)
    try:
        async with asyncio.timeout(ECHO_SECONDS):
            while (event := await events.get()).get("Stir-Echo") != echo:
                pass
    except TimeoutError:
        return None
    made_at = event.get("Event-Date-Timestamp", "")
    return int(made_at) // 1_000_000 if isinstance(made_at, str) and made_at.isdecimal() else None


async def _script(connection: EventSocket, where: str) -> AsyncIterator[Finding]:
    """Whether FreeSWITCH has Lua, and our script; nothing is run."""
    if await _ask(connection, "module_exists mod_lua") == "false":
        hint = "install freeswitch-mod-lua, and load it in modules.conf.xml"
        yield error("lua-module-missing", "FreeSWITCH has not loaded mod_lua", where, hint)
    folder = await _ask(connection, "global_getvar script_dir")
    path = f"{folder}/{SCRIPT}"
    if not folder or not _PATH.fullmatch(path):
        return
    if await _ask(connection, f"file_exists {path}") == "false":
        hint = f"copy dialplan/freeswitch/{SCRIPT} there"
        yield error("lua-missing", f"FreeSWITCH has no {path}", where, hint)


async def _heartbeat(
    connection: EventSocket, seconds: int | None, where: str
) -> AsyncIterator[Finding]:
    found = _BEAT.fullmatch(await _ask(connection, f"global_getvar {HEARTBEAT}"))
    if found and (seconds is None or abs(seconds - int(found[1])) <= _STALE_SECONDS):
        return
    yield warning(
        "heartbeat-missing",
        "no listener is known to FreeSWITCH: no call is held, none is signed or verified",
        where,
        "start pbx-stir run",
    )


async def _trunks(loaded: Loaded, connection: EventSocket, where: str) -> AsyncIterator[Finding]:
    for section in loaded.values.trunk:
        switches = []
        for way in ("out", "in"):
            name = f"stir_{way}_{section.name}"
            value = (await _ask(connection, f"global_getvar {name}")).lower()
            switches.append(value)
            if value and value not in _SWITCHES:
                hint = "on, off or monitor; anything else is off"
                yield error("switch-unknown", f"{name} is {value[:40]!r}", where, hint)
        if not any(value in {"on", "monitor"} for value in switches):
            yield note(
                "trunk-off",
                f"trunk {section.name} is off both ways",
                where,
                f"stir_out_{section.name}=monitor in vars.xml is how to begin",
            )
