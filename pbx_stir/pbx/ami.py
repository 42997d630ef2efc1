"""One login to one Asterisk over AMI, from the connection to its loss.

Takes where to connect and a function that gets each event, gives requests with a limit on every
wait. It knows nothing of calls. Framing and messages are panoramisk's protocol class; its Manager
is not used, because that one sends unanswered actions again after a reconnect, waits without limit
and does not check what it writes. Here a connection that is lost is over: whatever waited for it
fails, and the next one is a new object.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from pbx_stir.errors import PbxStirError, PbxUnavailable
from pbx_stir.pbx.connecting import connecting, shown

BANNER = b"Asterisk Call Manager/"
# Events may be long (an announcement with four Identity headers has some 15,000 octets), but a peer
# that never ends a message is no Asterisk.
MAX_MESSAGE_OCTETS = 256 * 1024
MAX_PENDING = 4096
MAX_LINE_OCTETS = 1000

# panoramisk logs actions as they are, the login with its secret among them.
_SILENT = logging.Logger("panoramisk, silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.disabled = True


@dataclass(frozen=True, slots=True)
class AsteriskSettings:
    """Where an Asterisk's manager interface is, and as whom to log in there.

    ``tls`` is the context for AMI over TLS, None for plain TCP; ``server_hostname`` is the name its
    certificate must bear, ``host`` by default.
    """

    name: str
    host: str
    port: int
    username: str
    secret: str = field(repr=False)
    tls: ssl.SSLContext | None = None
    server_hostname: str | None = None


class LoginRefused(PbxUnavailable):
    """Asterisk answered, and will not have this user or secret."""


class _EverythingIsForgotten:
    """Stands where panoramisk looks which actions not to keep for the next connection: all."""

    def __contains__(self, name: object) -> bool:
        return True


class _Wire(AMIProtocol):  # type: ignore[misc]
    """panoramisk's protocol with a banner check, a bound on what it keeps, and no exceptions."""

    encoding = "latin-1"

    def __init__(self, connection: AmiConnection) -> None:
        self._connection = connection
        self._opening = b""
        self.save_stream = None
        self.forgetable_actions = _EverythingIsForgotten()
        self.awaiting_actions: list[Action] = []
        self.closed = True

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.log = _SILENT
        self.factory = self._connection

    def data_received(self, data: bytes) -> None:
        if not self._connection.greeted:
            self._opening += data
            if not (self._opening.startswith(BANNER[: len(self._opening)])):
                self._connection.abort("what answers there is not Asterisk's manager interface")
                return
            line, end, data = self._opening.partition(b"\r\n")
            if not end:
                if len(line) > 200:
                    self._connection.abort("a greeting without end")
                return
            self._connection.greet()
        super().data_received(data)
        if self.queue and len(self.queue[0]) > MAX_MESSAGE_OCTETS:
            self._connection.abort(f"a message of more than {MAX_MESSAGE_OCTETS} octets")

    def connection_lost(self, exc: object) -> None:
        # Not the inherited one: that would drop what waits without telling it.
        self._connection.connection_lost(exc)

    def handle_message(self, message: Message) -> None:
        try:
            super().handle_message(message)
        except Exception:  # a header that comes twice is a list where panoramisk wants text
            self._connection.log.warning("dropped a message that cannot be read")


