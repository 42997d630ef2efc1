"""Carries out a plan, all of it or nothing, and takes back what was carried out.

Each file is written beside its place and moved there; one that was there keeps its mode and owner,
a symbolic link stays one. What went before is in the journal before anything is changed.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing import blocks
from pbx_stir.installing.changes import Change, Folder, Plan
from pbx_stir.installing.journal import Entry, Journal, JournalFile
from pbx_stir.installing.machine import Machine


def apply(plan: Plan, machine: Machine, journal_file: JournalFile) -> None:
    """Make the plan's folders and files; its commands are not run.

    Raises ConfigurationError, and then all is as it was.
    """
    before = journal_file.load()
    _still(plan.changes, machine)
    made: list[Path] = []
    done: list[tuple[Change, bytes | None]] = []
    where = str(journal_file.path)
    try:
        for folder in plan.folders:
            where = str(folder.path)
            made += _make(folder, machine)
        journal_file.save(_with(before, plan, made))
        for change in plan.changes:
            where = str(change.path)
            done.append((change, change.old))
            _write(change, machine)
    except (OSError, ConfigurationError) as error:
        for change, old in reversed(done):
            with contextlib.suppress(OSError):
                _restore(change.path, old, is_link=bool(change.target), machine=machine)
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir()
        with contextlib.suppress(OSError, ConfigurationError):
            journal_file.save(before)
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(
            f"cannot write {where}: {error.strerror or error}", hint="nothing was changed"
        ) from error


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of one file when all was taken back, in words."""

    path: str
    what: str


def undo(machine: Machine, journal_file: JournalFile) -> tuple[Undone, ...]:
    """Give every file back as it was; what the administrator changed since stays his.

    Raises ConfigurationError for the first that cannot be given back; what is done by then is
    done, and undoing again goes on.
    """
    journal = journal_file.load()
    told: list[Undone] = []
    while journal.entries:
        entry = journal.entries[-1]
        try:
            told.append(Undone(entry.path, _undo_one(entry, machine)))
        except OSError as error:
            raise ConfigurationError(f"cannot write {entry.path}: {error.strerror}") from error
        journal = msgspec.structs.replace(journal, entries=journal.entries[:-1])
        journal_file.save(journal)
    for name in reversed(journal.folders):
        try:
            Path(name).rmdir()
        except OSError:
            if Path(name).exists():
                told.append(Undone(name, "kept: there is something in it"))
        else:
            told.append(Undone(name, "removed"))
    journal_file.save(Journal())
    return tuple(told)


def _still(changes: Iterable[Change], machine: Machine) -> None:
    """Refuse where somebody has changed a file since the plan was made."""
    for change in changes:
        if not change.target and machine.read(change.path) != change.old:
            raise ConfigurationError(
                f"{change.path} has changed meanwhile", hint="look at the changes again"
            )


def _make(folder: Folder, machine: Machine) -> list[Path]:
    """Make a folder and those above it; returns the new ones, outermost first."""
    if folder.path.is_dir():
        return []
    missing = [one for one in (folder.path, *folder.path.parents) if not one.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o755)
    folder.path.chmod(folder.mode)
    ids = machine.ids(folder.owner)
    if ids is not None:
        os.chown(folder.path, *ids)
    return missing[::-1]


def _with(before: Journal, plan: Plan, made: list[Path]) -> Journal:
    """The journal with the plan's changes: what was there first is what will be given back."""
    entries = {entry.path: entry for entry in before.entries}
    for change in plan.changes:
        name = str(change.path)
        known = entries.get(name)
        original = change.old
        if known is not None and not change.block:
            original = known.original
        elif known is not None:
            original = known.original if change.old == known.written else None
            if original is None and change.old is not None:
                text = blocks.take(blocks.text_of(change.old))
                original = blocks.octets_of(text)
        entries[name] = Entry(
            path=name,
            original=original,
            written=change.new,
            block=change.block,
            target=change.target,
        )
    folders = (*before.folders, *(str(path) for path in made))
    return Journal(entries=tuple(entries.values()), folders=folders)


def _write(change: Change, machine: Machine) -> None:
    if change.target:
        _link(change.path, change.target)
        return
    if change.old is not None:
        _replace(change.path, change.new)
        return
    ids = machine.ids(change.owner)
    _replace(change.path, change.new, mode=change.mode, ids=ids)


def _replace(
    path: Path, octets: bytes, mode: int | None = None, ids: tuple[int, int] | None = None
) -> None:
    """Write a file whole; without ``mode`` it is there, and keeps its own and its owner."""
    path = Path(os.path.realpath(path))
    if mode is None:
        status = path.stat()
        mode, ids = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
    descriptor, temporary = tempfile.mkstemp(prefix=".pbx-stir-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(octets)
            if ids is not None:
                os.fchown(descriptor, *ids)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _link(path: Path, target: str) -> None:
    """Make a symbolic link, in place of one that is there."""
    temporary = path.with_name(f".{path.name}-new")
    temporary.unlink(missing_ok=True)
    os.symlink(target, temporary)
    os.replace(temporary, path)


def _restore(path: Path, old: bytes | None, *, is_link: bool, machine: Machine) -> None:
    if old is None:
        path.unlink(missing_ok=True)
    elif is_link:
        _link(path, old.decode())
    elif machine.read(path) != old:
        _replace(path, old)


def _undo_one(entry: Entry, machine: Machine) -> str:
    """Give one file back; returns what became of it."""
    path = Path(entry.path)
    if entry.target:
        if not path.is_symlink() or str(path.readlink()) != entry.target:
            return "kept: it is another one now"
        _restore(path, entry.original, is_link=True, machine=machine)
        return "removed" if entry.original is None else "as it was"
    current = machine.read(path)
    if current is None:
        return "was gone already"
    if current == entry.written:
        _restore(path, entry.original, is_link=False, machine=machine)
        return "removed" if entry.original is None else "as it was"
    if not entry.block:
        return "kept: it was changed since"
    text = blocks.text_of(current)
    without = blocks.octets_of(blocks.take(text))
    if without == current:
        return "kept: our lines are not in it any more"
    if entry.original is None and not without.strip():
        path.unlink()
        return "removed"
    _replace(path, without)
    return "our lines are out; it was changed since, and all else in it stays"


def outstanding(plan: Plan) -> Plan:
    """The plan without what is there already; nothing left means nothing to do."""
    changes = tuple(one for one in plan.changes if one.target or one.old != one.new)
    folders = tuple(one for one in plan.folders if not one.path.is_dir())
    return replace(plan, changes=changes, folders=folders)
