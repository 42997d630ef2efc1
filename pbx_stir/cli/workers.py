"""Several processes that do one service's work on one port.

Takes how many and what each does; gives an exit status. This process does no work: it holds the
port (bound, not listening) and starts the workers, each of which listens on it with SO_REUSEPORT,
so that the kernel deals connections out evenly. (Of 32 connections kept alive two workers got 13 to
19 each; of a listening socket that they shared, one of them often got all.)

* SIGTERM and SIGINT are passed on, and workers have ``DRAIN_SECONDS`` to finish; SIGHUP is passed
  on, and does nothing to a worker that has not said yet what it does on it.
* A worker that dies is started again, ``MOST_DEATHS`` times in ``DEATHS_SECONDS`` at most.
* The first worker starts alone: what is wrong with a configuration is said once.
* Where this process dies, even by SIGKILL, its workers end: each has a pipe from it.
"""

from __future__ import annotations

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

DRAIN_SECONDS: Final = 15.0
DEATHS_SECONDS: Final = 60.0
MOST_DEATHS: Final = 10
AGAIN_SECONDS: Final = 0.5
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_PASSED_ON: Final = (signal.SIGHUP,)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a worker is given: its place among the others, and two ends of pipes.

    ``lifeline`` can be read as soon as the process that started it is gone; a line written to
    ``ready`` says where it listens.
    """

    index: int
    lifeline: int
    ready: int

    def say_ready(self, url: str) -> None:
        """Say that this worker listens."""
        os.write(self.ready, b"%d %s\n" % (self.index, url.encode()[:200]))


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


def run_workers(count: int, work: Work) -> int:
    """Run ``work`` in so many processes until a signal; 0 after a graceful end.

    ``work`` runs in the main thread of a process of its own and gives its exit status. This process
    must have no threads and no event loop.
    """
    crew = _Crew(count, work)
    with crew.hearing_signals():
        return crew.run()


class _Crew:
    """The workers, by the process that started them."""

    def __init__(self, count: int, work: Work) -> None:
        self._count = count
        self._work = work
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
                if self._end_by is not None and time.monotonic() >= self._end_by:
                    _log.error("workers did not end in time")
                    self._send(signal.SIGKILL)
                    self._end_by = time.monotonic() + DRAIN_SECONDS
        return self._status

    def _wait_seconds(self) -> float | None:
        moments = [*self._due.values()] if self._end_by is None else [self._end_by]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _heard(self, number: int) -> None:
        if number in _ENDING:
            self._end(0)
        elif number in _PASSED_ON:
            self._send(signal.Signals(number))

    def _end(self, status: int) -> None:
        """Ask all workers to end, once; a second signal changes nothing."""
        if self._end_by is None:
            self._status = status
            self._end_by = time.monotonic() + DRAIN_SECONDS
            self._due.clear()
            self._send(signal.SIGTERM)

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
            status = self._work(Desk(index, self._lifeline[0], self._said[1]))
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
            if self._end_by is None and not self._ready:
                self._due |= dict.fromkeys(range(1, self._count), 0.0)
            self._ready.add(int(index))
            if len(self._ready) == self._count and not self._has_said:
                self._has_said = True
                print(f"listening on {url}", file=sys.stderr, flush=True)

    def _bury(self) -> None:
        """See who has died, and start another in its place."""
        while self._pids:
            pid, how = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            index = self._pids.pop(pid, None)
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
