"""A plan is carried out whole, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing.applying import apply
from pbx_stir.installing.changes import Change, Folder, Plan
from tests.installing.conftest import EXTENSIONS, Site

EXTENSIONS_CONF = "/etc/asterisk/extensions.conf"


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
