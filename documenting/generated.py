"""Which files are made from the code, in whole or in part, and how.

A part stands between ``<!-- made by scripts/docs: NAME -->`` and ``<!-- end of NAME -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from documenting import architecture, configuration, man_page, troubleshooting

REPOSITORY: Final = Path(__file__).resolve().parent.parent


def _part(name: str, made: Callable[[], str]) -> Callable[[str], str]:
    """What puts the part of that name into a page. Raises ValueError: the page has no such part."""
    whole = re.compile(
        rf"(<!-- made by scripts/docs: {name} -->\n).*?(<!-- end of {name} -->)", re.S
    )

    def written(page: str) -> str:
        if len(whole.findall(page)) != 1:
            raise ValueError(f"one part {name!r} is to stand on the page")
        return whole.sub(lambda found: f"{found[1]}\n{made().strip()}\n\n{found[2]}", page)

    return written


FILES: Final[dict[str, Callable[[str], str]]] = {
    "docs/configuration.md": configuration.written,
    "docs/troubleshooting.md": _part("reasons", troubleshooting.written),
    "docs/architecture.md": _part("rooms", architecture.table),
    "docs/images/architecture.svg": lambda _: architecture.picture(),
    "pbx_stir/cli/pbx-stir.1": lambda _: man_page.written(),
}


def made(name: str) -> tuple[str, str]:
    """A file as it is ("" where it is not), and as it is to be."""
    path = REPOSITORY / name
    there = path.read_text() if path.exists() else ""
    return there, FILES[name](there)


def write() -> list[str]:
    """Write what differs; gives the names of the files written."""
    changed = []
    for name in FILES:
        there, to_be = made(name)
        if there != to_be:
            path = REPOSITORY / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(to_be)
            changed.append(name)
    return changed
