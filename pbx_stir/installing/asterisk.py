"""What installing changes in Asterisk's configuration folder. Plans only.

Our lines stand at the end of ``extensions.conf`` and ``manager.conf`` between marks, or in files of
our own where the folder includes those. A section that is there is added to, ``[name](+)``: one
that is opened twice without it would not be read.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing import blocks, conf_file
from pbx_stir.installing.blocks import Style
from pbx_stir.installing.changes import Change, Plan
from pbx_stir.installing.commands import asks_asterisk
from pbx_stir.installing.configuration import ASTERISK
from pbx_stir.installing.machine import Machine
from pbx_stir.installing.service import existing_secret, plan_service
from pbx_stir.installing.shipped import shipped
from pbx_stir.installing.wishes import Wishes

ETC: Final = "/etc/asterisk"
OWN_FILES: Final = ("pbx-stir.conf", "pbx-stir-test.conf")
# those of modules that have to be told when their file has changed
_MODULE_FILES: Final = ("cdr_custom.conf", "cel.conf")
_DEEPEST: Final = 8
# what the administrator turns, and our own lines beside it
_SWITCH: Final = re.compile(r"\s*(STIR_[A-Za-z0-9_.-]+)\s*=")


class AsteriskFolder:
    """Asterisk's configuration folder on a machine, as far as it is read."""

    def __init__(self, machine: Machine, name: str) -> None:
        """Raises ConfigurationError where it is not there."""
        self.machine = machine
        self.path = machine.path(name)
        if not self.path.is_dir():
            raise ConfigurationError(
                f"no folder {self.path}", hint="is Asterisk installed? --etc DIR names its folder"
            )

    def text(self, name: str) -> str:
        """A file of the folder; empty where it is not there."""
        return blocks.text_of(self.machine.read(self.path / name) or b"")

    def includes(self, name: str) -> tuple[str, ...]:
        """What a file includes, by the names that it says."""
        with _named(self.path / name):
            return conf_file.includes(self.text(name))

    def sections(self, name: str) -> tuple[conf_file.Section, ...]:
        """The sections of a file and of what it includes, without the lines that are ours."""
        return tuple(self._sections(self.path / name, _DEEPEST))

    def _sections(self, path: Path, depth: int) -> list[conf_file.Section]:
        octets = self.machine.read(path)
        if octets is None:
            return []
        with _named(path):
            text = blocks.take(blocks.text_of(octets))
            found = list(conf_file.sections(text))
        if depth:
            for pattern in conf_file.includes(text):
                for other in self.machine.matching(self.path, pattern):
                    if other.is_file() and other.name not in {
                        "pbx-stir.conf",
                        "pbx-stir-test.conf",
                    }:
                        found += self._sections(other, depth - 1)
        return found

    def opened(self, name: str, section: str) -> str:
        """How to open a section of a file: with ``(+)`` where it is there already."""
        there = any(one.name == section for one in self.sections(name))
        return f"[{section}](+)" if there else f"[{section}]"

    def block(self, name: str, lines: Sequence[str], *, like: str = "") -> Change:
        """Our lines at the end of a file, in place of those that are there from before."""
        path = self.path / name
        old = self.machine.to_change(path)
        with _named(path):
            new = blocks.put(blocks.text_of(old or b""), lines, Style.SEMICOLON)
        sibling = self.path / (like or "extensions.conf")
        return Change(
            path, old, blocks.octets_of(new), 0o640, self.machine.owner_of(sibling), block=True
        )

    def own(self, name: str, octets: bytes, *, like: str = "extensions.conf") -> Change:
        """A file of our own, with the mode and owner of its sibling ``like``."""
        path, sibling = self.path / name, self.path / like
        mode = (sibling.stat().st_mode & 0o666) if sibling.exists() else 0o640
        return Change(
            path,
            self.machine.to_change(path),
            octets,
            mode,
            self.machine.owner_of(sibling),
            shipped=True,
        )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put a file's name before what is wrong with it."""
    try:
        yield
    except ConfigurationError as error:
        if error.message.startswith(str(path)):
            raise
        raise ConfigurationError(f"{path}: {error.message}", hint=error.hint) from error


