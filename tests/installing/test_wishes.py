"""The arguments of ``pbx-stir install`` as values."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir.errors import UsageError
from pbx_stir.installing.wishes import Wishes


@pytest.mark.parametrize(
    "wrong",
    [
        {"trunks": ("a b",)},
        {"trunks": ('x"]\n[y',)},
        {"trunks": ("",)},
        {"trunks": ("a",), "wrapped": (("c]\n", "a"),)},
        {"trunks": ("a",), "wrapped": (("c", "b"),)},
        {"certificate": Path("x")},
        {"key": Path("x")},
        {"country_code": "1\n"},
        {"x5u": 'https://x/"\ny'},
        {"x5u": "http://x"},
        {"numbers": ("abc",)},
        {"test_call": True},
        {"test_call": True, "trunks": ("a",), "numbers": ("+12125551234",)},
    ],
)
def test_what_cannot_be_installed_is_refused(wrong: dict[str, object]) -> None:
    """Nothing that would break a configuration file, and nothing half said, is taken."""
    with pytest.raises(UsageError):
        Wishes(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        (("+12125551200-+12125551299",), ("12125551200", "12125551201")),
        (("+12125551200", "+442079460000"), ("12125551200", "442079460000")),
        (("+12125551200",), None),
        ((), None),
        (("+1212*",), None),
    ],
)
def test_two_numbers(numbers: tuple[str, ...], found: object) -> None:
    """A call to oneself takes two numbers out of those that are named."""
    assert Wishes(numbers=numbers).first_numbers() == found
