"""What installing would change, as values, and how that is shown to people.

Pure but for nothing: no file is read or written here. Secrets are masked in what is shown.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbx_stir.installing.blocks import text_of

# what other files have of this kind may stand next to our lines
_SECRETS: Final = re.compile(
    r"(?i)^([ +-]\s*(?:secret|password|md5secret)\s*=>?\s*).*|"
    r"(name=\"(?:password|secret)\"\s+value=\")[^\"]*"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who shall own a new file; empty means root. Names that are not known here mean root too."""

    user: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A file that shall have other octets, or be there at all.

    ``old`` is None where there is no file yet. ``block``: only the lines between our marks are
    ours, the rest is somebody else's. ``secret``: nothing of it may be shown. ``shipped``: it
    comes as it is with pbx_stir, and need not be shown line by line. ``target`` makes a
    symbolic link instead of a file, ``old`` being what it led to. ``mode`` and ``owner``
    are for new files; others keep theirs.
    """

    path: Path
    old: bytes | None
    new: bytes
    mode: int = 0o644
    owner: Owner = Owner()
    block: bool = False
    secret: bool = False
    shipped: bool = False
    target: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that shall be there."""

    path: Path
    mode: int
    owner: Owner = Owner()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that installing does: first ``before``, then folders and files, then ``after``.

    ``before`` and ``after`` are commands; ``left`` is what only the administrator can do.
    """

    changes: tuple[Change, ...] = ()
    folders: tuple[Folder, ...] = ()
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    left: tuple[str, ...] = ()

    def __add__(self, other: Plan) -> Plan:
        """Both plans, the other one second."""
        return Plan(
            self.changes + other.changes,
            self.folders + other.folders,
            self.before + other.before,
            self.after + other.after,
            self.left + other.left,
        )


def shown(change: Change, *, full: bool = True) -> str:
    """A change as a unified diff; unless ``full``, what is shipped and new on one line."""
    if change.target:
        before = f" (before: {change.old.decode()})" if change.old else ""
        return f"new link {change.path} -> {change.target}{before}\n"
    if change.secret:
        kind = "new" if change.old is None else "changed"
        return f"{kind} file {change.path} (mode {change.mode:o}; a secret, not shown)\n"
    if change.shipped and change.old is None and not full:
        lines_of_it = change.new.count(b"\n")
        return f"new file {change.path} ({lines_of_it} lines, as shipped; --full shows them)\n"
    old = [] if change.old is None else text_of(change.old).splitlines(keepends=True)
    new = text_of(change.new).splitlines(keepends=True)
    before = "/dev/null" if change.old is None else str(change.path)
    lines: list[str] = []
    for line in difflib.unified_diff(old, new, before, str(change.path)):
        told = _SECRETS.sub(lambda found: f"{found[1] or found[2]}********", line.rstrip("\r\n"))
        lines.append(told.encode("utf-8", "backslashreplace").decode() + "\n")
    return "".join(lines)
