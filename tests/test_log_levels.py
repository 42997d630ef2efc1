"""How much is said, and that it can be changed while the service runs."""

from __future__ import annotations

import logging

import pytest

from pbx_stir.log_levels import LogLevels


def heard(name: str) -> int:
    """The least level at which a logger is heard."""
    return logging.getLogger(name).getEffectiveLevel()


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_configured_level_holds(level: str) -> None:
    """For our modules; libraries are never heard at debug."""
    LogLevels(level)
    assert heard("pbx_stir.daemon") == logging.getLevelName(level.upper())
    assert heard("aiohttp.client") == max(logging.getLevelName(level.upper()), logging.INFO)


def test_it_is_raised_and_taken_back(caplog: pytest.LogCaptureFixture) -> None:
    """Each time with a word, even where only errors are heard; libraries stay as they are."""
    levels = LogLevels("error")
    levels.toggle()
    assert heard("pbx_stir.daemon") == logging.DEBUG
    assert heard("aiohttp.client") == logging.ERROR
    levels.toggle()
    assert heard("pbx_stir.daemon") == logging.ERROR
    assert [record.getMessage() for record in caplog.records] == [
        "log level: debug",
        "log level: error",
    ]


def test_a_configuration_read_again_ends_it() -> None:
    """What the file says is in force."""
    levels = LogLevels("info")
    levels.toggle()
    levels.configure("warning")
    assert heard("pbx_stir.daemon") == logging.WARNING
    levels.toggle()
    assert heard("pbx_stir.daemon") == logging.DEBUG
