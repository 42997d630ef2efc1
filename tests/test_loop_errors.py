"""Errors that only the event loop hears of: a peer's are no errors of ours, all others are."""

from __future__ import annotations

import asyncio
import logging
import ssl

import pytest

from pbx_stir import loop_errors

PEERS = (
    ConnectionResetError(104, "reset"),
    ssl.SSLError(1, "application data after close notify"),
    RuntimeError(
        "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
    ),
)


@pytest.mark.parametrize("error", PEERS, ids=lambda error: type(error).__name__)
async def test_a_peer_that_is_gone_is_no_error(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in one line, and only to who wants to know."""
    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.DEBUG):
        loop_errors.handle(loop, {"message": "Fatal error on SSL protocol", "exception": error})
    (said,) = caplog.records
    assert said.levelno == logging.DEBUG
    assert said.exc_info is None


@pytest.mark.parametrize(
    "context",
    [
        {"exception": RuntimeError("ours")},
        {},
        {"exception": PermissionError(13, "denied")},
        {"exception": TimeoutError()},
        {"exception": OSError(24, "too many open files")},
        {"exception": ConnectionResetError(104, "reset"), "future": object()},
        {"exception": ConnectionResetError(104, "reset"), "task": object()},
    ],
    ids=["raised", "said", "file", "late", "descriptors", "future", "task"],
)
async def test_any_other_is_logged_as_ever(
    context: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """As an error, with what is known of it."""
    loop = asyncio.get_running_loop()
    loop_errors.handle(loop, {"message": "Task exception was never retrieved"} | context)
    (said,) = caplog.records
    assert said.levelno == logging.ERROR
    assert "never retrieved" in said.getMessage()
