"""A CPS with storage tokens on, and a sender that knows of them."""

from __future__ import annotations

import email.utils
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pbx_stir.tokens import exchange
from pbx_stir.tokens.exchange import BlindedBatch
from tests.tokens.signers import Authority
from tests.tokens.spending import NAME, FixedKeys, Purse, token_request

from .conftest import Running, _run, sealed
from .peers import COLLECTION, Peer

ROOT = Authority()
COMPANY = ROOT.credential()
HOST = "127.0.0.1"
Said = tuple[int, dict[str, str], bytes]


class Sender(Peer):
    """A client that knows of tokens."""

    async def store(  # type: ignore[override]
        self, token: Purse, body: bytes | None = None, **how: object
    ) -> Said:
        """Store one with a token."""
        wire = sealed() if body is None else body
        value = token.authorization(wire, **({"host": HOST} | how))  # type: ignore[arg-type]
        return await self.send(wire, Authorization=value)

    async def send(self, body: bytes, **headers: str) -> Said:
        """Send a store as it is."""
        typed = {"Content_Type": "application/passport"} | headers
        status, pairs, answered = await self.ask("POST", COLLECTION, body, **typed)
        return status, dict(pairs), answered

    async def nonce(self) -> str:
        """Ask for one."""
        status, _, body = await self.ask("GET", exchange.TOKENS_PATH)
        assert status == 200
        return exchange.parse_nonce(body)

    async def issue(self, wanted: BlindedBatch, **how: object) -> Said:
        """Ask for tokens."""
        body = exchange.format_request(wanted)
        nonce = await self.nonce()
        value = token_request(COMPANY, nonce, body, **({"audience": HOST} | how))  # type: ignore[arg-type]
        headers = {"Content_Type": "application/json", "Authorization": value}
        status, pairs, answered = await self.ask("POST", exchange.TOKENS_PATH, body, **headers)
        return status, dict(pairs), answered


@asynccontextmanager
async def desk(**settings: object) -> AsyncIterator[tuple[Running, Sender]]:
    """A CPS with tokens on, whose keys are those of the tests, and a sender."""
    chosen = {
        "tokens": True,
        "token_keys": FixedKeys(),
        "names": (NAME, HOST),
        "anchors": lambda: ROOT.anchors,
    }
    async with _run(**(chosen | settings)) as cps, Sender(cps) as sender:
        yield cps, sender


def detail(said: Said) -> str:
    """What a problem says."""
    problem = json.loads(said[2])
    assert said[1]["Content-Type"] == "application/problem+json"
    assert problem["status"] == said[0]
    return str(problem["detail"])


def dated(said: Said) -> bool:
    """Whether an answer says the time: a client compares clocks by it."""
    return email.utils.parsedate_to_datetime(said[1]["Date"]) is not None
