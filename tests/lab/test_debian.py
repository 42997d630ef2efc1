"""Where the lab gets Debian's packages from."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import debian


def apt(tmp_path: Path, name: str, text: str) -> Path:
    """A /etc/apt with one file of sources."""
    path = tmp_path / "apt" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return tmp_path / "apt"


@pytest.fixture
def os_release(tmp_path: Path) -> Path:
    """That of a Debian 12."""
    path = tmp_path / "os-release"
    path.write_text('ID=debian\nVERSION_CODENAME=bookworm\nNAME="Debian GNU/Linux"\n')
    return path


ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb https://other.example/apt cloud-bookworm main
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://security.example/debian-security bookworm-security main
deb [arch=amd64] http://mirror.example/debian/ bookworm main contrib  # ours
"""
STANZAS = """\
Types: deb
URIs: https://deb.example/node
Suites: nodistro
Components: main

# the archive
Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb deb-src
# a comment inside
URIs: http://mirror.example/debian/
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /k.gpg
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", ONE_LINE),
        ("sources.list.d/debian.list", ONE_LINE),
        ("sources.list.d/debian.sources", STANZAS),
        ("sources.list", "deb http://mirror.example/debian/ stable main\n"),
    ],
)
def test_mirror_is_that_of_the_machine(
    tmp_path: Path, os_release: Path, name: str, text: str
) -> None:
    """Both formats are read; comments, disabled entries and other archives are passed by."""
    assert debian.mirror(apt(tmp_path, name, text), os_release) == "http://mirror.example/debian/"


def test_no_mirror_is_said(tmp_path: Path, os_release: Path) -> None:
    """A machine whose apt knows no Debian gets a sentence, not a guess."""
    etc = apt(tmp_path, "sources.list.d/other.sources", STANZAS.split("\n\n", maxsplit=1)[0])
    with pytest.raises(debian.LabError, match="no entry for Debian"):
        debian.mirror(etc, os_release)


def test_what_is_unpacked_is_not_fetched_again(tmp_path: Path) -> None:
    """With the marker of the first time nothing is run."""
    (tmp_path / "forky").mkdir()
    (tmp_path / "forky/.complete").touch()
    assert debian.unpack("forky", ["asterisk"], tmp_path) == tmp_path / "forky"
