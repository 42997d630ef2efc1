"""The dialplan's emergency numbers against the configuration's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir import config
from pbx_stir.checks.emergency import compare_emergency


def compared(folder: Path, configured: str, said: str) -> list[tuple[str, str]]:
    """Code and severity of what is found."""
    file = folder / "pbx-stir.toml"
    file.write_text(f"[numbers]\n{configured}")
    found = compare_emergency(config.load(file), "STIR_EMERGENCY", said, "pbx")
    return [(one.code, one.severity.value) for one in found]


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        ("", ""),
        ("", "110|112"),
        ('emergency = ["110", "112"]', "112|110"),
        ('emergency = ["110", "112"]', "11[02]"),
        ('emergency = ["911"]', "[9"),
        ('emergency = ["911"]', "9" * 1000 + "+"),
    ],
)
def test_lists_that_agree(tmp_path: Path, configured: str, said: str) -> None:
    """Both as they come, both of a country, an expression; of a riddle nothing is said."""
    assert compared(tmp_path, configured, said) == []


def test_lists_that_do_not(tmp_path: Path) -> None:
    """A number that would be held is an error, one that would be signed is not."""
    held, signed = ("emergency-held", "error"), ("emergency-signed", "warning")
    country = 'emergency = ["110", "112"]'
    assert compared(tmp_path, country, "112|110|4711") == [signed]
    assert compared(tmp_path, country, "112") == [held]
    assert compared(tmp_path, country, "") == [held, signed]
    assert compared(tmp_path, country, "9..") == [held]
    assert compared(tmp_path, "", "4711") == [signed]


@given(st.text(max_size=60))
def test_whatever_a_pbx_says(tmp_path_factory: pytest.TempPathFactory, said: str) -> None:
    """Nothing of it breaks the check."""
    folder = tmp_path_factory.getbasetemp()
    assert len(compared(folder, 'emergency = ["110"]', said)) <= 2
