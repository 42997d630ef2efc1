"""A double of FreeSWITCH's event socket: it is none, and stands where one would.

It answers as a FreeSWITCH 1.11.3-dev was recorded to answer (tests/pbx_room/transcripts), and knows
only the commands that pbx_stir sends: whatever else comes is kept in ``strange``, answered as
FreeSWITCH answers what it does not know, and has ``async with`` fail at its end. Channels are what
``channels`` has; ``announce`` raises the event that dialplan/freeswitch/pbx_stir.lua raises.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Final, cast
from urllib.parse import quote

from pbx_stir import __version__
from pbx_stir.pbx.event_socket import FreeSwitchSettings

PASSWORD: Final = "a-password-never-to-be-logged"
REQUEST: Final = "pbx_stir::request"
# What FreeSWITCH leaves as it is in an event's values.
_PLAIN: Final = "/,!$'()*-._~"
_GOODBYE: Final = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
_COMMANDS: Final = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"(auth) ([!-~ ]+)",
        r"(event) plain CUSTOM pbx_stir::request pbx_stir::ended",
        r"(exit)",
        r"(sendevent) CUSTOM\nEvent-Subclass: (pbx_stir::[a-z]+)((?:\nStir-[A-Z][a-z_]*: [ -~]*)+)",
        r"api (global_setvar) (stir_[a-z_]+)=([ -~]*)",
        r"api (global_getvar) ([A-Za-z0-9_.-]+)",
        r"api (uuid_setvar) ([!-~]+) (stir_[a-z0-9_]+)(?: ([A-Za-z0-9 .+@_|-]*))?",
        r"api (uuid_getvar) ([!-~]+) ([a-z_]+)",
        r"api (file_exists) ([!-~]+)",
        r"api (module_exists) ([a-z_]+)",
        r"api (lua) pbx_stir.lua version",
    )
)


class EventSocketDouble:
    """A server on loopback. ``commands`` are all that came, by connection."""

    def __init__(self, *, late_seconds: float = 0.0, bytewise: bool = False) -> None:
        self.late_seconds = late_seconds
        self.bytewise = bytewise
        # it hangs up on everybody, as an access list does
        self.rejects = False
        # it brings no events
        self.deaf = False
        self.globals: dict[str, str] = {"script_dir": "/usr/share/freeswitch/scripts"}
        self.files = {"/usr/share/freeswitch/scripts/pbx_stir.lua"}
        self.modules = {"mod_lua"}
        self.script_version = __version__
        self.channels: dict[str, dict[str, str]] = {}
        self.answers: list[tuple[str, str]] = []
        self.commands: list[list[str]] = []
        self.strange: list[str] = []
        self.port = 0
        self.on_answer: Callable[[str, str], None] = lambda _unique_id, _value: None
        self._core = str(uuid.uuid4())
        self._frozen = False
        self._changed = asyncio.Event()
        self._sessions: list[_Session] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> EventSocketDouble:
        await self.listen()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        # what was aborted closes in the loop's next round
        await asyncio.sleep(0)
        if kind is None:
            assert self.strange == [], "commands that no FreeSWITCH was seen to take from us"

    async def listen(self) -> None:
        """Take connections, at the same port as before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Drop all connections, take no more."""
        if self._server is not None:
            self._server.close()
        self.drop()

    def drop(self) -> None:
        """Drop all connections."""
        for session in list(self._sessions):
            session.transport.abort()
        self._sessions.clear()

    async def restart(self) -> None:
        """End and begin again: nothing of before is known, not even calls."""
        for session in self._sessions:
            session.frame("text/disconnect-notice", "The system is being shut down.\n")
        self.close()
        self._core = str(uuid.uuid4())
        self.channels.clear()
        for name in [name for name in self.globals if name.startswith("stir_")]:
            del self.globals[name]
        await self.listen()

    def freeze(self) -> None:
        """Read nothing, and so answer nothing, until ``thaw``; new connections are left waiting."""
        self._frozen = True
        for session in self._sessions:
            session.transport.pause_reading()

    def thaw(self) -> None:
        """Go on."""
        self._frozen = False
        for session in self._sessions:
            session.transport.resume_reading()
            if not session.greeted:
                session.greet()

    @property
    def frozen(self) -> bool:
        """Whether nothing is read."""
        return self._frozen

    def settings(self, password: str = PASSWORD, name: str = "fs") -> FreeSwitchSettings:
        """How to log in here."""
        return FreeSwitchSettings(name, "127.0.0.1", self.port, password)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to have come."""
        async with asyncio.timeout(10):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    def changed(self) -> None:
        """Something has come."""
        self._changed.set()

    def fire(self, subclass: str, headers: Mapping[str, str]) -> None:
        """Raise an event to all who have subscribed, as late as events come here."""
        if self.deaf:
            return
        octets = self._event(subclass, headers)
        for session in self._sessions:
            if session.subscribed and self.late_seconds:
                asyncio.get_running_loop().call_later(self.late_seconds, session.write, octets)
            elif session.subscribed:
                session.write(octets)

    def announce(self, listener: str, **changed: str) -> str:
        """A call waits, in a channel of its own unless one is named; gives its nonce."""
        unique_id = changed.get("Uniqueid") or str(uuid.uuid4())
        nonce = changed.get("Nonce", secrets.token_hex(8))
        self.channels.setdefault(unique_id, {})
        fields = {
            "Ver": "1", "Listener": listener, "Dir": "in", "Mode": "on", "Trunk": "carrier",
            "From": "+12125550100", "Pres": "allowed", "To": "13105552001", "Originator": "",
            "Account": "", "CameIn": "carrier", "Uniqueid": unique_id, "Linkedid": unique_id,
            "Nonce": nonce, "Budget": "2000", **changed,
        }  # fmt: skip
        self.fire(REQUEST, {f"Stir-{name}": value for name, value in fields.items()})
        return nonce

    def set_on_channel(self, unique_id: str, name: str, value: str) -> bool:
        """What uuid_setvar does; whether there is such a channel."""
        channel = self.channels.get(unique_id)
        if channel is None:
            return False
        if value:
            channel[name] = value
        else:
            channel.pop(name, None)
        if name.startswith("stir_answer"):
            self.answers.append((unique_id, value))
            self.on_answer(unique_id, value)
        return True

    def opened(self, session: _Session) -> list[str]:
        """A client has connected: where its commands are kept."""
        self._sessions.append(session)
        self.commands.append([])
        self.changed()
        return self.commands[-1]

    def closed(self, session: _Session) -> None:
        """A client has gone."""
        if session in self._sessions:
            self._sessions.remove(session)
        self.changed()

    def _event(self, subclass: str, headers: Mapping[str, str]) -> bytes:
        known = {
            "Event-Subclass": subclass, "Event-Name": "CUSTOM", "Core-UUID": self._core,
            "FreeSWITCH-Hostname": "vm", "FreeSWITCH-IPv4": "192.0.2.2",
            "Event-Date-Timestamp": f"{int(time.time() * 1e6)}",
            "Event-Calling-File": "switch_cpp.cpp", "Event-Sequence": "445",
        }  # fmt: skip
        lines = (f"{k}: {quote(v, safe=_PLAIN)}\n" for k, v in {**known, **headers}.items())
        body = "".join(lines) + "\n"
        return f"Content-Length: {len(body)}\nContent-Type: text/event-plain\n\n{body}".encode()


