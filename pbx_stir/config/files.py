"""Which files a section names, and whether they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from pbx_stir.config.loading import Loaded, octets_of
from pbx_stir.config.sections import FileName

_NAMES_A_FILE = FileName.__metadata__[0]  # type: ignore[attr-defined]


def with_files(loaded: Loaded, *sections: object) -> tuple[object, ...]:
    """What ``sections`` say, and what is in the files that they name.

    Two are equal where what is made of them would be: the same keys and files of the same octets.
    """
    named = sorted({name for section in sections for name in _names(section)})
    return (loaded.path.parent, sections, tuple((name, _digest(loaded, name)) for name in named))


def _digest(loaded: Loaded, name: str) -> str:
    """The SHA-256 of a file; empty where there is none, or it is too large to be ours."""
    try:
        octets = octets_of(loaded.resolve(name))
    except (OSError, ValueError):
        return ""
    return "" if octets is None else hashlib.sha256(octets).hexdigest()


def _names(value: object) -> Iterator[str]:
    """The files that a section, or each of several, names."""
    if isinstance(value, tuple):
        for one in value:
            # of ten thousand routes none can name a file
            if not isinstance(one, Struct) or _may_name(type(one)):
                yield from _names(one)
    if isinstance(value, Struct):
        files = file_keys(type(value))
        for key in value.__struct_fields__:
            found = getattr(value, key)
            if key in files and isinstance(found, str):
                yield found
            else:
                yield from _names(found)


@cache
def _may_name(section: type[Struct]) -> bool:
    """Whether a section, or one within it, has a key that names a file."""
    kinds = get_type_hints(section, include_extras=True).values()
    within = (one for kind in kinds for one in _sections_in(kind))
    return bool(file_keys(section)) or any(map(_may_name, within))


def _sections_in(kind: Any) -> Iterator[type[Struct]]:
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield kind
    for one in get_args(kind):
        yield from _sections_in(one)


@cache
def file_keys(section: type[Struct]) -> frozenset[str]:
    """The keys of a section that name a file."""
    kinds = get_type_hints(section, include_extras=True)
    return frozenset(key for key, kind in kinds.items() if _is_file(kind))


def _is_file(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        return _NAMES_A_FILE in kind.__metadata__
    return get_origin(kind) in {Union, UnionType} and any(map(_is_file, get_args(kind)))
