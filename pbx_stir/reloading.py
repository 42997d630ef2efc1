"""Reads files again when a service is told to (SIGHUP), while it goes on.

Takes what reads each, gives lines in the log. A mistake in one file leaves what it held before in
force, and keeps no other from being read.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence

from pbx_stir.errors import PbxStirError

log = logging.getLogger(__name__)


async def reloading(
    reloads: Sequence[Callable[[], object]],
    asked: asyncio.Event,
    what: str,
    say: Callable[[str], object] = log.info,
) -> None:
    """Whenever ``asked`` is set call every one, for ever; then ``say`` that ``what`` was read.

    One may give something to await, and may raise ``PbxStirError``.
    """
    while True:
        await asked.wait()
        asked.clear()
        mistakes = 0
        for again in reloads:
            try:
                waiting = again()
                if inspect.isawaitable(waiting):
                    await waiting
            except PbxStirError as error:
                mistakes += 1
                log.error("not read again: %s", error)
        say(f"{what} read again" + (", but for what is said above" if mistakes else ""))
