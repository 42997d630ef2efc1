"""What is made from the code is what stands in the repository."""

from __future__ import annotations

import pytest

from documenting import generated


@pytest.mark.parametrize("name", generated.FILES)
def test_the_repository_has_what_the_code_says(name: str) -> None:
    """A difference is put right by scripts/docs."""
    there, to_be = generated.made(name)
    assert there == to_be, f"{name} is not what the code says: run scripts/docs"


def test_writing_again_changes_nothing() -> None:
    """Since nothing differs."""
    assert generated.write() == []


def test_a_page_without_its_part_is_refused() -> None:
    """Rather than written without what is made."""
    with pytest.raises(ValueError, match="reasons"):
        generated.FILES["docs/troubleshooting.md"]("# Troubleshooting\n")
