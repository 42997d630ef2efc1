"""A stream of events is asked for as its holder, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from aiohttp import web

from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.streams import EventStreams
from pbx_stir.cps.subscription import Wanted
from pbx_stir.errors import CpsRefused, CpsUnavailable
from pbx_stir.stir import signed_request
from tests.cps.conftest import NOW, Authority
from tests.cps.other_cps import answering_all

NUMBER = "12125551234"


class Cps:
    """Answers every request in one way, and remembers the last one."""

    def __init__(self, status: int = 200, body: bytes = b":\n\n", **headers: str) -> None:
        self.status, self.body = status, body
        self.headers = {"Content-Type": "text/event-stream", **headers}
        self.path = ""
        self.asked: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.Response:
        self.path, self.asked = request.path_qs, dict(request.headers)
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    @asynccontextmanager
    async def opened(
        self, authority: Authority, last_id: str = "", *, offset: float = 0.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A stream of this CPS; ``offset`` is how wrong our clock is."""
        self.headers["Date"] = formatdate(NOW, usegmt=True)
        exchange = Exchange(allow_plain=True, keep=False, now=lambda: NOW + offset)
        streams = EventStreams(exchange)
        async with answering_all(self.answer) as url:
            wanted = Wanted(url, "1212*", (NUMBER,), authority.credential(NUMBER))
            try:
                if offset:
                    with pytest.raises(CpsRefused):
                        await streams.opened(wanted, last_id).__aenter__()
                    self.status = 200
                async with streams.opened(wanted, last_id) as pieces:
                    yield pieces
            finally:
                await exchange.close()


async def test_it_is_asked_for_as_its_holder(authority: Authority) -> None:
    """Accept, the last id and a signed request go along; what comes is given as it comes."""
    cps = Cps(body=b"retry: 2000\n\n")
    async with cps.opened(authority, "C8hG3pTtEEpRzCw1ezMBWA") as pieces:
        assert b"".join([piece async for piece in pieces]) == b"retry: 2000\n\n"
    assert cps.path == "/cps/1212*/ppts"
    assert cps.asked["Accept"] == "text/event-stream"
    assert cps.asked["Last-Event-ID"] == "C8hG3pTtEEpRzCw1ezMBWA"
    read = signed_request.read_request(cps.asked["Authorization"], signed_request.RETRIEVAL)
    assert (read.path, read.audience, read.iat) == (cps.path, "127.0.0.1", int(NOW))


async def test_the_first_one_names_no_entry(authority: Authority) -> None:
    """Before anything has come there is nothing to resume behind."""
    cps = Cps()
    async with cps.opened(authority):
        assert "Last-Event-ID" not in cps.asked


@pytest.mark.parametrize(
    ("cps", "error", "said"),
    [
        (Cps(401, b'{"title":"t","status":401,"detail":"no holder"}'), CpsRefused, "no holder"),
        (Cps(404, b"<html>"), CpsRefused, "status 404"),
        (Cps(429, b""), CpsUnavailable, "status 429"),
        (Cps(503, b""), CpsUnavailable, "status 503"),
        (Cps(302, b"", Location="/elsewhere"), CpsUnavailable, "status 302"),
        (Cps(200, b"{}", **{"Content-Type": "application/json"}), CpsRefused, "no stream"),
        (Cps(200, b"", **{"Content-Encoding": "gzip"}), CpsUnavailable, "content coding"),
        (Cps(500, b"x" * 1_000_000), CpsUnavailable, "status 500"),
    ],
)
async def test_what_is_no_stream_is_refused(
    authority: Authority, cps: Cps, error: type[Exception], said: str
) -> None:
    """Another status, type or coding ends it, with what the CPS says; no redirect is followed."""
    with pytest.raises(error, match=said):
        async with cps.opened(authority):
            pass


async def test_a_wrong_clock_is_mended_by_the_refusal(authority: Authority) -> None:
    """A CPS that refuses a request of another time says what time it is: the next one has it."""
    cps = Cps(401, b"")
    async with cps.opened(authority, offset=-590.0):
        value = cps.asked["Authorization"]
    read = signed_request.read_request(value, signed_request.RETRIEVAL)
    assert abs(read.iat - NOW) <= 2


async def test_nobody_there_is_unavailable(authority: Authority) -> None:
    """A connection that is refused is no defect."""
    exchange = Exchange(allow_plain=True)
    wanted = Wanted("http://127.0.0.1:1", "1*", (NUMBER,), authority.credential(NUMBER))
    try:
        with pytest.raises(CpsUnavailable):
            async with EventStreams(exchange).opened(wanted, ""):
                pass
    finally:
        await exchange.close()
