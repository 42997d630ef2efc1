"""What is made from the code is what stands in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from documenting import generated


@pytest.mark.parametrize("name", generated.FILES)
def test_the_repository_has_what_the_code_says(name: str) -> None:
    """A difference is put right by scripts/docs."""
    there, to_be = generated.made(name)
    assert there == to_be, f"{name} is not what the code says: run scripts/docs"


def test_what_differs_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else; a second time nothing is."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/configuration.md").write_text("| `asterisk.port` | a | `1` | Its port. |\n")
    files = ("docs/configuration.md", "docs/images/architecture.svg")
    monkeypatch.setattr(generated, "REPOSITORY", tmp_path)
    monkeypatch.setattr(generated, "FILES", {name: generated.FILES[name] for name in files})
    assert generated.write() == list(files)
    assert "| `5038` | Its port. |" in (tmp_path / files[0]).read_text()
    assert generated.write() == []


def test_a_page_without_its_part_is_refused() -> None:
    """Rather than written without what is made."""
    with pytest.raises(ValueError, match="reasons"):
        generated.FILES["docs/troubleshooting.md"]("# Troubleshooting\n")
