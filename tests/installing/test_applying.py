"""A plan is carried out whole, or not at all."""

from __future__ import annotations

import base64
import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing.applying import apply
from pbx_stir.installing.changes import Change, Folder, Plan
from pbx_stir.installing.journal import Journal, JournalFile
from pbx_stir.installing.machine import Machine
from pbx_stir.installing.places import Place
from tests.installing.conftest import EXTENSIONS, MANAGER, Site

EXTENSIONS_CONF = "/etc/asterisk/extensions.conf"
NOBODY = 65534
NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root gives files to somebody else: run the tests as root"
)


def test_what_cannot_be_written_changes_nothing(site: Site) -> None:
    """Where the last of many files cannot be written, the others are as they were."""
    before = site.snapshot()
    plan = site.plan(trunks=("a",), with_cps=True)
    unwritable = Change(site.machine.path("/nowhere/file"), None, b"x")
    plan = replace(plan, changes=(*plan.changes, unwritable))
    with pytest.raises(ConfigurationError, match="nothing was changed") as told:
        apply(plan, site.machine, site.journal)
    assert told.value.message.startswith(f"cannot write {unwritable.path}:")
    assert site.snapshot() == before


def test_a_failed_upgrade_keeps_what_was_installed(site: Site) -> None:
    """Where installing again fails, what the first time did stands, and can be undone."""
    first = site.snapshot()
    site.install(trunks=("a",))
    before = site.snapshot()
    plan = site.plan(trunks=("a", "b"))
    unwritable = Change(site.machine.path("/nowhere/file"), None, b"x")
    with pytest.raises(ConfigurationError):
        apply(replace(plan, changes=(*plan.changes, unwritable)), site.machine, site.journal)
    assert site.snapshot() == before
    site.undo()
    assert site.snapshot() == first


def test_a_file_that_changed_meanwhile(site: Site) -> None:
    """What was changed since it was looked at is not overwritten."""
    plan = site.plan(trunks=("a",))
    site.put(EXTENSIONS_CONF, EXTENSIONS + b"; now\n")
    before = site.snapshot()
    with pytest.raises(ConfigurationError, match="meanwhile"):
        apply(plan, site.machine, site.journal)
    assert site.snapshot() == before


def test_folders_in_the_way(site: Site) -> None:
    """A folder where a file should be is told, and nothing is changed."""
    site.machine.path("/etc/asterisk/pbx-stir.conf").mkdir()
    before = site.snapshot()
    with pytest.raises(ConfigurationError, match="no plain file"):
        site.install()
    assert site.snapshot() == before


def test_new_folders_have_their_mode(site: Site) -> None:
    """A folder is made with those above it, with its mode, and goes again if it is empty."""
    folder = site.machine.path("/srv/new/folder")
    before = site.snapshot()
    apply(Plan(folders=(Folder(folder, 0o750),)), site.machine, site.journal)
    assert folder.stat().st_mode & 0o777 == 0o750
    site.undo()
    assert site.snapshot() == before


def test_a_folder_in_use_stays(site: Site) -> None:
    """A folder into which something was put is kept, and that is said."""
    site.install()
    site.put("/etc/pbx-stir/mine", b"x")
    assert "something in it" in site.undo()["/etc/pbx-stir"]
    assert site.read("/etc/pbx-stir/mine") == b"x"


def test_a_link_of_somebody_elses_stays(site: Site) -> None:
    """The command's link is removed only where it is still ours."""
    site.install()
    link = site.machine.path("/usr/local/bin/pbx-stir")
    link.unlink()
    link.symlink_to("/opt/other")
    assert "another" in site.undo()["/usr/local/bin/pbx-stir"]
    assert link.is_symlink()


def test_what_is_gone_is_said(site: Site) -> None:
    """Files and lines that the administrator has taken out himself are no error."""
    site.install(trunks=("a",))
    site.machine.path("/etc/asterisk/pbx-stir.conf").unlink()
    site.put(EXTENSIONS_CONF, EXTENSIONS + b"; mine\n")
    told = site.undo()
    assert told["/etc/asterisk/pbx-stir.conf"] == "was gone already"
    assert told[EXTENSIONS_CONF] == "kept: our lines are not in it any more"
    assert site.read(EXTENSIONS_CONF) == EXTENSIONS + b"; mine\n"


