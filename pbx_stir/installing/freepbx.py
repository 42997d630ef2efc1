"""What installing changes in FreePBX's own hook files, those that it never writes itself.

``extensions_custom.conf`` comes before the empty ``macro-dialout-trunk-predial-hook`` of
``extensions.conf``, and who is first wins. FreePBX 17 runs the hook as a subroutine, 16 as a macro:
how its empty one ends tells which. Plans only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing import blocks
from pbx_stir.installing.changes import Change, Plan
from pbx_stir.installing.wishes import Wishes

if TYPE_CHECKING:
    from pbx_stir.installing.asterisk import AsteriskFolder

_HOOK: Final = "macro-dialout-trunk-predial-hook"


def plan_freepbx(folder: AsteriskFolder, wishes: Wishes, secret: str) -> Plan:
    """The changes of the three files, and what is left to do in FreePBX's own pages.

    Raises ConfigurationError where this is no FreePBX, or our manager user is somebody else's.
    """
    from pbx_stir.installing.asterisk import included, manager_user, switches

    stub = folder.text("extensions.conf")
    if "extensions_custom.conf" not in stub:
        raise ConfigurationError(
            f"{folder.path}/extensions.conf does not include extensions_custom.conf",
            hint="is this FreePBX? without --freepbx it is plain Asterisk",
        )
    custom = folder.text("extensions_custom.conf")
    left: list[str] = []
    lines: list[str] = []
    names = {one.name for one in folder.sections("extensions_custom.conf")}
    if _HOOK in names:
        left.append(
            f"[{_HOOK}] is there already: add to it, before it ends,\n"
            " same => n,Gosub(pbx-stir-outbound,s,1(${DIAL_TRUNK},${OUTNUM}))"
        )
    else:
        lines += [
            f"[{_HOOK}]",
            "exten => s,1,Gosub(pbx-stir-outbound,s,1(${DIAL_TRUNK},${OUTNUM}))",
            f" same => n,{_end_of(stub)}",
        ]
    for name in _trunks(custom, wishes):
        lines += [
            f"[from-stir-{name}]",
            f"exten => _[0-9+].,1,Gosub(pbx-stir-inbound,s,1({name},${{EXTEN}}))",
            " same => n,Gosub(pbx-stir-name,s,1)",
            " same => n,Goto(from-trunk,${EXTEN},1)",
            f"exten => s,1,Gosub(pbx-stir-inbound,s,1({name},${{EXTEN}}))",
            " same => n,Gosub(pbx-stir-name,s,1)",
            " same => n,Goto(from-trunk,s,1)",
        ]
        left.append(f"in the settings of trunk {name}: Context = from-stir-{name}")
    if not wishes.trunks:
        left.append("name your trunks by FreePBX's numbers of them, such as --trunk 1")
    lines += included(custom, wishes)
    turned = switches(folder.text("globals_custom.conf"), wishes)
    changes = [folder.block("extensions_custom.conf", lines)]
    if turned:
        changes.append(folder.block("globals_custom.conf", turned))
    changes.append(_manager(folder, manager_user(secret)))
    return Plan(tuple(changes), left=tuple(left))


def _end_of(stub: str) -> str:
    """How FreePBX's own hook ends: as a subroutine, or (16 and before) as a macro."""
    found = re.search(rf"(?m)^\[{_HOOK}\][^\[]*?exten\s*=>\s*s,1,([A-Za-z]+)", stub)
    return "MacroExit()" if found and found[1].lower() == "macroexit" else "Return()"


def _trunks(custom: str, wishes: Wishes) -> tuple[str, ...]:
    """Those asked for, and those of an earlier run."""
    before = re.findall(r"(?m)^\[from-stir-([A-Za-z0-9_.-]+)\]", "\n".join(blocks.lines_in(custom)))
    return tuple(dict.fromkeys((*before, *wishes.trunks)))


def _manager(folder: AsteriskFolder, user: list[str]) -> Change:
    if any(one.name == "pbx-stir" for one in folder.sections("manager.conf")):
        raise ConfigurationError(
            f"{folder.path}/manager.conf has a user pbx-stir already",
            hint="take that section out: install writes its own, with a new secret",
        )
    return folder.block("manager_custom.conf", user, like="manager.conf")
