"""A company with its PBX, a double, and its CPS: what ``pbx-stir run`` is set among."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.companies import Authority, Company, tls_certificate
from tests.pbx_room.fake_asterisk import SECRET, FakeAsterisk
from tests.pbx_room.test_hook import FIELDS

KEPT = {
    name: value for name, value in FIELDS.items() if name not in {"Event", "UserEvent", "Identity1"}
}


@dataclass
class Manager:
    """A PBX, as a configuration names it."""

    ami_port: int
    ami_secret: str = SECRET
    ami_user: str = "pbx-stir"
    host: str = "127.0.0.1"
    name: str = "pbx"


class SlowCps:
    """A CPS over TLS that answers only when it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Keep each request waiting."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"/ppts" in head:
                    self.asked.set()
                    await self.let.wait()
                writer.write(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@dataclass
class Scene:
    """A company with its PBX, a double, and its CPS."""

    pbx: FakeAsterisk
    cps: SlowCps
    company: Company

    async def announce(self, nonce: str = "A" * 16, trunk: str = "carrier") -> None:
        """A call waits at the PBX, as soon as the listener is there."""
        await self.pbx.until(lambda: ":" in self.pbx.variables.get("STIR_HEARTBEAT", ""))
        listener = self.pbx.variables["STIR_HEARTBEAT"].partition(":")[0]
        call = {"Dir": "in", "Mode": "on", "Trunk": trunk, "Budget": "5000", "Nonce": nonce}
        call |= {"From": "%2B13105552000", "To": "%2B12125551234", "Uniqueid": "pbx-1.1"}
        self.pbx.event("PbxStir", **{**KEPT, **call, "Listener": listener})

    def answers(self) -> list[str]:
        """What was written to calls."""
        return [
            value for channel, name, value in self.pbx.writes if channel and name == "STIR_ANSWER"
        ]


@asynccontextmanager
async def acting(authority: Authority, folder: Path) -> AsyncIterator[Scene]:
    """Everything but the service itself."""
    certificate, key, ca = tls_certificate(folder, "cps", ["127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    cps = SlowCps()
    server = await asyncio.start_server(cps.serve, "127.0.0.1", 0, ssl=tls)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with FakeAsterisk() as pbx:
        company = Company("acme", "12125551200", 100, folder / "acme")
        company.configure(
            authority=authority,
            trust=authority.anchor,
            cps=url,
            cps_ca=ca,
            routes=["1"],
            pbxs=[Manager(pbx.port)],
        )
        try:
            yield Scene(pbx, cps, company)
        finally:
            cps.let.set()
            server.close()


@asynccontextmanager
async def service(
    company: Company, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``pbx-stir run`` in a process of its own, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pbx_stir", "run", "--config", str(company.config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
