"""A board that is served, and who asks it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from pbx_stir.board.feed import Feed
from pbx_stir.board.server import serving
from pbx_stir.board.settings import BoardSettings

TOKEN = "the-token-of-these-tests"


def settings(**changed: Any) -> BoardSettings:
    """A board on a free port of loopback."""
    return BoardSettings(**({"host": "127.0.0.1", "port": 0, "token": TOKEN} | changed))


@dataclass(slots=True)
class Event:
    """One server-sent event."""

    kind: str
    place: str
    sent: Any


class Browser:
    """A client with cookies, which follows no redirection."""

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self.url = url
        self.client = client

    async def ask(
        self, path: str, method: str = "GET", **options: Any
    ) -> tuple[aiohttp.ClientResponse, str]:
        """The answer and its text."""
        url = self.url + path
        async with self.client.request(method, url, allow_redirects=False, **options) as answer:
            return answer, await answer.text()

    async def log_in(self, token: str = TOKEN, **headers: str) -> aiohttp.ClientResponse:
        """Send the form."""
        answer, _ = await self.ask("/login", "POST", data={"token": token}, headers=headers)
        return answer

    @contextlib.asynccontextmanager
    async def stream(self, path: str = "/events", **headers: str) -> AsyncIterator[Stream]:
        """The stream of events."""
        async with self.client.get(self.url + path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            yield Stream(answer)


class Stream:
    """The events of one answer."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> Event | None:
        """The next event; None at the end."""
        said: dict[str, str] = {}
        while line := await self.answer.content.readline():
            if line == b"\n":
                return Event(said["event"], said["id"], json.loads(said["data"]))
            name, _, value = line.decode().rstrip("\n").partition(": ")
            said[name] = value
        return None


@contextlib.asynccontextmanager
async def board(feed: Feed | None = None, **changed: Any) -> AsyncIterator[Browser]:
    """A board, and somebody before it who has not logged in."""
    made = settings(**changed)
    async with serving(made, feed or Feed()) as url:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as client:
            yield Browser(url, client)
