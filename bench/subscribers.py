"""Holders who hold a stream of events each: how long until a new entry is at all of them.

``python -m bench.subscribers`` reads one job from standard input and writes one result to standard
output, both JSON: it is a process of its own, on processors of its own.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.latency import Latency
from bench.load import pin

_CONNECTING_SECONDS = 120.0
_ENTRY_SECONDS = 10.0
_OPENED = b"retry: "
_TAIL = 8_192


class Job(msgspec.Struct, frozen=True):
    """``file`` has the subscribers' requests, ``entries`` stores; each as ``load.Job.file``."""

    host: str
    port: int
    file: str
    entries: str
    processors: tuple[int, ...] = ()


class Done(msgspec.Struct, frozen=True):
    """From the moment a store is sent until the last of ``subscribers`` has the entry."""

    subscribers: int
    to_the_last: Latency


def run(job: Job) -> Done:
    """Run one job in a process of its own. Raises OSError where the process fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.subscribers"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        check=False,
        timeout=4 * _CONNECTING_SECONDS,
    )
    if done.returncode != 0:
        raise OSError(f"the subscribers failed with {done.returncode}")
    return msgspec.json.decode(done.stdout, type=Done)


def read(file: Path) -> list[bytes]:
    """The requests in a file."""
    octets, found = memoryview(file.read_bytes()), []
    while octets:
        end = 4 + int.from_bytes(octets[:4], "big")
        found.append(bytes(octets[4:end]))
        octets = octets[end:]
    return found


class _Streams:
    """Streams of which each waits for a mark; the ends of what came before are kept."""

    def __init__(self, streams: Sequence[socket.socket]) -> None:
        self._streams = {each.fileno(): each for each in streams}
        self._ends = dict.fromkeys(self._streams, b"")
        self._poll = select.epoll()
        for number in self._streams:
            self._poll.register(number, select.EPOLLIN)

    def wait(self, mark: bytes, seconds: float) -> float:
        """Read until each stream has had the mark; gives when the last one had."""
        waiting = set(self._streams)
        give_up_at = time.perf_counter() + seconds
        while waiting:
            for number, _ in self._poll.poll(1.0):
                received = self._streams[number].recv(65_536)
                if not received:
                    raise ConnectionResetError("a stream was closed")
                text = self._ends[number] + received
                if mark in text:
                    waiting.discard(number)
                self._ends[number] = text[-_TAIL:]
            if time.perf_counter() > give_up_at:
                raise TimeoutError(f"{len(waiting)} subscribers wait in vain")
        return time.perf_counter()


def perform(job: Job) -> Done:
    """Do a job in this process."""
    if job.processors:
        pin(0, job.processors)
    streams = []
    for text in read(Path(job.file)):
        stream = socket.create_connection((job.host, job.port), 10)
        stream.sendall(text)
        received = b""
        while _OPENED not in received:
            more = stream.recv(65_536)
            if not more:
                raise ConnectionResetError(f"no stream: {received[:200]!r}")
            received += more
        streams.append(stream)
    seconds = []
    with socket.create_connection((job.host, job.port), 10) as storing:
        every = _Streams(streams)
        for text in read(Path(job.entries)):
            mark = text.rpartition(b"\r\n\r\n")[2][:64]
            began = time.perf_counter()
            storing.sendall(text)
            seconds.append(every.wait(mark, _ENTRY_SECONDS) - began)
            storing.recv(65_536)
    for stream in streams:
        stream.close()
    return Done(len(streams), Latency.of(seconds))


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(perform(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)))
    )
