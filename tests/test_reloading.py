"""Files are read again when somebody asks; a mistake in one is only its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.reloading import reloading


async def test_each_is_read_and_a_mistake_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Those behind a broken one too, synchronous or not, each time that it is asked for."""
    caplog.set_level(logging.INFO)
    read: list[str] = []
    done = asyncio.Event()

    def broken() -> None:
        read.append("broken")
        raise ConfigurationError("anchor.pem is broken")

    async def last() -> None:
        read.append("last")
        done.set()

    asked = asyncio.Event()
    task = asyncio.create_task(reloading([lambda: read.append("first"), broken, last], asked, "x"))
    for _ in range(2):
        done.clear()
        asked.set()
        await done.wait()
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert read == ["first", "broken", "last"] * 2
    assert "anchor.pem is broken" in caplog.text
    assert "x read again, but" in caplog.text
