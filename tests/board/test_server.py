"""The board's server, asked as browsers and others ask."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pbx_stir.board import feed as feeds
from pbx_stir.board import server, words
from pbx_stir.board.feed import Feed
from pbx_stir.board.server import serving
from pbx_stir.listening import Listener
from tests.board.scene import TOKEN, board, settings

ASSETS = Path(words.__file__).parent / "assets"
SECRET_PATHS = ["/", "/words.json", "/events"]


@pytest.mark.parametrize("path", SECRET_PATHS)
async def test_nothing_is_shown_without_a_session(path: str) -> None:
    """A stranger gets the form, or 401, and no word of a call."""
    async with board() as browser:
        answer, text = await browser.ask(path)
    assert answer.status == (303 if path == "/" else 401)
    assert text == ""


async def test_the_token_opens_it() -> None:
    """Log in, look, log out: a cookie that neither scripts nor other sites get at."""
    async with board() as browser:
        answer, text = await browser.ask("/login")
        assert answer.status == 200
        assert "Access token" in text
        answer = await browser.log_in()
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        for wanted in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"):
            assert wanted in cookie
        assert TOKEN not in cookie
        answer, text = await browser.ask("/")
        assert answer.status == 200
        assert text == (ASSETS / "board.html").read_text()
        answer, text = await browser.ask("/words.json")
        assert json.loads(text) == json.loads(json.dumps(words.tables()))
        assert (await browser.ask("/login"))[0].status == 303
        answer, _ = await browser.ask("/logout", "POST")
        assert (answer.status, answer.headers["Location"]) == (303, "/login")
        assert (await browser.ask("/words.json"))[0].status == 401


async def test_logging_out_ends_a_copied_cookie() -> None:
    """Who has copied the cookie is out as well."""
    async with board() as browser:
        cookie = (await browser.log_in()).headers["Set-Cookie"].partition(";")[0]
        await browser.ask("/logout", "POST")
        async with aiohttp.ClientSession() as other:
            answer = await other.get(f"{browser.url}/words.json", headers={"Cookie": cookie})
            assert answer.status == 401


async def test_another_token_opens_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is said, on the page and in the log, and stands in neither."""
    caplog.set_level(logging.DEBUG)
    async with board() as browser:
        answer, text = await browser.ask("/login", "POST", data={"token": "<b>wrong-token</b>"})
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers
    assert "not the token" in text
    assert "wrong-token" not in text + caplog.text
    assert TOKEN not in caplog.text
    assert "wrong token" in caplog.text


@pytest.mark.parametrize("body", [b"", b"token", b"\xff\xfe=1", b"token=" + b"x" * 9_999])
async def test_a_form_is_read_strictly(body: bytes) -> None:
    """What is no form of ours, or larger than it can be, is a wrong token."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with board() as browser:
        answer, _ = await browser.ask("/login", "POST", data=body, headers=kind)
        assert answer.status == 401


async def test_tries_have_an_end() -> None:
    """Five at once; then even the right token has to wait, and is told how long."""
    async with board() as browser:
        statuses = [(await browser.log_in("wrong")).status for _ in range(6)]
        assert statuses == [401] * 5 + [429]
        answer = await browser.log_in()
        assert answer.status == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 61


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_forms_of_other_pages_are_refused(path: str) -> None:
    """Nobody is logged in or out by a page of a stranger's."""
    async with board() as browser:
        await browser.log_in()
        answer, _ = await browser.ask(
            path, "POST", data={"token": TOKEN}, headers={"Origin": "https://evil.example"}
        )
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers
        assert (await browser.ask("/"))[0].status == 200


