"""The peer: secsipidx, what Kamailio and Debian have for STIR in-band.

It is asked over HTTP, in cleartext on loopback and on a kept connection, to sign and to check with
the certificate's chain, the certificate cached. It seals, stores and fetches nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from bench.latency import Latency
from lab.companies import Authority, Company

LABEL: Final = "cleartext in-band sign and check over HTTP; nothing sealed, stored or fetched"
_START_SECONDS: Final = 10.0
# -cert-verify: the certificate's time (1) and its path to the anchors of -ca-file (4)
_TIME_AND_PATH: Final = "5"


class Peer(msgspec.Struct, frozen=True):
    """What the peer did, or ``unavailable``: why it was not measured."""

    name: str = "secsipidx"
    version: str = ""
    label: str = LABEL
    unavailable: str = ""
    sign: Latency | None = None
    check: Latency | None = None


async def measure(folder: Path, authority: Authority, company: Company, calls: int) -> Peer:
    """Let it sign and check ``calls`` calls, one at a time; ``folder`` is made."""
    binary = await asyncio.to_thread(_binary)
    if binary is None:
        return Peer(unavailable="it is not installed, and apt-get cannot install it here")
    version = await asyncio.to_thread(_version, binary)
    try:
        with _serving(binary, folder, authority, company) as address:
            await _answering(address)
            sign, check = await _rounds(f"http://{address}", company, calls)
    except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as error:
        return Peer(version=version, unavailable=f"{type(error).__name__}: {error}")
    return Peer(version=version, sign=Latency.of(sign), check=Latency.of(check))


def _binary() -> str | None:
    found = shutil.which("secsipidx")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "secsipidx"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, env=environment, capture_output=True, check=False, timeout=180)
        found = shutil.which("secsipidx")
    return found


def _version(binary: str) -> str:
    said = subprocess.run([binary, "-version"], capture_output=True, text=True, check=False)
    return said.stdout.strip().rpartition(" ")[2].removeprefix("v")


@contextlib.contextmanager
def _serving(binary: str, folder: Path, authority: Authority, company: Company) -> Iterator[str]:
    """Run it meanwhile; gives the address that it listens on soon."""
    address = f"127.0.0.1:{_free_port()}"
    for name in ("cache", "pub"):
        (folder / name).mkdir(parents=True)
    shutil.copy(company.folder / f"{company.name}.pem", folder / "pub/certificate.pem")
    options = {
        "-http-srv": address,
        "-http-dir": str(folder / "pub"),
        "-fprvkey": str(company.folder / f"{company.name}.key"),
        "-cache-dir": str(folder / "cache"),
        "-cert-verify": _TIME_AND_PATH,
        "-ca-file": str(authority.anchor),
        "-expire": "60",
    }
    command = [binary, *(word for pair in options.items() for word in pair)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield address
    finally:
        process.terminate()
        process.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _answering(address: str) -> None:
    host, _, port = address.partition(":")
    give_up_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def _rounds(url: str, company: Company, calls: int) -> tuple[list[float], list[float]]:
    signed, checked = [], []
    x5u = f"{url}/v1/pub/certificate.pem"
    async with aiohttp.ClientSession(trust_env=False) as session:

        async def post(path: str, body: str) -> tuple[str, float]:
            began = time.perf_counter()
            async with session.post(url + path, data=body) as response:
                answer = await response.text()
            spent = time.perf_counter() - began
            if response.status != 200:
                raise ValueError(f"{path} answered {response.status}")
            return answer, spent

        for index in range(-min(calls, 50), calls):  # those below zero are to warm up
            orig, dest = company.number(index % company.count), company.number(0)
            identity, sign = await post("/v1/sign-csv", f"{orig},{dest},A,,{x5u}")
            said, check = await post("/v1/check", identity.strip())
            if said.strip() != "OK":
                raise ValueError(f"it does not accept its own signature: {said.strip()[:80]!r}")
            if index >= 0:
                signed.append(sign)
                checked.append(check)
    return signed, checked