def plan_asterisk(machine: Machine, wishes: Wishes) -> Plan:
    """All that ``pbx-stir install asterisk`` does. Raises ConfigurationError, UsageError."""
    folder = AsteriskFolder(machine, wishes.etc or ETC)
    for name in ("extensions.conf", "manager.conf"):
        if machine.read(folder.path / name) is None:
            raise ConfigurationError(f"no file {folder.path / name}", hint="is Asterisk installed?")
    secret = existing_secret(machine, ASTERISK) or secrets.token_hex(24)
    plan = plan_service(machine, wishes, ASTERISK, secret)
    changes = [folder.own("pbx-stir.conf", shipped("dialplan/asterisk/pbx-stir.conf"))]
    if wishes.test_call:
        changes.append(folder.own("pbx-stir-test.conf", _test_call(wishes)))
    if wishes.freepbx:
        from pbx_stir.installing.freepbx import plan_freepbx

        plan += plan_freepbx(folder, wishes, secret)
    else:
        _refuse_freepbx(folder)
        changes += [_dialplan(folder, wishes), *_manager(folder, secret)]
        plan += Plan(left=_left(wishes, hooks_left(machine, wishes.etc)))
    if wishes.cdr:
        mapping = re.search(r"(?m)^Master\.csv\s*=>\s*(.*)$", _sample("cdr_custom.conf"))
        assert mapping is not None
        lines = [folder.opened("cdr_custom.conf", "mappings"), f"pbx-stir.csv => {mapping[1]}"]
        changes.append(folder.block("cdr_custom.conf", lines))
    if wishes.cel:
        lines = [folder.opened("cel.conf", "general"), "enable = yes", "events = USER_DEFINED"]
        changes.append(folder.block("cel.conf", lines))
    # the PBX first: the service then finds its user
    return Plan(after=_reloads(machine, wishes)) + plan + Plan(tuple(changes))


def hooks_left(machine: Machine, etc: str) -> tuple[str, ...]:
    """Where the administrator's own dialplan calls our routines, as FILE: LINE.

    Without the routines such a line ends the call.
    """
    found: list[str] = []
    for path in machine.matching(machine.path(etc or ETC), "*.conf"):
        if path.name in OWN_FILES or not path.is_file():
            continue
        with _named(path):
            text = blocks.take(blocks.text_of(machine.read(path) or b""))
        calls = (
            re.match(r"[^;]*\bpbx-stir-(?:inbound|outbound|name|in-band)\b.*", line)
            for line in text.splitlines()
        )
        found += [f"{path}: {one[0].strip()}" for one in calls if one]
    return tuple(found)


def manager_user(secret: str) -> list[str]:
    """The lines of our manager user."""
    sample = _sample("manager.conf")
    lines = sample[sample.index("[pbx-stir]") :].splitlines()
    return [re.sub(r"^secret = .*", f"secret = {secret}", line) for line in lines if line]


def switches(text: str, wishes: Wishes) -> list[str]:
    """The globals: those that stand in our lines of ``text``, and new trunks to be watched.

    What the administrator has turned stays turned.
    """
    kept = [line for line in blocks.lines_in(text) if _SWITCH.match(line)]
    known = {found[1] for line in kept if (found := _SWITCH.match(line))}
    wanted = [f"STIR_{way}_{name}" for name in wishes.trunks for way in ("OUT", "IN")]
    return kept + [f"{name}=monitor" for name in wanted if name not in known]


def wrappers(text: str, wishes: Wishes) -> list[str]:
    """A context before each one that calls come in by, which runs the hook and goes on there."""
    lines: list[str] = []
    for context, trunk in wishes.wrapped:
        lines += [
            f"[{context}-stir]",
            f"exten => _[0-9+]!,1,Gosub(pbx-stir-inbound,s,1({trunk},${{EXTEN}}))",
            " same => n,Gosub(pbx-stir-name,s,1)",
            f" same => n,Goto({context},${{EXTEN}},1)",
            f"exten => s,1,Gosub(pbx-stir-inbound,s,1({trunk},${{EXTEN}}))",
            " same => n,Gosub(pbx-stir-name,s,1)",
            f" same => n,Goto({context},s,1)",
        ]
    named = {f"[{context}-stir]" for context, _ in wishes.wrapped}
    before = blocks.lines_in(text)
    for index, line in enumerate(before):
        # those of an earlier run
        if line.endswith("-stir]") and line not in named:
            lines += before[index : index + 7]
    return lines


def included(text: str, wishes: Wishes) -> list[str]:
    """The lines that include our files."""
    test = wishes.test_call or "#include pbx-stir-test.conf" in blocks.lines_in(text)
    return ["#include pbx-stir.conf", *(["#include pbx-stir-test.conf"] if test else [])]


def _dialplan(folder: AsteriskFolder, wishes: Wishes) -> Change:
    text = folder.text("extensions.conf")
    with _named(folder.path / "extensions.conf"):
        turned = switches(text, wishes)
        lines = [folder.opened("extensions.conf", "globals"), *turned] if turned else []
        lines += [*wrappers(text, wishes), *included(text, wishes)]
    known = {one.name for one in folder.sections("extensions.conf")}
    for context, _ in wishes.wrapped:
        if context not in known:
            raise ConfigurationError(f"{folder.path}/extensions.conf has no context {context}")
    if re.search(r"(?m)^\s*#include\s+\"?pbx-stir\.conf", blocks.take(text)):
        lines = [line for line in lines if line != "#include pbx-stir.conf"]
    return folder.block("extensions.conf", lines)