def test_undo_goes_on_after_an_error(site: Site) -> None:
    """Damaged marks stop undoing with an error; put right, it goes on where it stopped."""
    site.install(trunks=("a",))
    text = site.read(EXTENSIONS_CONF)
    site.put(EXTENSIONS_CONF, text.replace(b"; END pbx-stir\n", b""))
    with pytest.raises(ConfigurationError, match="damaged"):
        site.undo()
    site.put(EXTENSIONS_CONF, b"; mine\n" + text)
    site.undo()
    assert site.read(EXTENSIONS_CONF) == b"; mine\n" + EXTENSIONS
    assert site.journal.load().entries == ()


def test_an_upgrade_moves_the_command(site: Site) -> None:
    """The link of another environment is led to the one that installs, and given back."""
    link = site.machine.path("/usr/local/bin/pbx-stir")
    link.symlink_to("/opt/pbx-stir-old/bin/pbx-stir")
    site.install()
    assert str(link.readlink()) == "/opt/pbx-stir/bin/pbx-stir"
    assert not site.plan().changes
    site.undo()
    assert str(link.readlink()) == "/opt/pbx-stir-old/bin/pbx-stir"


def test_a_command_that_is_no_link_stays(site: Site) -> None:
    """A program of that name that somebody has put there is his."""
    site.put("/usr/local/bin/pbx-stir", b"#!/bin/sh\n")
    site.install()
    assert site.read("/usr/local/bin/pbx-stir") == b"#!/bin/sh\n"


def test_a_file_made_anew_and_changed_goes_again(site: Site) -> None:
    """A file that was not there before the first of two installations is removed."""
    before = site.snapshot()
    site.install(cel=True)
    assert site.read("/etc/asterisk/cel.conf")
    changed = site.plan(cel=True, cdr=True)
    path = site.machine.path("/etc/asterisk/cel.conf")
    old = path.read_bytes()
    newer = Change(path, old, old.replace(b"enable", b"enable "), block=True)
    apply(replace(changed, changes=(*changed.changes, newer)), site.machine, site.journal)
    site.undo()
    assert site.snapshot() == before


def test_no_secret_is_kept_that_undoing_does_not_need(site: Site, tmp_path: Path) -> None:
    """Of new files, keys among them, the journal has a hash; erased, nothing of it is left."""
    certificate, key = tmp_path / "example.pem", tmp_path / "example.key"
    certificate.write_text("certificate\n")
    key.write_text("the private key\n")
    site.install(certificate=certificate, key=key)
    kept = site.journal.path.read_bytes()
    ours = site.read("/etc/pbx-stir/ami.secret")
    for secret in (b"the private key\n", ours, ours.strip()):
        for shift in range(3):
            # base64 of a text within another one
            coded = base64.b64encode(b"\0" * shift + secret)[4:-4]
            assert coded not in kept
        assert secret not in kept
    site.undo()
    assert not site.journal.path.parent.exists()


class Meddling(JournalFile):
    """A journal that lets somebody change files after they were looked at, before the writing."""

    def __init__(self, file: JournalFile, meddle: Callable[[], None]) -> None:
        super().__init__(file.path.parent, file.path.stem)
        self._meddle: Callable[[], None] | None = meddle

    def save(self, journal: Journal) -> None:
        """Save, and meddle once."""
        super().save(journal)
        meddle, self._meddle = self._meddle, None
        if meddle is not None:
            meddle()


def _swapped(path: Path, victim: Path) -> Callable[[], None]:
    def swap() -> None:
        if path.exists():
            path.rename(path.with_name("x"))
        path.symlink_to(victim)

    return swap


@pytest.mark.parametrize("name", ["extensions.conf", "manager.conf", "pbx-stir.conf", "cel.conf"])
def test_a_link_put_in_between_is_not_followed(site: Site, name: str) -> None:
    """A file, old or new, that becomes a link before it is written: all else is as it was."""
    victim = site.put("/root/.bashrc", b"root's\n")
    path = site.machine.path(f"/etc/asterisk/{name}")
    before = site.snapshot()
    journal = Meddling(site.journal, _swapped(path, victim))
    with pytest.raises(ConfigurationError, match=f"{name} has changed meanwhile"):
        apply(site.plan(trunks=("a",), cel=True), site.machine, journal)
    assert victim.read_bytes() == b"root's\n"
    path.unlink()
    if path.with_name("x").exists():
        path.with_name("x").rename(path)
    assert site.snapshot() == before


