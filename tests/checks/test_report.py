"""What people and monitoring read."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.checks.examination import Examination
from pbx_stir.checks.finding import Finding, Severity, error, note, warning
from pbx_stir.checks.report import WIDTH, as_json, as_text, summary

FILE = Path("/etc/pbx-stir/pbx-stir.toml")
PLACE = f"{FILE}:9: credential[0]"
FOUND = (
    error("key-mismatch", "the key is not that of 'acme'", PLACE, "each certificate goes " * 9),
    warning("no-route", "no route"),
    note("trunk-off", "off"),
    note("trunk-off", "off too"),
)


def test_the_page() -> None:
    """The summary, then the worst first, each with its place and what to do, within 80 columns."""
    text = as_text(Examination(FILE, ("a", "b"), FOUND))
    lines = text.splitlines()
    assert lines[0] == f"2 checks of {FILE}: 1 error, 1 warning, 2 notes"
    order = ["ERRORS:", "  key-mismatch", "WARNINGS:", "  no-route", "NOTES:", "  trunk-off"]
    assert [text.index(one) for one in order] == sorted(text.index(one) for one in order)
    assert f"    at  {PLACE}" in lines
    assert any(one.startswith("    do  each certificate") for one in lines)
    assert max(map(len, lines)) <= WIDTH


def test_summaries() -> None:
    """Nothing, notes alone, and more."""
    assert summary(Examination(FILE, ("a",) * 7, ())) == f"7 checks of {FILE}, nothing found"
    assert summary(Examination(FILE, ("a",), FOUND[:1])) == f"1 check of {FILE}: 1 error"
    notes = Examination(FILE, (), FOUND[2:])
    assert summary(notes) == f"0 checks of {FILE}: nothing wrong, 2 notes"
    assert notes.healthy
    assert not Examination(FILE, (), FOUND[1:]).healthy


texts = st.text(max_size=200)
findings = st.builds(Finding, texts, st.sampled_from(Severity), texts, texts, texts)


@given(st.lists(findings, max_size=5))
def test_whatever_is_said(found: list[Finding]) -> None:
    """JSON is one line and one object; no line break or control sequence reaches a terminal."""
    examination = Examination(FILE, ("a",), tuple(found))
    line = as_json(examination)
    assert line.isascii()
    assert "\n" not in line
    assert len(json.loads(line)["findings"]) == len(found)
    for one in as_text(examination).splitlines()[1:]:
        code_or_text = one.strip()
        assert all(c.isprintable() for c in code_or_text) or any(
            code_or_text in finding.code for finding in found
        )