def _manager(folder: AsteriskFolder, secret: str) -> list[Change]:
    found = folder.sections("manager.conf")
    own = folder.path / "manager.d/pbx-stir.conf"
    text = folder.text("manager.conf")
    separate = any(
        own.parent.is_dir() and one.replace("/*", "/pbx-stir").endswith("manager.d/pbx-stir.conf")
        for one in folder.includes("manager.conf")
    )
    written = folder.machine.read(own)
    mine = separate and written is not None and blocks.take(blocks.text_of(written)) == ""
    if any(one.name == "pbx-stir" for one in found) and not mine:
        raise ConfigurationError(
            f"{folder.path}/manager.conf has a user pbx-stir already",
            hint="take that section out: install writes its own, with a new secret",
        )
    general = [one for one in found if one.name == "general"]
    values = dict(pair for one in general for pair in one.values)
    switch = []
    if values.get("enabled", "no").lower() not in {"yes", "true", "y", "t", "1", "on"}:
        switch = [folder.opened("manager.conf", "general"), "enabled = yes"]
    user = manager_user(secret)
    if not separate:
        return [folder.block("manager.conf", [*switch, *user], like="manager.conf")]
    changes = [folder.block("manager.d/pbx-stir.conf", user, like="manager.conf")]
    if switch or blocks.lines_in(text):
        changes.append(folder.block("manager.conf", switch))
    return changes


def _refuse_freepbx(folder: AsteriskFolder) -> None:
    if folder.machine.path("/etc/freepbx.conf").exists() or (
        "extensions_additional.conf" in folder.includes("extensions.conf")
    ):
        raise ConfigurationError(
            f"{folder.path} is FreePBX's, which writes these files anew",
            hint="--freepbx writes to those it leaves alone",
        )


def _test_call(wishes: Wishes) -> bytes:
    """Contexts in which one of our numbers calls another, out and in again."""
    numbers = wishes.first_numbers()
    assert numbers is not None
    trunk, (caller, called) = wishes.trunks[0], numbers
    return (
        "; A call to oneself: it leaves by the trunk and comes in by it, with no network between.\n"
        f';   asterisk -rx "channel originate Local/{called}@pbx-stir-test application Wait 4"\n\n'
        "[pbx-stir-test]\n"
        f"exten => _X!,1,Set(CALLERID(num)={caller})\n"
        f" same => n,Gosub(pbx-stir-outbound,s,1({trunk},${{EXTEN}}))\n"
        " same => n,Wait(1)\n"
        " same => n,Dial(Local/${EXTEN}@pbx-stir-test-in)\n\n"
        "[pbx-stir-test-in]\n"
        f"exten => _X!,1,Gosub(pbx-stir-inbound,s,1({trunk},${{EXTEN}}))\n"
        " same => n,Answer()\n"
        " same => n,Wait(2)\n"
    ).encode()


def _left(wishes: Wishes, hooks: Sequence[str]) -> tuple[str, ...]:
    """What only the administrator can do, and has not done: his contexts are not known here."""
    told: list[str] = []
    for name in wishes.trunks or (() if hooks else ("TRUNK",)):
        if any(f"({name}," in one for one in hooks):
            continue
        told.append(
            f"on the caller's channel, just before Dial by {name}:\n"
            f" same => n,Gosub(pbx-stir-outbound,s,1({name},${{EXTEN}}))"
        )
        context = next((one for one, trunk in wishes.wrapped if trunk == name), "")
        if context:
            told.append(f"in the settings of trunk {name}: context = {context}-stir")
        else:
            told.append(
                f"first thing in the context where the calls of {name} come in:\n"
                f"exten => _[0-9+]!,1,Gosub(pbx-stir-inbound,s,1({name},${{EXTEN}}))\n"
                " same => n,Gosub(pbx-stir-name,s,1)"
            )
    return tuple(told)


def reloads(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The commands that have Asterisk read its files of these names, and always its dialplan."""
    changed = set(names)
    modules = [one.removesuffix(".conf") for one in _MODULE_FILES if one in changed]
    said = ["manager reload", "dialplan reload", *(f"module reload {one}" for one in modules)]
    return tuple(asks_asterisk(one) for one in said)


def _reloads(machine: Machine, wishes: Wishes) -> tuple[tuple[str, ...], ...]:
    if not machine.here or wishes.etc not in {"", ETC}:
        return ()
    wanted = zip(_MODULE_FILES, (wishes.cdr, wishes.cel), strict=True)
    return reloads(name for name, is_wanted in wanted if is_wanted)


def _sample(name: str) -> str:
    return shipped(f"dialplan/asterisk/{name}.sample").decode()
