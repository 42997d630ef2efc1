"""How the tests of this room ask as holders: signed requests, and streams read by hand."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from pbx_stir.cps.events import Arrived, EventReader
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import RETRIEVAL, sign_request

from .conftest import NOW

Said = tuple[int, dict[str, str], bytes]


def authorization(
    credential: Credential,
    path: str,
    *,
    method: str = "GET",
    audience: str = "127.0.0.1",
    now: float = NOW,
    typ: str = RETRIEVAL,
    body: bytes = b"",
    nonce: str = "",
) -> str:
    """The value of Authorization of one request."""
    return sign_request(
        typ,
        audience=audience,
        method=method,
        path=path,
        body=body,
        now=now,
        credential=credential,
        nonce=nonce,
    )


class Asker:
    """A client that signs what it asks, where it has a credential."""

    def __init__(
        self, url: str, credential: Credential | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._url = url
        self._credential = credential
        connector = aiohttp.TCPConnector(ssl=tls if tls is not None else True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    def headers(self, path: str, method: str, more: dict[str, str]) -> dict[str, str]:
        """What a request carries."""
        named = {name.replace("_", "-"): value for name, value in more.items()}
        if self._credential is not None:
            named.setdefault("Authorization", authorization(self._credential, path, method=method))
        return named

    async def ask(self, path: str, method: str = "GET", **more: str) -> Said:
        """Send one request; give status, headers and body."""
        async with self._session.request(
            method,
            URL(self._url + path, encoded=True),
            headers=self.headers(path, method, more),
            allow_redirects=False,
        ) as response:
            return response.status, dict(response.headers), await response.read()

    @contextlib.asynccontextmanager
    async def stream(self, path: str, **more: str) -> AsyncIterator[Stream]:
        """Open a stream; give what reads it."""
        headers = self.headers(path, "GET", {"Accept": "text/event-stream"} | more)
        async with self._session.get(
            URL(self._url + path, encoded=True), headers=headers
        ) as response:
            assert response.status == 200, await response.read()
            yield Stream(response)


@dataclass
class Stream:
    """A stream that is being read: the entries that have come."""

    response: aiohttp.ClientResponse
    came: list[Arrived] = field(default_factory=list)
    octets: bytes = b""
    reader: EventReader = field(default_factory=EventReader)

    async def until(self, *ids: str) -> list[Arrived]:
        """Read until entries with all these ids have come; give all that have come."""
        async with asyncio.timeout(20):
            while not set(ids) <= {each.id for each in self.came}:
                await self._read()
        return self.came

    async def read_until(self, text: bytes) -> None:
        """Read until the octets hold a text."""
        async with asyncio.timeout(20):
            while text not in self.octets:
                await self._read()

    async def ended(self) -> None:
        """Read until the stream ends as HTTP ends it."""
        async with asyncio.timeout(20):
            while not self.response.content.at_eof():
                await self._read()

    async def _read(self) -> None:
        octets = await self.response.content.readany()
        if not octets:
            assert self.response.content.at_eof()
            if not self.came and not self.octets:
                raise AssertionError("the stream ended")
        self.octets += octets
        self.came += self.reader.feed(octets)
