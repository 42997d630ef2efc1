"""Checks of a FreeSWITCH: its event socket, our script in it, and what its switches say."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator

from pbx_stir import __version__
from pbx_stir.checks.asterisk import check_switches
from pbx_stir.checks.emergency import compare_emergency
from pbx_stir.checks.finding import Finding, error, warning
from pbx_stir.checks.hosts import is_loopback
from pbx_stir.checks.unit import start_hint
from pbx_stir.config import Loaded
from pbx_stir.errors import PbxStirError, PbxUnavailable
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
_BEAT = re.compile(r"[0-9a-f]+:([0-9]{1,12})", re.ASCII)
_PATH = re.compile(r"[!-~]{1,1000}", re.ASCII)


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
        start = start_hint(loaded.path, "start pbx-stir run")
        async for found in _heartbeat(connection, seconds, where, start):
            yield found
        said = await _ask(connection, "global_getvar stir_emergency")
        for one in compare_emergency(loaded, "stir_emergency", said, where):
            yield one
        async for found in _trunks(loaded, connection, where):
            yield found
    except PbxStirError as wrong:
        hint = "is FreeSWITCH overloaded, or being restarted?"
        yield error("event-socket-broken", wrong.message, where, hint)
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
    """Whether FreeSWITCH has Lua, and our script of this version."""
    has_lua = await _ask(connection, "module_exists mod_lua") != "false"
    if not has_lua:
        hint = "install freeswitch-mod-lua, and load it in modules.conf.xml"
        yield error("lua-module-missing", "FreeSWITCH has not loaded mod_lua", where, hint)
    folder = await _ask(connection, "global_getvar script_dir")
    path = f"{folder}/{SCRIPT}"
    if not folder or not _PATH.fullmatch(path):
        return
    if await _ask(connection, f"file_exists {path}") == "false":
        hint = f"copy dialplan/freeswitch/{SCRIPT} there"
        yield error("lua-missing", f"FreeSWITCH has no {path}", where, hint)
    elif has_lua and await _ask(connection, f"lua {SCRIPT} version") != __version__:
        # it says its version and does nothing; an older one says nothing
        what = f"{path} is not that of pbx-stir {__version__}"
        hint = f"copy dialplan/freeswitch/{SCRIPT} and pbx_stir_caller.lua there"
        yield warning("dialplan-version", what, where, hint)


async def _heartbeat(
    connection: EventSocket, seconds: int | None, where: str, start: str
) -> AsyncIterator[Finding]:
    found = _BEAT.fullmatch(await _ask(connection, f"global_getvar {HEARTBEAT}"))
    if found and (seconds is None or abs(seconds - int(found[1])) <= _STALE_SECONDS):
        return
    yield warning(
        "heartbeat-missing",
        "no listener is known to FreeSWITCH: no call is held, none is signed or verified",
        where,
        start,
    )


async def _trunks(loaded: Loaded, connection: EventSocket, where: str) -> AsyncIterator[Finding]:
    for section in loaded.values.trunk:
        names = [f"stir_{way}_{section.name}" for way in ("out", "in")]
        switches = {
            name: (await _ask(connection, f"global_getvar {name}")).lower() for name in names
        }
        for found in check_switches(switches, section.name, where, f"vars.xml: {names[0]}"):
            yield found
