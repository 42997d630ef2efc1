"""What holds for all tests: hypothesis without deadlines, and what a machine may not have."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lab.redis_servers import redis_server

# without deadlines, since a test machine may be slow
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of public test vectors that PBX_STIR_VECTORS names."""
    named = os.environ.get("PBX_STIR_VECTORS")
    if not named:
        pytest.skip("PBX_STIR_VECTORS is not set: no public vectors to test against")
    return Path(named)


@pytest.fixture(scope="session")
def redis_installed() -> None:
    """Skip a test that starts a server of its own where there is none."""
    if redis_server() is None:
        pytest.skip("redis-server is not installed: Debian's package redis-tools has it")


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """A command that runs in this process sets the levels of its own log."""
    loggers = [logging.getLogger(), logging.getLogger("pbx_stir")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
