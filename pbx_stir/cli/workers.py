"""Several processes that do one service's work on one port.

Takes how many and what each does; gives an exit status. This process does no work: it holds the
port (bound, not listening) and starts the workers, each of which listens on it with SO_REUSEPORT,
so that the kernel deals connections out evenly. (Of 32 connections kept alive two workers got 13 to
19 each; of a listening socket that they shared, one of them often got all.)

* SIGTERM and SIGINT are passed on, and workers have ``DRAIN_SECONDS`` to finish; SIGHUP and SIGUSR1
  are passed on, and do nothing to a worker that has not said yet what it does on them.
* The service manager is told by this process alone: that all listen, that all have read their
  files again, and, for its watchdog, that all are alive, which each says from its event loop.
* A worker that dies is started again, ``MOST_DEATHS`` times in ``DEATHS_SECONDS`` at most.
* The first worker starts alone: what is wrong with a configuration is said once.
* Where this process dies, even by SIGKILL, its workers end: each has a pipe from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final, NoReturn

from pbx_stir.errors import ConfigurationError
from pbx_stir.service_manager import ServiceManager

DRAIN_SECONDS: Final = 15.0
DEATHS_SECONDS: Final = 60.0
MOST_DEATHS: Final = 10
AGAIN_SECONDS: Final = 0.5
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_PASSED_ON: Final = (signal.SIGHUP, signal.SIGUSR1)
AGAIN: Final = "again"
ALIVE: Final = "alive"
# how long workers may take to read their files again, for the service manager
REREAD_SECONDS: Final = 20.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a worker is given: its place among the others, and two ends of pipes.

    ``lifeline`` can be read as soon as the process that started it is gone; lines written to
    ``said`` say where it listens, and how it is. ``watchdog_seconds``: within each it has to say
    that it is alive; 0 for never.
    """

    index: int
    lifeline: int
    said: int
    watchdog_seconds: float = 0.0

    def say_ready(self, url: str) -> None:
        """Say that this worker listens."""
        self._say(url[:200])

    def reloading(self) -> None:
        """Nothing: who sent the signal knows."""

    def ready(self, _status: str) -> None:
        """Say that this worker has read its files again."""
        self._say(AGAIN)

    async def attend(self, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Say that this worker is alive, while it is; from the event loop that does its work."""
        while self.watchdog_seconds:
            if is_alive():
                self._say(ALIVE)
            await asyncio.sleep(self.watchdog_seconds / 4)

    def _say(self, word: str) -> None:
        # a pipe that is full is read by nobody: then this is no time to wait for it
        with contextlib.suppress(BlockingIOError):
            os.write(self.said, f"{self.index} {word}\n".encode("ascii", "replace"))


Work = Callable[[Desk], int]


@contextlib.contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Hold a port for the workers; gives it, also where 0 asked for any.

    Raises ``ConfigurationError`` where another service has it, workers of one's own among them.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = found[0][0], found[0][4]
        # Alone first: SO_REUSEPORT would share the port with a service that runs already.
        with socket.create_server((str(address[0]), int(address[1])), family=family) as alone:
            free = int(alone.getsockname()[1])
        holder = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _taken(host, port, error) from error
    with holder:
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind((str(address[0]), free))
        except OSError as error:
            raise _taken(host, port, error) from error
        yield free


def _taken(host: str, port: int, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cps cannot listen on {host}:{port}: {error.strerror or error}",
        hint="another process may have the port",
    )


def run_workers(count: int, work: Work, manager: ServiceManager | None = None) -> int:
    """Run ``work`` in so many processes until a signal; 0 after a graceful end.

    ``work`` runs in the main thread of a process of its own and gives its exit status. This process
    must have no threads and no event loop.
    """
    crew = _Crew(count, work, manager or ServiceManager())
    with crew.hearing_signals():
        return crew.run()


class _Crew:
    """The workers, by the process that started them."""

    def __init__(self, count: int, work: Work, manager: ServiceManager) -> None:
        self._count = count
        self._work = work
        self._manager = manager
        self._url = ""
        self._alive: dict[int, float] = {}
        self._kept_at = 0.0
        self._rereading: set[int] = set()
        self._reread_by = 0.0
        self._pids: dict[int, int] = {}
        self._ready: set[int] = set()
        self._deaths: deque[float] = deque()
        self._due: dict[int, float] = {}
        self._status = 0
        self._end_by: float | None = None
        self._has_said = False
        self._lifeline = os.pipe()
        self._said = os.pipe()
        self._signals = os.pipe()
        for descriptor in (*self._said, *self._signals):
            os.set_blocking(descriptor, False)

    @contextlib.contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Have signals wake ``run``; as before at the end."""
        heard = (*_ENDING, *_PASSED_ON, signal.SIGCHLD)
        before = {number: signal.signal(number, _nothing) for number in heard}
        woken = signal.set_wakeup_fd(self._signals[1], warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in (*self._lifeline, *self._said, *self._signals):
                os.close(descriptor)

    def run(self) -> int:
        """Start the first worker, then the others, and see to them until all have ended."""
        self._due[0] = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals[0], selectors.EVENT_READ)
            selector.register(self._said[0], selectors.EVENT_READ)
            while self._pids or self._end_by is None:
                self._start_due()
                selector.select(self._wait_seconds())
                for number in _drained(self._signals[0]):
                    self._heard(number)
                self._read_said()
                self._bury()
                self._tell()
                if self._end_by is not None and time.monotonic() >= self._end_by:
                    _log.error("workers did not end in time")
                    self._send(signal.SIGKILL)
                    self._end_by = time.monotonic() + DRAIN_SECONDS
        return self._status

    def _wait_seconds(self) -> float | None:
        moments = [*self._due.values()] if self._end_by is None else [self._end_by]
        if half := self._manager.watchdog_seconds / 2:
            moments.append(self._kept_at + half)
        if self._rereading:
            moments.append(self._reread_by)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _heard(self, number: int) -> None:
        if number in _ENDING:
            self._end(0)
        elif number in _PASSED_ON:
            self._send(signal.Signals(number))
            if number == signal.SIGHUP and self._end_by is None:
                self._manager.reloading()
                self._rereading = set(self._alive)
                self._reread_by = time.monotonic() + REREAD_SECONDS
                self._has_reread()

    def _end(self, status: int) -> None:
        """Ask all workers to end, once; a second signal changes nothing."""
        if self._end_by is None:
            self._status = status
            self._end_by = time.monotonic() + DRAIN_SECONDS
            self._due.clear()
            self._send(signal.SIGTERM)
            self._manager.stopping("finishing the requests in hand")

    def _send(self, number: signal.Signals) -> None:
        for pid in self._pids:
            os.kill(pid, number)

    def _start_due(self) -> None:
        now = time.monotonic()
        for index in [index for index, moment in self._due.items() if moment <= now]:
            del self._due[index]
            self._start(index)

    def _start(self, index: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the two must find the worker's own mind, not a copy of this one's.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, *_PASSED_ON})
        pid = os.fork()
        if pid == 0:
            self._be_worker(index, blocked)
        self._pids[pid] = index
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _be_worker(self, index: int, blocked: set[int | signal.Signals]) -> NoReturn:
        """Leave everything of the process that started this one behind, and work."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_ENDING, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for number in _PASSED_ON:
                # until the worker can obey: it means to read again what is just being read
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for descriptor in (self._lifeline[1], self._said[0], *self._signals):
                os.close(descriptor)
            watchdog_seconds = self._manager.watchdog_seconds
            self._manager.close()
            desk = Desk(index, self._lifeline[0], self._said[1], watchdog_seconds)
            status = self._work(desk)
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            _log.exception("worker %d failed", index)
        finally:
            os._exit(status)

    def _read_said(self) -> None:
        """Hear which workers listen: the first lets the others begin, the last is news."""
        lines = _drained(self._said[0]).decode("ascii", "replace").splitlines()
        for line in lines:
            index, _, url = line.partition(" ")
            if int(index) in self._pids.values():
                self._alive[int(index)] = time.monotonic()
            if url == AGAIN:
                self._rereading.discard(int(index))
                self._has_reread()
            if url in {AGAIN, ALIVE}:
                continue
            if self._end_by is None and not self._ready:
                self._due |= dict.fromkeys(range(1, self._count), 0.0)
            self._ready.add(int(index))
            if len(self._ready) == self._count and not self._has_said:
                self._has_said = True
                self._url = url
                print(f"listening on {url}", file=sys.stderr, flush=True)
                self._manager.ready(self._status_line())

    def _status_line(self) -> str:
        return f"listening on {self._url}, {self._count} workers"

    def _has_reread(self) -> None:
        """Say so once all have, or have had their time."""
        if not self._rereading and self._has_said:
            self._manager.ready(self._status_line())

    def _tell(self) -> None:
        """Keep the watchdog away while all workers are alive; and wait for none for ever."""
        now = time.monotonic()
        if self._rereading and now >= self._reread_by:
            _log.error("%d workers have not read their files again", len(self._rereading))
            self._rereading.clear()
            self._has_reread()
        seconds = self._manager.watchdog_seconds
        if not seconds or now < self._kept_at + seconds / 2:
            return
        self._kept_at = now
        if all(now - last < seconds for last in self._alive.values()):
            self._manager.alive()

    def _bury(self) -> None:
        """See who has died, and start another in its place."""
        while self._pids:
            pid, how = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            index = self._pids.pop(pid, None)
            if index is not None:
                self._alive.pop(index, None)
            if index in self._rereading:
                # the one that follows reads them as they are now
                self._rereading.remove(index)
                self._has_reread()
            if index is None or self._end_by is not None:
                continue
            status = os.waitstatus_to_exitcode(how)
            if not self._ready:
                # It has said what is wrong; another would say the same.
                self._end(status if status > 0 else 1)
                return
            _log.error("worker %d ended with status %d", index, status)
            now = time.monotonic()
            self._deaths.append(now)
            while self._deaths[0] <= now - DEATHS_SECONDS:
                self._deaths.popleft()
            if len(self._deaths) > MOST_DEATHS:
                _log.error("%d workers died in %.0f s", len(self._deaths), DEATHS_SECONDS)
                self._end(1)
                return
            self._due[index] = now + AGAIN_SECONDS


def _drained(descriptor: int) -> bytes:
    """Read what has come through a pipe: numbers of signals, or whole lines."""
    try:
        return os.read(descriptor, 65_536)
    except BlockingIOError:
        return b""


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A signal is read from the pipe; a function must be there, or there were none."""
