"""What is wrong with the keys of a configuration: all of it, each with a remedy.

Takes what TOML's reader gives and the type that it should have, gives mistakes. msgspec, which
makes the values, ends at the first one; so whatever it refuses is taken apart by its type, and
each piece is given to it alone. A new section or key needs nothing here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from pbx_stir.config.sections import Configuration

LISTED: Final = "docs/configuration.md lists every key"
MOST_MISTAKES: Final = 50
LONGEST_NAME: Final = 80
LONGEST_WHAT: Final = 300


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong at ``key``, such as ``trunk[0].name``, and what to do about it."""

    key: str
    what: str
    hint: str = LISTED


def converted(raw: object, kind: Any) -> Any:
    """``raw`` as a value of ``kind``. Raises ``msgspec.ValidationError`` for the first mistake."""
    return msgspec.convert(raw, kind, builtin_types=(datetime, date, time), str_keys=True)


def mistakes(raw: object, kind: Any, key: str = "") -> list[Mistake]:
    """Everything for which ``converted`` refuses ``raw``, at most ``MOST_MISTAKES``."""
    try:
        converted(raw, kind)
    except msgspec.ValidationError as error:
        found = list(_inside(raw, kind, key))
        # else it is the thing as a whole that is wrong
        return (found or [_whole(str(error), kind, key)])[:MOST_MISTAKES]
    return []


def _inside(raw: object, kind: Any, key: str) -> Iterator[Mistake]:
    for part in _parts(kind):
        if isinstance(raw, dict) and isinstance(part, type) and issubclass(part, Struct):
            yield from _section(raw, part, key)
            return
        origin, arguments = get_origin(part), get_args(part)
        if isinstance(raw, list) and origin is tuple:
            for index, one in enumerate(raw):
                yield from mistakes(one, arguments[0], f"{key}[{index}]")
            return
        if isinstance(raw, dict) and isinstance(origin, type) and issubclass(origin, Mapping):
            for name, one in raw.items():
                at = _below(key, name)
                yield from mistakes(name, arguments[0], at)
                yield from mistakes(one, arguments[1], at)
            return


def _section(raw: dict[str, object], section: type[Struct], key: str) -> Iterator[Mistake]:
    kinds = _kinds(section)
    for name, value in raw.items():
        if name in kinds:
            yield from mistakes(value, kinds[name], _below(key, name))
        else:
            what = f"unknown field `{_shown(name)}`"
            yield Mistake(_below(key, name), what, _remedy(name, kinds))
    for field in msgspec.structs.fields(section):
        if field.required and field.name not in raw:
            what = f"missing required field `{field.name}`"
            yield Mistake(key or "top level", what, f"add {field.name} = …; {LISTED}")


def _remedy(name: str, known: Mapping[str, object]) -> str:
    """What somebody who wrote ``name`` may have meant."""
    if name in _kinds(Configuration):
        return f"`{name}` belongs before the first table, or is one: {LISTED}"
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean `{close[0]}`? {LISTED}"
    elsewhere = [section for section, keys in _sections().items() if name in keys]
    if len(elsewhere) == 1:
        return f"`{elsewhere[0]}` has a key of that name; {LISTED}"
    return LISTED


def _whole(said: str, kind: Any, key: str) -> Mistake:
    """What msgspec says of a value, with the place in it put behind ``key``."""
    what, _, inside = said.partition(" - at `$")
    where = (key + inside.rstrip("`")) or "top level"
    described = _described(kind)
    if described and "regex" in what:
        return Mistake(where, f"expected {described}")
    return Mistake(where, (what[:1].lower() + what[1:])[:LONGEST_WHAT])


def _described(kind: Any) -> str:
    """What the type says of its values, for people."""
    if get_origin(kind) is Annotated:
        for one in kind.__metadata__:
            if isinstance(one, msgspec.Meta) and one.description:
                return one.description
    return next((found for found in map(_described, get_args(kind)) if found), "")


def _parts(kind: Any) -> Iterator[Any]:
    """The alternatives of a type, without what is noted of them."""
    if get_origin(kind) is Annotated:
        yield from _parts(get_args(kind)[0])
    elif get_origin(kind) in {Union, UnionType}:
        for one in get_args(kind):
            yield from _parts(one)
    else:
        yield kind


@cache
def _kinds(section: type[Struct]) -> dict[str, Any]:
    return get_type_hints(section, include_extras=True)


@cache
def _sections() -> dict[str, frozenset[str]]:
    """The keys of each section, by its name."""
    found = {}
    for name, kind in _kinds(Configuration).items():
        for part in _parts(kind):
            section = (get_args(part) or (part,))[0]
            if isinstance(section, type) and issubclass(section, Struct):
                found[name] = frozenset(section.__struct_fields__)
    return found


def _below(key: str, name: str) -> str:
    return f"{key}.{_shown(name)}" if key else _shown(name)


def _shown(name: str) -> str:
    """A key as somebody wrote it, on one line."""
    short = name[:LONGEST_NAME]
    return short if short.isprintable() else repr(short)
