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
import logging
import random
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from panoramisk.message import Message

from pbx_stir.errors import MalformedAnnouncement, PbxStirError, PbxUnavailable
from pbx_stir.pbx import hook
from pbx_stir.pbx.ami import AmiConnection, AsteriskSettings, LoginRefused
from pbx_stir.pbx.hearing import Deaf, Hearing
from pbx_stir.pbx.pbx_time import PbxTime
from pbx_stir.services.call import Call, Direction, Mode, Reason, Status, Verstat

# How long past its moment an answer may still wait for the PBX's word.
GRACE_SECONDS = 0.25
# The budget of a call whose hold was over before its announcement was read; no dialplan gives it.
OVER_MS = 1
# An announcement read so late has cost the call a part of its budget.
LATE_MS = 20

_PBX_TIME = re.compile(r"[0-9]{9,11}(\.[0-9]{1,6})?")
_CDR_COLUMNS = {
    "STIR_VERSTAT": "stir_verstat",
    "STIR_REASON": "stir_reason",
    "STIR_ATTEST": "stir_attest",
    "STIR_SIGNER": "stir_signer",
    "STIR_ID": "stir_id",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: between heartbeats, until a PBX that does not answer counts as gone, of retries.

    The dialplan takes a heartbeat for dead after five seconds. After the last one announcements
    may still come for a moment: ``linger``. A login proves that it hears the dialplan before its
    first heartbeat, in ``echo`` seconds, and again each ``proof``.
    """

    heartbeat: float = 1.0
    silence: float = 3.0
    first_retry: float = 0.5
    last_retry: float = 30.0
    linger: float = 0.05
    echo: float = 2.5
    proof: float = 10.0


class Receiver(Protocol):
    """Who takes the calls. ``receive`` answers through the PBX it is given, once."""

    async def receive(self, call: Call, pbx: AsteriskPbx) -> None:
        """A call waits."""
        ...

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        """A call that a PASSporT vouched for is over."""
        ...


class AsteriskPbx:
    """One Asterisk. ``run`` keeps the connection until ``stop``; several may share a receiver."""

    def __init__(
        self,
        settings: AsteriskSettings,
        receiver: Receiver,
        *,
        max_waiting: int = 2000,
        timing: Timing = Timing(),
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = settings.name
        # Names this listener to the dialplan, so that of two at one PBX only one answers a call.
        self.listener = secrets.token_hex(8)
        self.connected = asyncio.Event()
        self._settings = settings
        self._receiver = receiver
        self._max_waiting = max_waiting
        self._timing = timing
        self._monotonic = monotonic
        self._jitter = jitter
        self._log = logging.getLogger(f"pbx_stir.pbx.{settings.name}")
        self._connection: AmiConnection | None = None
        self._hearing = Hearing()
        self._time = PbxTime()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beating = True
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Connect, serve, and connect again whenever the connection is lost; until ``stop``."""
        failures = 0
        while not self._stopped.is_set():
            try:
                connection = await self._open()
            except PbxUnavailable as error:
                failures += 1
                self._log_failure(error, failures)
            else:
                failures = 0
                if connection is not None:
                    await self._serve(connection)
            if not self._stopped.is_set():
                await self._pause(failures)

    async def stop(self, drain_seconds: float = 10.0) -> None:
        """Tell the dialplan that nobody listens, answer what waits, then let ``run`` log off."""
        self._beating = False
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(PbxStirError):
                await self._silence(connection)
            await asyncio.sleep(self._timing.linger)
        give_up_at = self._monotonic() + drain_seconds
        while self._tasks and (left := give_up_at - self._monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        if self._tasks:
            self._log.warning("stopped with %d calls unanswered", len(self._tasks))
        for task in self._tasks:
            task.cancel()
        self._stopped.set()

    async def answer(
        self, call: Call, variables: Sequence[tuple[str, str]], give_up_at: float
    ) -> bool:
        """Write the answer and release the call; ``give_up_at`` is a moment of ``time.monotonic``.

        True: the PBX took it. False: the call is gone, or its hold was over when we read of it.

        Raises PbxUnavailable if the PBX is not connected or does not say in time, PbxStirError for
        a variable that an answer has no place for.
        """
        if call.budget_ms <= OVER_MS:
            return False
        connection = self._connection
        if connection is None:
            raise PbxUnavailable(f"{self.name} is not connected")
        writes = hook.pack_answer(call.nonce, variables)
        sent = []
        try:
            # One session's actions are carried out in order, so the parts need no waiting for.
            for name, value in writes:
                fields = (("Channel", call.unique_id), ("Variable", name), ("Value", value))
                sent.append(connection.send("Setvar", fields))
            left = max(0.0, give_up_at - self._monotonic()) + GRACE_SECONDS
            async with asyncio.timeout(left):
                response = await sent[-1].future
        except TimeoutError as error:
            raise PbxUnavailable(f"{self.name} does not say whether it took an answer") from error
        finally:
            for action in sent:
                connection.forget(action)
        return self._taken(response)

    async def contest(self, unique_id: str, variables: Sequence[tuple[str, str]]) -> None:
        """Say on a call in progress, in its CDR columns and as an event that it is contested.

        Never raises: a call that is over, or a PBX that is away, is only logged.
        """
        connection = self._connection
        given = {name: hook.safe(value) for name, value in variables}
        try:
            if connection is None:
                raise PbxUnavailable("not connected")
            # Once the call has gone out again, its variables tell of that, and only its record of
            # how it came in.
            verstat = await self._get(connection, unique_id, "STIR_VERSTAT")
            writes = [(f"CDR({_CDR_COLUMNS[n]})", v) for n, v in given.items() if n in _CDR_COLUMNS]
            if verstat:
                writes += [(f"__{name}", value) for name, value in given.items()]
                if await self._get(connection, "", "STIR_CDR_USERFIELD") != "off":
                    cost = await self._get(connection, unique_id, "STIR_MS")
                    now = given.get("STIR_VERSTAT", verstat), given.get("STIR_REASON", "")
                    writes.append(
                        ("CDR(userfield)", "verstat={} reason={} ms={}".format(*now, cost))
                    )
            for target, value in writes:
                fields = (("Channel", unique_id), ("Variable", target), ("Value", value))
                response = await connection.request("Setvar", fields, timeout_seconds=2.0)
                if not self._taken(response):
                    return
            said = tuple((_header(name), value) for name, value in given.items())
            event = (("UserEvent", "PbxStirContested"), ("CallUniqueid", unique_id), *said)
            await connection.request("UserEvent", event, timeout_seconds=2.0)
        except PbxStirError as error:
            self._log.warning("a contested call could not be marked: %s", error)

    async def _get(self, connection: AmiConnection, unique_id: str, name: str) -> str:
        """A variable of a channel, or a global one; empty if there is none, or no such channel."""
        channel = (("Channel", unique_id),) if unique_id else ()
        fields = (*channel, ("Variable", name))
        response = await connection.request("Getvar", fields, timeout_seconds=2.0)
        return hook.safe(str(response.value))

    # The connection.

    async def _open(self) -> AmiConnection | None:
        """A connection that is logged in and hears; None if ``stop`` came first."""
        opening = asyncio.create_task(self._log_in())
        await self._unless_stopped(opening)
        if not opening.done():
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, PbxUnavailable):
                await (await opening).close()
            return None
        return opening.result()

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

    async def _unless_stopped(self, what: asyncio.Future[Any]) -> None:
        """Return when it is done, or ``stop`` has come."""
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait((what, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()

    async def _serve(self, connection: AmiConnection) -> None:
        self._log.info("logged in at %s:%d", self._settings.host, self._settings.port)
        beat = asyncio.create_task(self._beat(connection))
        try:
            await self._unless_stopped(connection.lost)
            if connection.lost.done():
                self._log.warning("connection lost: %s", connection.lost.result())
        finally:
            self._connection = None
            self.connected.clear()
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat
            await connection.close()

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
                if self._beating:
                    await self._tell(connection, f"{self.listener}:{pong.timestamp}")
                    self.connected.set()
                spent = self._monotonic() - began
                await asyncio.sleep(max(0.0, self._timing.heartbeat - spent))
        except PbxStirError as error:
            if isinstance(error, Deaf):
                with contextlib.suppress(PbxStirError):
                    await self._silence(connection)
            connection.abort(str(error))

    async def _tell(self, connection: AmiConnection, value: str) -> None:
        fields = (("Variable", "STIR_HEARTBEAT"), ("Value", value))
        response = await connection.request("Setvar", fields, timeout_seconds=self._timing.silence)
        if response.response != "Success":
            raise PbxUnavailable(
                f"the heartbeat is not taken: {str(response.message)[:100]!r}",
                hint="the AMI user needs write = call,user",
            )

    async def _silence(self, connection: AmiConnection) -> None:
        """Take our heartbeat away, unless another listener's is there by now."""
        answer = await connection.request(
            "Getvar", (("Variable", "STIR_HEARTBEAT"),), timeout_seconds=self._timing.silence
        )
        if str(answer.value).startswith(f"{self.listener}:"):
            await self._tell(connection, "")

    async def _pause(self, failures: int) -> None:
        """Wait before the next attempt: longer after each failure, never the same for two."""
        first, last = self._timing.first_retry, self._timing.last_retry
        longest = min(last, first * 2 ** min(failures, 10))
        seconds = max(first, longest * (0.5 + self._jitter() / 2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _log_failure(self, error: PbxUnavailable, failures: int) -> None:
        """The first failure, then the 2nd, 4th, 8th …: said, but not over and over."""
        if failures & (failures - 1) == 0:
            level = logging.ERROR if isinstance(error, (LoginRefused, Deaf)) else logging.WARNING
            again = "" if failures == 1 else f" (attempt {failures})"
            self._log.log(level, "%s%s", error, again)

    # Events.

    def _on_event(self, message: Message) -> None:
        if self._hearing.take(message):
            return
        name = message.userevent if message.event == "UserEvent" else ""
        if name == hook.ENDED_EVENT:
            self._on_ended(message)
        elif name == hook.ANNOUNCEMENT_EVENT and hook.listener_of(message) == self.listener:
            self._on_announcement(message)

    def _on_ended(self, message: Message) -> None:
        try:
            ended = hook.parse_ended(message)
        except MalformedAnnouncement as error:
            self._log.error("dropped the end of a call: %s", error)
            return
        self._begin(self._receiver.ended(self.name, ended.unique_id, ended.answered))

    def _on_announcement(self, message: Message) -> None:
        try:
            call = hook.parse_announcement(message, self.name)
        except MalformedAnnouncement as error:
            self._log.error("announcement refused: %s", error)
            self._refuse(message, Reason.INTERNAL_ERROR)
            return
        age_ms = self._time.age_ms(call.nonce, self._monotonic())
        if age_ms >= LATE_MS:
            call = replace(call, budget_ms=max(OVER_MS, call.budget_ms - age_ms))
        if len(self._tasks) >= self._max_waiting:
            self._log.error("more than %d calls wait", self._max_waiting)
            if call.mode is Mode.ON:
                inbound = call.direction is Direction.INBOUND
                self._refuse(message, Reason.OVERLOADED if inbound else Reason.INTERNAL_ERROR)
            return
        self._begin(self._receiver.receive(call, self))

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:  # the receiver's own bug must not end the connection's other calls
            self._log.exception("a call could not be served")

    def _refuse(self, message: Message, reason: Reason) -> None:
        """Release a call at once, without serving it, so that it does not wait its budget."""
        found = hook.waiting(message)
        connection = self._connection
        if found is None or connection is None:
            return
        unique_id, nonce = found
        variables = (
            ("STIR_STATUS", Status.ERROR.value),
            ("STIR_VERSTAT", Verstat.NONE.value),
            ("STIR_REASON", reason.value),
        )
        for name, value in hook.pack_answer(nonce, variables):
            fields = (("Channel", unique_id), ("Variable", name), ("Value", value))
            with contextlib.suppress(PbxStirError):
                action = connection.send("Setvar", fields)
                connection.forget(action)

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


def _header(variable: str) -> str:
    """STIR_REASON → Reason, as the event names it."""
    return variable.removeprefix("STIR_").capitalize()
