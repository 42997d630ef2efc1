"""What comes with pbx_stir for an administrator: from a clone and from a wheel."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pbx_stir import config
from pbx_stir.installing.configuration import ASTERISK, starting_configuration
from pbx_stir.installing.shipped import shipped
from pbx_stir.installing.wishes import Wishes

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("dialplan/asterisk", "dialplan/freeswitch", "systemd")
FILES = sorted(
    str(path.relative_to(REPOSITORY)) for one in FOLDERS for path in (REPOSITORY / one).iterdir()
)


@pytest.mark.parametrize("name", FILES)
def test_found_in_a_clone(name: str) -> None:
    """Every file of the top-level folders is found, as it is there."""
    assert shipped(name) == (REPOSITORY / name).read_bytes()


def test_the_sample_is_what_install_writes(tmp_path: Path) -> None:
    """The sample configuration is one to start with, and it loads."""
    wishes = Wishes(
        trunks=("carrier-1",),
        numbers=("+12125551200-+12125551299",),
        country_code="1",
        certificate=Path("company.pem"),
        key=Path("company.key"),
        trust=(Path("authority.pem"),),
    )
    assert shipped("pbx-stir.toml").decode() == starting_configuration(wishes, ASTERISK)
    file = tmp_path / "pbx-stir.toml"
    file.write_bytes(shipped("pbx-stir.toml"))
    config.load(file)


def test_the_wheel_has_them(tmp_path: Path) -> None:
    """What is built, and a wheel made of, carries every file with the repository's octets."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("no setuptools in this environment: nothing can be built without a network")
    clone = tmp_path / "clone"
    for name in ("pbx_stir", "dialplan", "systemd"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, clone / name, symlinks=True, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, clone)
    built = tmp_path / "built"
    command = (sys.executable, "-c", "import setuptools; setuptools.setup()")
    done = subprocess.run(
        [*command, "build_py", "--build-lib", str(built)],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for name in (*FILES, "pbx-stir.toml"):
        inside = built / "pbx_stir/installing/shipped" / name
        assert inside.read_bytes() == shipped(name), name
        assert not inside.is_symlink()
