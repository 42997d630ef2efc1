"""A manager interface of our own: as much of AMI as a listener needs, and a clock.

It stands where a PBX would. A listener logs in, pings, and writes its heartbeat; ``announce``
raises the event that dialplan/asterisk/pbx-stir.conf raises for a call, with the channel's headers
that Asterisk puts before it, and gives what the listener writes to that call, and how long it took:
from before the event is written to after the Setvar with the nonce has been read.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import quote

from lab.debian import LabError

USER: Final = "pbx-stir"
ANSWER_SECONDS: Final = 5.0
# the fields of STIR_ANSWER, after its nonce
_FIELDS: Final = ("status", "verstat", "reason")
_NOT_RAISED: Final = ("action", "userevent")


@dataclass(frozen=True, slots=True)
class Released:
    """A call's answer: what the listener wrote of it, and seconds from event to release."""

    status: str
    verstat: str
    reason: str
    seconds: float


@dataclass(slots=True)
class Manager:
    """One PBX, as far as a listener sees it. ``async with`` it: it serves meanwhile."""

    name: str
    host: str = "127.0.0.1"
    ami_port: int = 0
    ami_user: str = USER
    ami_secret: str = field(default_factory=lambda: secrets.token_hex(16))
    heartbeat: str = ""
    # set at the first heartbeat since it was cleared; ``beat_at`` is when that was
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    beat_at: float = 0.0
    variables: dict[str, str] = field(default_factory=dict)
    _waiting: dict[str, asyncio.Future[tuple[str, float]]] = field(default_factory=dict)
    _sessions: list[_Session] = field(default_factory=list)
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Manager:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), self.host, self.ami_port)
        self.ami_port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Hang up."""
        assert self._server is not None
        self._server.close()
        for session in list(self._sessions):
            session.transport.abort()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1)

    async def announce(self, direction: str, trunk: str, orig: str, dest: str) -> Released:
        """Have a call wait for its answer. Raises LabError where none comes."""
        nonce = f"{secrets.randbelow(10**16):016}"
        serial = next(self._serial)
        unique_id = f"{int(time.time())}.{serial}"
        event = _announcement(
            direction=direction,
            trunk=trunk,
            orig=orig,
            dest=dest,
            nonce=nonce,
            unique_id=unique_id,
            serial=serial,
            listener=self.heartbeat.partition(":")[0],
        )
        future: asyncio.Future[tuple[str, float]] = asyncio.get_running_loop().create_future()
        self._waiting[nonce] = future
        session = self._session()
        began = time.perf_counter()
        session.transport.write(event)
        try:
            answer, released = await asyncio.wait_for(future, ANSWER_SECONDS)
        except TimeoutError as error:
            raise LabError(f"{self.name}: no answer in {ANSWER_SECONDS:g} s") from error
        finally:
            del self._waiting[nonce]
        if direction == "in":
            session.transport.write(_ended(self.heartbeat, nonce, unique_id, serial))
        said = dict(zip(_FIELDS, answer.split("|")[1:], strict=False))
        return Released(**said, seconds=released - began)

    def set_variable(self, name: str, value: str, at: float) -> None:
        """What a Setvar does."""
        if name == "STIR_HEARTBEAT":
            self.heartbeat = value
            if value and not self.heard.is_set():
                self.beat_at = at
                self.heard.set()
        elif name == "STIR_ANSWER":
            future = self._waiting.get(value[:16])
            if future is not None and not future.done():
                future.set_result((value, at))
        self.variables[name] = value

    def _session(self) -> _Session:
        if not self._sessions:
            raise LabError(f"{self.name}: no listener is logged in")
        return self._sessions[-1]

    def opened(self, session: _Session) -> None:
        """A listener has logged in."""
        self._sessions.append(session)

    def closed(self, session: _Session) -> None:
        """A connection is over."""
        with contextlib.suppress(ValueError):
            self._sessions.remove(session)


class _Session(asyncio.Protocol):
    """One connection: actions in, responses out."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._left = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one without being of the class
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(b"Asterisk Call Manager/9.0.0\r\n")

    def connection_lost(self, _exc: Exception | None) -> None:
        self._manager.closed(self)

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter()
        *actions, self._left = (self._left + data).split(b"\r\n\r\n")
        for text in actions:
            lines = (line.partition(": ") for line in text.decode("latin-1").split("\r\n"))
            action = {name.lower(): value for name, _, value in lines if name}
            if action:
                self.transport.write(_message(self._answered(action, at)))
                if action.get("action", "").lower() == "userevent":
                    self._echo(action)

    def _echo(self, action: dict[str, str]) -> None:
        """What a UserEvent raises comes back, by which a listener knows that it hears."""
        kept = [(name, value) for name, value in action.items() if name not in _NOT_RAISED]
        event = [("Event", "UserEvent"), ("Privilege", "user,all")]
        self.transport.write(_message([*event, ("UserEvent", action.get("userevent", "")), *kept]))

    def _answered(self, action: dict[str, str], at: float) -> list[tuple[str, str]]:
        manager = self._manager
        success = [("Response", "Success"), ("ActionID", action.get("actionid", ""))]
        match action.get("action", "").lower():
            case "login":
                if action.get("secret") != manager.ami_secret:
                    return [("Response", "Error"), success[1], ("Message", "Authentication failed")]
                manager.opened(self)
                return [*success, ("Message", "Authentication accepted")]
            case "ping":
                return [*success, ("Ping", "Pong"), ("Timestamp", f"{time.time():.6f}")]
            case "setvar":
                manager.set_variable(action.get("variable", ""), action.get("value", ""), at)
                return [*success, ("Message", "Variable Set")]
            case "getvar":
                name = action.get("variable", "")
                return [*success, ("Variable", name), ("Value", manager.variables.get(name, ""))]
            case "logoff":
                return [
                    ("Response", "Goodbye"),
                    success[1],
                    ("Message", "Thanks for all the fish."),
                ]
            case "userevent":
                return [*success, ("Message", "Event Sent")]
        return [("Response", "Error"), success[1], ("Message", "Invalid/unknown command")]


