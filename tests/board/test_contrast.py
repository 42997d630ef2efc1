"""Colours: text and signs stand out from what is behind them, light and dark (WCAG 2.2, AA)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbx_stir.board import words

CSS = (Path(words.__file__).parent / "assets/board.css").read_text()
_FOUND = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", CSS)
PAIRS = {name: (light, dark) for name, light, dark in _FOUND}
GROUNDS = ("ground", "card", "raised", "chosen")
VERDICTS = ("verified", "none", "failed", "contested", "signed")
# (what is read, on what)
TEXTS = [
    *((one, ground) for one in ("ink", "soft") for ground in GROUNDS),
    *((one, f"{one}-ground") for one in VERDICTS),
    *((one, ground) for one in VERDICTS for ground in ("card", "raised", "chosen")),
    ("accent", "card"),
    ("accent", "chosen"),
    ("on-accent", "accent"),
    ("card", "ink"),
]
# signs and edges of what can be used (WCAG 1.4.11); bars beside the rest of their track
SIGNS = [
    ("edge", "card"),
    ("accent", "ground"),
    ("verified-bar", "track"),
    *((f"{one}-bar", "card") for one in VERDICTS),
]


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``. Source: WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_measure() -> None:
    """Black on white is 21, as the standard has it, and a colour on itself 1."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#123456", "#123456") == 1


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_can_be_read(text: str, ground: str, theme: int) -> None:
    """4.5 to 1 at least."""
    assert contrast(PAIRS[text][theme], PAIRS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("sign", "ground"), SIGNS)
def test_signs_can_be_seen(sign: str, ground: str, theme: int) -> None:
    """3 to 1 at least."""
    assert contrast(PAIRS[sign][theme], PAIRS[ground][theme]) >= 3


def test_every_colour_is_a_variable() -> None:
    """No rule brings a colour of its own past the measure."""
    rules = CSS[CSS.index("\n}") :]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[ ;])", rules) == []
    assert re.findall(r"\b(?:rgb|hsl|oklch)\(", rules) == []
