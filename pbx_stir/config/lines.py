"""On which line of a TOML text each key stands.

Takes text that is known to be TOML, gives lines by key as messages write them: ``trunk[0].name``.
Python's reader tells values and no places. This one tells places and no values: it follows
brackets and quotes only, and of what it does not understand it knows no line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<string> \"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5}
              | "(?:\\.|[^"\\\n])*" | '[^'\n]*' )
    | (?P<comment> \#[^\n]* )
    | (?P<newline> \n )
    | (?P<blank> [ \t\r]+ )
    | (?P<mark> [\[\]{},=.] )
    | (?P<bare> [^\s\[\]{},=.\#"']+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_SILENT: Final = {"comment", "newline", "blank"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


class Lines:
    """The lines of a text, looked for when a mistake is to be told: it takes longer than all else.

    Two threads that ask at once both look, and find the same.
    """

    __slots__ = ("_found", "_text")

    def __init__(self, text: str = "") -> None:
        self._text = text
        self._found: dict[str, int] | None = None

    def line(self, key: str) -> int | None:
        """As ``line_of``."""
        if self._found is None:
            self._found = lines_of(self._text)
        return line_of(self._found, key)


def lines_of(text: str) -> dict[str, int]:
    """Each key, table and item of a list, with the line it begins on, the first being 1."""
    return _Reading(text).found


def line_of(lines: dict[str, int], key: str) -> int | None:
    """The line of ``key``, or of the nearest thing that holds it; None where neither is there."""
    while key and key not in lines:
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return lines.get(key)


class _Reading:
    def __init__(self, text: str) -> None:
        self.found: dict[str, int] = {}
        self._tables: dict[str, int] = {}
        self._tokens = list(_tokens(text))
        self._at = 0
        above = ""
        while (first := self._next_said()) is not None:
            if first.text == "[" and first.kind == "mark":
                above = self._header(first)
            else:
                self._at -= 1
                self._pair(above)

    def _next(self) -> _Token | None:
        if self._at >= len(self._tokens):
            return None
        self._at += 1
        return self._tokens[self._at - 1]

    def _next_said(self) -> _Token | None:
        while (token := self._next()) is not None and token.kind in _SILENT:
            pass
        return token

    def _names(self, end: str) -> list[str]:
        """The parts of a dotted key, up to the mark behind it."""
        names = []
        while (token := self._next()) is not None and token.kind != "newline":
            if token.kind == "mark" and token.text == end:
                break
            if token.kind in {"bare", "string"}:
                names.append(_name(token))
        return names

    def _header(self, first: _Token) -> str:
        """``[a.b]`` or ``[[a.b]]``: what keys below it are in."""
        following = self._next()
        is_list = following is not None and (following.kind, following.text) == ("mark", "[")
        if not is_list:
            self._at -= 1
        names = self._names("]")
        key = self._inside("", names[:-1])
        key = _joined(key, names[-1]) if names else key
        if is_list:
            self._next()
            self._tables[key] = self._tables.get(key, 0) + 1
        key = self._inside(key, [])
        self.found.setdefault(key, first.line)
        return key

    def _inside(self, key: str, names: list[str]) -> str:
        """``names`` below ``key``, in the last item of each list of tables on the way."""
        for name in ["", *names]:
            key = _joined(key, name)
            if key in self._tables:
                key = f"{key}[{self._tables[key] - 1}]"
        return key

    def _pair(self, above: str) -> None:
        """``key = value``."""
        line = self._tokens[self._at].line
        key = above
        for name in self._names("="):
            key = _joined(key, name)
            self.found.setdefault(key, line)
        self._value(key)

    def _value(self, key: str) -> None:
        """Pass over a value; the items of a list have lines of their own."""
        depth, items, is_list, awaits = 0, 0, False, False
        while (token := self._next()) is not None:
            if token.kind == "newline" and depth == 0:
                return
            if token.kind in _SILENT:
                continue
            if depth == 1 and is_list and awaits and token.text != "]":
                self.found.setdefault(f"{key}[{items}]", token.line)
                items, awaits = items + 1, False
            if token.kind != "mark":
                continue
            if token.text in "[{":
                if depth == 0:
                    is_list = awaits = token.text == "["
                depth += 1
            elif token.text in "]}":
                depth -= 1
            elif token.text == "," and depth == 1:
                awaits = True


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for found in _TOKEN.finditer(text):
        yield _Token(found.lastgroup or "", found[0], line)
        line += found[0].count("\n")


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key and name else key or name


def _name(token: _Token) -> str:
    if token.text.startswith('"'):
        try:
            return str(json.loads(token.text))
        except ValueError:
            pass
    return token.text.strip("\"'")
