"""What installing would change, as values, and how that is shown to people.

Pure: no file is read or written here. Of somebody else's file no line but ours is shown, since
any other may hold a secret; what is shown has no character in it that a terminal would obey.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final

from pbx_stir.installing.blocks import marked_in, text_of

# a second net under the lines that are ours, or a file that is ours: "secret => x",
# "<param value='x' name='password'/>", "data="default_password=x", and such lines as a comment
_SECRET: Final = re.compile(r"(?i)secret|passw|passphrase|\bpwd\b|api_?key")
# what only names where one is
_NAMES_A_FILE: Final = re.compile(r"[#;]?\w+_file = \"[^\"=]*\"")
# beyond that much comparing nobody reads it line by line
_MOST_COMPARED: Final = 4_000_000
_MASK: Final = "********"


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
    """A change as a unified diff; unless ``full``, what is shipped and new on one line.

    Of a ``block`` change only our lines are in it, with the numbers of the lines they stand at.
    """
    if change.target:
        before = f" (before: {os.fsdecode(change.old)})" if change.old else ""
        return printable(f"new link {change.path} -> {change.target}{before}") + "\n"
    if change.secret:
        kind = "new" if change.old is None else "changed"
        name = printable(str(change.path))
        return f"{kind} file {name} (mode {change.mode:o}; a secret, not shown)\n"
    if change.shipped and change.old is None and not full:
        lines_of_it = change.new.count(b"\n")
        return f"new file {change.path} ({lines_of_it} lines, as shipped; --full shows them)\n"
    before = "/dev/null" if change.old is None else str(change.path)
    told = [f"--- {before}", f"+++ {change.path}", *_hunks(change)]
    return "".join(f"{printable(line)}\n" for line in told)


def printable(text: str) -> str:
    """Text that somebody else may have worded, as a terminal may have it.

    Whatever is no letter, sign, blank or tab is escaped: control characters, those that turn the
    direction of writing, octets that are no UTF-8.
    """
    return "".join(
        one if one.isprintable() or one == "\t" else one.encode("unicode_escape").decode()
        for one in text
    )


def _hunks(change: Change) -> Iterator[str]:
    """The lines of the diff below the files' names."""
    old = "" if change.old is None else text_of(change.old)
    new = text_of(change.new)
    first, was = marked_in(old) if change.block else (0, _lines(old))
    at, becomes = marked_in(new) if change.block else (0, _lines(new))
    first = first if was else at
    for one in _grouped(was, becomes):
        yield (
            f"@@ -{_range(first + one[0][1], first + one[-1][2])} "
            f"+{_range(at + one[0][3], at + one[-1][4])} @@"
        )
        for tag, a, b, c, d in one:
            if tag == "equal":
                yield from (f" {_masked(line)}" for line in was[a:b])
                continue
            yield from (f"-{_masked(line)}" for line in was[a:b])
            # what is shipped is no secret
            yield from (f"+{line if change.shipped else _masked(line)}" for line in becomes[c:d])


def _grouped(
    was: Sequence[str], becomes: Sequence[str]
) -> Iterable[Sequence[tuple[str, int, int, int, int]]]:
    """What differs, as difflib groups it."""
    if len(was) * len(becomes) > _MOST_COMPARED:
        return [[("replace", 0, len(was), 0, len(becomes))]]
    return SequenceMatcher(None, was, becomes, autojunk=False).get_grouped_opcodes()


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def _range(start: int, stop: int) -> str:
    """A range of lines, counted from 0, as a diff writes it."""
    length = stop - start
    begins = start + 1 if length else start
    return str(begins) if length == 1 else f"{begins},{length}"


def _masked(line: str) -> str:
    """A line without its end, and without what may be a secret in it."""
    line = line.removesuffix("\r")
    name, equals, value = line.partition("=")
    if not equals or not _SECRET.search(line) or _NAMES_A_FILE.fullmatch(line):
        return line
    arrow = re.match(r">?\s*", value)
    return f"{name}={arrow[0] if arrow else ''}{_MASK}"
