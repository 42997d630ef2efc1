"""Every code stands in one place, and is explained where people look it up."""

from __future__ import annotations

import re
from pathlib import Path

from pbx_stir.checks.codes import MEANINGS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    path: path.read_text()
    for path in (ROOT / "pbx_stir/checks").glob("*.py")
    if path.name != "codes.py"
}


def rows() -> dict[str, tuple[str, str]]:
    """Severity and meaning of each code in docs/check.md."""
    text = (ROOT / "docs/check.md").read_text()
    found = re.findall(r"^\| `([a-z0-9-]+)` \| ([a-z, ]+) \| (.+) \|$", text, re.MULTILINE)
    assert len(found) == len({code for code, _, _ in found})
    return {code: (severity, meaning) for code, severity, meaning in found}


def test_every_code_is_explained() -> None:
    """A row each in docs/check.md, in the same words, and none for a code that is not given."""
    assert {code: meaning for code, (_, meaning) in rows().items()} == dict(MEANINGS)


def given() -> set[str]:
    """Every code in quotes in a module of the checks."""
    every = "\n".join(SOURCES.values())
    return set(re.findall(r'"([a-z0-9-]+)"', every)) & set(MEANINGS)


def test_every_code_is_given() -> None:
    """No check gives a code that is not listed, and none is listed for nothing."""
    assert given() == set(MEANINGS)
    for path, text in SOURCES.items():
        for code in re.findall(r'(?:error|warning|note|make|findings_of)\(\s*"([a-z0-9-]+)"', text):
            assert code in MEANINGS, f"{path.name}: {code}"


def test_severities_are_those_of_the_sources() -> None:
    """What a row calls an error is made as one; where it depends, the row names both."""
    every = "\n".join(SOURCES.values())
    for code, (severity, _) in rows().items():
        made = set(re.findall(rf'\b(error|warning|note)\(\s*"{code}"', every))
        assert made <= set(severity.split(", ")), code


def test_codes_are_words() -> None:
    """Lower case and hyphens, as monitoring takes them."""
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+|clock|unsealed", code) for code in MEANINGS)
