"""One login to one FreeSWITCH's event socket, from the connection to its loss.

Takes where to connect and a function that gets each event, gives requests with a limit on every
wait. It knows nothing of calls. Replies come in the order of the commands, so each command that was
written has its place until its reply has come, whether anybody still waits for it or not. A
connection that is lost is over: whatever waited for it fails, and the next one is a new object.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pbx_stir.errors import MalformedFrame, PbxUnavailable
from pbx_stir.pbx import esl
from pbx_stir.pbx.connecting import connecting, shown
from pbx_stir.pbx.esl import Frame, Framer, Headers

# Each held call has a few commands under way; a FreeSWITCH that answers none is gone.
MAX_PENDING = 4096
MAX_UNSENT_OCTETS = 1024 * 1024
_REPLIES = frozenset({esl.COMMAND_REPLY, esl.API_RESPONSE})


@dataclass(frozen=True, slots=True)
class FreeSwitchSettings:
    """Where a FreeSWITCH's event socket is, and its password."""

    name: str
    host: str
    port: int
    password: str = field(repr=False)


class PasswordRefused(PbxUnavailable):
    """FreeSWITCH answered, and will not have this password."""


class AddressRefused(PbxUnavailable):
    """FreeSWITCH answered, and will not have this address."""


class EventSocket(asyncio.Protocol):
    """A connection that is logged in. Made by ``open``; ``lost`` is done when it is over."""

    def __init__(self, settings: FreeSwitchSettings, on_event: Callable[[Headers], object]) -> None:
        loop = asyncio.get_running_loop()
        self.log = logging.getLogger(f"pbx_stir.pbx.{settings.name}")
        self.lost: asyncio.Future[str] = loop.create_future()
        self._settings = settings
        self._on_event = on_event
        self._framer = Framer()
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._pending: deque[asyncio.Future[Frame]] = deque()
        self._transport: asyncio.Transport | None = None
        self._rejected = False

    @classmethod
    async def open(
        cls,
        settings: FreeSwitchSettings,
        on_event: Callable[[Headers], object],
        timeout_seconds: float = 5.0,
    ) -> EventSocket:
        """Connect, wait for the request to log in, log in.

        Raises PasswordRefused, AddressRefused, or PbxUnavailable with what went wrong.
        """
        connection = cls(settings, on_event)
        where = f"{settings.host}:{settings.port}"
        async with connecting(connection, where, timeout_seconds):
            await asyncio.get_running_loop().create_connection(
                lambda: connection, settings.host, settings.port
            )
            await connection._login(where)
        return connection

    async def _login(self, where: str) -> None:
        await asyncio.wait((self._greeted, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if self.lost.done() and self._rejected:
            raise AddressRefused(
                f"{where}: {self.lost.result()}",
                hint="see apply-inbound-acl in event_socket.conf.xml",
            )
        if self.lost.done():
            raise PbxUnavailable(f"{where}: {self.lost.result()}")
        answer = await self.send(esl.login(self._settings.password))
        if not answer.is_ok or not answer.reply.startswith("+OK"):
            raise PasswordRefused(
                f"login at {where} refused: {shown(answer.reply)}",
                hint="compare password_file with event_socket.conf.xml",
            )

    async def request(self, octets: bytes, timeout_seconds: float = 5.0) -> Frame:
        """Send a command and wait for its reply, at most so long.

        Raises PbxUnavailable if there is none.
        """
        sent = self.send(octets)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await sent
        except TimeoutError as error:
            raise PbxUnavailable(f"no reply in {timeout_seconds:g} s") from error

    def send(self, octets: bytes) -> asyncio.Future[Frame]:
        """Send a command; the future is done with its reply, or fails with PbxUnavailable.

        Who does not wait to the end may cancel it.
        """
        transport = self._transport
        if self.lost.done() or transport is None:
            why = self.lost.result() if self.lost.done() else "not connected"
            raise PbxUnavailable(f"connection lost: {why}")
        if len(self._pending) >= MAX_PENDING:
            raise PbxUnavailable(f"{MAX_PENDING} commands wait for a reply")
        if transport.get_write_buffer_size() > MAX_UNSENT_OCTETS:
            self.abort("it does not read what it is sent")
            raise PbxUnavailable("connection lost: it does not read what it is sent")
        sent: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._pending.append(sent)
        transport.write(octets)
        return sent

    async def close(self) -> None:
        """Log off, and close; nothing if the connection is over."""
        with contextlib.suppress(PbxUnavailable):
            await self.request(esl.command("exit"), timeout_seconds=1.0)
        self.abort("closed")

    def abort(self, why: str) -> None:
        """End the connection now; whatever waits for it fails."""
        if not self.lost.done():
            self.lost.set_result(why)
        while self._pending:
            pending = self._pending.popleft()
            if not pending.done():
                pending.set_exception(PbxUnavailable(f"connection lost: {why}"))
                pending.exception()  # seen, even if nobody waits any more
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        # Not by isinstance: uvloop's transports are of no asyncio class.
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take what came; what is no event socket's is hung up on."""
        if self.lost.done():
            return
        try:
            frames = self._framer.feed(data)
        except MalformedFrame as error:
            self.abort(f"what answers there is not FreeSWITCH's event socket: {error}")
            return
        for frame in frames:
            self._take(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self.abort("closed by the PBX" if exc is None else shown(exc))

    def _take(self, frame: Frame) -> None:
        if frame.content_type in _REPLIES:
            if not self._pending:
                self.abort("a reply to nothing")
                return
            waiting = self._pending.popleft()
            if not waiting.done():
                waiting.set_result(frame)
        elif frame.content_type == esl.EVENT:
            self._take_event(frame)
        elif frame.content_type == esl.AUTH_REQUEST:
            if not self._greeted.done():
                self._greeted.set_result(None)
        elif frame.content_type == esl.RUDE_REJECTION:
            self._rejected = True
            self.abort("FreeSWITCH's access list does not admit this address")
        elif frame.content_type == esl.DISCONNECT:
            self.abort("closed by the PBX")

    def _take_event(self, frame: Frame) -> None:
        try:
            event = esl.parse_event(frame)
        except MalformedFrame as error:
            self.log.warning("dropped an event that cannot be read: %s", error)
            return
        self._on_event(event)
