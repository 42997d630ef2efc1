"""A running listener for unsealed PASSporTs, and who asks it: Alice submits, Bob retrieves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from pbx_stir.cps.bare import BareSettings
from pbx_stir.cps.listening import listening_bare
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import MemoryStore
from pbx_stir.stir import passport
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import SUBMISSION

from .conftest import NOW, Authority, Clock
from .signing import authorization

BOB = "13105552000"
ALICE = "12125551234"
PATH = f"/cps/{BOB}/ppts"


class Moment:
    """A wall clock and a steady one that go together."""

    def __init__(self) -> None:
        self.clock = Clock()

    def now(self) -> float:
        """The wall clock."""
        return NOW + self.clock.moment - 1000.0


@dataclass
class Bare:
    """A running listener, and who asks it."""

    url: str
    moment: Moment
    session: aiohttp.ClientSession
    alice: Credential
    bob: Credential
    store: MemoryStore

    def token(self, **changes: object) -> str:
        """A PASSporT of Alice's to Bob, now."""
        fields: dict[str, object] = {
            "orig": ALICE,
            "dest": [BOB],
            "iat": int(self.moment.now()),
            "x5u": self.alice.x5u,
            "key": self.alice.key,
        }
        return passport.sign(**(fields | changes)).token  # type: ignore[arg-type]

    async def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request; a body is called a PASSporT unless said otherwise."""
        named = {"Content-Type": "application/passport"} if body is not None else {}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, data=body, headers=named) as response:
            return response.status, dict(response.headers), await response.read()

    async def submit(
        self, body: bytes | str, path: str = PATH, **signed: object
    ) -> tuple[int, dict[str, str], bytes]:
        """Submit, signed by Alice unless another credential signs."""
        octets = body.encode() if isinstance(body, str) else body
        fields: dict[str, object] = {
            "credential": self.alice,
            "path": path,
            "method": "POST",
            "typ": SUBMISSION,
            "body": octets,
            "now": self.moment.now(),
        }
        value = authorization(**(fields | signed))  # type: ignore[arg-type]
        return await self.ask("POST", path, octets, Authorization=value)

    async def fetch(
        self, path: str = PATH, *, method: str = "GET", more: str = "", **signed: object
    ) -> tuple[int, dict[str, str], bytes]:
        """Retrieve, signed by Bob unless another credential signs."""
        fields: dict[str, object] = {
            "credential": self.bob,
            "path": path,
            "method": method,
            "now": self.moment.now(),
        }
        value = authorization(**(fields | signed))  # type: ignore[arg-type]
        headers = {"Accept": more} if more else {}
        return await self.ask(method, path, Authorization=value, **headers)

    async def held(self) -> list[str]:
        """The PASSporTs that Bob gets."""
        status, _, body = await self.fetch(f"{PATH}?expand=1")
        assert status == 200
        return [one["passport"] for one in json.loads(body)["ppts"]]


@asynccontextmanager
async def running(authority: Authority, **changes: object) -> AsyncIterator[Bare]:
    """A listener on loopback; ``common_*`` are what it shares with others."""
    moment = Moment()
    own = {name: value for name, value in changes.items() if not name.startswith("common_")}
    common = {name.removeprefix("common_"): changes[name] for name in changes if name not in own}
    shared: dict[str, object] = {
        "port": 0,
        "tls": False,
        "anchors": lambda: authority.anchors,
    }
    settings = BareSettings(
        CpsSettings(**(shared | common)),  # type: ignore[arg-type]
        **own,  # type: ignore[arg-type]
    )
    store = settings.new_store()
    async with (
        listening_bare(settings, store, moment.now, clock=moment.clock) as url,
        aiohttp.ClientSession() as session,
    ):
        yield Bare(
            url,
            moment,
            session,
            authority.credential(ALICE, name="Alice"),
            authority.credential(BOB, name="Bob"),
            store,
        )


def detail(answer: tuple[int, dict[str, str], bytes]) -> str:
    """What a problem says."""
    assert answer[1]["Content-Type"] == "application/problem+json"
    return str(json.loads(answer[2])["detail"])
