"""Carries out a plan, all of it or nothing, and takes back what was carried out.

Each file is written beside its place and moved there; one that was there keeps its mode and owner,
a symbolic link stays one. All places are held (``places``) before the first is written to. What
went before is in the journal before any file is changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing import blocks
from pbx_stir.installing.changes import Change, Folder, Plan
from pbx_stir.installing.journal import Entry, Journal, JournalFile, digest
from pbx_stir.installing.machine import Machine
from pbx_stir.installing.places import Place, place

_GONE: Final = "was gone already"


def apply(plan: Plan, machine: Machine, journal_file: JournalFile) -> None:
    """Make the plan's folders and files; its commands are not run.

    Raises ConfigurationError, and then all is as it was.
    """
    before = journal_file.load()
    made: list[Path] = []
    done: list[tuple[Change, Place]] = []
    where = ""
    with ExitStack() as held:
        try:
            for folder in plan.folders:
                where = str(folder.path)
                _make(folder, machine, made)
            places = []
            for change in plan.changes:
                where = str(change.path)
                places.append(held.enter_context(_still(change)))
            where = str(journal_file.path)
            journal_file.save(_with(before, plan, made))
            for change, held_place in zip(plan.changes, places, strict=True):
                where = str(change.path)
                _write(change, held_place, machine)
                done.append((change, held_place))
        except (OSError, ConfigurationError) as error:
            kept = _take_back(done, made)
            if not kept:
                with suppress(OSError, ConfigurationError):
                    journal_file.save(before)
            raise _told(error, where, kept) from error


def _take_back(done: list[tuple[Change, Place]], made: list[Path]) -> list[str]:
    """Give back what was done of a plan; returns the files that somebody has changed since."""
    kept = []
    for change, held in reversed(done):
        try:
            _restore(held, change.old, is_link=bool(change.target))
        except (OSError, ConfigurationError):
            kept.append(str(change.path))
    for path in reversed(made):
        with suppress(OSError, ConfigurationError), place(path, follow=False) as folder:
            folder.remove_folder()
    return kept


def _told(error: OSError | ConfigurationError, where: str, kept: list[str]) -> ConfigurationError:
    """What went wrong in words, and whether it was taken back."""
    if isinstance(error, ConfigurationError):
        message, hint = error.message, error.hint
    else:
        message = f"cannot write {where}: {error.strerror or error}"
        hint = "nothing was changed"
    if kept:
        hint = f"--undo takes back what could not be taken back at once: {', '.join(kept)}"
    return ConfigurationError(message, hint=hint)


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of one file when all was taken back, in words."""

    path: str
    what: str


def undo(journal_file: JournalFile) -> tuple[Undone, ...]:
    """Give every file back as it was; what the administrator changed since stays his.

    Raises ConfigurationError for the first that cannot be given back; what is done by then is
    done, and undoing again goes on.
    """
    journal = journal_file.load()
    told: list[Undone] = []
    while journal.entries:
        entry = journal.entries[-1]
        try:
            told.append(Undone(entry.path, _undo_one(entry)))
        except OSError as error:
            raise ConfigurationError(f"cannot write {entry.path}: {error.strerror}") from error
        journal = msgspec.structs.replace(journal, entries=journal.entries[:-1])
        journal_file.save(journal)
    for name in reversed(journal.folders):
        try:
            with place(Path(name), follow=False) as folder:
                folder.remove_folder()
        except OSError:
            if Path(name).exists():
                told.append(Undone(name, "kept: there is something in it"))
        else:
            told.append(Undone(name, "removed"))
    journal_file.save(Journal())
    return tuple(told)


@contextmanager
def _still(change: Change) -> Iterator[Place]:
    """Hold the place of a change; refuse where it is not as it was when the plan was made."""
    with place(change.path, follow=not change.target) as held:
        if change.target:
            led = held.link()
            current = None if led is None else os.fsencode(led)
        else:
            current = held.read()
        if current != change.old:
            raise ConfigurationError(
                f"{change.path} has changed meanwhile", hint="look at the changes again"
            )
        yield held


def _make(folder: Folder, machine: Machine, made: list[Path]) -> None:
    """Make a folder and those above it; the new ones are added to ``made``, outermost first."""
    if folder.path.is_dir():
        return
    missing = [one for one in (folder.path, *folder.path.parents) if not one.exists()]
    for path in reversed(missing):
        is_it = path == folder.path
        with place(path, follow=False) as held:
            held.make_folder(
                folder.mode if is_it else 0o755, machine.ids(folder.owner) if is_it else None
            )
        made.append(path)


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
            original = None
            if change.old is not None and digest(change.old) == known.digest:
                original = known.original
            elif change.old is not None:
                original = blocks.octets_of(blocks.take(blocks.text_of(change.old)))
        entries[name] = Entry(
            path=name,
            original=original,
            digest=digest(change.new),
            block=change.block,
            target=change.target,
        )
    folders = (*before.folders, *(str(path) for path in made))
    return Journal(entries=tuple(entries.values()), folders=folders)


def _write(change: Change, held: Place, machine: Machine) -> None:
    if change.target:
        held.link_to(change.target)
    else:
        held.write(change.new, change.mode, machine.ids(change.owner))


def _restore(held: Place, old: bytes | None, *, is_link: bool) -> None:
    """Give a file its octets back, or its link; it is there, and was read."""
    if is_link:
        held.link_to(None if old is None else os.fsdecode(old))
    elif old is None:
        held.remove()
    else:
        held.write(old, 0o600, None)


def _undo_one(entry: Entry) -> str:
    """Give one file back; returns what became of it. Raises OSError, ConfigurationError."""
    try:
        with place(Path(entry.path), follow=not entry.target) as held:
            return _undo_link(entry, held) if entry.target else _undo_file(entry, held)
    except FileNotFoundError:
        return _GONE


def _undo_link(entry: Entry, held: Place) -> str:
    try:
        is_ours = held.link() == entry.target
    except ConfigurationError:
        is_ours = False
    if not is_ours:
        return "kept: it is another one now"
    _restore(held, entry.original, is_link=True)
    return "removed" if entry.original is None else "as it was"


def _undo_file(entry: Entry, held: Place) -> str:
    current = held.read()
    if current is None:
        return _GONE
    if digest(current) == entry.digest:
        _restore(held, entry.original, is_link=False)
        return "removed" if entry.original is None else "as it was"
    if not entry.block:
        return "kept: it was changed since"
    text = blocks.text_of(current)
    without = blocks.octets_of(blocks.take(text))
    if without == current:
        return "kept: our lines are not in it any more"
    if entry.original is None and not without.strip():
        held.remove()
        return "removed"
    held.write(without, 0o600, None)
    return "our lines are out; it was changed since, and all else in it stays"


def outstanding(plan: Plan) -> Plan:
    """The plan without what is there already; nothing left means nothing to do."""
    changes = tuple(one for one in plan.changes if one.target or one.old != one.new)
    folders = tuple(one for one in plan.folders if not one.path.is_dir())
    return replace(plan, changes=changes, folders=folders)
