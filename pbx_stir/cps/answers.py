"""What a CPS answers with: answers and problems (RFC 9457), and the checks that end in one.

Takes requests; raises ``Failure`` for what cannot be served, which ``failures_as_problems`` turns
into an answer. Nothing of a request is said in a log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from pbx_stir.cps import wire
from pbx_stir.errors import StoreUnavailable

BODY_SECONDS = 5.0
WRITE_SECONDS = 10.0
SERVER_NAME = "pbx-stir"
COMPLAINT_SECONDS = 60.0
_MOST_COMPLAINTS = 16
# What was said of the store, and when.
_complained: dict[str, float] = {}
_log = logging.getLogger(__name__)


class Failure(Exception):
    """A request that ends in a problem; it never leaves this room."""

    def __init__(self, status: int, detail: str, *, close: bool = False, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.close = close
        self.headers = headers


class _Answer(web.Response):
    """An answer that a peer has to take within ``WRITE_SECONDS``."""

    _transport: asyncio.Transport | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Remember what to give up, and go on."""
        self._transport = request.transport
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the rest, or give the connection up."""
        if self._transport is None:
            await super().write_eof(data)
            return
        # a fifth of what asyncio.timeout costs; who waits for a connection that is gone goes on
        due = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._transport.abort)
        try:
            await super().write_eof(data)
        finally:
            due.cancel()


def answer(status: int, body: bytes = b"", content_type: str = "", **headers: str) -> web.Response:
    """Make an answer: the same headers in the same order for all of one status and resource."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        named["Content-Type"] = content_type
    named["Cache-Control"] = "no-store"
    named["Server"] = SERVER_NAME
    return _Answer(status=status, body=body, headers=named)


def problem(status: int, detail: str, **headers: str) -> web.Response:
    """Make an answer that says what is wrong. Source: RFC 9457."""
    return answer(status, wire.format_problem(status, detail), wire.PROBLEM_TYPE, **headers)


def _complain(error: StoreUnavailable) -> None:
    """Say why the store is not there, each reason once a minute; it names no peer and no number."""
    now = time.monotonic()
    if now - _complained.get(error.message, -COMPLAINT_SECONDS) < COMPLAINT_SECONDS:
        return
    if len(_complained) >= _MOST_COMPLAINTS:
        _complained.clear()
    _complained[error.message] = now
    _log.warning("requests are answered 503: %s", error)


async def failures_as_problems(answering: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """Turn whatever goes wrong into a problem, and say nothing of the request in the log."""
    try:
        return await answering
    except Failure as failure:
        response = problem(failure.status, failure.detail, **failure.headers)
        if failure.close:
            response.force_close()
        return response
    except StoreUnavailable as error:
        _complain(error)
        return problem(503, "the service cannot reach its store", Retry_After="1")
    except Exception as error:
        # Neither message nor traceback: both may quote a number.
        _log.error("a request failed: %s", type(error).__name__)
        return problem(503, "the service failed to answer", Retry_After="1")


def admit(wait_seconds: float) -> None:
    """Let a request pass, or tell it when to come again. Source: RFC 6585 section 4."""
    if wait_seconds > 0:
        raise Failure(429, "too many requests", Retry_After=str(int(wait_seconds) + 1))


def require_type(request: web.BaseRequest, wanted: str) -> None:
    """Refuse a body of another type, or one in a coding that would have to be undone."""
    types = request.headers.getall("Content-Type", [])
    if len(types) != 1 or wire.media_type(types[0]) != wanted:
        raise Failure(415, f"the content type is not {wanted}", Accept=wanted)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Failure(415, "the body must have no content coding", Accept_Encoding="identity")


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """Read a body of at most ``limit`` octets, within ``BODY_SECONDS``."""
    if (request.content_length or 0) > limit:
        raise Failure(413, f"at most {limit} octets", close=True)
    content = request.content
    try:
        # most come with their heads: there is nothing to wait for
        is_here = content.is_eof() and "Expect" not in request.headers
        body = content.read_nowait() if is_here else await _awaited(request, limit)
    except TimeoutError:
        raise Failure(400, "the body did not arrive in time", close=True) from None
    except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, ConnectionError, EOFError):
        raise Failure(400, "the body cannot be read", close=True) from None
    if len(body) > limit:
        raise Failure(413, f"at most {limit} octets", close=True)
    return body


async def _awaited(request: web.BaseRequest, limit: int) -> bytes:
    """Read what is still to come of a body, until that is more than ``limit`` octets."""
    body = bytearray()
    async with asyncio.timeout(BODY_SECONDS):
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                break
    return bytes(body)
