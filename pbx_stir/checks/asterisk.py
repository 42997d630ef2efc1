"""Checks of an Asterisk: its manager interface, our rights there, our dialplan, its switches.

Asks and raises one event of our own; sets nothing, and leaves nothing there.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from pbx_stir import __version__
from pbx_stir.checks.emergency import compare_emergency
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.hosts import is_loopback
from pbx_stir.checks.unit import start_hint
from pbx_stir.config import Loaded
from pbx_stir.errors import PbxStirError, PbxUnavailable
from pbx_stir.pbx.ami import AmiConnection, AsteriskSettings, LoginRefused
from pbx_stir.pbx.hearing import Deaf, Hearing, MayNotSpeak

SECONDS: Final = 5.0
ECHO_SECONDS: Final = 2.5
# The dialplan takes an older heartbeat for that of a listener that has died.
STALE_SECONDS: Final = 5
SWITCHES: Final = ("on", "off", "monitor")
_CONTEXTS: Final = ("pbx-stir-outbound", "pbx-stir-inbound")
_DEFAULT_USER: Final = "pbx-stir"
_BEAT: Final = re.compile(r"[0-9a-f]{16}:([0-9]{1,12})(?:\.[0-9]*)?", re.ASCII)
_ENDPOINT: Final = re.compile(r"[A-Za-z0-9_.\-]{1,80}", re.ASCII)
_ASKS_ENDPOINTS: Final = "func_pjsip_endpoint.so"
_MODULES: Final = {
    "app_waitforcond.so": "app_waitforcond: it came with Asterisk 16.20 and 18.6",
    "app_userevent.so": "app_userevent",
    "func_cut.so": "func_cut",
    "func_uri.so": "func_uri",
}


class _NotAllowed(Exception):
    """The AMI user may not ask for variables."""


async def check_asterisk(loaded: Loaded, settings: AsteriskSettings) -> AsyncIterator[Finding]:
    """Give what is wrong with one Asterisk."""
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
    asked = _Asked(loaded, settings, connection, where)
    try:
        try:
            await hearing.prove(connection, min(SECONDS, ECHO_SECONDS))
        except MayNotSpeak as wrong:
            yield error("ami-rights", wrong.message, where, wrong.hint)
            return
        except Deaf as wrong:
            yield error("ami-deaf", wrong.message, where, wrong.hint)
        async for found in asked.everything():
            yield found
    except _NotAllowed:
        hint = "write = call,user in manager.conf, see manager.conf.sample"
        yield error("ami-rights", "the AMI user may not set variables", where, hint)
    except PbxStirError as wrong:
        hint = "is Asterisk overloaded, or being restarted?"
        yield error("ami-broken", wrong.message, where, hint)
    finally:
        await connection.close()


class _Asked:
    """What one login is asked, and what its answers mean."""

    def __init__(
        self, loaded: Loaded, settings: AsteriskSettings, connection: AmiConnection, where: str
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._connection = connection
        self._where = where

    async def everything(self) -> AsyncIterator[Finding]:
        """Ask in order of what matters. Raises PbxStirError, _NotAllowed."""
        async for found in self._dialplan():
            yield found
        async for found in self._modules():
            yield found
        async for found in self._listener():
            yield found
        said = await self._global("STIR_EMERGENCY")
        for one in compare_emergency(self._loaded, "STIR_EMERGENCY", said, self._where):
            yield one
        for section in self._loaded.values.trunk:
            for one in await self._trunk(section.name):
                yield one
            endpoints = (section.name,) if section.endpoints is None else section.endpoints
            async for found in self._endpoints(endpoints):
                yield found

    async def _dialplan(self) -> AsyncIterator[Finding]:
        missing = [
            one for one in _CONTEXTS if await self._value(f"DIALPLAN_EXISTS({one},s,1)") == "0"
        ]
        if missing:
            yield error(
                "dialplan-missing",
                f"the dialplan has no context {' and none '.join(missing)}",
                self._where,
                "#include pbx-stir.conf in extensions.conf, then: dialplan reload",
            )
        elif await self._value(f"DIALPLAN_EXISTS(pbx-stir-version,{__version__},1)") == "0":
            yield warning(
                "dialplan-version",
                f"its pbx-stir.conf is not that of pbx-stir {__version__}",
                self._where,
                "copy pbx-stir.conf of this version to /etc/asterisk, then: dialplan reload",
            )

    async def _modules(self) -> AsyncIterator[Finding]:
        for module, named in _MODULES.items():
            if await self._value(f"IFMODULE({module})") == "0":
                what = f"Asterisk has not loaded {named}: no call is held"
                yield error("module-missing", what, self._where, f"module load {module}")
        if await self._value("IFMODULE(chan_pjsip.so)") != "1":
            return
        if await self._value(f"IFMODULE({_ASKS_ENDPOINTS})") == "0":
            what = "Asterisk has not loaded func_pjsip_endpoint: no call by PJSIP is verified"
            hint = f"module load {_ASKS_ENDPOINTS}"
            yield error("caller-id-not-fixed", what, self._where, hint)

    async def _listener(self) -> AsyncIterator[Finding]:
        user = await self._global("STIR_AMI_USER") or _DEFAULT_USER
        if user != self._settings.username:
            yield error(
                "ami-user-differs",
                f"we log in as {self._settings.username!r}, the dialplan looks for {user[:80]!r}",
                self._where,
                f"STIR_AMI_USER = {self._settings.username} in [globals] of extensions.conf",
            )
        beat = _BEAT.fullmatch(await self._global("STIR_HEARTBEAT"))
        if beat and abs(await self._now() - int(beat[1])) <= STALE_SECONDS:
            return
        yield warning(
            "heartbeat-missing",
            "no listener is known to Asterisk: no call is held, none is signed or verified",
            self._where,
            start_hint(self._loaded.path, "start pbx-stir run"),
        )

    async def _now(self) -> float:
        """The PBX's clock, by which heartbeats are written; ours where it does not say."""
        answer = await self._connection.request("Ping", (), SECONDS)
        try:
            return float(str(answer.timestamp))
        except ValueError:
            return time.time()

    async def _trunk(self, name: str) -> list[Finding]:
        switches = {
            f"STIR_{way}_{name}": await self._global(f"STIR_{way}_{name}") for way in ("OUT", "IN")
        }
        return list(check_switches(switches, name, self._where, f"[globals] STIR_OUT_{name}"))

    async def _endpoints(self, names: Sequence[str]) -> AsyncIterator[Finding]:
        """PJSIP's that let a caller change his number. Those that are not there are not known."""
        for name in names:
            endpoint = name.removeprefix("PJSIP/")
            if not _ENDPOINT.fullmatch(endpoint):
                continue
            said = [
                await self._value(f"PJSIP_ENDPOINT({endpoint},{option})")
                for option in ("trust_id_inbound", "trust_connected_line")
            ]
            if all(one in {"yes", "true"} for one in said):
                yield error(
                    "caller-id-not-fixed",
                    f"endpoint {endpoint} lets a caller change his number after the verdict",
                    self._where,
                    f"trust_connected_line = no in [{endpoint}] of pjsip.conf, then: pjsip reload",
                )

    async def _global(self, name: str) -> str:
        return await self._value(f"GLOBAL({name})")

    async def _value(self, variable: str) -> str:
        """What a variable or function says; nothing where it is not there."""
        answer = await self._connection.request("Getvar", (("Variable", variable),), SECONDS)
        if "permission" in str(answer.message).lower():
            raise _NotAllowed
        return str(answer.value or "")


def check_switches(
    switches: dict[str, str], trunk: str, where: str, first: str
) -> Iterator[Finding]:
    """Give what is odd about a trunk's switches; ``first`` is the one to begin with."""
    for name, value in switches.items():
        if value and value not in SWITCHES:
            hint = "on, off or monitor; anything else is off"
            yield error("switch-unknown", f"{name} is {value[:40]!r}", where, hint)
    if not any(value in {"on", "monitor"} for value in switches.values()):
        what = f"trunk {trunk} is off both ways"
        yield note("trunk-off", what, where, f"{first} = monitor is how to begin")
