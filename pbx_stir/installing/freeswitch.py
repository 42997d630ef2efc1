"""What installing changes in FreeSWITCH's folders. Plans only.

Lua scripts go to its folder of scripts; our lines go, between marks, into ``vars.xml``, into
``dialplan/public.xml`` before every other extension, and into the gateways named like the trunks.
Its event socket's password is taken from its configuration, and is never shown.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing import blocks
from pbx_stir.installing.blocks import Style
from pbx_stir.installing.changes import Change, Owner, Plan
from pbx_stir.installing.configuration import FREESWITCH
from pbx_stir.installing.machine import Machine
from pbx_stir.installing.service import plan_service
from pbx_stir.installing.shipped import shipped
from pbx_stir.installing.wishes import Wishes

ETC: Final = (
    "/etc/freeswitch",
    "/usr/local/freeswitch/conf",
    "/usr/local/freeswitch/etc/freeswitch",
)
SCRIPTS: Final = ("/usr/share/freeswitch/scripts", "/usr/local/freeswitch/scripts")
_EVERYBODYS: Final = "ClueCon"
_SWITCH: Final = re.compile(r'data="(stir_[A-Za-z0-9_.-]+)=')
_HOOKS: Final = "execute_on_originate"


def plan_freeswitch(machine: Machine, wishes: Wishes) -> Plan:
    """All that ``pbx-stir install freeswitch`` does. Raises ConfigurationError, UsageError."""
    etc = _folder(machine, (wishes.etc,) if wishes.etc else ETC, "--etc")
    scripts = _folder(machine, (wishes.scripts,) if wishes.scripts else SCRIPTS, "--scripts")
    password = _password(machine, etc)
    plan = plan_service(machine, wishes, FREESWITCH, password)
    like = machine.owner_of(scripts)
    changes = [
        _own(machine, scripts / name, shipped(f"dialplan/freeswitch/{name}"), like)
        for name in ("pbx_stir.lua", "pbx_stir_caller.lua")
    ]
    left: list[str] = []
    if password == _EVERYBODYS:
        left.append(
            f"the event socket's password is {_EVERYBODYS}, as everybody's: change it in "
            f"{etc}/autoload_configs/event_socket.conf.xml, and install again"
        )
    if _is_fusionpbx(machine, etc):
        left.append("FusionPBX has its dialplan in a database: docs/freeswitch.md says what to add")
    else:
        for made, told in (
            _vars(machine, etc, wishes),
            _public(machine, etc, wishes),
            *(_gateway(machine, etc, name) for name in wishes.trunks),
        ):
            changes += made
            left += told
    after = () if not machine.here or wishes.etc else (("fs_cli", "-x", "reloadxml"),)
    return Plan(after=after) + plan + Plan(tuple(changes), left=tuple(left))


def _folder(machine: Machine, names: tuple[str, ...], option: str) -> Path:
    for name in names:
        if (path := machine.path(name)).is_dir():
            return path
    raise ConfigurationError(
        f"no folder {machine.path(names[0])}", hint=f"is FreeSWITCH installed? {option} DIR"
    )


def _own(machine: Machine, path: Path, octets: bytes, owner: Owner) -> Change:
    return Change(path, machine.to_change(path), octets, 0o644, owner, shipped=True)


def _text(machine: Machine, path: Path) -> str:
    """A file's text. Raises ConfigurationError where it is not there."""
    octets = machine.read(path)
    if octets is None:
        raise ConfigurationError(f"no file {path}", hint="is FreeSWITCH installed? --etc DIR")
    return blocks.text_of(octets)


def _password(machine: Machine, etc: Path) -> str:
    path = etc / "autoload_configs/event_socket.conf.xml"
    text = re.sub(r"<!--.*?-->", "", _text(machine, path), flags=re.DOTALL)
    found = re.findall(r"<param\s+name=\"password\"\s+value=\"([^\"]*)\"", text)
    if len(found) != 1 or not re.fullmatch(r"[ -~]{1,500}", found[0]) or "$" in found[0]:
        raise ConfigurationError(
            f"{path}: no password that could be taken over", hint="one param of that name, in ASCII"
        )
    return ET.fromstring(f'<a b="{found[0]}"/>').get("b", "")  # noqa: S314


def _is_fusionpbx(machine: Machine, etc: Path) -> bool:
    lua = machine.read(etc / "autoload_configs/lua.conf.xml") or b""
    return machine.path("/etc/fusionpbx").is_dir() or b"xml_handler" in lua


