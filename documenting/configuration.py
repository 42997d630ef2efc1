"""The rows of docs/configuration.md: values and defaults from the code, their meaning by hand.

A row is ``| `section.key` | values | default | meaning |``. Values and default follow from the
sections of ``pbx_stir.config``; the meaning stands on the page and nowhere else, and so do the
words for a default that is nothing in the code ("the system's CAs").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from pbx_stir.config import Configuration

ROW: Final = re.compile(r"^\| `([a-z0-9_.]+)` \| (.*) \|$", re.MULTILINE)
CELLS: Final = re.compile(r"(?<!\\) \| ")
NOTHING: Final = "none"


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its values in words, its default in TOML, "" where the code has none."""

    values: str
    default: str
    required: bool


def keys(section: type[msgspec.Struct] = Configuration, above: str = "") -> dict[str, Key]:
    """Each key of a section and of those in it, by ``section.key``."""
    kinds = get_type_hints(section, include_extras=True)
    found: dict[str, Key] = {}
    for field in msgspec.structs.fields(section):
        kind, name = kinds[field.name], above + field.name
        inner = _section_in(kind)
        if inner is not None:
            found |= keys(inner, f"{name}.")
        else:
            made = field.default_factory
            default = field.default if made is msgspec.NODEFAULT else made()
            found[name] = Key(_values(kind), _default(default), field.required)
    return found


def _section_in(kind: Any) -> type[msgspec.Struct] | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if get_origin(kind) in {tuple, Annotated, Union, UnionType}:
        return next((one for one in map(_section_in, get_args(kind)) if one), None)
    return None


def _default(value: object) -> str:
    if value is None or value is msgspec.NODEFAULT:
        return ""
    if isinstance(value, bool | str | int | float):
        return json.dumps(value)
    if isinstance(value, tuple):
        return json.dumps(list(value))
    if isinstance(value, Mapping) and not value:
        return "{}"
    raise TypeError(f"a default of a kind that has no form here: {value!r}")


def _values(kind: Any) -> str:
    """What a type takes, in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        notes = [one for one in arguments[1:] if isinstance(one, msgspec.Meta)]
        return _noted(arguments[0], notes)
    if origin in {Union, UnionType}:
        return " or ".join(_values(one) for one in arguments if one is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{json.dumps(one)}`" for one in arguments)
    if origin is tuple:
        return f"list of {_values(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of {_values(arguments[0])} to {_values(arguments[1])}"
    return {str: "text", bool: "true or false", int: "whole number", float: "number"}[kind]


def _noted(kind: Any, notes: list[msgspec.Meta]) -> str:
    note, text = notes[0], _values(kind)
    described = [one.description for one in notes if one.description]
    if described:
        text = described[0]
    elif note.extra and note.extra.get("names") == "file":
        text = "path"
    low = note.ge if note.ge is not None else note.gt
    if low is not None or note.le is not None:
        above = "above " if note.gt is not None else ""
        unit = "" if get_args(kind) else f"{text}, "
        text = f"{unit}{above}{low}" + (f" to {note.le}" if note.le is not None else " or more")
    if note.max_length is not None:
        fewest = f"{note.min_length} to " if note.min_length else "up to "
        of = "" if kind is not str else " characters"
        text = f"{text}, {fewest}{note.max_length}{of}"
    return text


def written(page: str) -> str:
    """The page with values and defaults as the code has them, all else as it is.

    Raises:
        ValueError: a row has not four cells, or is for a key that there is not
    """
    known = keys()

    def row(found: re.Match[str]) -> str:
        name, cells = found[1], CELLS.split(found[2])
        if len(cells) != 3:
            raise ValueError(f"{name}: {len(cells) + 1} cells instead of 4")
        if name not in known:
            raise ValueError(f"{name}: there is no such key")
        values = known[name].values.replace("|", "\\|")
        return f"| `{name}` | {values} | {_shown(known[name], cells[1])} | {cells[2]} |"

    return ROW.sub(row, page)


def _shown(key: Key, by_hand: str) -> str:
    """The default's cell. Where it is nothing, the page may say in words what that comes to."""
    if key.required:
        return "required"
    if key.default not in {"", '""', "[]", "{}"}:
        return f"`{key.default}`"
    of_code = f"`{key.default}`" if key.default else NOTHING
    is_literal = re.fullmatch(r"`(\"\"|\[\]|\{\}|true|false|[0-9._]+|\".*\")`", by_hand)
    return of_code if not by_hand or is_literal or by_hand == "required" else by_hand


def missing(page: str) -> Iterator[str]:
    """Keys that the page has no row for."""
    there = {found[1] for found in ROW.finditer(page)}
    return (name for name in keys() if name not in there)
