"""A demo's table: what was found beside what was expected, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lab.debian import LabError

COLUMNS = "{:3}{:22}{:10}{:52}{:>6}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a call as one PBX's CDR tells it, and what was expected."""

    call: str
    where: str
    expected: tuple[str, ...]
    found: tuple[str, ...]
    ms: str
    budget_ms: int | None = None

    @property
    def agrees(self) -> bool:
        """As expected, and not held for longer than it may be."""
        if self.expected != self.found:
            return False
        if self.budget_ms is None:
            return True
        return self.ms.isascii() and self.ms.isdigit() and int(self.ms) <= self.budget_ms


def play(scenes: Sequence[Callable[[], Iterator[Line]]]) -> bool:
    """Play the scenes and print their lines; whether all are as expected."""
    agreed = True
    for scene in scenes:
        try:
            for line in scene():
                _print(line)
                agreed = agreed and line.agrees
        except LabError as error:
            print(f"NO {scene.__name__}: {error}", flush=True)
            agreed = False
    return agreed


def _print(line: Line) -> None:
    found, expected = " ".join(line.found).strip(), " ".join(line.expected).strip()
    if line.budget_ms is not None:
        expected += f", at most {line.budget_ms} ms"
    print(COLUMNS.format("ok" if line.agrees else "NO", line.call, line.where, found, line.ms))
    print(COLUMNS.format("", "", "expected", expected, ""), flush=True)
