"""The load generator asks what it is told to, and counts what it is answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench import load
from bench.load import Job
from bench.subscribers import read


class Answering:
    """A server that remembers what it was asked, and answers 404 to odd numbers, in two pieces."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split()[1]
                length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                self.asked.append(target)
                self.bodies.append(await reader.readexactly(int(length or b"0")))
                status = b"404 Not Found" if target[-1:] in b"13579" else b"200 OK"
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: 4\r\n\r\nab" % status)
                await writer.drain()
                writer.write(b"cd")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def answering() -> AsyncIterator[tuple[Answering, int]]:
    """Run one on a free port."""
    answers = Answering()
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    async with server:
        yield answers, server.sockets[0].getsockname()[1]


async def test_numbers_are_asked_in_turns() -> None:
    """From the first on, beginning anew after so many; answers are counted by status."""
    async with answering() as (answers, port):
        job = Job("127.0.0.1", port, "/cps/%d", first=10, numbers=4, count=40, connections=3)
        done = await asyncio.to_thread(load.run, job)
    assert Counter(answers.asked) == dict.fromkeys((b"/cps/%d" % n for n in range(10, 14)), 10)
    assert done.statuses == {"200": 20, "404": 20}
    assert (done.answered, done.latency.samples) == (40, 40)
    assert not done.only(200)
    assert done.octets == 20 * (len("HTTP/1.1 200 OK") + len("HTTP/1.1 404 Not Found") + 2 * 27)


async def test_a_file_is_asked_to_its_end(tmp_path: Path) -> None:
    """Each request as it stands there, bodies too; the pace ends nothing early."""
    texts = [
        b"POST /%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (2 * n, n, b"x" * n)
        for n in range(50)
    ]
    file = tmp_path / "requests"
    load.write_requests(file, iter(texts))
    assert read(file) == texts
    async with answering() as (answers, port):
        done = await asyncio.to_thread(
            load.run, Job("127.0.0.1", port, file=str(file), rate=2000.0, connections=2)
        )
    assert done.only(200)
    assert sorted(map(len, answers.bodies)) == list(range(50))
    assert done.seconds > 0
    assert done.rate > 0
