"""The board's web server: the page and its files, logging in and out, and the stream of events.

Takes ``BoardSettings`` and a ``Feed``; gives a URL while it listens. It only reads: nothing that
a browser sends changes anything but its own session. It logs no token, no session and no number.

Connections are bounded by the same doors as a CPS's, since the process has calls to serve.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from string import Template
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from pbx_stir.board import words
from pbx_stir.board.events import Stream, place_of
from pbx_stir.board.feed import Feed, Reader
from pbx_stir.board.guards import add_headers, guard, is_our_own
from pbx_stir.board.sessions import Sessions
from pbx_stir.board.settings import BoardSettings
from pbx_stir.cps.accepting import Acceptor, Doors
from pbx_stir.cps.answers import BODY_SECONDS, answer
from pbx_stir.cps.limits import PeerBuckets, Places, peer_name
from pbx_stir.listening import Listener

log = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 256
MOST_CONNECTIONS_OF_A_PEER: Final = 64
HANDSHAKES_OF_A_PEER: Final = 20.0
# five tries to log in at once, then four a minute, for each address
TRIES: Final = 5.0
TRIES_PER_SECOND: Final = 4 / 60
LARGEST_FORM: Final = 2_048

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_HTML: Final = "text/html; charset=utf-8"
_WRONG: Final = "That is not the token. It stands in the file that token_file of [board] names."
_ENDED: Final = "The session has ended: log in again."
_TOO_MANY: Final = "Too many tries: wait a minute."


class Board:
    """The answers of one board."""

    def __init__(
        self,
        settings: BoardSettings,
        feed: Feed,
        ended: dict[str, float] | None = None,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._feed = feed
        self._now = now
        self._clock = clock
        self._sessions = Sessions(settings.token, settings.session_seconds, ended)
        self._tries = PeerBuckets(TRIES_PER_SECOND, TRIES)
        # the prefix has browsers refuse a cookie that came without TLS or for a whole domain
        self._cookie = "__Host-pbx_stir_board" if settings.is_secure else "pbx_stir_board"
        self._readers: dict[Reader, None] = {}
        assets = {one.name: one.read_bytes() for one in (files(__package__) / "assets").iterdir()}
        self._page = assets.pop("board.html")
        self._login = Template(assets.pop("login.html").decode())
        self._assets = assets
        self._words = json.dumps(words.tables()).encode()

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(
            middlewares=[guard(self._settings.hosts)], client_max_size=LARGEST_FORM
        )
        application.router.add_get("/", self.page)
        application.router.add_get("/login", self.login_form)
        application.router.add_post("/login", self.log_in)
        application.router.add_post("/logout", self.log_out)
        application.router.add_get("/words.json", self.words)
        application.router.add_get("/assets/{name}", self.asset)
        application.router.add_get("/events", self.events, allow_head=False)
        application.on_response_prepare.append(add_headers)
        return application

    def end(self) -> None:
        """End every stream."""
        for reader in self._readers:
            reader.end()

    async def page(self, request: web.Request) -> web.Response:
        """The board, for who has logged in."""
        left = self._left(request)
        if not left:
            return _see("/login")
        response = answer(200, self._page, _HTML)
        if left < self._settings.session_seconds / 2:
            self._begin_session(response)
        return response

    async def login_form(self, request: web.Request) -> web.Response:
        """The form that asks for the token."""
        if self._left(request):
            return _see("/")
        return self._form(200, _ENDED if "ended" in request.query else "")

    async def log_in(self, request: web.Request) -> web.Response:
        """Give a session for the token."""
        if not is_our_own(request):
            return self._form(403, "This form came from another page. Try again here.")
        peer = peer_name(request.remote or "")
        self._tries.sweep(self._clock())
        wait = self._tries.take(peer, self._clock())
        if wait:
            response = self._form(429, _TOO_MANY)
            response.headers["Retry-After"] = str(int(wait) + 1)
            return response
        try:
            async with asyncio.timeout(BODY_SECONDS):
                form = await request.read()
            given = parse_qs(form.decode("ascii"), max_num_fields=4).get("token", [""])[0]
        except (web.HTTPException, TimeoutError, ValueError):
            given = ""
        if not self._sessions.admits(given.strip()):
            log.warning("call board: a login with a wrong token")
            return self._form(401, _WRONG)
        response = _see("/")
        self._begin_session(response)
        return response

    async def log_out(self, request: web.Request) -> web.Response:
        """End a session."""
        if not is_our_own(request):
            return answer(403, b"This form came from another page.\n", "text/plain")
        self._sessions.end(request.cookies.get(self._cookie, ""), self._now())
        response = _see("/login")
        response.del_cookie(self._cookie, path="/", secure=self._settings.is_secure)
        return response

    async def words(self, request: web.Request) -> web.Response:
        """What people read of each verdict."""
        if not self._left(request):
            return answer(401)
        return answer(200, self._words, "application/json")

    async def asset(self, request: web.Request) -> web.Response:
        """A file of the page; none of them is secret."""
        name = request.match_info["name"]
        if name not in self._assets:
            return answer(404)
        return answer(200, self._assets[name], _TYPES[name.rpartition(".")[2]])

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Calls as they come."""
        if not self._left(request):
            return answer(401)
        asked = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        with self._feed.reading() as reader:
            if reader is None:
                return answer(503, b"Too many pages are open.\n", "text/plain", Retry_After="10")
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            # a proxy that gathers what it passes on would make the page stand still
            response.headers["X-Accel-Buffering"] = "no"
            response.force_close()
            self._readers[reader] = None
            try:
                await response.prepare(request)
                stream = Stream(self._feed, response, self._settings.heartbeat_seconds)
                after = place_of(asked, self._feed)
                await stream.send(reader, after, lambda: self._left(request))
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
            except ConnectionError:
                pass
            finally:
                del self._readers[reader]
            return response

    def _left(self, request: web.Request) -> float:
        return self._sessions.left(request.cookies.get(self._cookie, ""), self._now())

    def _begin_session(self, response: web.Response) -> None:
        response.set_cookie(
            self._cookie,
            self._sessions.new(self._now()),
            max_age=int(self._settings.session_seconds),
            path="/",
            secure=self._settings.is_secure,
            httponly=True,
            samesite="Strict",
        )

    def _form(self, status: int, message: str = "") -> web.Response:
        # the messages are our own: nothing that was sent stands in the page
        return answer(status, self._login.substitute(message=message).encode(), _HTML)