class _Session(asyncio.Protocol):
    """One connection: commands in, replies out."""

    def __init__(self, double: EventSocketDouble) -> None:
        self._double = double
        self._left = b""
        self._known = False
        self.subscribed = False
        self.greeted = False
        self.transport: asyncio.Transport
        self._commands: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one without being of the class
        self.transport = cast("asyncio.Transport", transport)
        self._commands = self._double.opened(self)
        if self._double.frozen:
            self.transport.pause_reading()
        else:
            self.greet()

    def greet(self) -> None:
        """What comes first."""
        self.greeted = True
        if self._double.rejects:
            self.frame("text/rude-rejection", "Access Denied, go away.\n")
            self.frame("text/disconnect-notice", _GOODBYE)
            self.transport.close()
        else:
            self.write(b"Content-Type: auth/request\n\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._double.closed(self)

    def data_received(self, data: bytes) -> None:
        *commands, self._left = (self._left + data).split(b"\n\n")
        for octets in commands:
            text = octets.decode("latin-1")
            self._commands.append(text)
            found = next((m for p in _COMMANDS if (m := p.fullmatch(text))), None)
            if found is None or not (self._known or found[1] in {"auth", "exit"}):
                self._double.strange.append(text)
                self._reply("-ERR command not found")
            else:
                self._take(found[1], [one or "" for one in found.groups()[1:]])
        self._double.changed()

    def write(self, octets: bytes) -> None:
        """To the client, at once or octet by octet."""
        if self.transport.is_closing():
            return
        for piece in [bytes([octet]) for octet in octets] if self._double.bytewise else [octets]:
            self.transport.write(piece)

    def frame(self, content_type: str, body: str) -> None:
        """A frame with a body."""
        head = f"Content-Type: {content_type}\nContent-Length: {len(body)}\n\n"
        self.write((head + body).encode())

    def _reply(self, text: str) -> None:
        self.write(f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode())

    def _leave(self, text: str) -> None:
        self._reply(text)
        self.frame("text/disconnect-notice", _GOODBYE)
        self.transport.close()

    def _take(self, command: str, words: list[str]) -> None:
        match command:
            case "auth":
                self._known = words[0] == PASSWORD
                if self._known:
                    self._reply("+OK accepted")
                else:
                    self._leave("-ERR invalid")
            case "exit":
                self._leave("+OK bye")
            case "event":
                self.subscribed = True
                self._reply("+OK event listener enabled plain")
            case "sendevent":
                self._reply(f"+OK {uuid.uuid4()}")
                lines = (line.partition(": ") for line in words[1].strip().split("\n"))
                self._double.fire(words[0], {name: value for name, _, value in lines})
            case _:
                self.frame("api/response", self._answer(command, words))

    def _answer(self, command: str, words: list[str]) -> str:
        double = self._double
        match command:
            case "global_setvar":
                double.globals[words[0]] = words[1]
                return "+OK"
            case "global_getvar":
                return double.globals.get(words[0]) or "-ERR no reply\n"
            case "file_exists":
                return str(words[0] in double.files).lower()
            case "module_exists":
                return str(words[0] in double.modules).lower()
            case "lua":
                return double.script_version
            case "uuid_getvar" if words[0] in double.channels:
                return double.channels[words[0]].get(words[1], "_undef_")
            case "uuid_setvar" if double.set_on_channel(*words):
                return "+OK\n"
        return "-ERR No such channel!\n"
