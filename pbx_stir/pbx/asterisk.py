"""An Asterisk, as the services see it: calls that wait, answers to them.

Takes announcements from the dialplan over AMI and gives each as a ``Call`` to a receiver, in a task
of its own; writes the receiver's answers to the call that waits, addressed by unique id and nonce.
Keeps the connection: a heartbeat each second, in the PBX's own clock, tells the dialplan that a
listener is alive, and tells us that the PBX is. It never judges a call and never logs a number or a
secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from panoramisk.message import Message

from pbx_stir.errors import PbxStirError, PbxUnavailable
from pbx_stir.pbx import hook
from pbx_stir.pbx.ami import AmiConnection, AsteriskSettings, LoginRefused
from pbx_stir.pbx.hearing import Deaf, Hearing
from pbx_stir.pbx.listener import Listener, Receiver
from pbx_stir.pbx.pbx_time import PbxTime

_PBX_TIME = re.compile(r"[0-9]{9,11}(\.[0-9]{1,6})?")
# a user's name as a function of the dialplan takes it
_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_CDR_COLUMNS = {
    "STIR_VERSTAT": "stir_verstat",
    "STIR_REASON": "stir_reason",
    "STIR_ATTEST": "stir_attest",
    "STIR_SIGNER": "stir_signer",
    "STIR_ID": "stir_id",
}


class AsteriskPbx(Listener[AmiConnection]):
    """One Asterisk."""

    def __init__(self, settings: AsteriskSettings, receiver: Receiver, **options: Any) -> None:
        """``options`` are those of a ``Listener``."""
        super().__init__(settings.name, f"{settings.host}:{settings.port}", receiver, **options)
        self._settings = settings
        self._hearing = Hearing()

    async def _write(
        self, connection: AmiConnection, unique_id: str, writes: Sequence[tuple[str, str]]
    ) -> bool:
        sent = []
        try:
            # One session's actions are carried out in order, so the parts need no waiting for.
            for name, value in writes:
                fields = (("Channel", unique_id), ("Variable", name), ("Value", _wire(value)))
                sent.append(connection.send("Setvar", fields))
            return self._taken(await sent[-1].future)
        finally:
            for action in sent:
                connection.forget(action)

    async def _mark(
        self, connection: AmiConnection, unique_id: str, given: Mapping[str, str]
    ) -> None:
        # Once the call has gone out again, its variables tell of that, and only its record of how
        # it came in.
        verstat = await self._get(connection, unique_id, "STIR_VERSTAT")
        writes = [(f"CDR({_CDR_COLUMNS[n]})", v) for n, v in given.items() if n in _CDR_COLUMNS]
        if verstat:
            writes += [(f"__{name}", value) for name, value in given.items()]
            if await self._get(connection, "", "STIR_CDR_USERFIELD") != "off":
                cost = await self._get(connection, unique_id, "STIR_MS")
                now = given.get("STIR_VERSTAT", verstat), given.get("STIR_REASON", "")
                writes.append(("CDR(userfield)", "verstat={} reason={} ms={}".format(*now, cost)))
        for target, value in writes:
            fields = (("Channel", unique_id), ("Variable", target), ("Value", value))
            response = await connection.request("Setvar", fields, timeout_seconds=2.0)
            if not self._taken(response):
                return
        said = tuple((_header(name), value) for name, value in given.items())
        event = (("UserEvent", "PbxStirContested"), ("CallUniqueid", unique_id), *said)
        await connection.request("UserEvent", event, timeout_seconds=2.0)

    async def _get(self, connection: AmiConnection, unique_id: str, name: str) -> str:
        """A variable of a channel, or a global one; empty if there is none, or no such channel."""
        channel = (("Channel", unique_id),) if unique_id else ()
        fields = (*channel, ("Variable", name))
        response = await connection.request("Getvar", fields, timeout_seconds=2.0)
        return hook.safe(str(response.value))

    # The connection.

    async def _log_in(self) -> AmiConnection:
        connection = await AmiConnection.open(self._settings, self._on_event)
        self._time = PbxTime()
        # A call that was announced to the heartbeat of before the loss can be answered already.
        self._connection = connection
        try:
            await self._hearing.prove(connection, self._timing.echo)
        except BaseException:
            self._connection = None
            connection.abort("not heard")
            raise
        return connection

    async def _beat(self, connection: AmiConnection) -> None:
        """Each second: is the PBX there, and what is its time? Then write that we are here."""
        proven_at = self._monotonic()
        try:
            while self._beating:
                began = self._monotonic()
                if began - proven_at >= self._timing.proof:
                    await self._hearing.prove(connection, self._timing.echo)
                    proven_at = began = self._monotonic()
                pong = await connection.request("Ping", timeout_seconds=self._timing.silence)
                if not _PBX_TIME.fullmatch(str(pong.timestamp)):
                    connection.abort("a ping's answer without time")
                    return
                self._time.heard(str(pong.timestamp), began, self._monotonic())
                self._meet(await self._heartbeat(connection))
                if self._beating:
                    await self._tell(connection, f"{self.listener}:{pong.timestamp}")
                    self._has_beaten()
                spent = self._monotonic() - began
                await asyncio.sleep(max(0.0, self._timing.heartbeat - spent))
        except PbxStirError as error:
            if isinstance(error, Deaf):
                with contextlib.suppress(PbxStirError):
                    await self._leave(connection)
            connection.abort(str(error))

    async def _tell(self, connection: AmiConnection, value: str) -> None:
        fields = (("Variable", "STIR_HEARTBEAT"), ("Value", value))
        response = await connection.request("Setvar", fields, timeout_seconds=self._timing.silence)
        if response.response != "Success":
            raise PbxUnavailable(
                f"the heartbeat is not taken: {str(response.message)[:100]!r}",
                hint="the AMI user needs write = call,user",
            )

    async def _heartbeat(self, connection: AmiConnection) -> str:
        answer = await connection.request(
            "Getvar", (("Variable", "STIR_HEARTBEAT"),), timeout_seconds=self._timing.silence
        )
        return str(answer.value)

    async def _is_alone(self, connection: AmiConnection) -> bool:
        """Asterisk counts the sessions of our user: one that is logging in is known, too."""
        sessions = ""
        if _WORD.fullmatch(self._settings.username):
            function = f"AMI_CLIENT({self._settings.username},sessions)"
            sessions = await self._get(connection, "", function)
        return not self._accompanied and sessions in {"", "0", "1"}

    async def _leave(self, connection: AmiConnection) -> None:
        """Take our heartbeat away at once, unless another listener's is there by now."""
        if self._is_ours(await self._heartbeat(connection)):
            await self._tell(connection, self.nobody)

    def _is_lasting(self, error: PbxUnavailable) -> bool:
        return isinstance(error, LoginRefused | Deaf)

    # Events.

    def _on_event(self, message: Message) -> None:
        if self._hearing.take(message):
            return
        name = message.userevent if message.event == "UserEvent" else ""
        if name == hook.ENDED_EVENT:
            self._on_ended(message)
        elif name == hook.ANNOUNCEMENT_EVENT and hook.listener_of(message) == self.listener:
            self._on_announcement(message)

    def _release(self, unique_id: str, nonce: str, variables: Sequence[tuple[str, str]]) -> None:
        connection = self._connection
        if connection is None:
            return
        for name, value in hook.pack_answer(nonce, variables):
            fields = (("Channel", unique_id), ("Variable", name), ("Value", value))
            with contextlib.suppress(PbxStirError):
                connection.forget(connection.send("Setvar", fields))

    def _taken(self, response: Message) -> bool:
        """Whether a channel took a variable; False if it is gone."""
        if response.response == "Success":
            return True
        said = str(response.message)
        if "no such channel" in said.lower():
            return False
        raise PbxUnavailable(
            f"{self.name} refuses to set a variable: {said[:100]!r}",
            hint="the AMI user needs write = call,user",
        )


def _wire(value: str) -> str:
    """Text as a connection takes it, whose characters are octets: here those of UTF-8."""
    return value.encode().decode("latin-1")


def _header(variable: str) -> str:
    """STIR_REASON → Reason, as the event names it."""
    return variable.removeprefix("STIR_").capitalize()
