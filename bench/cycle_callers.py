"""Virtual callers: whole call cycles over kept TLS connections, in a process of its own.

``python -m bench.cycle_callers`` reads one job from standard input and writes one result to
standard output, both JSON. A cycle is what two PBXs do for one call: sign a PASSporT, seal it,
store it with a token, then fetch what is stored for the number, open it, verify it and use it up.
Each virtual caller calls again as soon as its last cycle is over, or was given up.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from bench.cycle_ways import Call, Cleartext, Encrypted, Keys, Supply, Way
from bench.load import Sending

_RECEIVED = 262_144


class Job(msgspec.Struct, frozen=True):
    """``callers`` at ``port`` of ``host`` for ``seconds``; a cycle is given up after ``patience``.

    ``way`` is "encrypted" or "cleartext"; ``calls_a_token`` is how many calls one K_temp serves.
    ``pause`` seconds lie between a caller's calls. ``first`` is the first of the numbers called.
    """

    host: str
    port: int
    ca: str
    folder: str
    callers: int
    seconds: float
    way: str = "encrypted"
    calls_a_token: int = 1
    connections: int = 32
    patience: float = 3.0
    pause: float = 0.0
    first: int = 0


class Cycles(msgspec.Struct, frozen=True):
    """What came of it: cycles begun and done, wall and processor seconds, milliseconds a cycle.

    ``failures`` counts cycles by what stopped them; ``tokens`` were obtained meanwhile.
    """

    sent: int
    done: int
    failures: dict[str, int]
    tokens: int
    seconds: float
    processor_seconds: float
    latencies: tuple[float, ...]


def together(parts: Sequence[Cycles]) -> Cycles:
    """Several processes' results as one."""
    failures: dict[str, int] = {}
    for part in parts:
        for name, count in part.failures.items():
            failures[name] = failures.get(name, 0) + count
    return Cycles(
        sum(one.sent for one in parts),
        sum(one.done for one in parts),
        failures,
        sum(one.tokens for one in parts),
        max(one.seconds for one in parts),
        sum(one.processor_seconds for one in parts),
        tuple(each for one in parts for each in one.latencies),
    )


class _Connection(Sending):
    """One kept connection, with at most one request under way."""

    def __init__(self, stream: socket.socket) -> None:
        super().__init__(stream)
        self.call: Call | None = None
        self.status = 0
        self.body = b""
        self._received = bytearray()

    def send(self, call: Call, request: bytes) -> None:
        """Send a whole request for ``call``."""
        self.call = call
        self._received.clear()
        self.put(request)

    def read(self) -> bool:
        """Receive what is there; True where the answer is whole."""
        self.write()
        while True:
            try:
                received = self.socket.recv(_RECEIVED)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            if not received:
                raise ConnectionResetError("the server hung up")
            self._received += received
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                continue
            head = bytes(self._received[:end]).lower()
            at = head.find(b"content-length: ")
            length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._received) - end - 4 >= length:
                self.status = int(head[9:12])
                self.body = bytes(self._received[end + 4 : end + 4 + length])
                return True


class _Callers:
    """A job that runs."""

    def __init__(self, job: Job, way: Way, connections: Sequence[_Connection]) -> None:
        self._job = job
        self._way = way
        self._idle = deque(connections)
        self._by_number = {each.number: each for each in connections}
        # what is under way goes on before anything new is begun
        self._waiting: deque[tuple[Call, bytes]] = deque()
        self._ready: deque[tuple[float, int]] = deque()
        self._sent = 0
        self._latencies: list[float] = []
        self._failures: dict[str, int] = {}
        self._under_way = 0
        self._poll = select.epoll()
        for each in connections:
            self._poll.register(each.number, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def run(self) -> Cycles:
        """Call until the time is over; cycles that are under way then are finished."""
        began, used = time.perf_counter(), time.process_time()
        until = began + self._job.seconds
        # callers come one after the other within the first of their pauses
        spread = max(self._job.pause, 0.0) / max(1, self._job.callers)
        self._ready.extend((began + n * spread, n) for n in range(self._job.callers))
        while True:
            now = time.perf_counter()
            if now < until:
                self._begin(now)
            elif not self._under_way:
                break
            self._dispatch()
            wait = 0.0 if self._waiting and self._idle else self._wait(now, until)
            self._receive(wait)
        return Cycles(
            self._sent,
            len(self._latencies),
            self._failures,
            self._way.supply.obtained if self._way.supply else 0,
            time.perf_counter() - began,
            time.process_time() - used,
            tuple(self._latencies),
        )

    def _wait(self, now: float, until: float) -> float:
        if now < until and self._ready and self._idle:
            return min(max(0.0, self._ready[0][0] - now), 1.0)
        return 1.0

    def _begin(self, now: float) -> None:
        """Begin what there are connections for: a caller in the queue has begun already."""
        while self._ready and self._ready[0][0] <= now:
            due, caller = self._ready[0]
            if now - due > self._job.patience:
                # given up before there was a connection for it
                self._ready.popleft()
                self._sent += 1
                self._fail("late")
                self._ready.append((now + self._job.pause, caller))
                continue
            if len(self._waiting) >= len(self._idle):
                # a caller who waits for us waits: that is latency too
                return
            self._ready.popleft()
            call = Call(caller, due, self._job.first + self._sent)
            self._sent += 1
            self._under_way += 1
            self._waiting.append((call, self._way.begin(call)))

    def _dispatch(self) -> None:
        while self._waiting and self._idle:
            call, request = self._waiting.popleft()
            self._idle.popleft().send(call, request)

    def _receive(self, wait: float) -> None:
        for number, _ in self._poll.poll(wait):
            connection = self._by_number[number]
            if connection.call is None or not connection.read():
                continue
            call, connection.call = connection.call, None
            self._idle.append(connection)
            self._go_on(call, connection)

    def _go_on(self, call: Call, connection: _Connection) -> None:
        now = time.perf_counter()
        failure = "late" if now - call.began > self._job.patience else ""
        request = None
        if not failure:
            request, failure = self._way.go_on(call, connection.status, connection.body)
        if request is not None:
            # what has begun goes before what has not
            self._waiting.appendleft((call, request))
            return
        now = time.perf_counter()
        self._under_way -= 1
        if failure:
            self._fail(failure)
        else:
            self._latencies.append(now - call.began)
        self._ready.append((now + self._job.pause, call.caller))

    def _fail(self, failure: str) -> None:
        self._failures[failure] = self._failures.get(failure, 0) + 1


@contextlib.contextmanager
def _connected(job: Job) -> Iterator[list[_Connection]]:
    context = ssl.create_default_context(cafile=job.ca)
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(job.connections):
            stream = stack.enter_context(socket.create_connection((job.host, job.port), 10))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = stack.enter_context(context.wrap_socket(stream, server_hostname=job.host))
            secured.setblocking(False)
            connections.append(_Connection(secured))
        yield connections


def perform(job: Job) -> Cycles:
    """Do a job in this process."""
    keys = Keys.read(job.folder)
    way: Way
    if job.way == "cleartext":
        way = Cleartext(keys, job.host)
    else:
        way = Encrypted(keys, job.host, Supply(keys, job.host, job.calls_a_token))
    try:
        with _connected(job) as connections:
            return _Callers(job, way, connections).run()
    finally:
        if way.supply is not None:
            way.supply.close()


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(perform(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)))
    )
