"""The picture of the rooms."""

from __future__ import annotations

import re

from documenting import architecture
from documenting.architecture import Imports, direct, imports, picture, ranks

CHAIN: Imports = {
    "a": frozenset("bcd"),
    "b": frozenset("cd"),
    "c": frozenset("d"),
    "d": frozenset(),
}


def test_imports_that_follow_from_others_are_left_out() -> None:
    """What remains reaches the same rooms."""
    assert direct(CHAIN) == {
        "a": frozenset("b"),
        "b": frozenset("c"),
        "c": frozenset("d"),
        "d": frozenset(),
    }


def _reached(known: Imports, room: str) -> set[str]:
    return set().union(*({one} | _reached(known, one) for one in known[room]))


def test_the_picture_reaches_what_the_code_imports() -> None:
    """Each import of a room is a line, or follows from lines; and no line is without an import."""
    found: dict[str, set[str]] = {room: set() for rank in ranks() for room in rank}
    for room, other in re.findall(r"<title>(\w+) imports (\w+)</title>", picture()):
        assert other in imports()[room]
        found[room].add(other)
    drawn = {room: frozenset(others) for room, others in found.items()}
    for room, others in imports().items():
        assert others <= _reached(drawn, room)


def test_every_room_is_in_the_picture() -> None:
    """And above those that it imports."""
    text = picture()
    top = {
        room: float(y)
        for y, room in re.findall(r'<text x="[\d.]+" y="([\d.]+)">(\w+)</text>', text)
    }
    assert set(top) == {room for rank in ranks() for room in rank}
    for room, others in imports().items():
        assert all(top[room] < top[other] for other in others)


def test_every_room_says_what_it_is() -> None:
    """In the table, by the first sentences of its docstring."""
    rows = architecture.table().splitlines()[2:]
    assert len(rows) == sum(map(len, ranks()))
    assert all(row.split(" | ")[1].endswith((".", ".)", ":")) for row in rows)
