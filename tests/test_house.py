"""The house: which room may know which, how large files are, what tests promise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbx_stir.services.call import Reason

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pbx_stir"

# each rank may import those below it; rooms of one rank do not know each other
RANKS: tuple[tuple[str, ...], ...] = (
    ("errors", "lane", "ownership"),
    (
        "boot_mark",
        "private_files",
        "listen_address",
        "listening",
        "service_manager",
        "log_levels",
        "loop_errors",
        "parts",
    ),
    ("sqlite_file",),
    ("stir",),
    ("services",),
    ("tokens", "reasons"),
    ("cps",),
    ("certificates",),
    (
        "config",
        "pbx",
        "directory",
        "redis_backend",
        "call_log",
        "board",
        "metrics",
        "used_database",
        "record_database",
        "installing",
    ),
    ("configured", "reloading"),
    ("configured_retrieval", "configured_callers", "configured_call_log"),
    ("clients",),
    ("configured_pbxs", "configured_metrics", "configured_board"),
    ("reach", "configured_mistakes"),
    ("daemon",),
    ("running",),
    ("checks",),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
# the command itself, and the package's own file, which everybody may read for its version
OUTSIDE = {"__init__", "__main__"}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path: Path) -> Iterator[str]:
    """The rooms that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "pbx_stir":
                names = [f"pbx_stir.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "pbx_stir" and len(parts) > 1 and parts[1] != "__version__":
                yield parts[1]


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    """A room knows only itself and the rooms below it."""
    room = _room(path)
    if room in OUTSIDE:
        return
    assert room in RANK, f"{room} has no rank"
    for other in _imported(path):
        assert other == room or RANK[other] < RANK[room], f"{room} imports {other}"


PURE = {"asyncio", "socket", "time", "os", "pathlib", "aiohttp", "threading", "ssl"}


@pytest.mark.parametrize("room", ["stir", "services"])
def test_the_inner_rooms_do_no_io(room: str) -> None:
    """stir is pure, and services only await what they are given: no clock, socket or file."""
    for path in (PACKAGE / room).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert name.split(".")[0] not in PURE, f"{path.name} imports {name}"


def test_files_stay_small() -> None:
    """A file over 400 lines wants to be two."""
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("pbx_stir", "lab", "bench", "documenting", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := path.read_text().count("\n")) > 400
    }
    assert long == {}


def test_every_test_says_what_it_promises() -> None:
    """Each test function has a docstring."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_reason_has_its_row() -> None:
    """The closed list of reasons is explained, word by word, in dialplan/README.md."""
    rows = re.findall(r"(?m)^\|\s*`([a-z0-9-]+)`", (ROOT / "dialplan/README.md").read_text())
    assert {reason.value for reason in Reason} <= set(rows)
