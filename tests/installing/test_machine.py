"""A machine by its root folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing.changes import Owner
from pbx_stir.installing.machine import Machine, run
from pbx_stir.installing.places import LARGEST_FILE


def test_paths_are_the_machines_own(tmp_path: Path) -> None:
    """A path of the machine is under its root; the root "/" is this machine."""
    assert Machine(tmp_path).path("/etc/x") == tmp_path / "etc/x"
    assert Machine().path("/etc/x") == Path("/etc/x")
    assert Machine().here
    assert not Machine(tmp_path).here


def test_reading(tmp_path: Path) -> None:
    """What is not there is None; what is no plain file, or enormous, is an error."""
    machine = Machine(tmp_path)
    assert machine.read(tmp_path / "none") is None
    with pytest.raises(ConfigurationError, match="plain file"):
        machine.read(tmp_path)
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(ConfigurationError, match="plain file"):
        machine.read(tmp_path / "broken")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="plain file"):
        machine.read(tmp_path / "pipe")
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, LARGEST_FILE + 1)
    with pytest.raises(ConfigurationError, match="larger"):
        machine.read(large)


def test_patterns_do_not_leave_the_root(tmp_path: Path) -> None:
    """What Asterisk includes by an absolute path is looked for under the root."""
    folder = tmp_path / "etc/[asterisk]"
    folder.mkdir(parents=True)
    (folder / "a.conf").touch()
    machine = Machine(tmp_path)
    assert machine.matching(folder, "*.conf") == [folder / "a.conf"]
    assert machine.matching(folder, "/etc/?asterisk?/a.conf") == [folder / "a.conf"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others: run as root")
def test_owners_by_name() -> None:
    """Names become ids; one that is not known leaves the file whose it is."""
    machine = Machine()
    assert machine.ids(Owner()) == (0, 0)
    assert machine.ids(Owner("#12", "#13")) == (12, 13)
    assert machine.ids(Owner("nobody-of-that-name", "")) is None


def test_commands_tell_what_went_wrong() -> None:
    """A command that ends well says nothing, another its last words."""
    assert run([sys.executable, "-c", ""]) == ""
    assert run([sys.executable, "-c", "import sys; sys.exit('no\\nlast words')"]) == "last words"
    assert run([sys.executable, "-c", "import sys; sys.exit(3)"]) == "exit status 3"
    assert "No such file" in run(["/nowhere/command"])
