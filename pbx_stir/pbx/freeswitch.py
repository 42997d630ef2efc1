"""A FreeSWITCH, as the services see it: calls that wait, answers to them.

Takes announcements from the dialplan's Lua hook over the event socket and gives each as a ``Call``
to a receiver, in a task of its own; writes the receiver's answers to the channel that waits. Each
second a small event of our own goes to FreeSWITCH and comes back with its time: that proves that we
hear the dialplan, tells us its clock, and is what the heartbeat is written from. It never judges a
call and never logs a number or a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pbx_stir.errors import PbxStirError, PbxUnavailable
from pbx_stir.pbx import esl, hook
from pbx_stir.pbx.esl import Frame, Headers
from pbx_stir.pbx.event_socket import (
    AddressRefused,
    EventSocket,
    FreeSwitchSettings,
    PasswordRefused,
)
from pbx_stir.pbx.listener import Listener, Receiver
from pbx_stir.pbx.pbx_time import PbxTime

REQUEST = "pbx_stir::request"
ENDED = "pbx_stir::ended"
CONTESTED = "pbx_stir::contested"
HEARTBEAT = "stir_heartbeat"
_PREFIX = "Stir-"
_ECHO = "Stir-Echo"
_MICROSECONDS = re.compile(r"[0-9]{15,17}", re.ASCII)
# What the hook writes as it found it; the common grammar has free text percent-encoded.
_IDENTITIES = [f"Identity{number}" for number in range(1, hook.MAX_IDENTITIES + 1)]
_FREE_TEXT = frozenset(
    ["From", "To", "Originator", "Placed", "First", "Account", "FirstAccount", *_IDENTITIES]
)
_NO_CHANNEL = re.compile(r"no such channel|cannot locate session", re.IGNORECASE)


class FreeSwitchPbx(Listener[EventSocket]):
    """One FreeSWITCH."""

    nobody = "0"

    def __init__(self, settings: FreeSwitchSettings, receiver: Receiver, **options: Any) -> None:
        """``options`` are those of a ``Listener``."""
        super().__init__(settings.name, f"{settings.host}:{settings.port}", receiver, **options)
        self._settings = settings
        self._echoes: dict[str, asyncio.Future[str]] = {}

    async def _write(
        self, connection: EventSocket, unique_id: str, writes: Sequence[tuple[str, str]]
    ) -> bool:
        # Commands of one connection are carried out in order, so the parts need no waiting for.
        sent = [
            connection.send(esl.set_variable(unique_id, name.lower(), value))
            for name, value in writes
        ]
        return self._taken(await sent[-1])

    async def _mark(
        self, connection: EventSocket, unique_id: str, given: Mapping[str, str]
    ) -> None:
        # Once the call has gone out again, its variables tell of that.
        asked = esl.command(f"api uuid_getvar {_word(unique_id)} stir_verstat")
        verstat = await connection.request(asked, timeout_seconds=2.0)
        if not verstat.is_ok or verstat.reply in {"", "_undef_"}:
            return
        for name, value in given.items():
            written = esl.set_variable(unique_id, name.lower(), value)
            if not self._taken(await connection.request(written, timeout_seconds=2.0)):
                return
        said = {_header(name): value for name, value in given.items()}
        event = esl.send_event(CONTESTED, {"Stir-Uniqueid": unique_id, **said})
        await connection.request(event, timeout_seconds=2.0)

    # The connection.

    async def _log_in(self) -> EventSocket:
        connection = await EventSocket.open(self._settings, self._on_event)
        self._time = PbxTime()
        # A call that was announced to the heartbeat of before the loss can be answered already.
        self._connection = connection
        try:
            reply = await connection.request(
                esl.command(f"event plain CUSTOM {REQUEST} {ENDED}"), self._timing.silence
            )
            if not reply.is_ok:
                raise PbxUnavailable(f"events are refused: {reply.reply[:100]!r}")
            await self._hear(connection, self._timing.echo)
        except BaseException:
            self._connection = None
            connection.abort("not heard")
            raise
        return connection

    async def _beat(self, connection: EventSocket) -> None:
        try:
            while self._beating:
                began = self._monotonic()
                made_at = await self._hear(connection, self._timing.silence)
                self._meet(await self._heartbeat(connection))
                if self._beating:
                    await self._tell(connection, f"{self.listener}:{int(made_at) // 1_000_000}")
                    self._has_beaten()
                spent = self._monotonic() - began
                await asyncio.sleep(max(0.0, self._timing.heartbeat - spent))
        except PbxStirError as error:
            connection.abort(str(error))

    async def _hear(self, connection: EventSocket, timeout_seconds: float) -> str:
        """Return once an event of ours has come back: FreeSWITCH's time in it, microseconds.

        Raises PbxUnavailable.
        """
        echo = secrets.token_hex(16)
        back: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._echoes[echo] = back
        began = self._monotonic()
        try:
            event = esl.send_event(REQUEST, {_ECHO: echo})
            reply = await connection.request(event, timeout_seconds)
            if not reply.is_ok:
                raise PbxUnavailable(f"an event of ours is refused: {reply.reply[:100]!r}")
            async with asyncio.timeout(timeout_seconds):
                await asyncio.wait((back, connection.lost), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise PbxUnavailable(
                "the event socket brings no events: no call can be served",
                hint="see event_socket.conf.xml, and the rights of its user",
            ) from error
        finally:
            del self._echoes[echo]
        if not back.done():
            raise PbxUnavailable(f"connection lost: {connection.lost.result()}")
        made_at = back.result()
        self._time.heard(f"{int(made_at) / 1e6:.6f}", began, self._monotonic())
        return made_at

    async def _tell(self, connection: EventSocket, value: str) -> None:
        written = esl.command(f"api global_setvar {HEARTBEAT}={value}")
        reply = await connection.request(written, self._timing.silence)
        if not reply.is_ok:
            raise PbxUnavailable(f"the heartbeat is not taken: {reply.reply[:100]!r}")

    async def _heartbeat(self, connection: EventSocket) -> str:
        asked = esl.command(f"api global_getvar {HEARTBEAT}")
        return (await connection.request(asked, self._timing.silence)).reply

    def _is_lasting(self, error: PbxUnavailable) -> bool:
        return isinstance(error, PasswordRefused | AddressRefused)

    # Events.

    def _on_event(self, event: Headers) -> None:
        subclass = event.get("Event-Subclass", "")
        if subclass == REQUEST and _ECHO in event:
            self._on_echo(event)
            return
        fields = _fields(event)
        if subclass == ENDED:
            self._on_ended(fields)
        elif subclass == REQUEST and hook.listener_of(fields) == self.listener:
            made_at = event.get("Event-Date-Timestamp", "")
            known = isinstance(made_at, str) and _MICROSECONDS.fullmatch(made_at)
            self._on_announcement(fields, made_at if isinstance(made_at, str) and known else "0")

    def _on_echo(self, event: Headers) -> None:
        echo, made_at = event[_ECHO], event.get("Event-Date-Timestamp", "")
        waiting = self._echoes.get(echo) if isinstance(echo, str) else None
        if waiting is None or waiting.done():
            return
        if isinstance(made_at, str) and _MICROSECONDS.fullmatch(made_at):
            waiting.set_result(made_at)

    def _release(self, unique_id: str, nonce: str, variables: Sequence[tuple[str, str]]) -> None:
        connection = self._connection
        if connection is None:
            return
        for name, value in hook.pack_answer(nonce, variables):
            with contextlib.suppress(PbxStirError):
                connection.send(esl.set_variable(unique_id, name.lower(), value)).cancel()

    def _taken(self, reply: Frame) -> bool:
        """Whether a channel took a variable; False if it is gone."""
        if reply.is_ok:
            return True
        if _NO_CHANNEL.search(reply.reply):
            return False
        raise PbxUnavailable(f"{self.name} refuses to set a variable: {reply.reply[:100]!r}")


def _fields(event: Headers) -> dict[str, object]:
    """The hook's own headers, as the grammar that all PBXs share has them."""
    found: dict[str, object] = {}
    for header, value in event.items():
        name = header.removeprefix(_PREFIX)
        if name == header:
            continue
        free = name in _FREE_TEXT and isinstance(value, str)
        found[name] = quote(str(value), safe="") if free else value
    return found


def _header(variable: str) -> str:
    """STIR_REASON → Stir-Reason."""
    return _PREFIX + variable.removeprefix("STIR_").capitalize()


def _word(unique_id: str) -> str:
    """The id, if it is one word. Raises PbxStirError."""
    # set_variable matches it; what it writes is not used.
    esl.set_variable(unique_id, "stir_verstat", "")
    return unique_id
