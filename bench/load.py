"""A load generator that costs little: raw HTTP/1.1 over kept connections, in a process of its own.

``python -m bench.load`` reads one job from standard input and writes one result to standard output,
both JSON. It is pinned to the processors that the job names, so that what it costs is not the
server's. It reads answers only as far as it needs to know where they end; it checks their status.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import ssl
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.latency import Latency

CONNECTIONS = 16
_RECEIVED = 262_144
_GIVE_UP_SECONDS = 60.0


class Job(msgspec.Struct, frozen=True):
    """What to ask, and how often.

    Either ``target``, a path in which ``%d`` is a number that counts from ``first`` and begins anew
    after ``numbers``, or ``file``: requests one after the other, each after its length in four
    octets, big-endian, and all that so many ``times``. ``rate`` requests a second at random times,
    or None: as many as there is room for, one under way on each connection. Ends after ``seconds``,
    after ``count`` requests, or at the end of the file. ``ca`` is a PEM file: then it speaks TLS.
    """

    host: str
    port: int
    target: str = ""
    headers: str = ""
    first: int = 0
    numbers: int = 1 << 62
    file: str = ""
    times: int = 1
    rate: float | None = None
    seconds: float = _GIVE_UP_SECONDS
    count: int = 1 << 62
    connections: int = CONNECTIONS
    ca: str = ""
    processors: tuple[int, ...] = ()


class Done(msgspec.Struct, frozen=True):
    """What came of it: answers by status, wall seconds, latency; ``processor`` seconds it took."""

    answered: int
    statuses: dict[str, int]
    seconds: float
    processor_seconds: float
    octets: int
    latency: Latency

    @property
    def rate(self) -> float:
        """Answers a second of wall time."""
        return self.answered / self.seconds

    def only(self, status: int) -> bool:
        """Say whether every answer had this status."""
        return self.statuses == {str(status): self.answered}


def run(job: Job) -> Done:
    """Run one job in a process of its own. Raises OSError where the process fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        check=False,
        timeout=job.seconds + 2 * _GIVE_UP_SECONDS,
    )
    if done.returncode != 0:
        raise OSError(f"the load generator failed with {done.returncode}")
    return msgspec.json.decode(done.stdout, type=Done)


def pin(pid: int, processors: Sequence[int]) -> None:
    """Keep a process, all its threads, on these processors; 0 is this process."""
    for thread in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


class Sending:
    """One kept connection that never blocks: what the kernel does not take waits for its turn."""

    __slots__ = ("_unsent", "number", "socket")

    def __init__(self, stream: socket.socket) -> None:
        self.socket = stream
        self.number = stream.fileno()
        self._unsent = memoryview(b"")

    def put(self, request: bytes) -> None:
        """Send a whole request."""
        self._unsent = memoryview(request)
        self.write()

    def write(self) -> None:
        """Send on."""
        while self._unsent:
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return


class _Connection(Sending):
    """One kept connection, with at most one request under way, which was due at ``due``."""

    __slots__ = ("_left", "due", "octets", "status")

    def __init__(self, stream: socket.socket) -> None:
        super().__init__(stream)
        self.due = 0.0
        self.octets = 0
        self.status = ""
        self._left = -1

    def send(self, request: bytes, due: float) -> None:
        """Send a whole request."""
        self.due = due
        self._left = -1
        self.put(request)

    def read(self) -> bool:
        """Receive what is there; True where the answer is whole."""
        if self._unsent:
            self.write()
        while True:
            try:
                received = self.socket.recv(_RECEIVED)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            if not received:
                raise ConnectionResetError("the server hung up")
            self.octets += len(received)
            if self._left < 0:
                head, _, body = received.partition(b"\r\n\r\n")
                self.status = head[9:12].decode()
                lower = head.lower()
                at = lower.find(b"content-length: ")
                length = lower[at + 16 :].split(b"\r\n", 1)[0] if at >= 0 else b"0"
                self._left = int(length) - len(body)
            else:
                self._left -= len(received)
            if self._left <= 0:
                return True


