"""An AMI double: speaks the protocol, keeps what it was told, misbehaves on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pbx_stir.pbx.ami import AsteriskSettings

GREETING = b"Asterisk Call Manager/5.0.2\r\n"
SECRET = "a secret, never to be logged"
NOW = "1795309815.123456"


class FakeAsterisk:
    """A server on loopback. ``actions`` are all that came, by connection, as lists of lines."""

    def __init__(self, *, bytewise: bool = False, greeting: bytes = GREETING) -> None:
        self.bytewise = bytewise
        self.greeting = greeting
        self.refusal = "Authentication failed"
        self.silent: set[str] = set()
        self.denied: set[str] = set()
        # whether what a UserEvent raises is heard
        self.deaf = False
        self.channels = {"pbx-1.1"}
        self.variables: dict[str, str] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.connections: list[list[dict[str, str]]] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FakeAsterisk:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def listen(self) -> None:
        """Take connections, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Drop all connections, take no more."""
        assert self._server is not None
        self._server.close()
        self.drop()
        await self._server.wait_closed()

    def drop(self) -> None:
        """Drop all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def settings(self, secret: str = SECRET) -> AsteriskSettings:
        """How to log in here."""
        return AsteriskSettings("pbx", "127.0.0.1", self.port, "pbx-stir", secret)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to have come."""
        async with asyncio.timeout(5):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    def say(self, octets: bytes) -> None:
        """To everyone who is connected."""
        for writer in self._writers:
            self._write(writer, octets)

    def event(self, name: str, **fields: str) -> None:
        """Raise a user event."""
        lines = ["Event: UserEvent", "Privilege: user,all", f"UserEvent: {name}"]
        lines += [f"{key}: {value}" for key, value in fields.items()]
        self.say(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def _write(self, writer: asyncio.StreamWriter, octets: bytes) -> None:
        pieces = [octets[n : n + 1] for n in range(len(octets))] if self.bytewise else [octets]
        for piece in pieces:
            writer.write(piece)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        actions: list[dict[str, str]] = []
        self.connections.append(actions)
        self._write(writer, self.greeting)
        self._changed.set()
        try:
            while True:
                text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = [line for line in text.split("\r\n") if line]
                action = dict(line.split(": ", 1) if ": " in line else (line, "") for line in lines)
                actions.append(action)
                if action["Action"] not in self.silent:
                    self._answer(writer, action)
                self._changed.set()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, action: dict[str, str]) -> None:
        name = action["Action"]
        if name == "Login" and action["Secret"] != SECRET:
            answer = f"Response: Error\r\nMessage: {self.refusal}"
        elif name in self.denied:
            answer = "Response: Error\r\nMessage: Permission denied"
        elif name == "Ping":
            answer = f"Response: Success\r\nPing: Pong\r\nTimestamp: {NOW}"
        elif name == "Getvar":
            answer = f"Response: Success\r\nValue: {self.variables.get(action['Variable'], '')}"
        elif name == "Setvar" and action.get("Channel", "") not in {"", *self.channels}:
            answer = "Response: Error\r\nMessage: No such channel"
        else:
            answer = "Response: Success\r\nMessage: done"
        if name == "Setvar" and not action.get("Channel"):
            self.variables[action["Variable"]] = action.get("Value", action.get("Value:", ""))
        if name == "Setvar":
            channel = action.get("Channel", "")
            self.writes.append((channel, action["Variable"], action.get("Value", "")))
        said = f"{answer}\r\nActionID: {action['ActionID']}\r\n\r\n"
        self._write(writer, said.encode("latin-1"))
        if name == "UserEvent" and name not in self.denied and not self.deaf:
            kept = {k: v for k, v in action.items() if k not in {"Action", "UserEvent"}}
            self.event(action["UserEvent"], **kept)
