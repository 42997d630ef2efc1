"""What a check found: a stable code, what it means, what to do, and where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """Whether calls suffer from it now, may before long, or are only to be thought of."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend. ``code`` never changes its meaning; ``where`` names file and key."""

    code: str
    severity: Severity
    what: str
    where: str = ""
    hint: str = ""


def error(code: str, what: str, where: str = "", hint: str = "") -> Finding:
    """Calls suffer from it now."""
    return Finding(code, Severity.ERROR, what, where, hint)


def warning(code: str, what: str, where: str = "", hint: str = "") -> Finding:
    """Calls may suffer from it before long, or in part."""
    return Finding(code, Severity.WARNING, what, where, hint)


def note(code: str, what: str, where: str = "", hint: str = "") -> Finding:
    """Works as it is, and is good to know."""
    return Finding(code, Severity.NOTE, what, where, hint)
