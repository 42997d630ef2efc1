"""What an event loop says of errors that nobody waits for: one line of those that a peer causes.

A connection may end while its TLS still has something to write. asyncio is silent about that;
uvloop tells the loop's handler, which would log it as an error with a traceback of its own code.
Anything else is logged as ever, an error of a task or of a file of ours among it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any, Final

_log = logging.getLogger(__name__)
# uvloop's words for a transport that is closed
_CLOSED: Final = "the handler is closed"


def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error; for ``loop.set_exception_handler``, whose ``context`` this is."""
    error = context.get("exception")
    is_of_peer = isinstance(error, ConnectionError | ssl.SSLError) or (
        isinstance(error, RuntimeError) and _CLOSED in str(error)
    )
    # what a task or a future has lost is ours, whatever it is
    if is_of_peer and not {"task", "future"} & context.keys():
        _log.debug("%s: %s", context.get("message", "connection lost"), error)
    else:
        loop.default_exception_handler(context)
