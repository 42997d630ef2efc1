"""Proof that a login hears the dialplan: it raises an event, and must see it come back.

A manager user without ``read = user``, or whose ``eventfilter`` keeps the announcements away, logs
in and writes heartbeats like any other, and each call would wait its whole budget for it. Rights
are those of the login, so only a new one takes up what has been mended in manager.conf.
"""

from __future__ import annotations

import asyncio
import secrets

from panoramisk.message import Message

from pbx_stir.errors import PbxUnavailable
from pbx_stir.pbx.ami import AmiConnection
from pbx_stir.pbx.hook import ANNOUNCEMENT_EVENT

# Under the announcements' own name, so that whatever lets them through lets it through, and nothing
# else does. It names no listener: every other one leaves it alone.
_FIELD = "Echo"
SECONDS = 2.5


class Deaf(PbxUnavailable):
    """The login works, but the dialplan's events do not reach it, or it may raise none."""


class MayNotSpeak(Deaf):
    """Asterisk refuses this user's event: ``write`` lacks ``user``."""


class Hearing:
    """One listener's ears: give ``take`` each event, and ask ``prove`` whether any come."""

    def __init__(self) -> None:
        self._awaited: dict[str, asyncio.Future[None]] = {}

    def take(self, message: Message) -> bool:
        """Whether this event is an echo, anybody's, and no call."""
        if message.event != "UserEvent" or message.userevent != ANNOUNCEMENT_EVENT:
            return False
        echo = message.get(_FIELD)
        if echo is None:
            return False
        awaited = self._awaited.get(echo) if isinstance(echo, str) else None
        if awaited is not None and not awaited.done():
            awaited.set_result(None)
        return True

    async def prove(self, connection: AmiConnection, timeout_seconds: float = SECONDS) -> None:
        """Return once an event has come back on this connection.

        Raises MayNotSpeak, Deaf, or PbxUnavailable where the PBX does not answer at all.
        """
        echo = secrets.token_hex(16)
        back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[echo] = back
        try:
            fields = (("UserEvent", ANNOUNCEMENT_EVENT), (_FIELD, echo))
            answer = await connection.request("UserEvent", fields, timeout_seconds)
            if answer.response != "Success":
                raise MayNotSpeak(
                    f"the AMI user may not raise events: {str(answer.message)[:100]!r}",
                    hint="write = call,user in manager.conf, see manager.conf.sample",
                )
            async with asyncio.timeout(timeout_seconds):
                await asyncio.wait((back, connection.lost), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise Deaf(
                "the AMI user does not hear the dialplan's events: no call can be served",
                hint="read = user and eventfilter = UserEvent: PbxStir in manager.conf, and no "
                "filter that keeps them away; then: manager reload",
            ) from error
        finally:
            del self._awaited[echo]
        if not back.done():
            raise PbxUnavailable(f"connection lost: {connection.lost.result()}")
