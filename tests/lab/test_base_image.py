"""lab.base_image: what was made is taken again; tests/docker makes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import base_image
from lab.debian import LabError


def test_it_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there is taken, whatever the machine lacks now."""
    (tmp_path / "base-forky.tar").touch()
    monkeypatch.setattr(base_image, "why_not", lambda: "no mmdebstrap")
    assert base_image.base_image("forky", tmp_path) == tmp_path / "base-forky.tar"


def test_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be made the reason is an error, and no half of one is left."""
    monkeypatch.setattr(base_image, "why_not", lambda: "no mmdebstrap")
    with pytest.raises(LabError, match="no mmdebstrap"):
        base_image.base_image("forky", tmp_path)
    assert not list(tmp_path.glob("*.tar"))
