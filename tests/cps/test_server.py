"""Tests of pbx_stir.cps.server: what is answered to what, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import logging
import re
import textwrap

import pytest
import requests

from pbx_stir.cps.settings import CpsSettings

from .conftest import Run, sealed
from .peers import COLLECTION, NUMBER, Peer, _typed, raw

PASSPORT = {"Content-Type": "application/passport"}


@pytest.mark.parametrize("path", [COLLECTION, COLLECTION + "?expand=1", "/health"])
async def test_head_is_harmless(run: Run, path: str) -> None:
    """HEAD gives GET's headers without the body, and changes nothing."""
    async with run() as cps, Peer(cps) as peer:
        got, head = await peer.ask("GET", path), await peer.ask("HEAD", path)
        assert head[2] == b""
        assert [n for n, _ in head[1]] == [n for n, _ in got[1]]
        assert dict(head[1])["Content-Length"] == str(len(got[2]))


async def test_health(run: Run) -> None:
    """/health answers, for whoever watches."""
    async with run() as cps, Peer(cps) as peer:
        status, _, body = await peer.ask("GET", "/health")
        assert (status, json.loads(body)) == (200, {"status": 200, "message": "OK"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/cps/12125551234", 404),
        ("GET", "/cps/12125551234/ppts/", 404),
        ("GET", "/cps/12125551234%2Fppts", 404),
        ("GET", "/cps/../../etc/passwd", 404),
        ("GET", "/cps/%2e%2e/ppts", 400),
        ("GET", "/cps/12125551234/ppts/..%2f..%2fhealth", 404),
        ("GET", "/cps/anna/ppts", 400),
        ("GET", "/cps/1212-555-1234/ppts", 400),
        ("POST", "/cps/1234567890123456/ppts", 400),
        ("DELETE", COLLECTION, 405),
        ("OPTIONS", COLLECTION, 405),
        ("TRACE", "/health", 405),
        ("PUT", COLLECTION, 405),
        ("POST", f"{COLLECTION}/{'A' * 22}", 405),
        ("POST", "/health", 405),
        ("POST", f"/cps/{NUMBER}/keys", 405),
        ("PUT", f"/cps/{NUMBER}/keys", 503),
    ],
)
async def test_wrong_requests_are_problems(run: Run, method: str, path: str, status: int) -> None:
    """Whatever is wrong: problem+json with its status, no-store, Date, no version of anything."""
    async with run() as cps, Peer(cps) as peer:
        got, headers, body = await peer.ask(method, path)
        assert got == status
        named = dict(headers)
        assert named["Content-Type"] == "application/problem+json"
        assert named["Cache-Control"] == "no-store"
        assert email.utils.parsedate_to_datetime(named["Date"])
        assert named["Server"] == "pbx-stir"
        assert json.loads(body)["status"] == status
        assert NUMBER not in body.decode()
        assert ("Allow" in named) == (status == 405)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(1000)) + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_problem(
    run: Run, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Octets that are no request get one answer, no version, no line in the log."""
    caplog.set_level(logging.DEBUG)
    async with run() as cps:
        answer = await raw(cps, octets)
        head = answer.partition(b"\r\n\r\n")[0]
        assert re.match(rb"HTTP/1\.[01] 400 ", head)
        assert b"application/problem+json" in head
        assert b"aiohttp" not in answer
        assert b"Server: pbx-stir" in head
    assert not [each for each in caplog.records if each.levelno > logging.DEBUG]


async def test_too_many_retrievals_are_429(run: Run) -> None:
    """The overall rate is kept, and says when to come again."""
    async with run(retrieval_rate=3) as cps, Peer(cps) as peer:
        got = [await peer.ask("GET", COLLECTION) for _ in range(4)]
        assert [status for status, _, _ in got] == [200, 200, 200, 429]
        assert dict(got[3][1])["Retry-After"] == "1"
        assert (await peer.ask("GET", "/health"))[0] == 200
        cps.clock.moment += 1
        assert (await peer.ask("GET", COLLECTION))[0] == 200


async def test_too_many_stores_are_429(run: Run) -> None:
    """Stores have a rate of their own, and retrievals do not suffer from it."""
    async with run(store_rate=1) as cps, Peer(cps) as peer:
        await peer.store()
        assert (await peer.ask("POST", COLLECTION, sealed(), **_typed()))[0] == 429
        assert (await peer.ask("GET", COLLECTION))[0] == 200


async def test_the_default_rate_allows_ten_thousand() -> None:
    """At least 10,000 retrievals a second by default."""
    assert CpsSettings().retrieval_rate >= 10_000


async def test_nothing_personal_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Right and wrong requests, even ones that fail inside, leave no number and no peer."""
    caplog.set_level(logging.DEBUG)
    async with run() as cps, Peer(cps) as peer:
        await peer.store()
        await peer.hrefs()
        await peer.ask("GET", f"{COLLECTION}/x")
        await raw(cps, b"GET /cps/12125551234/ppts HTTP/x\r\n\r\n")

        def failing(*_: object) -> None:
            raise RuntimeError(f"about {NUMBER}")

        cps.store.entries = failing  # type: ignore[method-assign, assignment]
        status, _, body = await peer.ask("GET", COLLECTION)
        assert status == 503
        assert NUMBER.encode() not in body
    assert any("RuntimeError" in each.getMessage() for each in caplog.records)
    assert NUMBER not in caplog.text
    assert "127.0.0.1" not in caplog.text.replace("<socket", "")


async def test_many_at_once(run: Run) -> None:
    """Hundreds of concurrent stores and retrievals of one number and many lose nothing."""
    async with run() as cps, Peer(cps) as peer:
        paths = [f"/cps/1212555{n % 20:04}/ppts" for n in range(300)]
        locations = await asyncio.gather(*(peer.store(path) for path in paths))
        assert len(set(locations)) == 300
        lists = await asyncio.gather(*(peer.hrefs(path) for path in paths[:20]))
        assert {href for each in lists for href in each} >= set(locations)


async def test_an_independent_client_understands_it(run: Run) -> None:
    """Another HTTP implementation stores, lists and fetches as RFC 8816 section 9 shows."""

    def talk(url: str) -> None:
        wire = sealed().decode()
        folded = "\n".join("   " + line for line in textwrap.wrap(wire, 64))
        with requests.Session() as session:
            stored = session.post(
                f"{url}/cps/2.222.555.2222/ppts", data=folded, headers=PASSPORT, timeout=5
            )
            assert stored.status_code == 201
            listed = session.get(f"{url}/cps/2.222.555.2222/ppts", timeout=5)
            assert stored.headers["Location"] in listed.json()["ppts"]
            item = session.get(f"{url}{stored.headers['Location']}/", timeout=5)
            assert item.headers["Content-Type"] == "application/passport"
            assert item.text == wire
            assert base64.urlsafe_b64decode(item.text + "==")
            assert session.head(f"{url}/cps/22225552222/ppts", timeout=5).status_code == 200
            assert session.get(f"{url}/nothing", timeout=5).json()["status"] == 404

    async with run() as cps:
        await asyncio.to_thread(talk, cps.url)
