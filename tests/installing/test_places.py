"""Files are held by their folders: no link that somebody slips in between is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing.places import place, read_any

NOBODY = 65534
NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root gives files to somebody else: run the tests as root"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that belongs to somebody else, where this user can make one."""
    made = tmp_path / "asterisk"
    made.mkdir()
    _give(made)
    return made


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        os.lchown(path, NOBODY, NOBODY)


def _file(path: Path, octets: bytes = b"old", *, given: bool = True) -> Path:
    path.write_bytes(octets)
    path.chmod(0o604)
    if given:
        _give(path)
    return path


def _link(path: Path, target: Path | str, *, given: bool = True) -> Path:
    path.symlink_to(target)
    if given:
        _give(path)
    return path


def _unfinished(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".pbx-stir-")]


def test_written_whole(folder: Path) -> None:
    """A file keeps mode and owner; a new one gets those that are named; both can be removed."""
    path = _file(folder / "a")
    before = path.stat()
    with place(path) as held:
        assert held.read() == b"old"
        held.write(b"new", 0o600, None)
        after = path.stat()
        assert path.read_bytes() == b"new"
        for name in ("st_mode", "st_uid", "st_gid"):
            assert getattr(after, name) == getattr(before, name)
        held.write(b"newer", 0o600, None)
        held.remove()
        assert not path.exists()
        held.write(b"again", 0o640, None)
    assert path.read_bytes() == b"again"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert not _unfinished(folder)


def _swap(path: Path, victim: Path) -> None:
    path.rename(path.with_name("x"))
    _link(path, victim)


def _replace(path: Path, victim: Path) -> None:
    path.with_name("x").write_bytes(victim.read_bytes())
    path.with_name("x").replace(path)


