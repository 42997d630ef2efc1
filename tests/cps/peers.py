"""A client of a CPS without a session's conveniences, and one that sends octets as they are."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from .conftest import Running, sealed

NUMBER = "12125551234"
COLLECTION = f"/cps/{NUMBER}/ppts"


class Peer:
    """A client without a session's conveniences: status, headers and body of single requests."""

    def __init__(self, cps: Running) -> None:
        self._cps = cps
        self._session = aiohttp.ClientSession(auto_decompress=False)

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send one request, its path as it is."""
        url = aiohttp.client.URL(self._cps.url + path, encoded=True)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(
            method, url, data=body, headers=named, allow_redirects=False
        ) as response:
            pairs = [(name, value) for name, value in response.headers.items()]
            return response.status, pairs, await response.read()

    async def store(self, path: str = COLLECTION, wire: bytes | None = None) -> str:
        """Store one; give its Location."""
        status, headers, _ = await self.ask("POST", path, wire or sealed(), **_typed())
        assert status == 201
        return dict(headers)["Location"]

    async def hrefs(self, path: str = COLLECTION) -> list[str]:
        """List a collection."""
        status, _, body = await self.ask("GET", path)
        assert status == 200
        return json.loads(body)["ppts"]


def _typed(value: str = "application/passport") -> dict[str, str]:
    """A content type as Peer takes it."""
    return {"Content_Type": value}


async def raw(cps: Running, *chunks: bytes) -> bytes:
    """Send octets as they are, and read until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
