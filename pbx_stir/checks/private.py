"""Checks of who may read what is ours alone: keys, secrets, the state folder. Reads no contents."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.places import place
from pbx_stir.config import Loaded

MOST_LOOKED_AT: Final = 2_000
_MOST_NAMED: Final = 3
# what we write into the state folder ourselves; whatever else is there is its owner's business
_OURS: Final = ("keys", "wallet", "token-keys", "token-counts", "used.sqlite*", "records.sqlite*")
# the names under which a configuration has private files
_KEYS: Final = frozenset({"key", "bare_key"})
_ENDING: Final = "_file"


def check_private_files(loaded: Loaded) -> Iterator[Finding]:
    """Give which private files others may read, and a configuration that they may write."""
    mode = _mode(loaded.path)
    if mode & stat.S_IWOTH:
        hint = f"chmod o-w {loaded.path}"
        what = "everybody may write the configuration, and name files and programs in it"
        yield error("config-writable", what, str(loaded.path), hint)
    for key, name in private_files(loaded.values):
        path = loaded.resolve(name)
        mode = _mode(path)
        is_key = key.rpartition(".")[2] in _KEYS
        kind = "private key" if is_key else "secret"
        where = place(loaded, key)
        if mode & stat.S_IRWXO:
            code = "key-readable-by-all" if is_key else "secret-readable-by-all"
            what = f"everybody may read the {kind} {path}: it is not used"
            yield error(code, what, where, f"chmod 600 {path}, owned by the service's user")
        elif mode & stat.S_IRWXG and owner_of(path):
            # root's with a group is the usual way to let a service read and not write
            what = f"its group may read the {kind} {path}"
            yield note("private-file-group", what, where, f"chmod 600 {path}")


def private_files(section: msgspec.Struct, above: str = "") -> Iterator[tuple[str, str]]:
    """Give (key, name) of each private file that a configuration, or a section of it, names."""
    for field in section.__struct_fields__:
        value = getattr(section, field)
        if isinstance(value, str) and (field in _KEYS or field.endswith(_ENDING)):
            yield f"{above}{field}", value
        elif isinstance(value, msgspec.Struct):
            yield from private_files(value, f"{above}{field}.")
        elif isinstance(value, tuple):
            for index, one in enumerate(value):
                if isinstance(one, msgspec.Struct):
                    yield from private_files(one, f"{above}{field}[{index}].")


def check_state_files(loaded: Loaded) -> Iterator[Finding]:
    """Give what in the state folder others may read, and the folder where they may enter it."""
    state = loaded.resolve(loaded.values.state_dir)
    where = place(loaded, "state_dir")
    if _mode(state) & (stat.S_IRWXG | stat.S_IRWXO):
        what = f"others may look into {state}"
        yield warning("state-dir-open", what, where, f"chmod 700 {state}")
    files, owner = list(_files(state)), owner_of(state)
    opened = [path for path in files if _mode(path) & stat.S_IRWXO]
    if opened:
        what = f"others may read {_named(opened)}"
        yield error("state-file-open", what, where, f"chmod -R go= {state}")
    foreign = [path for path in files if owner_of(path) != owner]
    if foreign:
        what = f"{_named(foreign)} do not belong to whom {state} belongs to"
        hint = f"chown -R --reference={state} {state}, and run commands as the service's user"
        yield error("state-file-owner", what, where, hint)


def _named(paths: list[Path]) -> str:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return ", ".join(str(one) for one in paths[:_MOST_NAMED]) + more


def _files(state: Path) -> Iterator[Path]:
    """The first so many files and folders of ours in ``state``; no link is followed."""
    every = (path for name in _OURS for path in _beneath(state, name))
    return itertools.islice(every, MOST_LOOKED_AT)


def _beneath(state: Path, name: str) -> Iterator[Path]:
    for top in state.glob(name):
        if not top.is_symlink():
            yield top
        for folder, folders, names in os.walk(top):
            paths = (Path(folder, one) for one in (*folders, *names))
            yield from (path for path in paths if not path.is_symlink())


def _mode(path: Path) -> int:
    """Its mode; of what is not there, that nobody may do anything with it."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def owner_of(path: Path) -> int:
    """Whose it is; root's, where it is not there."""
    try:
        return path.stat().st_uid
    except (OSError, ValueError):
        return 0


def may_write(path: Path, user: int) -> bool:
    """Whether a user may write it, as far as its mode says: of groups nothing is known."""
    mode = _mode(path)
    if owner_of(path) == user:
        return bool(mode & stat.S_IWUSR)
    return bool(mode & (stat.S_IWGRP | stat.S_IWOTH))
