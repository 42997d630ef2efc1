"""A revocation watch whose clock, chance and server of lists are a test's own."""

from __future__ import annotations

import asyncio
import contextlib

from pbx_stir.certificates.fetch import Fetched
from pbx_stir.certificates.revocation import RevocationWatch
from pbx_stir.errors import CertificateUnavailable
from pbx_stir.stir.certificate import Anchors, Path
from pbx_stir.stir.revocation import Status
from pbx_stir.stir.x5u import CheckedUrl, EgressRule, check_url
from tests.stir import revoking
from tests.stir.conftest import NOW, Forge

FORGE = Forge()
ROOT = FORGE.root()
URL = revoking.URL
LEAF = FORGE.leaf(ROOT, extra=[revoking.at(URL)])
PATH = revoking.path_of(LEAF, ROOT)
ASKING = FORGE.leaf(ROOT, extra=[revoking.asks(revoking.RESPONDER)])
ASKING_PATH = revoking.path_of(ASKING, ROOT)
GOOD = revoking.crl(ROOT, [1])
GONE = revoking.crl(ROOT, [LEAF.cert.serial_number])


class Server:
    """Gives what it is told for a URL, by its beginning, and keeps what it was asked."""

    def __init__(self, **bodies: bytes) -> None:
        self.bodies: dict[str, bytes] = {"http": GOOD} | bodies
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.answered = asyncio.Event()

    def check(self, url: str) -> CheckedUrl:
        """As the egress rule for lists."""
        rule = EgressRule(ports=frozenset({80, 443}), schemes=frozenset({"http", "https"}))
        return check_url(url, rule)

    async def fetch(self, url: str) -> Fetched:
        """Answer, once the gate is open."""
        self.asked.append(url)
        self.answered.set()
        await self.gate.wait()
        bodies = [body for begin, body in self.bodies.items() if url.startswith(begin)]
        if not bodies or not bodies[-1]:
            raise CertificateUnavailable("no answer")
        return Fetched(bodies[-1])


class World:
    """A watch with a clock that tests turn, and a chance that they choose."""

    def __init__(self, server: Server | None = None, **options: object) -> None:
        self.now = float(NOW)
        self.chance = 0.0
        self.server = server or Server()
        self.anchors = Anchors.of([ROOT.cert])
        settings: dict[str, object] = {"fetcher": self.server, "policy": "soft"}
        self.watch = RevocationWatch(
            anchors=lambda: self.anchors,
            clock=lambda: self.now,
            chance=lambda: self.chance,
            **(settings | options),  # type: ignore[arg-type]
        )

    def status(self, path: Path = PATH) -> Status:
        """What is known of a path now."""
        return self.watch.status(path, self.now).status

    async def fetched(self) -> None:
        """Let the watch run until it has fetched what was due."""
        running = asyncio.create_task(self.watch.run())
        for _ in range(3):
            await asyncio.sleep(0)
        while self.watch._flights:
            await asyncio.gather(*self.watch._flights._flights.values())
            await asyncio.sleep(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    async def learnt(self, path: Path = PATH) -> Status:
        """Ask, let it be fetched, and ask again."""
        self.status(path)
        await self.fetched()
        return self.status(path)
