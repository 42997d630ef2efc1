"""A listener at one PBX, whichever kind: keeps a connection, takes announcements, begins tasks.

A subclass knows the PBX's protocol: how to log in, to beat and to fall silent, and how an answer is
written. What is here is the same for all: connecting again, calls as tasks of their own, refusing
what is malformed or too much, and ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from pbx_stir.errors import MalformedAnnouncement, PbxStirError, PbxUnavailable
from pbx_stir.pbx import hook
from pbx_stir.pbx.pbx_time import PbxTime
from pbx_stir.services.call import OVER_MS, Call, Direction, Mode, Reason, Status, Verstat

# How long past its moment an answer may still wait for the PBX's word.
GRACE_SECONDS = 0.25
_BEAT = re.compile(r"[0-9a-f]+:[0-9.]+", re.ASCII)
# A PBX that is restarted is away for some seconds, and calls are placed as soon as it is back: so
# many attempts do not count.
_RESTART = 10
# An announcement read so late has cost the call a part of its budget.
LATE_MS = 20


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

    def pause(self, failures: int, jitter: float) -> float:
        """Seconds until the next attempt after so many failures in a row; ``jitter``: 0 to 1.

        Longer each time, never the same for two listeners. Before the first that counts, 0 and
        less, it is the shortest.
        """
        longest = min(self.last_retry, self.first_retry * 2.0 ** min(max(failures, 0), 10))
        return max(self.first_retry, longest * (0.5 + jitter / 2))


class Connection(Protocol):
    """A login, until its loss."""

    @property
    def lost(self) -> asyncio.Future[str]:
        """Done when it is over, with why."""
        ...

    async def close(self) -> None:
        """Log off, and close."""
        ...


class Receiver(Protocol):
    """Who takes the calls. ``receive`` answers through the PBX it is given, once."""

    async def receive(self, call: Call, pbx: Any) -> None:
        """A call waits."""
        ...

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        """A call that a PASSporT vouched for is over."""
        ...


Kind = TypeVar("Kind", bound=Connection)


class Listener(ABC, Generic[Kind]):
    """``run`` keeps the connection until ``stop``; several may share a receiver."""

    # what stands in a heartbeat's place where nobody listens
    nobody = ""

    def __init__(
        self,
        name: str,
        where: str,
        receiver: Receiver,
        *,
        max_waiting: int = 2000,
        timing: Timing = Timing(),
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``name`` is the PBX's in the configuration, ``where`` its address for log lines."""
        self.name = name
        # Names this listener to the dialplan, so that of two at one PBX only one answers a call.
        self.listener = secrets.token_hex(8)
        self.connected = asyncio.Event()
        # set whenever ``connected`` is not
        self.away = asyncio.Event()
        self.away.set()
        self._where = where
        self._receiver = receiver
        self._max_waiting = max_waiting
        self._timing = timing
        self._monotonic = monotonic
        self._jitter = jitter
        self._log = logging.getLogger(f"pbx_stir.pbx.{name}")
        self._connection: Kind | None = None
        self._time = PbxTime()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beating = True
        # whether another listener writes heartbeats between ours
        self._accompanied = False
        self._beaten_at = 0.0
        self._stopped = asyncio.Event()

    @abstractmethod
    async def _log_in(self) -> Kind:
        """Log in and set ``_connection``. Raises PbxUnavailable."""

    @abstractmethod
    async def _beat(self, connection: Kind) -> None:
        """Write heartbeats, until the connection is lost or ``_beating`` ends; never raises."""

    @abstractmethod
    async def _heartbeat(self, connection: Kind) -> str:
        """The heartbeat that stands at the PBX, ours or another listener's. Raises PbxStirError."""

    @abstractmethod
    async def _tell(self, connection: Kind, value: str) -> None:
        """Write the heartbeat. Raises PbxStirError."""

    @abstractmethod
    async def _write(
        self, connection: Kind, unique_id: str, writes: Sequence[tuple[str, str]]
    ) -> bool:
        """Set a channel's variables, in order; whether it was there to take the last one.

        Raises PbxUnavailable.
        """

    @abstractmethod
    async def _mark(self, connection: Kind, unique_id: str, given: Mapping[str, str]) -> None:
        """Say on a call in progress that it is contested. Raises PbxStirError."""

    @abstractmethod
    def _release(self, unique_id: str, nonce: str, variables: Sequence[tuple[str, str]]) -> None:
        """Write an answer without waiting for what comes of it; never raises."""

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
        try:
            async with asyncio.timeout(max(0.0, give_up_at - self._monotonic()) + GRACE_SECONDS):
                return await self._write(connection, call.unique_id, writes)
        except TimeoutError as error:
            raise PbxUnavailable(f"{self.name} does not say whether it took an answer") from error

    async def contest(self, unique_id: str, variables: Sequence[tuple[str, str]]) -> None:
        """Say on a call in progress, in its records and as an event that it is contested.

        Never raises: a call that is over, or a PBX that is away, is only logged.
        """
        try:
            if self._connection is None:
                raise PbxUnavailable("not connected")
            given = {name: hook.safe(value) for name, value in variables}
            await self._mark(self._connection, unique_id, given)
        except PbxStirError as error:
            self._log.warning("a contested call could not be marked: %s", error)

    def serve_by(self, receiver: Receiver) -> None:
        """Give the calls to come to another receiver; those in hand stay where they are."""
        self._receiver = receiver

    @property
    def in_hand(self) -> frozenset[asyncio.Task[None]]:
        """The calls that are being served, each as its task."""
        return frozenset(self._tasks)

    def heartbeat_age(self) -> float | None:
        """Seconds since the PBX took our last heartbeat; None while we are not connected."""
        return self._monotonic() - self._beaten_at if self.connected.is_set() else None

    async def run(self) -> None:
        """Connect, serve, and connect again whenever the connection is lost; until ``stop``."""
        failures, patience = 0, _RESTART
        while not self._stopped.is_set():
            try:
                connection = await self._open()
            except PbxUnavailable as error:
                failures += 1
                self._log_failure(error, failures)
                # what somebody has to mend is no restart, and many wrong secrets look like guesses
                patience = 0 if self._is_lasting(error) else _RESTART
            else:
                failures, patience = 0, _RESTART
                if connection is not None:
                    await self._serve(connection)
            if not self._stopped.is_set():
                await self._pause(failures - patience)

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

    # The connection.

    def _is_ours(self, heartbeat: str) -> bool:
        return heartbeat.startswith(f"{self.listener}:")

    def _meet(self, heartbeat: str) -> None:
        """Learn from the heartbeat that ours will take the place of whether we are alone."""
        self._accompanied = not self._is_ours(heartbeat) and _BEAT.fullmatch(heartbeat) is not None

    async def _is_alone(self, _connection: Kind) -> bool:
        """Whether no other listener is at the PBX, as far as can be known. Raises PbxStirError."""
        return not self._accompanied

    async def _silence(self, connection: Kind) -> None:
        """Let our heartbeat go: to another listener's, or away. Raises PbxStirError.

        The other one writes within a heartbeat: until then calls go on being announced to us. To
        take ours away meanwhile could take away the first one of the other, too.
        """
        is_alone = await self._is_alone(connection)
        give_up_at = self._monotonic() + 2.5 * self._timing.heartbeat
        while self._is_ours(await self._heartbeat(connection)):
            if is_alone or self._monotonic() >= give_up_at:
                await self._tell(connection, self.nobody)
                return
            await asyncio.sleep(self._timing.heartbeat / 20)

    async def _open(self) -> Kind | None:
        """A connection that is logged in and hears; None if ``stop`` came first."""
        opening = asyncio.create_task(self._log_in())
        await self._unless_stopped(opening)
        if not opening.done():
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, PbxUnavailable):
                await (await opening).close()
            return None
        return opening.result()

    async def _unless_stopped(self, what: asyncio.Future[Any]) -> None:
        """Return when it is done, or ``stop`` has come."""
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait((what, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()

    async def _serve(self, connection: Kind) -> None:
        self._log.info("logged in at %s", self._where)
        beat = asyncio.create_task(self._beat(connection))
        try:
            await self._unless_stopped(connection.lost)
            if connection.lost.done():
                self._log.warning("connection lost: %s", connection.lost.result())
        finally:
            self._connection = None
            self.connected.clear()
            self.away.set()
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat
            await connection.close()

    def _has_beaten(self) -> None:
        """The PBX has taken a heartbeat of ours."""
        self._beaten_at = self._monotonic()
        self.away.clear()
        self.connected.set()

    async def _pause(self, failures: int) -> None:
        """Wait before the next attempt; see ``Timing.pause``."""
        seconds = self._timing.pause(failures, self._jitter())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _log_failure(self, error: PbxUnavailable, failures: int) -> None:
        """The first failure, then the 2nd, 4th, 8th …: said, but not over and over."""
        if failures & (failures - 1) == 0:
            level = logging.ERROR if self._is_lasting(error) else logging.WARNING
            again = "" if failures == 1 else f" (attempt {failures})"
            self._log.log(level, "%s%s", error, again)

    def _is_lasting(self, error: PbxUnavailable) -> bool:
        """Whether somebody has to mend something before it goes away."""
        return False

    # Events.

    def _on_ended(self, fields: hook.Fields) -> None:
        try:
            ended = hook.parse_ended(fields)
        except MalformedAnnouncement as error:
            self._log.error("dropped the end of a call: %s", error)
            return
        self._begin(self._receiver.ended(self.name, ended.unique_id, ended.answered))

    def _on_announcement(self, fields: hook.Fields, made_at: str = "") -> None:
        """``made_at``: the PBX's time of it in microseconds, where the nonce does not tell."""
        try:
            call = hook.parse_announcement(fields, self.name)
        except MalformedAnnouncement as error:
            self._log.error("announcement refused: %s", error)
            found = hook.waiting(fields)
            if found is not None:
                self._refuse(*found, Reason.INTERNAL_ERROR)
            return
        age_ms = self._time.age_ms(made_at or call.nonce, self._monotonic())
        if age_ms >= LATE_MS:
            call = replace(call, budget_ms=max(OVER_MS, call.budget_ms - age_ms))
        if len(self._tasks) >= self._max_waiting:
            self._log.error("more than %d calls wait", self._max_waiting)
            if call.mode is Mode.ON:
                inbound = call.direction is Direction.INBOUND
                reason = Reason.OVERLOADED if inbound else Reason.INTERNAL_ERROR
                self._refuse(call.unique_id, call.nonce, reason)
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

    def _refuse(self, unique_id: str, nonce: str, reason: Reason) -> None:
        """Release a call at once, without serving it, so that it does not wait its budget."""
        variables = (
            ("STIR_STATUS", Status.ERROR.value),
            ("STIR_VERSTAT", Verstat.NONE.value),
            ("STIR_REASON", reason.value),
        )
        self._release(unique_id, nonce, variables)
