"""Checks of the state folder, which is the service's to make: root would make it root's."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pbx_stir.checks.finding import Finding, error, note
from pbx_stir.checks.places import OTHERS_MAY_READ, place
from pbx_stir.checks.unit import start_hint, unit_of
from pbx_stir.config import Loaded
from pbx_stir.directory.key_files import KeyFiles, OwnKey
from pbx_stir.errors import PbxStirError

_LEAST_FREE_OCTETS = 8 << 20


def own_keys(loaded: Loaded) -> tuple[OwnKey, ...]:
    """Our encryption keys; none where there is no folder of them. Raises ConfigurationError."""
    folder = loaded.resolve(loaded.values.state_dir) / "keys"
    return KeyFiles(folder).load() if folder.is_dir() else ()


def check_state(loaded: Loaded) -> Iterator[Finding]:
    """Give what is wrong with the state folder, its keys and its memory."""
    where = place(loaded, "state_dir")
    state = loaded.resolve(loaded.values.state_dir)
    try:
        keys = own_keys(loaded)
        unit = unit_of(loaded.path)
        is_made = unit is not None and unit.makes_room_for(state) and not state.exists()
        if not keys and not is_made and not can_be_filled(state):
            hint = "create it for the service's user"
            yield error("state-dir", f"{state} is no folder that can be written", where, hint)
            return
    except (PbxStirError, OSError, ValueError) as wrong:
        if OTHERS_MAY_READ not in str(wrong):
            hint = getattr(wrong, "hint", "")
            yield error("state-dir", getattr(wrong, "message", str(wrong)), where, hint)
        return
    yield from _memory(state, where)
    if not keys and loaded.values.publish.numbers:
        what = "no encryption key yet: it is made when the service starts"
        hint = start_hint(loaded.path, "start pbx-stir run")
        yield note("no-encryption-key", what, str(state / "keys"), hint)


def can_be_filled(folder: Path) -> bool:
    """Whether files can be made in ``folder``, or it in the nearest folder that there is."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _memory(state: Path, where: str) -> Iterator[Finding]:
    """The memory of used PASSporTs: without it, or without room for it, no call passes."""
    path = state / "used.sqlite"
    if not path.exists():
        return
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        with contextlib.closing(database):
            database.execute("SELECT count(*) FROM used").fetchone()
        free = shutil.disk_usage(state).free
    except (sqlite3.Error, OSError) as wrong:
        hint = (
            "stop the service, move the file away with its -wal and -shm, start it again: a "
            "PASSporT of the last minute may pass a second call"
        )
        yield error("used-wrong", f"{path}: {wrong}: no call can pass", where, hint)
        return
    if free < _LEAST_FREE_OCTETS:
        yield error(
            "disk-full",
            f"{free // 1024} KiB are free at {state}: soon no call can pass",
            where,
            "make room",
        )