def _announcement(
    *,
    direction: str,
    trunk: str,
    orig: str,
    dest: str,
    nonce: str,
    unique_id: str,
    serial: int,
    listener: str,
) -> bytes:
    inbound = direction == "in"
    endpoint = trunk if inbound else "alice"
    fields = [
        *_channel(endpoint, unique_id, serial, orig),
        ("UserEvent", "PbxStir"),
        ("Ver", "1"),
        ("Listener", listener),
        ("Mode", "on"),
        ("Nonce", nonce),
        ("Dir", direction),
        ("Trunk", trunk),
        ("Budget", "2000" if inbound else "1500"),
        ("From", quote(orig, safe="")),
        ("Pres", "allowed_not_screened"),
        ("To", quote(dest, safe="")),
        ("CameIn", trunk if inbound else ""),
        ("Originator", quote(f"PJSIP/{endpoint}-{serial:08x}", safe="")),
        ("Account", ""),
    ]
    return _message(fields)


def _ended(heartbeat: str, nonce: str, unique_id: str, serial: int) -> bytes:
    fields = [
        *_channel("carrier", unique_id, serial, ""),
        ("UserEvent", "PbxStirEnded"),
        ("Ver", "1"),
        ("Listener", heartbeat.partition(":")[0]),
        ("Nonce", nonce),
        ("Answered", "yes"),
    ]
    return _message(fields)


def _channel(endpoint: str, unique_id: str, serial: int, orig: str) -> list[tuple[str, str]]:
    """What Asterisk says of the channel in each of its events."""
    return [
        ("Event", "UserEvent"),
        ("Privilege", "user,all"),
        ("Channel", f"PJSIP/{endpoint}-{serial:08x}"),
        ("ChannelState", "4"),
        ("ChannelStateDesc", "Ring"),
        ("CallerIDNum", orig),
        ("CallerIDName", "<unknown>"),
        ("ConnectedLineNum", "<unknown>"),
        ("ConnectedLineName", "<unknown>"),
        ("Language", "en"),
        ("AccountCode", ""),
        ("Context", "pbx-stir-hold"),
        ("Exten", "s"),
        ("Priority", "58"),
        ("Uniqueid", unique_id),
        ("Linkedid", unique_id),
    ]


def _message(fields: list[tuple[str, str]]) -> bytes:
    return ("".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n").encode("latin-1")