def _see(where: str) -> web.Response:
    return answer(303, Location=where)


@contextlib.asynccontextmanager
async def serving(
    settings: BoardSettings,
    feed: Feed,
    listener: Listener | None = None,
    ended: dict[str, float] | None = None,
) -> AsyncIterator[str]:
    """Serve the board as long as the context lasts; give its URL.

    A ``listener`` that is given stays open at the end, for the board that comes next; ``ended``
    tells that one who has logged out. Raises ``ConfigurationError`` where the port is taken.
    """
    taken = listener or Listener(settings.host, settings.port, "the board")
    try:
        board = Board(settings, feed, ended)
        runner = web.AppRunner(board.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            if runner.server is None:
                raise RuntimeError("the runner is not set up")
            acceptor = Acceptor(runner.server, taken.socket, lambda: settings.tls, _doors(settings))
            acceptor.start()
            try:
                url = taken.url(tls=settings.tls is not None)
                log.info("call board at %s", url)
                yield url
            finally:
                await acceptor.close()
                board.end()
        finally:
            await runner.cleanup()
    finally:
        if listener is None:
            taken.close()


def _doors(settings: BoardSettings) -> Doors:
    rate = HANDSHAKES_OF_A_PEER
    handshakes = None if settings.tls is None else PeerBuckets(rate, 2 * rate)
    return Doors(Places(MOST_CONNECTIONS, MOST_CONNECTIONS_OF_A_PEER), handshakes)
