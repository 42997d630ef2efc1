"""What logging in at a PBX has in common, whichever protocol it speaks: a limit, and its words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from pbx_stir.errors import PbxUnavailable

_LONGEST_SHOWN = 200


class Abortable(Protocol):
    """A connection that is being made."""

    def abort(self, why: str) -> None:
        """End it now; whatever waits for it fails."""
        ...


@asynccontextmanager
async def connecting(
    connection: Abortable, where: str, timeout_seconds: float
) -> AsyncIterator[None]:
    """Connect and log in inside; what fails, or lasts too long, ends the connection.

    Raises PbxUnavailable for what the system says, and what is raised inside.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError as error:
        connection.abort("no answer")
        raise PbxUnavailable(f"{where} does not answer") from error
    except (OSError, UnicodeError) as error:
        connection.abort("not connected")
        raise PbxUnavailable(f"cannot connect to {where}: {error}") from error
    except BaseException:
        connection.abort("not logged in")
        raise


def shown(what: object) -> str:
    """Foreign text for a log line: printable, short."""
    return "".join(c if c.isprintable() else "?" for c in str(what))[:_LONGEST_SHOWN]