@pytest.mark.parametrize("path", ["/", "/login", "/assets/board.css", "/events", "/nothing"])
async def test_it_answers_under_its_own_names(path: str) -> None:
    """A name that a stranger points at this address gets nothing (DNS rebinding)."""
    async with board(names=frozenset({"board.example"})) as browser:
        await browser.log_in()
        answer, text = await browser.ask(path, headers={"Host": "evil.example"})
        assert answer.status == 421
        assert "names" in text
        for name in ("localhost:1", "[::1]:8490", "BOARD.example"):
            answer, _ = await browser.ask("/login", headers={"Host": name})
            assert answer.status in {200, 303}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 303),
        ("/login", 200),
        ("/assets/board.js", 200),
        ("/assets/../server.py", 404),
        ("/assets/%2e%2e/server.py", 404),
        ("/assets/board.html", 404),
        ("/nothing", 404),
        ("/events", 401),
    ],
)
async def test_every_answer_has_its_headers(path: str, status: int) -> None:
    """What browsers are told stands on errors too."""
    async with board() as browser:
        answer, _ = await browser.ask(path)
    assert answer.status == status
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "pbx-stir"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
async def test_it_only_reads(method: str) -> None:
    """Nothing but looking, logging in and logging out."""
    async with board() as browser:
        await browser.log_in()
        reader, writer = await asyncio.open_connection(*_where(browser.url))
        target = "localhost:1" if method == "CONNECT" else "/"
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        async with asyncio.timeout(30):
            first = await reader.readline()
        writer.close()
        assert first.split()[1] in {b"400", b"405"}
        assert (await browser.ask("/", "POST"))[0].status == 405


def _where(url: str) -> tuple[str, int]:
    host, _, port = url.rpartition("/")[2].rpartition(":")
    return host, int(port)


async def test_what_is_no_http_changes_nothing() -> None:
    """Garbage is answered or hung up on, and the page goes on."""
    async with board() as browser:
        for garbage in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n" + b"a" * 9_000, b"\n\n\n"):
            with socket.create_connection(_where(browser.url)) as other:
                other.sendall(garbage)
        assert (await browser.log_in()).status == 303


async def test_every_file_of_the_page_is_served() -> None:
    """With the type by which a browser takes it, and nothing else."""
    async with board() as browser:
        for file in ASSETS.iterdir():
            answer, text = await browser.ask(f"/assets/{file.name}")
            if file.suffix == ".html":
                assert answer.status == 404
                continue
            assert text == file.read_text()
            assert answer.content_type == server._TYPES[file.suffix[1:]].partition(";")[0]


def test_the_page_takes_nothing_from_elsewhere() -> None:
    """No address of another host, no inline script or style, no text set as HTML."""
    for file in ASSETS.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text.replace("/^https?:/", ""), file.name
        assert not any(
            word in text for word in ("innerHTML", "outerHTML", "insertAdjacent", "eval(", "style=")
        ), file.name
        if file.suffix == ".html":
            assert "<script>" not in text
            assert "onclick" not in text


async def test_a_session_in_its_second_half_is_renewed() -> None:
    """Who comes back each day logs in once."""
    moment = 1_795_311_330.0

    class Request:
        """As much of a request as the page looks at."""

        def __init__(self, cookie: str) -> None:
            self.cookies = {"pbx_stir_board": cookie}

    made = server.Board(settings(), Feed(), now=lambda: moment)
    cookie = made._sessions.new(moment)
    request: Any = Request(cookie)
    assert "pbx_stir_board" not in (await made.page(request)).cookies
    moment += 7 * 3_600
    assert (await made.page(request)).cookies["pbx_stir_board"].value != cookie


async def test_behind_a_proxy_the_cookie_is_for_https() -> None:
    """Bound to the one host, and never sent in the clear."""
    async with board(behind_proxy=True) as browser:
        cookie = (await browser.log_in()).headers["Set-Cookie"]
    assert cookie.startswith("__Host-pbx_stir_board=")
    assert "Secure" in cookie


async def test_pages_have_an_end() -> None:
    """One stream too many is told to come again."""
    feed = Feed()
    contexts = [feed.reading() for _ in range(feeds.MOST_READERS)]
    for one in contexts:
        one.__enter__()
    async with board(feed) as browser:
        await browser.log_in()
        answer, _ = await browser.ask("/events")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "10"


async def test_one_board_after_another_on_one_socket() -> None:
    """A new token takes over without a moment in which nobody answers."""
    listener = Listener("127.0.0.1", 0, "the board")
    url = listener.url(tls=False)
    try:
        async with aiohttp.ClientSession() as client, serving(settings(), Feed(), listener):
            async with serving(settings(token="another-token-entirely"), Feed(), listener):
                assert (await client.get(f"{url}/login")).status == 200
            assert (await client.get(f"{url}/login")).status == 200
    finally:
        listener.close()
