"""A machine in a folder, with an Asterisk's or a FreeSWITCH's configuration and nobody's users."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from pbx_stir.installing.applying import apply, outstanding, undo
from pbx_stir.installing.asterisk import plan_asterisk
from pbx_stir.installing.changes import Plan
from pbx_stir.installing.freeswitch import plan_freeswitch
from pbx_stir.installing.journal import JournalFile
from pbx_stir.installing.machine import Machine
from pbx_stir.installing.wishes import Wishes

EXTENSIONS = b"""[general]
static=yes
[globals]
CONSOLE=Console/dsp
[from-carrier-1]
exten => _X.,1,Dial(PJSIP/desk)
"""
MANAGER = b"[general]\nenabled = yes\nport = 5038\n"


@dataclass
class Site:
    """A machine under a folder, and what stands in it."""

    machine: Machine
    pbx: str = "asterisk"

    @property
    def root(self) -> Path:
        """Its root folder."""
        return self.machine.root

    @property
    def journal(self) -> JournalFile:
        """What was installed."""
        return JournalFile(self.machine.path("/var/lib/pbx-stir-install"), self.pbx)

    def put(self, name: str, octets: bytes, mode: int = 0o640) -> Path:
        """Write a file of the machine."""
        path = self.machine.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)
        path.chmod(mode)
        return path

    def read(self, name: str) -> bytes:
        """A file of the machine."""
        return self.machine.path(name).read_bytes()

    def plan(self, **wishes: object) -> Plan:
        """What installing would change now."""
        make = plan_asterisk if self.pbx == "asterisk" else plan_freeswitch
        return outstanding(make(self.machine, Wishes(**wishes)))  # type: ignore[arg-type]

    def install(self, **wishes: object) -> Plan:
        """Install; gives what was done."""
        plan = self.plan(**wishes)
        apply(plan, self.machine, self.journal)
        return plan

    def undo(self) -> dict[str, str]:
        """Take back; gives what became of each file, by its path on the machine."""
        return {"/" + os.path.relpath(one.path, self.root): one.what for one in undo(self.journal)}

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """Every file and folder with its octets, mode and owner."""
        found: dict[str, tuple[object, ...]] = {}
        for path in sorted(self.root.rglob("*")):
            status = path.lstat()
            link = os.readlink(path) if path.is_symlink() else ""
            octets = b"" if path.is_dir() or link else path.read_bytes()
            name = str(path.relative_to(self.root))
            found[name] = (octets, link, status.st_mode, status.st_uid, status.st_gid)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A machine with systemd and a plain Asterisk."""
    made = Site(Machine(tmp_path / "machine"))
    for folder in ("etc/systemd/system", "var/lib", "usr/local/bin", "etc/asterisk"):
        made.machine.path(folder).mkdir(parents=True)
    made.put("/etc/asterisk/extensions.conf", EXTENSIONS)
    made.put("/etc/asterisk/manager.conf", MANAGER)
    return made
