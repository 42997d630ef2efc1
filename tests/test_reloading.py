"""Files are read again when somebody asks; a mistake in one is only its own."""

from __future__ import annotations

import logging

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.reloading import read_again


async def test_each_is_read_and_a_mistake_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Those behind a broken one too, synchronous or not."""
    caplog.set_level(logging.INFO)
    read: list[str] = []

    def broken() -> None:
        read.append("broken")
        raise ConfigurationError("anchor.pem is broken")

    async def last() -> None:
        read.append("last")

    assert not await read_again([lambda: read.append("first"), broken, last], "x")
    assert read == ["first", "broken", "last"]
    assert "anchor.pem is broken" in caplog.text
    assert "x read again, but" in caplog.text


async def test_what_is_read_is_said_once() -> None:
    """Nothing to read, nothing to say; else one line, as whoever asks wants to hear it."""
    said: list[str] = []
    assert await read_again([], "x", said.append)
    assert await read_again([lambda: None], "anchors", said.append)
    assert said == ["anchors read again"]
