"""The service's side of a machine: its user, ``/etc/pbx-stir``, its units, a configuration.

Plans only; what is read is read through the machine.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pbx_stir.errors import UsageError
from pbx_stir.installing.changes import Change, Folder, Owner, Plan
from pbx_stir.installing.configuration import (
    Pbx,
    cps_configuration,
    starting_configuration,
    trunk_table,
)
from pbx_stir.installing.machine import Machine
from pbx_stir.installing.shipped import shipped
from pbx_stir.installing.wishes import Wishes

USER: Final = "pbx-stir"
OURS: Final = Owner("", USER)
FOLDER: Final = "/etc/pbx-stir"
CONFIGURATION: Final = f"{FOLDER}/pbx-stir.toml"
JOURNALS: Final = "/var/lib/pbx-stir-install"
UNITS: Final = "/etc/systemd/system"
PROGRAM: Final = "/opt/pbx-stir/bin/pbx-stir"
COMMAND: Final = "/usr/local/bin/pbx-stir"
_PROGRAM_OF: Final = re.compile(rb"(?m)^ExecStart=\S+")
_HIDDEN_FROM_SERVICES: Final = ("/home/", "/root/", "/run/user/")


def plan_service(machine: Machine, wishes: Wishes, pbx: Pbx, secret: str) -> Plan:
    """Everything but what is in the PBX's own folders.

    ``secret`` is the octets of ``pbx.secret_file``, which is written where it is not there yet.
    Raises ConfigurationError, UsageError.
    """
    systemd = machine.has_systemd
    plan = _user(machine) + _configuration(machine, wishes, pbx)
    path = machine.path(pbx.secret_file)
    old = machine.to_change(path)
    # handed over by systemd it need not be readable by the service itself
    mode, owner = (0o600, Owner()) if systemd else (0o640, OURS)
    plan += Plan((Change(path, old, f"{secret}\n".encode(), mode, owner, secret=True),))
    plan += _units(machine, wishes, pbx) if systemd else _without_systemd(machine, wishes)
    return plan + _command(machine)


def existing_secret(machine: Machine, pbx: Pbx) -> str:
    """The secret that is there from before; empty where there is none."""
    octets = machine.read(machine.path(pbx.secret_file)) or b""
    return octets.decode("ascii", "replace").strip()


def _user(machine: Machine) -> Plan:
    folders = (
        Folder(machine.path(FOLDER), 0o750, OURS),
        Folder(machine.path(f"{FOLDER}/anchors"), 0o750, OURS),
    )
    if machine.has_systemd:
        # systemd makes the state folders itself
        states: tuple[Folder, ...] = ()
    else:
        states = (
            Folder(machine.path("/var/lib/pbx-stir"), 0o700, Owner(USER, USER)),
            Folder(machine.path("/var/log/pbx-stir"), 0o750, Owner(USER, USER)),
        )
    before: tuple[tuple[str, ...], ...] = ()
    if machine.here and not machine.has_user(USER):
        home = ("--home-dir", "/var/lib/pbx-stir", "--no-create-home")
        before = (("useradd", "--system", *home, "--shell", "/usr/sbin/nologin", USER),)
    return Plan(folders=folders + states, before=before)


def _configuration(machine: Machine, wishes: Wishes, pbx: Pbx) -> Plan:
    path = machine.path(CONFIGURATION)
    old = machine.to_change(path)
    if old is not None:
        for source in (wishes.certificate, wishes.key, *wishes.trust):
            _octets(machine, source)
        left = [] if pbx.table.encode() in old else [f"add to {path}:\n\n{pbx.section()}"]
        left += _missing_trunks(path, old, wishes)
        if wishes.numbers or wishes.certificate or wishes.trust or wishes.with_cps:
            left.append(
                f"{path} is there: --numbers, --certificate, --trust … change nothing in it"
            )
        return Plan(left=tuple(left))
    text = starting_configuration(wishes, pbx)
    changes = [Change(path, None, text.encode(), 0o640, OURS)]
    if wishes.certificate is not None and wishes.key is not None:
        changes += [
            _copied(machine, wishes.certificate, f"{FOLDER}/company.pem", 0o644),
            _copied(machine, wishes.key, f"{FOLDER}/company.key", 0o640, secret=True),
        ]
    changes += [
        _copied(machine, anchor, f"{FOLDER}/anchors/{anchor.name}", 0o644)
        for anchor in wishes.trust
    ]
    if wishes.with_cps:
        cps = machine.path(f"{FOLDER}/cps.toml")
        text = cps_configuration(wishes)
        changes.append(Change(cps, machine.to_change(cps), text.encode(), 0o640, OURS))
    left = [] if wishes.trust and wishes.certificate and wishes.numbers else [_fill_in(path)]
    return Plan(tuple(changes), left=tuple(left))


def _missing_trunks(path: Path, octets: bytes, wishes: Wishes) -> list[str]:
    """The trunks of ``wishes`` that a configuration does not have: their calls are unsigned."""
    try:
        trunks = tomllib.loads(octets.decode()).get("trunk", [])
        known = {one.get("name") for one in trunks}
    except (ValueError, AttributeError, TypeError):
        # what is wrong with it, check says
        return []
    missing = [one for one in wishes.trunks if one not in known]
    numbers = ", ".join(f'"{one}"' for one in wishes.numbers)
    return [
        f"add to {path}, then systemctl reload-or-restart pbx-stir:\n\n"
        f"{trunk_table(one, numbers, wishes.country_code)}"
        for one in missing
    ]


def _fill_in(path: Path) -> str:
    return f"fill in {path}: certificate, anchors, numbers, routes; then start the service"


def _copied(
    machine: Machine, source: Path, name: str, mode: int, *, secret: bool = False
) -> Change:
    path = machine.path(name)
    octets = _octets(machine, source)
    return Change(path, machine.to_change(path), octets, mode, OURS, secret=secret)


def _octets(machine: Machine, source: Path | None) -> bytes:
    """The octets of a file that was named. Raises UsageError where it is not there."""
    octets = b"" if source is None else machine.read(source)
    if octets is None:
        raise UsageError(f"no file {source}")
    return octets


def unit(name: str, program: str, credentials: Sequence[str] = ()) -> bytes:
    """The unit ``name`` for the program at that path; ``credentials`` are as in LoadCredential."""
    text = shipped(f"systemd/{name}").decode().replace(PROGRAM, program)
    lines = "".join(f"LoadCredential={one}\n" for one in credentials)
    return text.replace("UMask=0077\n", f"UMask=0077\n{lines}").encode()


def _units(machine: Machine, wishes: Wishes, pbx: Pbx) -> Plan:
    program = machine.program() if machine.here else PROGRAM
    secret = Path(pbx.secret_file)
    wanted = [("pbx-stir.service", unit("pbx-stir.service", program, [f"{secret.name}:{secret}"]))]
    cps = "pbx-stir-cps.service"
    if wishes.with_cps or os.path.lexists(machine.path(f"{UNITS}/{cps}")):
        wanted.insert(0, (cps, unit(cps, program)))
    changes = []
    after: list[tuple[str, ...]] = []
    left: list[str] = []
    whole = bool(wishes.trust) or machine.read(machine.path(CONFIGURATION)) is not None
    for name, octets in wanted:
        path = machine.path(f"{UNITS}/{name}")
        old = machine.to_change(path)
        changes.append(Change(path, old, octets, shipped=True))
        if old != octets:
            after.append(("systemctl", "enable", name))
            if name == cps and old is not None and _is_moved(old, octets):
                left.append(
                    f"{name} runs on as it was: entries of the last 30 s in its memory go with a "
                    f"restart. At a quiet moment: systemctl restart {name}"
                )
            elif whole:
                after.append(("systemctl", "restart", name))
    if after:
        after.insert(0, ("systemctl", "daemon-reload"))
    if program.startswith(_HIDDEN_FROM_SERVICES):
        left.append(f"services do not see {program}: install pbx_stir in /opt/pbx-stir")
    return Plan(tuple(changes), after=tuple(after) if machine.here else (), left=tuple(left))


def _is_moved(old: bytes, new: bytes) -> bool:
    """Whether two units differ in where the program is, and in nothing else."""
    return _PROGRAM_OF.sub(b"ExecStart=", old) == _PROGRAM_OF.sub(b"ExecStart=", new)


def _without_systemd(machine: Machine, wishes: Wishes) -> Plan:
    folders: tuple[Folder, ...] = ()
    left = ["no systemd: let your supervisor run, as user pbx-stir: pbx-stir run"]
    if wishes.with_cps:
        folders = (Folder(machine.path("/var/lib/pbx-stir-cps"), 0o700, Owner(USER, USER)),)
        left.append(f"and: pbx-stir cps --config {FOLDER}/cps.toml")
    return Plan(folders=folders, left=tuple(left))


def _command(machine: Machine) -> Plan:
    """``pbx-stir`` as a command of everybody's: a link to the program that installs it."""
    program = machine.program() if machine.here else PROGRAM
    path = machine.path(COMMAND)
    if program in {COMMAND, "/usr/bin/pbx-stir"}:
        return Plan()
    old = None
    if os.path.lexists(path):
        found = str(path.readlink()) if path.is_symlink() else ""
        # another environment's: an upgrade's goes before it, anything else is not ours
        if found == program or not found.endswith("/bin/pbx-stir"):
            return Plan()
        old = os.fsencode(found)
    folders = (Folder(path.parent, 0o755),)
    return Plan((Change(path, old, b"", target=program),), folders)
