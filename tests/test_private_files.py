"""Tests of pbx_stir.private_files: secrets on disk, whole, alone, and gone when erased."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.private_files import ERASED, UNFINISHED, PrivateFolder


@pytest.fixture
def folder(tmp_path: Path) -> PrivateFolder:
    """A folder that did not exist."""
    return PrivateFolder(tmp_path / "a" / "secrets", holds="our secrets")


def test_what_is_written_is_read_by_us_alone(folder: PrivateFolder) -> None:
    """Modes are 700 and 600, octets come back up to the bound, nothing is left beside."""
    path = folder.path / "key"
    folder.write(path, b"secret")
    assert folder.read(path, 100) == b"secret"
    assert folder.read(path, 3) == b"sec"
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in folder.path.iterdir()] == ["key"]
    assert folder.read(folder.path / "other", 9) is None


def test_what_others_may_read_is_refused(folder: PrivateFolder, tmp_path: Path) -> None:
    """A file or folder that is open to others is named, with the command that mends it."""
    path = folder.path / "key"
    folder.write(path, b"secret")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"others may read our secrets \(chmod 600 "):
        folder.read(path, 9)
    folder.path.chmod(0o750)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        PrivateFolder(folder.path, holds="our secrets")
    plain = tmp_path / "plain"
    plain.touch()
    with pytest.raises(ConfigurationError, match="plain"):
        PrivateFolder(plain, holds="our secrets")


def test_links_are_not_followed(folder: PrivateFolder, tmp_path: Path) -> None:
    """Whoever puts a link there has nothing read, and nothing overwritten."""
    target = tmp_path / "target"
    target.write_bytes(b"other")
    target.chmod(0o600)
    (folder.path / "key").symlink_to(target)
    with pytest.raises(ConfigurationError, match="cannot read"):
        folder.read(folder.path / "key", 9)
    with pytest.raises(ConfigurationError, match="cannot erase"):
        folder.erase(folder.path / "key")
    assert target.read_bytes() == b"other"


def test_what_is_erased_is_overwritten(folder: PrivateFolder) -> None:
    """Another name of the same octets shows zeros afterwards."""
    path, witness = folder.path / "key", folder.path.parent / "witness"
    folder.write(path, b"secret")
    os.link(path, witness)
    folder.erase(path)
    assert not path.exists()
    assert witness.read_bytes() == bytes(6)


def test_a_write_that_fails_leaves_what_was(
    folder: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old octets stay, whole, and nothing unfinished."""
    path = folder.path / "key"
    folder.write(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match=r"cannot write .*No space left"):
        folder.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in folder.path.iterdir()] == ["key"]


def test_what_a_crash_left_is_tidied(folder: PrivateFolder) -> None:
    """Unfinished and half erased files go, also those of folders inside."""
    inside = folder.path / "inside"
    inside.mkdir()
    left = [folder.path / f"{UNFINISHED}1", inside / f"{UNFINISHED}2", folder.path / f"{ERASED}key"]
    for path in left:
        path.write_bytes(b"secret")
    folder.write(folder.path / "key", b"kept")
    folder.tidy()
    assert not any(path.exists() for path in left)
    assert folder.read(folder.path / "key", 9) == b"kept"


def test_the_lock_is_one_holders(folder: PrivateFolder) -> None:
    """A second one waits until the first has let go."""
    order = []
    inside = threading.Event()

    def second() -> None:
        inside.set()
        with folder.locked():
            order.append("second")

    with folder.locked():
        thread = threading.Thread(target=second)
        thread.start()
        inside.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
