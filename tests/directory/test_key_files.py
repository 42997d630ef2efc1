"""Our encryption keys survive a restart, are ours alone, and go when nothing needs them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx_stir.directory.key_files import ENTRY_LIFETIME_SECONDS, MOST_KEYS, KeyFiles
from pbx_stir.errors import ConfigurationError

NOW = 1_750_000_000.0
DAY = 86_400.0


@pytest.fixture
def files(tmp_path: Path) -> KeyFiles:
    """An empty directory of keys."""
    return KeyFiles(tmp_path / "state" / "keys")


def test_a_key_survives_a_restart(files: KeyFiles) -> None:
    """What was made is read again, with all that was noted of it."""
    key = files.new(NOW)
    files.published(key.name, 7, NOW + DAY)
    (read,) = KeyFiles(files.directory).load()
    assert read.public == key.public
    assert read.private.private_bytes_raw() == key.private.private_bytes_raw()
    assert (read.name, read.created, read.serial, read.published_until) == (
        key.name,
        NOW,
        7,
        NOW + DAY,
    )


def test_only_we_can_read_them(files: KeyFiles) -> None:
    """The directory has mode 0700 and every file in it 0600, whatever the umask."""
    before = os.umask(0)
    try:
        files.new(NOW)
        files.next_serial(NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(files.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.directory.iterdir()} == {0o600}


def test_a_key_is_not_shown(files: KeyFiles) -> None:
    """The text of a key in a log or traceback names it, and holds none of it."""
    key = files.new(NOW)
    assert repr(key) == f"OwnKey({key.name})"


def test_lax_permissions_are_refused(files: KeyFiles) -> None:
    """A key or directory that others may read is an error that says how to mend it."""
    path = files.directory / (files.new(NOW).name + ".key")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        files.load()
    path.chmod(0o600)
    files.directory.chmod(0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        KeyFiles(files.directory)


def test_a_link_is_refused(files: KeyFiles, tmp_path: Path) -> None:
    """A key file that is a link may lead to what others write."""
    path = files.directory / (files.new(NOW).name + ".key")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="plain file"):
        files.load()
    (tmp_path / "link").symlink_to(files.directory)
    with pytest.raises(ConfigurationError, match="not a directory"):
        KeyFiles(tmp_path / "link")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.dictionaries(st.text(), st.text()).map(json.dumps))
def test_a_broken_file_is_named(files: KeyFiles, octets: bytes | str) -> None:
    """Whatever stands in a key file, it is a key or an error that names the file."""
    path = files.directory / "broken.key"
    path.write_bytes(octets.encode() if isinstance(octets, str) else octets)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"broken\.key"):
        files.load()


def test_the_newest_comes_first(files: KeyFiles) -> None:
    """Keys are in the order in which they were made, whatever the clock said."""
    names = [files.new(NOW + second).name for second in (5, 0, 9)]
    assert [key.name for key in files.load()] == names[::-1]


def test_a_key_is_replaced_after_its_lifetime(files: KeyFiles) -> None:
    """The current key stays for seven days, then there is another one."""
    first = files.current(NOW)
    assert files.current(NOW + 7 * DAY - 1).name == first.name
    second = files.current(NOW + 7 * DAY)
    assert second.name != first.name
    assert [key.name for key in files.load()] == [second.name, first.name]


def test_a_replaced_key_is_erased_one_entry_lifetime_after_its_last_record(
    files: KeyFiles,
) -> None:
    """Until then something sealed to it may still be at a CPS; afterwards it is gone."""
    old = files.new(NOW)
    files.published(old.name, 1, NOW + 3 * DAY)
    files.published(old.name, 2, NOW + 2 * DAY)
    new = files.new(NOW + DAY)
    last = NOW + 3 * DAY + ENTRY_LIFETIME_SECONDS
    assert files.erase_expired(last - 1) == ()
    assert files.erase_expired(last) == (old.name,)
    assert [key.name for key in files.load()] == [new.name]
    assert not [path for path in files.directory.iterdir() if path.name.startswith(".")]


def test_the_newest_key_is_never_erased(files: KeyFiles) -> None:
    """A service that was down for a month still has its key, and says so to nobody."""
    key = files.new(NOW)
    files.published(key.name, 1, NOW + DAY)
    assert files.erase_expired(NOW + 365 * DAY) == ()


def test_a_key_never_published_stays_for_its_lifetime(files: KeyFiles) -> None:
    """It may have been handed out by hand."""
    old = files.new(NOW)
    files.new(NOW + 1)
    assert files.erase_expired(NOW + 7 * DAY) == ()
    assert files.erase_expired(NOW + 7 * DAY + ENTRY_LIFETIME_SECONDS) == (old.name,)


def test_what_a_crash_left_is_erased(files: KeyFiles) -> None:
    """An unfinished file may hold a private key, and goes with the next erasing."""
    for name in (".new-abc", ".erased-1-ff.key"):
        (files.directory / name).write_bytes(b"private")
    files.erase_expired(NOW)
    assert {path.name for path in files.directory.iterdir()} == {"lock"}


def test_a_key_that_is_being_erased_is_none(files: KeyFiles) -> None:
    """Who reads the keys at that moment, or after a crash in it, gets the others."""
    key = files.new(NOW)
    (files.directory / ".erased-1-ff.key").write_bytes(bytes(100))
    assert [each.name for each in files.load()] == [key.name]


def test_a_serial_only_grows(files: KeyFiles) -> None:
    """Serials follow the clock, but never back, and survive a restart."""
    assert files.next_serial(NOW) == int(NOW)
    assert files.next_serial(NOW - 1000) == int(NOW) + 1
    assert KeyFiles(files.directory).next_serial(0) == int(NOW) + 2
    assert files.next_serial(NOW + 50) == int(NOW) + 50


def test_a_broken_serial_is_named(files: KeyFiles) -> None:
    """Starting again from the clock could go back: the administrator decides."""
    files.next_serial(NOW)
    (files.directory / "serial").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="serial"):
        files.next_serial(NOW)


def test_the_number_of_keys_is_bounded(files: KeyFiles) -> None:
    """Every key costs time with each call."""
    for second in range(MOST_KEYS):
        files.new(NOW + second)
    with pytest.raises(ConfigurationError, match="already"):
        files.new(NOW + 100)


def test_a_change_is_noticed(files: KeyFiles) -> None:
    """What another process adds gives another change number."""
    before = files.changed()
    KeyFiles(files.directory).new(NOW)
    assert files.changed() != before


def test_an_unusable_place_is_named(tmp_path: Path) -> None:
    """A directory that cannot be made is said with its name."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="file"):
        KeyFiles(tmp_path / "file" / "keys")


def test_a_revocation_is_noted_for_every_process(files: KeyFiles) -> None:
    """A running service learns that the administrator revoked, until he publishes anew."""
    other = KeyFiles(files.directory)
    files.suspend()
    assert other.suspended()
    other.resume()
    other.resume()
    assert not files.suspended()
