"""Tests of pbx_stir.boot_mark: what one run of the machine left, the next removes."""

from __future__ import annotations

import fcntl
import re
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir import boot_mark
from pbx_stir.boot_mark import BootMark, since_start, this_boot

FIRST, SECOND = "1" * 32, "2" * 32


def _left(path: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + end).write_bytes(b"left")


def test_what_the_run_before_left_is_removed(tmp_path: Path) -> None:
    """With all that SQLite lays beside it; and whoever opens it later knows since when it knows."""
    path = tmp_path / "file"
    BootMark(path, FIRST).close()
    _left(path)
    before = since_start()
    marks = [BootMark(path, SECOND), BootMark(path, SECOND)]
    assert [one.name for one in tmp_path.iterdir()] == ["file-boot"]
    assert marks[0].begun == marks[1].begun
    assert marks[0].begun is not None
    # in whole milliseconds
    assert before - 0.001 <= marks[0].begun <= since_start() + 0.001
    for one in marks:
        one.close()
    path.write_bytes(b"new")
    again = BootMark(path, SECOND)
    assert again.begun == marks[0].begun
    assert path.read_bytes() == b"new"
    again.close()


def test_what_is_of_this_run_stays(tmp_path: Path) -> None:
    """Whoever was killed or ended meanwhile; and so does what has no mark yet."""
    path = tmp_path / "file"
    _left(path)
    for _ in range(2):
        mark = BootMark(path, FIRST)
        assert mark.begun is None
        mark.close()
    assert len(list(tmp_path.glob("file*"))) == 5
    assert (tmp_path / "file-boot").stat().st_mode & 0o777 == 0o600


def test_nobody_removes_what_another_has_open(tmp_path: Path) -> None:
    """Two containers of one machine may be told of two runs: they have one file nevertheless."""
    path = tmp_path / "file"
    BootMark(path, FIRST).close()
    holder = BootMark(path, FIRST)
    _left(path)
    second = BootMark(path, SECOND)
    assert path.exists()
    holder.close()
    third = BootMark(path, SECOND)
    assert path.exists(), "the second has it open still"
    second.close()
    third.close()
    BootMark(path, SECOND).close()
    assert not path.exists()


def test_where_the_run_is_not_known_what_was_forced_to_the_disk_stays(tmp_path: Path) -> None:
    """Whoever wrote it did not know its run either; and it stays when the run is known again."""
    path = tmp_path / "file"
    _left(path)
    for boot in ("", "", FIRST):
        mark = BootMark(path, boot)
        assert mark.begun is None
        assert mark.is_of_one_boot is bool(boot)
        mark.close()
    assert len(list(tmp_path.glob("file*"))) == 5


def test_where_the_run_is_not_known_what_was_not_forced_to_the_disk_is_removed(
    tmp_path: Path,
) -> None:
    """It may be of another one; all who open the new file know since when it knows everything."""
    path = tmp_path / "file"
    BootMark(path, FIRST).close()
    _left(path)
    before = since_start()
    marks = [BootMark(path, "")]
    assert [one.name for one in tmp_path.iterdir()] == ["file-boot"]
    path.write_bytes(b"new")
    marks += [BootMark(path, ""), BootMark(path, SECOND)]
    for one in marks:
        one.close()
    marks.append(BootMark(path, SECOND))
    marks[-1].close()
    assert path.read_bytes() == b"new"
    [begun] = {one.begun for one in marks}
    assert begun is not None
    assert before - 0.001 <= begun <= since_start() + 0.001
    # while somebody has it open who forces it to the disk, nobody may do otherwise
    assert [one.is_of_one_boot for one in marks] == [False, False, False, True]