def _append(path: Path, victim: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _gone(path: Path, victim: Path) -> None:
    path.unlink()


def _folder_instead(path: Path, victim: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("meddle", [_swap, _replace, _append, _gone, _folder_instead])
@pytest.mark.parametrize("doing", ["write", "remove"])
def test_what_is_moved_meanwhile_is_refused(
    folder: Path, tmp_path: Path, meddle: Callable[[Path, Path], None], doing: str
) -> None:
    """A link, another file, other octets, nothing or a folder in the file's place: an error."""
    victim = _file(tmp_path / "victim", b"root's", given=False)
    path = _file(folder / "a")
    with place(path) as held:
        held.read()
        meddle(path, victim)
        with pytest.raises(ConfigurationError, match="meanwhile"):
            held.write(b"new", 0o600, None) if doing == "write" else held.remove()
    assert victim.read_bytes() == b"root's"
    assert not _unfinished(folder)


def test_a_new_file_takes_nobodys_place(folder: Path, tmp_path: Path) -> None:
    """What somebody has put where a new file should be is neither followed nor replaced."""
    victim = _file(tmp_path / "victim", b"root's", given=False)
    with place(folder / "a") as held:
        assert held.read() is None
        _link(folder / "a", victim)
        with pytest.raises(ConfigurationError, match="meanwhile"):
            held.write(b"new", 0o600, None)
    assert victim.read_bytes() == b"root's"
    assert (folder / "a").is_symlink()


def test_a_folder_that_is_moved_is_written_to_where_it_is(folder: Path, tmp_path: Path) -> None:
    """With another folder in its place, the one that was held gets the file."""
    path = _file(folder / "a")
    other = tmp_path / "other"
    other.mkdir()
    _file(other / "a", b"old", given=False)
    with place(path) as held:
        held.read()
        folder.rename(tmp_path / "moved")
        folder.symlink_to(other)
        held.write(b"new", 0o600, None)
    assert (other / "a").read_bytes() == b"old"
    assert (tmp_path / "moved/a").read_bytes() == b"new"


@NEEDS_ROOT
@pytest.mark.parametrize("through", ["file", "folder", "chain", "up"])
def test_a_link_to_what_is_anothers_is_refused(folder: Path, tmp_path: Path, through: str) -> None:
    """The PBX's user cannot have root write to root's file: no link of his leads there."""
    secret = tmp_path / "root"
    secret.mkdir()
    victim = _file(secret / "a", b"root's", given=False)
    path = folder / "a"
    if through == "file":
        _link(path, victim)
    elif through == "folder":
        _link(folder / "d", secret)
        path = folder / "d/a"
    elif through == "chain":
        _link(folder / "b", victim)
        _link(path, "b")
    else:
        _link(path, "../root/a")
    with pytest.raises(ConfigurationError, match="another user"), place(path) as held:
        held.read()
    assert victim.read_bytes() == b"root's"


@NEEDS_ROOT
def test_a_link_of_its_targets_owner(folder: Path, tmp_path: Path) -> None:
    """A link to what is the link's owner's is followed, file or folder, and stays a link."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    _give(elsewhere)
    target = _file(elsewhere / "a")
    _link(folder / "b", "../elsewhere/a")
    _link(folder / "d", elsewhere)
    for path in (folder / "b", folder / "d/a"):
        with place(path) as held:
            held.read()
            held.write(str(path).encode(), 0o600, None)
        assert target.read_bytes() == str(path).encode()
    assert (folder / "b").is_symlink()


@NEEDS_ROOT
def test_the_target_is_looked_at_again(folder: Path, tmp_path: Path) -> None:
    """A target that is another user's by the time it is read is refused."""
    target = _file(folder / "target")
    _link(folder / "a", "target")
    with place(folder / "a") as held:
        os.chown(target, 0, 0)
        with pytest.raises(ConfigurationError, match="another user"):
            held.read()


def test_a_link_in_our_own_folder(folder: Path, tmp_path: Path) -> None:
    """Where only root, or we, can make links they lead anywhere."""
    target = _file(folder / "target")
    link = _link(tmp_path / "link", target, given=False)
    with place(link) as held:
        held.read()
        held.write(b"new", 0o600, None)
    assert target.read_bytes() == b"new"
    assert link.is_symlink()


@NEEDS_ROOT
def test_a_folder_for_everybody(tmp_path: Path) -> None:
    """Root's folder that all may write to, as /tmp, is no reason to trust a link in it."""
    victim = _file(tmp_path / "victim", b"root's", given=False)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    _link(shared / "a", victim)
    with pytest.raises(ConfigurationError, match="another user"), place(shared / "a") as held:
        held.read()


@pytest.mark.parametrize("target", ["nowhere", "a", "../asterisk/a", "/nowhere/at/all"])
def test_links_to_nothing(folder: Path, target: str) -> None:
    """A link to nothing, or to itself, is an error and no new file."""
    _link(folder / "a", target)
    with pytest.raises((ConfigurationError, FileNotFoundError)), place(folder / "a") as held:
        held.read()


def test_no_plain_files(folder: Path) -> None:
    """A pipe that nobody writes to does not keep root waiting; a folder is no file."""
    os.mkfifo(folder / "pipe")
    for path in (folder / "pipe", folder):
        with pytest.raises(ConfigurationError, match="plain file"), place(path) as held:
            held.read()
        with pytest.raises(ConfigurationError, match="plain file"):
            read_any(path)


def test_links_are_made_in_the_folder_that_is_held(tmp_path: Path) -> None:
    """A link is made, replaced and removed, and what is no link is told."""
    path = tmp_path / "command"
    with place(path, follow=False) as held:
        assert held.link() is None
        held.link_to("/opt/a")
        assert held.link() == "/opt/a"
        held.link_to("/opt/b")
        assert os.readlink(path) == "/opt/b"
        held.link_to(None)
        path.write_bytes(b"")
        with pytest.raises(ConfigurationError, match="no link"):
            held.link()
    assert os.listdir(tmp_path) == ["command"]


def test_a_folder_is_made_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder has its mode; one that cannot be given away is not left behind."""
    with place(tmp_path / "a") as held:
        held.make_folder(0o751, None)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o751

    def refused(descriptor: int, mode: int) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr("os.fchmod", refused)
    with place(tmp_path / "b") as held, pytest.raises(PermissionError):
        held.make_folder(0o751, None)
    assert not (tmp_path / "b").exists()


def test_no_descriptor_is_left(folder: Path, tmp_path: Path) -> None:
    """Whatever becomes of a place, its descriptors are closed."""
    _file(folder / "a")
    _link(folder / "b", "a")
    _link(folder / "loop", "loop")
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a", "b", "loop", "none", "none/none", "a/b"):
        try:
            with place(folder / name) as held:
                held.read()
                held.write(b"x", 0o600, None)
        except (OSError, ConfigurationError):
            continue
    assert len(os.listdir("/proc/self/fd")) == before
