"""The picture and the table of docs/architecture.md: rooms, their ranks, and who imports whom.

Ranks are those that tests/test_house.py holds the imports to; imports are read from the modules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = REPOSITORY / "pbx_stir"
WIDTH: Final = 1240
ROW: Final = 62
BOX: Final = 28
GAP: Final = 16
LETTER: Final = 7.0
OUTSIDE: Final = {"__init__", "__main__"}

Imports = Mapping[str, frozenset[str]]


@cache
def ranks() -> tuple[tuple[str, ...], ...]:
    """The ranks, lowest first, as the test of the house has them."""
    for node in ast.parse((REPOSITORY / "tests/test_house.py").read_text()).body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "RANKS":
            assert node.value is not None
            found: tuple[tuple[str, ...], ...] = ast.literal_eval(node.value)
            return found
    raise ValueError("tests/test_house.py has no RANKS")


@cache
def imports() -> Imports:
    """The rooms that each room imports, wherever in it the import stands."""
    found: dict[str, set[str]] = {room: set() for rank in ranks() for room in rank}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in OUTSIDE:
            found[room] |= set(_named(path)) & set(found) - {room}
    return {room: frozenset(others) for room, others in found.items()}


def _named(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "pbx_stir":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from node.module.split(".")[1:2] if node.module.startswith("pbx_stir.") else ()
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            yield from (parts[1] for parts in names if parts[0] == "pbx_stir" and parts[1:])


def direct(known: Imports) -> Imports:
    """The imports without those that follow from others: what the picture has lines for."""

    @cache
    def below(room: str) -> frozenset[str]:
        return known[room].union(*(below(other) for other in known[room]))

    return {
        room: frozenset(
            one for one in others if not any(one in below(other) for other in others - {one})
        )
        for room, others in known.items()
    }


@dataclass(frozen=True, slots=True)
class Place:
    """Where a room's box stands in the picture, in pixels."""

    left: float
    top: float
    width: float

    @property
    def middle(self) -> float:
        """Where lines begin and end."""
        return self.left + self.width / 2


def _places(lines: Imports) -> dict[str, Place]:
    """Boxes by room, highest rank on top; in a rank near those that import them."""
    found: dict[str, Place] = {}
    for number, rank in enumerate(reversed(ranks())):
        wanted = {room: _drawn_to(room, lines, found) for room in rank}
        ordered = sorted(rank, key=lambda room: (wanted[room], room))
        widths = {room: len(room) * LETTER + 2 * GAP / 2 for room in rank}
        whole = sum(widths.values()) + GAP * (len(rank) - 1)
        left = (WIDTH - whole) / 2
        for room in ordered:
            found[room] = Place(round(left, 1), 10 + number * ROW, round(widths[room], 1))
            left += widths[room] + GAP
    return found


def _drawn_to(room: str, lines: Imports, found: Mapping[str, Place]) -> float:
    above = [place.middle for other, place in found.items() if room in lines[other]]
    return sum(above) / len(above) if above else WIDTH / 2


def picture() -> str:
    """The rooms as an SVG: one row a rank, a line from each room down to those it imports."""
    lines = direct(imports())
    places = _places(lines)
    height = 20 + len(ranks()) * ROW - (ROW - BOX)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>Rooms of pbx_stir: each imports only rooms below it</title>",
        "<style>rect.room{fill:#fff;stroke:#345}path{fill:none;stroke:#8aa;stroke-width:1}"
        "text{font:12px monospace;text-anchor:middle;fill:#123}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#f6f8fa"/>',
    ]
    for room in sorted(lines):
        drawn += [_line(room, places[room], one, places[one]) for one in sorted(lines[room])]
    for room, place in places.items():
        drawn.append(
            f'<rect class="room" x="{place.left}" y="{place.top}" width="{place.width}" '
            f'height="{BOX}" rx="4"/><text x="{place.middle:.1f}" y="{place.top + 18}">'
            f"{escape(room)}</text>"
        )
    return "\n".join([*drawn, "</svg>", ""])


def _line(room: str, start: Place, other: str, end: Place) -> str:
    top, bottom = start.top + BOX, end.top
    bend = min(ROW, (bottom - top) / 2)
    return (
        f'<path d="M{start.middle:.1f} {top}C{start.middle:.1f} {top + bend:g} {end.middle:.1f} '
        f'{bottom - bend:g} {end.middle:.1f} {bottom}"><title>{room} imports {other}</title></path>'
    )


def table() -> str:
    """Each room in a row, highest rank first: what it is, and all that it imports."""
    known = imports()
    rows = ["| room | what it is | imports |", "|---|---|---|"]
    for rank in reversed(ranks()):
        for room in rank:
            others = ", ".join(f"`{one}`" for one in sorted(known[room]))
            rows.append(f"| `{room}` | {_described(room)} | {others} |")
    return "\n".join(rows)


def _described(room: str) -> str:
    path = PACKAGE / room / "__init__.py"
    path = path if path.exists() else PACKAGE / f"{room}.py"
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = " ".join(text.split("\n\n")[0].split()).replace("``", "`")
    return first.replace("|", "\\|")