def _with_block(machine: Machine, path: Path, text: str, lines: list[str], at: int) -> Change:
    """Our lines in a file of that text, which must be as good XML afterwards as it was."""
    if machine.to_change(path) != blocks.octets_of(text):
        raise ConfigurationError(f"{path} has changed meanwhile")
    try:
        new = blocks.put(text, lines, Style.XML, at)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}", hint=error.hint) from error
    if _is_xml(text) and not _is_xml(new):
        raise ConfigurationError(f"{path}: our lines do not fit in", hint="add them by hand")
    return Change(path, blocks.octets_of(text), blocks.octets_of(new), block=True)


def _is_xml(text: str) -> bool:
    if "<!ENTITY" in text:
        return False
    try:
        ET.fromstring(blocks.octets_of(text))  # noqa: S314
    except ET.ParseError:
        return False
    return True


def _after(text: str, pattern: str) -> int | None:
    """The offset of the line after the one, outside comments, that ``pattern`` is in."""
    hidden = re.sub(r"<!--.*?-->", lambda one: " " * len(one[0]), text, flags=re.DOTALL)
    found = re.search(pattern, hidden)
    if found is None:
        return None
    end = text.find("\n", found.end())
    return None if end < 0 or hidden[found.end() : end].strip() else end + 1


def _vars(machine: Machine, etc: Path, wishes: Wishes) -> tuple[list[Change], list[str]]:
    path = etc / "vars.xml"
    text = _text(machine, path)
    kept = [line for line in blocks.lines_in(text) if _SWITCH.search(line)]
    known = {found[1] for line in kept if (found := _SWITCH.search(line))}
    wanted = [f"stir_{way}_{name}" for name in wishes.trunks for way in ("in", "out")]
    new = [one for one in wanted if one not in known]
    lines = kept + [f'  <X-PRE-PROCESS cmd="set" data="{one}=monitor"/>' for one in new]
    if not lines:
        return [], []
    at = _after(text, r"<include>")
    if at is None:
        told = "\n".join(lines)
        return [], [f"{path} does not begin with a line <include>: add\n{told}"]
    return [_with_block(machine, path, text, lines, at)], []


def _public(machine: Machine, etc: Path, wishes: Wishes) -> tuple[list[Change], list[str]]:
    path = etc / "dialplan/public.xml"
    example = shipped("dialplan/freeswitch/inbound.xml").decode()
    found = re.search(r"(?s)^  <extension .*?</extension>\n", example, re.MULTILINE)
    assert found is not None
    if len(wishes.trunks) != 1:
        why = "which calls are whose is not known here" if wishes.trunks else "no --trunk is named"
        return [], [f"{path}: {why}; see inbound.xml in dialplan/freeswitch of pbx_stir"]
    text = _text(machine, path)
    at = _after(text, r'<context\s+name="public"\s*>')
    if at is None:
        return [], [f'{path} has no line <context name="public">: add first in yours\n{found[0]}']
    if "pbx_stir.lua inbound" in blocks.take(text):
        return [], []
    lines = found[0].replace("carrier-1", wishes.trunks[0]).splitlines()
    return [_with_block(machine, path, text, [f"  {line}" for line in lines], at)], []


def _gateway(machine: Machine, etc: Path, name: str) -> tuple[list[Change], list[str]]:
    """The variable by which all that leaves by a gateway is signed."""
    variable = (
        f'<variable name="{_HOOKS}" value="lua pbx_stir.lua outbound {name}" direction="outbound"/>'
    )
    tag = rf'<gateway\s+name="{re.escape(name)}"\s*>'
    for path in sorted((etc / "sip_profiles").glob("*/*.xml")):
        text = _text(machine, path)
        start = _after(text, tag)
        if start is None:
            continue
        ours = blocks.take(text)
        if f"pbx_stir.lua outbound {name}" in ours:
            return [], []
        if _HOOKS in ours or text.count("<gateway") > 1:
            return [], [f"{path}: add to gateway {name}, among its variables:\n{variable}"]
        inside = _after(ours, r"<variables\s*>")
        lines = [f"      {variable}"]
        if inside is None:
            lines = ["    <variables>", *lines, "    </variables>"]
        at = start if inside is None else inside
        after = "then: fs_cli -x 'sofia profile external killgw NAME', and rescan"
        return [_with_block(machine, path, text, lines, at)], [after.replace("NAME", name)]
    return [], [
        f"no gateway named {name} in {etc}/sip_profiles: what leaves by it is not signed; see "
        "gateway.xml and outbound.xml in dialplan/freeswitch of pbx_stir"
    ]
