"""Connections of the client to servers that may say anything, and as much of it as they like.

Takes what ``aiohttp.TCPConnector`` takes. aiohttp reads interim answers (1xx) without a bound and
without a pause for other tasks, and keeps whatever is sent between two requests; here a server that
goes on like that is hung up on. Source: RFC 9110 section 15.2 (a client must take interim answers).
"""

from __future__ import annotations

import functools
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

# The final answer among them; one or two interim ones are all that is ever seen.
MAX_ANSWERS_OF_A_REQUEST: Final = 8


class BoundedConnector(aiohttp.TCPConnector):
    """A TCP connector whose connections take a bounded number of answers to one request."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        factory: Any = functools.partial(_Connection, loop=self._loop)
        self._factory = factory


class _Connection(ResponseHandler):
    """One connection: counts what looks like an answer since the last request was sent."""

    _answers = 0

    def set_response_params(self, **arguments: Any) -> None:
        """Begin a request: its answers are counted anew."""
        self._answers = 0
        super().set_response_params(**arguments)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take the head of an answer; hang up on the one too many, and take none after it."""
        self._answers += 1
        if self._answers <= MAX_ANSWERS_OF_A_REQUEST:
            super().feed_data(data, size)
        elif self._answers == MAX_ANSWERS_OF_A_REQUEST + 1:
            # Not one of the errors after which a request is sent again.
            self.set_exception(aiohttp.ClientPayloadError("answers without end"))
            transport = self.transport
            if transport is not None:
                transport.abort()
