"""A block of lines that is ours in a file that is somebody else's, between two marked lines.

Pure: text in, text out. What stands around the block is never changed, so taking the block out
gives back, octet by octet, the text it was put into. Text is what ``text_of`` makes of a file's
octets: octets that are no UTF-8 survive the way there and back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from pbx_stir.errors import ConfigurationError

_NAME: Final = "pbx-stir"
# the last line had no end: the line break before the block is ours too
_JOINED: Final = " (after a line without end)"


class Style(Enum):
    """How a file writes a comment: what stands before and after it."""

    SEMICOLON = ("; ", "")
    XML = ("<!-- ", " -->")


def text_of(octets: bytes) -> str:
    """A file's octets as text; ``octets_of`` gives the same octets back, whatever they are."""
    return octets.decode("utf-8", "surrogateescape")


def octets_of(text: str) -> bytes:
    """The octets that ``text_of`` was given."""
    return text.encode("utf-8", "surrogateescape")


def put(text: str, lines: Sequence[str], style: Style, at: int | None = None) -> str:
    """``text`` with the block of ``lines``: in the block's place, else at ``at``, else at the end.

    ``at`` is an offset where a line begins. Line ends are the text's own.
    Raises ConfigurationError where the marks are damaged.
    """
    found = _place(text)
    end = line_end(text)
    before, after = style.value
    joined = ""
    if found is not None:
        start, stop = found
        if _JOINED in text[start : text.find("\n", start)]:
            joined = _JOINED
        head, tail = text[:start], text[stop:]
    else:
        start = len(text) if at is None else at
        head, tail = text[:start], text[start:]
        if head and not head.endswith("\n"):
            joined, head = _JOINED, head + end
    marked = [
        f"{before}BEGIN {_NAME}{joined}{after}",
        *lines,
        f"{before}END {_NAME}{after}",
    ]
    return head + "".join(line + end for line in marked) + tail


def take(text: str) -> str:
    """``text`` without the block; the same text where there is none.

    Raises ConfigurationError where the marks are damaged.
    """
    found = _place(text)
    if found is None:
        return text
    start, stop = found
    head, tail = text[:start], text[stop:]
    if _JOINED in text[start : text.find("\n", start)] and not tail:
        head = head.removesuffix("\n").removesuffix("\r") if head.endswith("\r\n") else head[:-1]
    return head + tail


def lines_in(text: str) -> tuple[str, ...]:
    """The lines of the block, without the marks and without line ends; none if there is none."""
    found = _place(text)
    if found is None:
        return ()
    return tuple(re.split(r"\r?\n", text[slice(*found)])[1:-2])


def marked_in(text: str) -> tuple[int, tuple[str, ...]]:
    """How many lines stand before the block, and its lines with the marks; 0 and none without."""
    found = _place(text)
    if found is None:
        return 0, ()
    return text.count("\n", 0, found[0]), tuple(text[slice(*found)].removesuffix("\n").split("\n"))


def line_end(text: str) -> str:
    """How most lines of ``text`` end."""
    return "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"


def _place(text: str) -> tuple[int, int] | None:
    """Where the block begins and where the line after it does."""
    marks = {
        word: [*re.finditer(rf"^[;<!\- ]*{word} {_NAME}(?= |\r?$)[^\n]*(?:\n|\Z)", text, re.M)]
        for word in ("BEGIN", "END")
    }
    begins, ends = marks["BEGIN"], marks["END"]
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0].start() < begins[0].end():
        raise ConfigurationError(
            f"the marks of {_NAME}'s lines are damaged",
            hint=f"take the lines from BEGIN {_NAME} to END {_NAME} out by hand",
        )
    return begins[0].start(), ends[0].end()
