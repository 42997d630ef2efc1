"""What was installed, on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing.journal import Entry, Journal, JournalFile, digest


def test_saved_and_loaded(tmp_path: Path) -> None:
    """Octets of any kind come back; the folder and the file are the owner's alone."""
    file = JournalFile(tmp_path / "install", "asterisk")
    assert file.load() == Journal()
    journal = Journal(entries=(Entry(path="/x", original=b"\xff\x00", digest=digest(b"")),))
    file.save(journal)
    assert file.load() == journal
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700


def test_an_empty_one_is_no_file(tmp_path: Path) -> None:
    """With nothing installed nothing is left behind."""
    file = JournalFile(tmp_path / "install", "asterisk")
    file.save(Journal(folders=("/x",)))
    file.save(Journal())
    assert list(tmp_path.iterdir()) == []


def test_what_others_could_have_written_is_refused(tmp_path: Path) -> None:
    """Root carries out what it says: a journal that others may write or replace is not read."""
    file = JournalFile(tmp_path / "install", "asterisk")
    file.save(Journal(folders=("/x",)))
    file.path.parent.chmod(0o777)
    with pytest.raises(ConfigurationError):
        file.load()
    file.path.parent.chmod(0o700)
    other = tmp_path / "other"
    file.path.rename(other)
    file.path.symlink_to(other)
    with pytest.raises(ConfigurationError):
        file.load()


@pytest.mark.parametrize("octets", [b"", b"{", b'{"entries": 1}', b"\xff"])
def test_a_damaged_one_is_told(tmp_path: Path, octets: bytes) -> None:
    """What cannot be read is an error that says what to do by hand."""
    file = JournalFile(tmp_path / "install", "asterisk")
    file.save(Journal(folders=("/x",)))
    file.path.write_bytes(octets)
    with pytest.raises(ConfigurationError, match="BEGIN pbx-stir"):
        file.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to others: run as root")
def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    """Whoever owns the folder could put another journal there: it is neither read nor written."""
    file = JournalFile(tmp_path / "install", "asterisk")
    file.save(Journal(folders=("/x",)))
    os.chown(file.path.parent, 65534, 65534)
    with pytest.raises(ConfigurationError, match="another user"):
        file.load()
    with pytest.raises(ConfigurationError, match="another user"):
        file.save(Journal(folders=("/y",)))
