"""Tests of pbx_stir.cps.getting, by way of a client: lists of paths, and broken answers."""

from __future__ import annotations

import pytest

from pbx_stir.services.call import Reason
from pbx_stir.stir import sealing

from .clients import NUMBER, blob, plain_client, retrieved
from .other_cps import answering, http


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 999\r\n\r\n",
        http(b"", "200 OK"),
        http(b"<html>"),
        http(b'{"ppts":7}'),
        http(b'{"ppts":["http:evil"]}'),
        http(b"x" * 2_000_000),
        http(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip"),
        http(b'{"ppts":[]}', "200 OK", "X: " + "a" * 100_000),
        http(b'{"ppts":[]}', "302 Found", "Location: http://127.0.0.1:1/"),
        http(b'{"ppts":[]}', "500 Oh"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"a" * 0x10000,
    ],
)
async def test_a_broken_answer_is_unavailable(octets: bytes) -> None:
    """Whatever a CPS answers, retrieve gives one CPS_UNAVAILABLE, and store one as well."""
    answers = iter([octets])

    def reply(_: bytes) -> bytes | None:
        return next(answers, None)

    async with answering(reply) as url, plain_client() as client:
        [answer] = await retrieved(client, url, seconds=0.3)
        assert (answer.reason, answer.blobs) == (Reason.CPS_UNAVAILABLE, ())
        assert answer.detail


async def test_a_refusing_cps_is_cps_refused() -> None:
    """A 4xx on a retrieval is told apart from no answer."""
    async with answering(lambda _: http(b"", "429 Many")) as url, plain_client() as client:
        [answer] = await retrieved(client, url)
        assert answer.reason is Reason.CPS_REFUSED


async def test_a_list_of_paths_is_fetched_item_by_item() -> None:
    """A CPS that knows no expand is read as RFC 8816 section 9 shows; what fails is left out."""
    items = {f"/cps/{NUMBER}/ppts/ppt{n}/": blob() for n in range(40)}

    def reply(request: bytes) -> bytes:
        path = request.split(b" ")[1].decode()
        if path.partition("?")[0] == f"/cps/{NUMBER}/ppts":
            hrefs = [*items, "/cps/1/ppts/gone", "http://127.0.0.1:1/elsewhere"]
            return http("\r\n".join(hrefs).encode(), "200 OK", "Content-Type: text/uri-list")
        if path in items:
            return http(sealing.to_wire(items[path]))
        return http(b"", "404 Gone")

    async with answering(reply) as url, plain_client() as client:
        [answer] = await retrieved(client, url)
        assert answer.reason is None
        assert sorted(answer.blobs) == sorted(items.values())


async def test_what_came_before_the_deadline_counts() -> None:
    """Of a slow list of paths the entries that came are given at the deadline."""
    good = blob()

    def reply(request: bytes) -> bytes:
        path = request.split(b" ")[1]
        if b"?" in path:
            return http(b'{"ppts":["/good","/slow"]}')
        return http(sealing.to_wire(good)) if path == b"/good" else b""

    async with answering(reply) as url, plain_client() as client:
        [answer] = await retrieved(client, url, seconds=0.2)
        assert (answer.blobs, answer.reason) == ((good,), None)
