"""Reads files again when a service is told to (SIGHUP), while it goes on.

Takes what reads each, gives lines in the log. A mistake in one file leaves what it held before in
force, and keeps no other from being read.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence

from pbx_stir.errors import PbxStirError

log = logging.getLogger(__name__)


async def read_again(
    reloads: Sequence[Callable[[], object]],
    what: str,
    say: Callable[[str], object] = log.info,
) -> bool:
    """Call every one, then ``say`` that ``what`` was read; whether all could be.

    One may give something to await, and may raise ``PbxStirError``.
    """
    mistakes = 0
    for again in reloads:
        try:
            waiting = again()
            if inspect.isawaitable(waiting):
                await waiting
        except PbxStirError as error:
            mistakes += 1
            log.error("not read again: %s", error)
    if reloads:
        say(f"{what} read again" + (", but for what is said above" if mistakes else ""))
    return not mistakes
