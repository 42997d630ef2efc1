"""Worlds for faults, one at a time; the table at the end; and ending in good order."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# the engine and what images are built from: fixtures
from tests.docker.conftest import (
    bases,  # noqa: F401
    engine,  # noqa: F401
    tree,  # noqa: F401
    wheels,  # noqa: F401
)
from tests.faults.front import Side
from tests.faults.table import ROWS, rendered, written


def _terminated(*_: object) -> None:
    """So that every rule and file system is taken away again."""
    raise KeyboardInterrupt


@pytest.fixture(scope="session", autouse=True)
def orderly() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, _terminated)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def side() -> Iterator[Side]:
    """The loop in which fronts and stand-ins live."""
    loop = Side()
    yield loop
    loop.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it where it was asked for."""
    if not ROWS:
        return
    terminalreporter.section("what the faults did to the calls")
    terminalreporter.write_line(rendered(ROWS))
    wanted = os.environ.get("PBX_STIR_FAULTS_JSON")
    if wanted:
        written(ROWS, Path(wanted))
