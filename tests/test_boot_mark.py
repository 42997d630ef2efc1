"""Tests of pbx_stir.boot_mark: what one run of the machine left, the next removes."""

from __future__ import annotations

import fcntl
import re
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


@pytest.mark.parametrize("other", [FIRST, ""])
def test_nobody_removes_what_another_has_open(tmp_path: Path, other: str) -> None:
    """Two containers of one machine may be told of two runs: they have one file nevertheless."""
    path = tmp_path / "file"
    BootMark(path, FIRST).close()
    holder = BootMark(path, other)
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


def test_where_the_run_is_not_known_nothing_is_removed(tmp_path: Path) -> None:
    """Nobody knows that it is of another one."""
    path = tmp_path / "file"
    BootMark(path, FIRST).close()
    _left(path)
    BootMark(path, "").close()
    assert path.exists()


def test_a_run_before_began_no_later_than_now(tmp_path: Path) -> None:
    """Where its mark has to stand, what was made since the start may pass soon nevertheless."""
    (tmp_path / "file-boot").write_text(f"{FIRST} 999999999999.0\n")
    mark = BootMark(tmp_path / "file", "")
    assert mark.begun is not None
    assert mark.begun <= since_start()
    mark.close()


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
