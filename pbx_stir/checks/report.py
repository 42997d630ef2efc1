"""What people and monitoring read of an examination: a page of 80 columns, or one JSON object."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Final

from pbx_stir.checks.codes import MEANINGS
from pbx_stir.checks.examination import Examination
from pbx_stir.checks.finding import Finding, Severity

WIDTH: Final = 80
_HEADINGS: Final = {
    Severity.ERROR: "ERRORS: calls suffer from these now",
    Severity.WARNING: "WARNINGS: calls suffer from these in part, or before long",
    Severity.NOTE: "NOTES: good to know",
}
_WORDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def as_json(examination: Examination) -> str:
    """One JSON object on one line, in ASCII."""
    worst = next((one.severity.value for one in examination.findings), "none")
    return json.dumps(
        {
            "healthy": examination.healthy,
            "worst": worst,
            "checks": len(examination.about),
            "errors": examination.count(Severity.ERROR),
            "warnings": examination.count(Severity.WARNING),
            "notes": examination.count(Severity.NOTE),
            "findings": [_fields(one) for one in examination.findings],
        }
    )


def _fields(one: Finding) -> dict[str, str]:
    return {
        "code": one.code,
        "severity": one.severity.value,
        "what": _line(one.what),
        "means": MEANINGS.get(one.code, ""),
        "where": _line(one.where),
        "hint": _line(one.hint),
    }


def as_text(examination: Examination) -> str:
    """The summary in one line, then what was found, the worst first; else what was looked at."""
    lines = [summary(examination)]
    for severity, heading in _HEADINGS.items():
        found = [one for one in examination.findings if one.severity is severity]
        if found:
            lines += ["", heading]
            for one in found:
                lines += ["", *_shown(one)]
    if not examination.findings:
        lines += ["", *(f"  ok  {about}" for about in examination.about)]
    return "\n".join(lines)


def summary(examination: Examination) -> str:
    """How many checks there were, and what they found, for a line of a monitor."""
    checks = f"{_counted(len(examination.about), 'check')} of {examination.path}"
    counts = [
        _counted(count, _WORDS[one]) for one in _HEADINGS if (count := examination.count(one))
    ]
    if not counts:
        return f"{checks}, nothing found"
    wrong = "nothing wrong, " if examination.healthy else ""
    return f"{checks}: {wrong}{', '.join(counts)}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _shown(one: Finding) -> Iterator[str]:
    yield f"  {one.code}"
    yield from _wrapped(_line(one.what), "    ")
    if one.where:
        yield from _wrapped(_line(one.where), "    at  ")
    if one.hint:
        yield from _wrapped(_line(one.hint), "    do  ")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        # paths and URLs are copied as they are
        break_long_words=False,
        break_on_hyphens=False,
    )


def _line(text: str) -> str:
    """As one line: what a PBX or a server said may have several, or control a terminal."""
    return "".join(one if one.isprintable() else " " for one in text)
