"""The court and its judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.families.hostile import Court, Judging


@pytest.fixture(scope="session")
def court(tmp_path_factory: pytest.TempPathFactory) -> Court:
    """Certificates, made once."""
    return Court(tmp_path_factory.mktemp("court"))


@pytest.fixture
def judging(court: Court, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judging:
    """``pbx-stir verify`` on lines that a test gives."""
    return Judging(court, tmp_path, capsys)