class AmiConnection:
    """A connection that is logged in. Made by ``open``; ``lost`` is done when it is over."""

    def __init__(self, settings: AsteriskSettings, on_event: Callable[[Message], object]) -> None:
        loop = asyncio.get_running_loop()
        self.log = logging.getLogger(f"pbx_stir.pbx.{settings.name}")
        self.lost: asyncio.Future[str] = loop.create_future()
        # What panoramisk's protocol asks of its factory.
        self.save_stream = None
        self.forgetable_actions = _EverythingIsForgotten()
        self.awaiting_actions: list[Action] = []
        self._settings = settings
        self._on_event = on_event
        self._banner: asyncio.Future[None] = loop.create_future()
        self._wire = _Wire(self)

    @classmethod
    async def open(
        cls,
        settings: AsteriskSettings,
        on_event: Callable[[Message], object],
        timeout_seconds: float = 5.0,
    ) -> AmiConnection:
        """Connect, wait for the greeting, log in.

        Raises LoginRefused, or PbxUnavailable with what went wrong.
        """
        connection = cls(settings, on_event)
        where = f"{settings.host}:{settings.port}"
        async with connecting(connection, where, timeout_seconds):
            await connection._connect()
            await connection._login()
        return connection

    async def _connect(self) -> None:
        settings = self._settings
        name = (settings.server_hostname or settings.host) if settings.tls else None
        await asyncio.get_running_loop().create_connection(
            lambda: self._wire, settings.host, settings.port, ssl=settings.tls, server_hostname=name
        )
        await asyncio.wait((self._banner, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if self.lost.done():
            raise PbxUnavailable(f"{settings.host}:{settings.port}: {self.lost.result()}")

    async def _login(self) -> None:
        settings = self._settings
        answer = await self.request(
            "Login",
            (
                ("Username", settings.username),
                ("Secret", settings.secret),
                # The only class of events that is read; what the user may not read stays away.
                ("Events", "user"),
            ),
        )
        if answer.response != "Success":
            said = (
                f"login of {settings.username!r} at {settings.host}:{settings.port} refused: "
                f"{shown(answer.message)}"
            )
            if "shutting down" in said:
                # nothing is wrong with user and secret
                raise PbxUnavailable(said)
            raise LoginRefused(
                said,
                hint="compare secret, permit and deny with the PBX's manager.conf",
            )

    @property
    def greeted(self) -> bool:
        """The first line has come, and it is Asterisk's."""
        return self._banner.done()

    def greet(self) -> None:
        """The first line has come."""
        if not self._banner.done():
            self._banner.set_result(None)

    async def request(
        self, action: str, fields: Sequence[tuple[str, str]] = (), timeout_seconds: float = 5.0
    ) -> Message:
        """Send an action and wait for its response, at most so long.

        Raises PbxUnavailable if there is none, PbxStirError for a field that must not be written.
        """
        sent = self.send(action, fields)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await sent.future
        except TimeoutError as error:
            raise PbxUnavailable(f"no answer to {action} in {timeout_seconds:g} s") from error
        finally:
            self.forget(sent)

    def send(self, action: str, fields: Sequence[tuple[str, str]] = ()) -> Action:
        """Send an action; its ``future`` is done with the response, or fails with PbxUnavailable.

        Who does not wait to the end must ``forget`` it.
        """
        if self.lost.done():
            raise PbxUnavailable(f"connection lost: {self.lost.result()}")
        if len(self._wire.responses) >= MAX_PENDING:
            raise PbxUnavailable(f"{MAX_PENDING} actions wait for an answer")
        written = Action({"Action": _line("Action", action)})
        for name, value in fields:
            written[_line("name", name)] = _line(name, value)
        self._wire.send(written)
        return written

    def forget(self, action: Action) -> None:
        """Stop waiting for this action's response."""
        self._wire.responses.pop(action.id, None)
        if not action.future.done():
            action.future.cancel()
        elif not action.future.cancelled():
            action.future.exception()  # seen, even if nobody waits any more

    async def close(self) -> None:
        """Log off, and close; nothing if the connection is over."""
        with contextlib.suppress(PbxStirError):
            await self.request("Logoff", timeout_seconds=1.0)
        self.abort("closed")

    def abort(self, why: str) -> None:
        """End the connection now; whatever waits for it fails."""
        if not self.lost.done():
            self.lost.set_result(why)
        for pending in list(getattr(self._wire, "responses", {}).values()):
            if not pending.future.done():
                pending.future.set_exception(PbxUnavailable(f"connection lost: {why}"))
                pending.future.exception()
        if not self._wire.closed:
            self._wire.closed = True
            self._wire.responses.clear()
            self._wire.transport.abort()

    # What panoramisk's protocol calls.

    def dispatch(self, message: Message) -> None:
        """An event has come."""
        self._on_event(message)

    def connection_lost(self, error: object) -> None:
        """The connection has ended."""
        self.abort("closed by the PBX" if error is None else shown(error))


def _line(name: str, value: str) -> str:
    """The text, if it is one line that AMI takes.

    A line break would begin another action; a zero octet would end the line early.
    """
    if any(character in value for character in "\r\n\0"):
        raise PbxStirError(f"line break in the AMI field {name[:40]!r}")
    try:
        octets = value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise PbxStirError(f"the AMI field {name[:40]!r} holds what Latin-1 has not") from error
    if len(octets) > MAX_LINE_OCTETS:
        raise PbxStirError(f"the AMI field {name[:40]!r} has {len(octets)} octets")
    return value
