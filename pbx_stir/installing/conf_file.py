"""Reads Asterisk's configuration files as far as installing has to: sections, values, includes.

Pure: text in, values out. Comments are those of Asterisk: from ``;`` to the line's end unless
escaped, and from ``;--`` (no third dash) to ``--;``, over several lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pbx_stir.errors import ConfigurationError

_OPENS = re.compile(r"(?<!\\);--(?!-)")
_PLAIN = re.compile(r"(?<!\\);.*")


@dataclass(frozen=True, slots=True)
class Section:
    """``[name](options)`` and what stands in it, each value with its key in lower case."""

    name: str
    options: str
    values: tuple[tuple[str, str], ...]


def sections(text: str) -> tuple[Section, ...]:
    """The sections in order; one that is opened twice is there twice.

    Raises ConfigurationError where a comment over several lines does not end: what is written
    behind it would not be read.
    """
    found: list[Section] = []
    for line in _read(text):
        head = re.match(r"\[([^\]]+)\](?:\(([^)]*)\))?", line)
        if head:
            found.append(Section(head[1], head[2] or "", ()))
        elif found and (pair := re.match(r"([^=]+?)\s*=>?\s*(.*)", line)):
            last = found[-1]
            values = (*last.values, (pair[1].lower(), pair[2].strip()))
            found[-1] = Section(last.name, last.options, values)
    return tuple(found)


def includes(text: str) -> tuple[str, ...]:
    """The files that ``#include`` and ``#tryinclude`` name; patterns as they stand."""
    named = (re.match(r"#(?:try)?include\s+[\"<]?([^\">]+)", line) for line in _read(text))
    return tuple(one[1].strip() for one in named if one)


def _read(text: str) -> Iterator[str]:
    """Each line that is more than comment, without it and without blanks around."""
    open_comments = 0
    for line in text.splitlines():
        kept, rest = "", line
        while rest:
            if open_comments:
                opens, closes = _OPENS.search(rest), rest.find("--;")
                if opens and (closes < 0 or opens.start() < closes):
                    open_comments, rest = open_comments + 1, rest[opens.end() :]
                    continue
                if closes < 0:
                    break
                open_comments, rest = open_comments - 1, rest[closes + 3 :]
                continue
            opens = _OPENS.search(rest)
            plain = _PLAIN.search(rest)
            if opens and (plain is None or opens.start() <= plain.start()):
                open_comments, kept, rest = 1, kept + rest[: opens.start()], rest[opens.end() :]
                continue
            kept, rest = kept + _PLAIN.sub("", rest), ""
        if kept.strip():
            yield kept.strip()
    if open_comments:
        raise ConfigurationError(
            "a comment that begins with ;-- does not end", hint="end it with --;"
        )