def test_taking_back_follows_no_link(site: Site) -> None:
    """Where a plan fails after a file was written that is a link by then, none is followed."""
    victim = site.put("/root/.bashrc", b"root's\n")
    path = site.machine.path(EXTENSIONS_CONF)
    plan = site.plan(trunks=("a",))
    blocked = site.machine.path("/etc/asterisk/manager.conf")

    def meddle() -> None:
        blocked.write_bytes(b"; now\n")

    written = Place.write

    def write(held: Place, octets: bytes, mode: int, ids: tuple[int, int] | None) -> None:
        written(held, octets, mode, ids)
        if held.path == path and not path.is_symlink():
            _swapped(path, victim)()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Place, "write", write)
        with pytest.raises(ConfigurationError, match=r"manager\.conf has .*meanwhile") as told:
            apply(plan, site.machine, Meddling(site.journal, meddle))
    assert victim.read_bytes() == b"root's\n"
    assert path.is_symlink()
    # ours is at "x" now: what is in its place is as it was left, and undoing knows of it
    assert str(path) in told.value.hint
    path.with_name("x").replace(path)
    site.undo()
    assert site.read(EXTENSIONS_CONF) == EXTENSIONS


@NEEDS_ROOT
def test_undoing_follows_no_link_of_somebody_elses(site: Site) -> None:
    """A link of the PBX's user to root's file is an error when undoing, with the file as it is."""
    _belongs_to_nobody(site)
    site.install(trunks=("a",))
    path = site.machine.path(EXTENSIONS_CONF)
    victim = site.put("/root/.bashrc", path.read_bytes())
    _swapped(path, victim)()
    os.lchown(path, NOBODY, NOBODY)
    with pytest.raises(ConfigurationError, match="another user"):
        site.undo()
    assert victim.read_bytes() == path.with_name("x").read_bytes()
    path.with_name("x").replace(path)
    assert site.undo()[EXTENSIONS_CONF] == "as it was"
    assert site.read(EXTENSIONS_CONF) == EXTENSIONS


def _belongs_to_nobody(site: Site) -> None:
    etc = site.machine.path("/etc/asterisk")
    for path in (etc, *etc.iterdir()):
        os.chown(path, NOBODY, NOBODY)


def _race(folder: str, victim: str, ready: Event) -> None:
    """As the PBX's user: when a file of ours comes up, a link takes its neighbour's place."""
    os.chdir(folder)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    ready.set()
    while not any(name.startswith((".pbx-stir", "pbx-stir")) for name in os.listdir()):
        pass
    os.rename("extensions.conf", "x")
    os.symlink(victim, "extensions.conf")


@NEEDS_ROOT
@pytest.mark.parametrize("attempt", range(5))
def test_the_pbxs_user_cannot_have_roots_files_written(attempt: int) -> None:
    """With the PBX's user swapping files for links while root installs, root's file stays so.

    Nor is anything of that user's wording root's afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="pbx-stir-test-") as name:
        root = Path(name)
        root.chmod(0o755)
        site = Site(Machine(root))
        for folder in ("etc/systemd/system", "var/lib", "usr/local/bin"):
            site.machine.path(folder).mkdir(parents=True)
        site.put(EXTENSIONS_CONF, b"; id > /tmp/pwned\n" * 20_000 + EXTENSIONS)
        site.put("/etc/asterisk/manager.conf", MANAGER)
        victim = site.put("/victim", b"root's\n", 0o644)
        _belongs_to_nobody(site)
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        etc = str(site.machine.path("/etc/asterisk"))
        racer = context.Process(target=_race, args=(etc, str(victim), ready))
        racer.start()
        try:
            assert ready.wait(30)
            with contextlib.suppress(ConfigurationError):
                site.install(trunks=("a",))
        finally:
            racer.kill()
            racer.join()
        assert victim.read_bytes() == b"root's\n"
        for path in (root / "etc/asterisk").iterdir():
            assert path.lstat().st_uid == NOBODY