@pytest.mark.parametrize("boot", [SECOND, ""])
def test_what_another_has_open_by_another_run_knows_nothing_from_before(
    tmp_path: Path, boot: str
) -> None:
    """It stays, and so does its mark; what was made until now may have been used."""
    path = tmp_path / "file"
    holder = BootMark(path, FIRST)
    _left(path)
    before = since_start()
    mark = BootMark(path, boot)
    assert path.exists()
    assert mark.begun is not None
    assert before <= mark.begun <= since_start()
    assert mark.is_of_one_boot
    assert path.with_name("file-boot").read_text() == f"{FIRST} -\n"
    mark.close()
    holder.close()


@pytest.mark.parametrize("boot", [FIRST, ""])
def test_what_was_begun_began_no_later_than_now(tmp_path: Path, boot: str) -> None:
    """Where its mark is of a run before, what was made since may pass soon nevertheless."""
    path = tmp_path / "file"
    _left(path)
    (tmp_path / "file-boot").write_text("- 999999999999.0\n")
    marks = [BootMark(path, boot), BootMark(path, boot)]
    assert path.exists()
    assert marks[0].begun == marks[1].begun
    assert marks[0].begun is not None
    assert marks[0].begun <= since_start()
    for one in marks:
        one.close()


def test_nobody_removes_what_a_version_without_marks_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said until that one ends; then the file is begun anew."""
    monkeypatch.setattr(boot_mark, "OPEN_SECONDS", 0.05)
    path = tmp_path / "file"
    BootMark(path, FIRST).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE one (n INTEGER)")
    for boot in (SECOND, ""):
        with pytest.raises(TimeoutError, match="another version has it open"):
            BootMark(path, boot)
    other.execute("INSERT INTO one VALUES (1)")
    assert other.execute("SELECT n FROM one").fetchall() == [(1,)]
    assert (tmp_path / "file-boot").read_text() == f"{FIRST} -\n"
    other.close()
    BootMark(path, SECOND).close()
    assert not path.exists()


def test_a_lock_that_stays_ends_in_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who is frozen while he opens it is said, instead of waited for without end."""
    monkeypatch.setattr(boot_mark, "LOCK_SECONDS", 0.05)
    with (tmp_path / "file-boot").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="file-boot"):
            BootMark(tmp_path / "file", FIRST)
    BootMark(tmp_path / "file", FIRST).close()


@given(st.binary(min_size=1, max_size=300) | st.from_regex(rb"[0-9a-f]{32} [-0-9.]{1,20}\n"))
def test_a_mark_that_does_not_say_this_run_is_none(octets: bytes) -> None:
    """Whatever a loss of power has made of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        (Path(folder) / "file-boot").write_bytes(octets)
        _left(path)
        mark = BootMark(path, FIRST)
        mark.close()
        says = re.fullmatch(rb"1{32} (-|[0-9]{1,15}\.[0-9]{1,9})\n", octets)
        assert path.exists() is bool(says)
        assert path.with_name("file-boot").read_bytes().startswith(FIRST.encode() + b" ")


def test_the_kernel_says_the_run_or_the_service_manager_does(tmp_path: Path) -> None:
    """Each in its own spelling; what is neither is not known."""
    said = tmp_path / "boot_id"
    said.write_text("0A1b2c3d-0000-4000-8000-0123456789ab\n")
    plain = "0a1b2c3d0000400080000123456789ab"
    assert this_boot({"PBX_STIR_BOOT": SECOND}, said) == plain
    assert this_boot({"PBX_STIR_BOOT": plain}, tmp_path / "hidden") == plain
    for wrong in ("", "%b", plain + "0", "g" * 32):
        assert this_boot({"PBX_STIR_BOOT": wrong}, tmp_path / "hidden") == ""
    assert this_boot({}, tmp_path / "hidden") == ""


@given(st.binary(max_size=100))
def test_whatever_is_said_it_is_32_digits_or_nothing(octets: bytes) -> None:
    """It is compared with what stands in a file."""
    with tempfile.NamedTemporaryFile() as said:
        Path(said.name).write_bytes(octets)
        assert re.fullmatch("[0-9a-f]{32}|", this_boot({}, Path(said.name)))
