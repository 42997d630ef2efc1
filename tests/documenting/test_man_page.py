"""The manual page."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from documenting import man_page
from pbx_stir.cli.grammar import every, whole
from pbx_stir.cli.main import COMMANDS

REPOSITORY = Path(man_page.__file__).resolve().parent.parent


def test_the_page_has_every_command_and_option() -> None:
    """With what each does."""
    page = man_page.written().replace("\\-", "-")
    for command in every(whole()):
        assert f'.SS "{" ".join(command.words)}"' in page or not command.words
        for option in command.options:
            if "--help" not in option.names:
                assert f"\\fB{option.names[-1]}\\fR" in page
    assert set(re.findall(r'^\.SS "(\w+)"', page, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.skipif(
    shutil.which("groff") is None, reason="no groff: install Debian's package groff-base"
)
def test_it_can_be_typeset() -> None:
    """Without a warning, and with lines that begin with a dot or a quote as they are."""
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-z"],
        input=man_page.written(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert man_page._text(".x 'y' \\z") == "\\&.x \\(aqy\\(aq \\ez"


def test_it_is_installed() -> None:
    """The wheel has it where man looks, below the environment's share/man."""
    settings = ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    files = settings["options.data_files"]["share/man/man1"].split()
    assert [(REPOSITORY / name).is_file() for name in files] == [True]
    assert Path(files[0]).name == "pbx-stir.1"
