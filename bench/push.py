"""How soon an entry is at every subscriber: ``python -m bench.push [--subscribers N]``.

A CPS runs as an administrator would start it, with TLS, in a process of its own. Holders with a
certificate for every few dozen streams subscribe to a prefix, over a connection each; then entries
are stored over HTTP, one after another. What is measured goes from the request of the store until
the last subscriber has the event; reading at the other end, which takes this process longer than
it takes real holders, who have a machine each, is among it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import msgspec

from bench.latency import Latency
from bench.machine import Memory
from lab.companies import Authority, tls_certificate
from lab.processes import Service
from pbx_stir.cps import wire
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import sealing
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import RETRIEVAL, sign_request
from pbx_stir.stir.tnauthlist import TnAuthList

TARGET_MS: Final = 100.0
ENTRIES: Final = 20
STREAMS_OF_A_CERTIFICATE: Final = 50
_NUMBER: Final = "12125551234"
_PREFIX: Final = "1212"
_HOST: Final = "127.0.0.1"
_SECONDS: Final = 60.0
# octets at the beginning of a sealed entry, which no other begins with
_RECOGNISED: Final = 32
_HEAD: Final = (
    f"POST {wire.collection_path(_NUMBER)} HTTP/1.1\r\nHost: {_HOST}\r\n"
    f"Content-Type: {wire.PASSPORT_TYPE}\r\nContent-Length: %d\r\n\r\n"
).encode("ascii")


class Pushed(msgspec.Struct, frozen=True):
    """Milliseconds until ``first`` and ``last`` of the subscribers had an entry."""

    subscribers: int
    first: Latency
    last: Latency
    subscribing_s: float
    memory_mb: Memory


class _Stream(asyncio.Protocol):
    """One subscriber; it only looks for the beginning of one entry's text."""

    def __init__(self, request: bytes, came: asyncio.Event) -> None:
        self._request = request
        self._rest = b""
        self._came = came
        self.begun = asyncio.Event()
        self._awaited = b""
        self.at = 0.0

    def await_entry(self, beginning: bytes) -> None:
        """Note the moment at which an entry comes whose text begins like this."""
        self._awaited = beginning
        self.at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        octets = self._rest + data
        if b"retry:" in octets:
            self.begun.set()
        if not self.at and self._awaited and self._awaited in octets:
            self.at = time.monotonic()
            self._came.set()
        self._rest = octets[-64:]


def measure(subscribers: int, folder: Path) -> Pushed:
    """Measure. Raises ``ValueError`` where a subscriber did not get an entry."""
    authority = Authority.new(folder, "Root")
    certificate, key, ca = tls_certificate(folder, "cps", [_HOST])
    holders = [
        _credential(authority, folder, f"holder-{each}")
        for each in range(-(-subscribers // STREAMS_OF_A_CERTIFICATE))
    ]
    config = folder / "cps.toml"
    config.write_text(
        f'state_dir = "state"\n[cps]\nlisten = "{_HOST}:0"\ncertificate = "{certificate}"\n'
        f'key = "{key}"\ntokens = false\ntrust = ["{authority.anchor}"]\nretrieval = "holders"\n'
        f"push_subscribers = {subscribers}\n"
    )
    with Service("cps", ["cps", "--config", str(config)], folder) as cps:
        cps.wait_until(lambda: "listening on " in cps.said, "the CPS listens")
        port = int(cps.said.partition("listening on ")[2].split()[0].rpartition(":")[2])
        tls = ssl.create_default_context(cafile=ca)
        first, last, subscribing = asyncio.run(_run(subscribers, port, tls, holders))
        memory = Memory.of(cps.pid)
    return Pushed(subscribers, Latency.of(first), Latency.of(last), round(subscribing, 2), memory)


def _credential(authority: Authority, folder: Path, name: str) -> Credential:
    """Make one holder's certificate."""
    files = authority.issue(folder, name, TnAuthList(numbers=(_NUMBER,)))
    certificate, key = (each.read_bytes() for each in files)
    return credentials.load(certificate, key, x5u="https://certificates.example.com/a.pem")


async def _run(
    subscribers: int, port: int, tls: ssl.SSLContext, holders: Sequence[Credential]
) -> tuple[list[float], list[float], float]:
    """Subscribe, store, and give the seconds that each entry took, and those of subscribing."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    began = loop.time()
    streams: list[_Stream] = []
    async with contextlib.AsyncExitStack() as stack:
        for each in range(subscribers):
            stream = _Stream(_request(holders[each // STREAMS_OF_A_CERTIFICATE]), came)
            transport, _ = await loop.create_connection(
                lambda one=stream: one,  # type: ignore[misc]
                _HOST,
                port,
                ssl=tls,
            )
            stack.callback(transport.abort)
            streams.append(stream)
        async with asyncio.timeout(_SECONDS):
            for stream in streams:
                await stream.begun.wait()
        subscribing = loop.time() - began
        first, last = [], []
        reader, writer = await asyncio.open_connection(_HOST, port, ssl=tls)
        stack.callback(writer.close)
        for _ in range(ENTRIES):
            body = sealing.to_wire(sealing.dummy(secrets.token_bytes(32)))
            for stream in streams:
                stream.await_entry(body[:_RECOGNISED])
            stored_at = time.monotonic()
            writer.write(_HEAD % len(body) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 201"):
                raise ValueError("an entry was not stored")
            async with asyncio.timeout(_SECONDS):
                while not all(stream.at for stream in streams):
                    came.clear()
                    await came.wait()
            taken = [stream.at - stored_at for stream in streams]
            first.append(min(taken))
            last.append(max(taken))
            await asyncio.sleep(0.2)
    return first, last, subscribing


def _request(holder: Credential) -> bytes:
    """One subscription, signed."""
    path = f"{wire.bulk_path(_PREFIX)}"
    signed = sign_request(
        RETRIEVAL,
        audience=_HOST,
        method="GET",
        path=path,
        body=b"",
        now=time.time(),
        credential=holder,
    )
    return (
        f"GET {path} HTTP/1.1\r\nHost: {_HOST}\r\nAccept: {wire.EVENT_TYPE}\r\n"
        f"Authorization: {signed}\r\n\r\n"
    ).encode("ascii")


def main() -> int:
    """Print one JSON object; exit status 1 where the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.push", allow_abbrev=False)
    parser.add_argument("--subscribers", type=int, default=1_000, metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pushed = measure(arguments.subscribers, Path(folder))
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(pushed)) + b"\n")
    return 0 if pushed.last.p50 <= TARGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