class _Load:
    """A job that runs."""

    def __init__(self, job: Job, connections: Sequence[_Connection]) -> None:
        self._job = job
        self._idle = deque(connections)
        self._busy: dict[int, _Connection] = {}
        self._requests = requests(job)
        self._statuses: dict[str, int] = {}
        self._latencies: list[float] = []
        self._poll = select.epoll()
        for each in connections:
            self._poll.register(each.number, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def run(self) -> tuple[dict[str, int], list[float]]:
        """Ask until it is enough; give statuses and latencies from when each request was due."""
        began = due = time.perf_counter()
        until = began + self._job.seconds
        gap = 0.0 if self._job.rate is None else 1 / self._job.rate
        draw = random.Random(1)
        more = True
        while True:
            now = time.perf_counter()
            more = more and now < until
            while more and self._idle and (not gap or due <= now):
                request = next(self._requests, None)
                if request is None:
                    more = False
                    break
                connection = self._idle.popleft()
                self._busy[connection.number] = connection
                connection.send(request, due if gap else time.perf_counter())
                due += draw.expovariate(1 / gap) if gap else 0.0
            if not self._busy and not more:
                return self._statuses, self._latencies
            if now > until + _GIVE_UP_SECONDS:
                raise TimeoutError("the server does not answer")
            wait = max(0.0, due - now) if gap and more and self._idle else 1.0
            self._receive(wait)

    def _receive(self, wait: float) -> None:
        # epoll rounds up to whole milliseconds: the last one is spent in a busy loop.
        for number, _ in self._poll.poll(0 if wait < 0.002 else wait - 0.001):
            connection = self._busy.get(number)
            if connection is not None and connection.read():
                self._latencies.append(time.perf_counter() - connection.due)
                status = connection.status
                self._statuses[status] = self._statuses.get(status, 0) + 1
                del self._busy[number]
                self._idle.append(connection)


def requests(job: Job) -> Iterator[bytes]:
    """Give a job's requests one after the other."""
    if job.file:
        for _ in range(job.times):
            yield from _from_file(Path(job.file), job.count)
        return
    pattern = f"GET {job.target} HTTP/1.1\r\nHost: {job.host}\r\n{job.headers}\r\n".encode()
    counted = b"%d" in pattern
    for each in range(job.count):
        yield pattern % (job.first + each % job.numbers) if counted else pattern


def write_requests(file: Path, texts: Iterator[bytes]) -> None:
    """Write requests as a job's ``file`` has them."""
    with file.open("wb") as stream:
        for text in texts:
            stream.write(len(text).to_bytes(4, "big") + text)


def _from_file(file: Path, count: int) -> Iterator[bytes]:
    with file.open("rb") as stream:
        for _ in range(count):
            length = stream.read(4)
            if not length:
                return
            yield stream.read(int.from_bytes(length, "big"))


@contextlib.contextmanager
def _connected(job: Job) -> Iterator[list[_Connection]]:
    context = ssl.create_default_context(cafile=job.ca) if job.ca else None
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(job.connections):
            stream = stack.enter_context(socket.create_connection((job.host, job.port), 10))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                stream = context.wrap_socket(stream, server_hostname=job.host)
                stack.enter_context(stream)
            stream.setblocking(False)
            connections.append(_Connection(stream))
        yield connections


def perform(job: Job) -> Done:
    """Do a job in this process."""
    if job.processors:
        pin(0, job.processors)
    with _connected(job) as connections:
        began, used = time.perf_counter(), time.process_time()
        statuses, latencies = _Load(job, connections).run()
        seconds = time.perf_counter() - began
        return Done(
            len(latencies),
            statuses,
            seconds,
            time.process_time() - used,
            sum(each.octets for each in connections),
            Latency.of(latencies or [0.0]),
        )


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(perform(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)))
    )
