"""Older files: named by day, compressed piece by piece, removed when too old."""

from __future__ import annotations

import fcntl
import gzip
import os
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest

from pbx_stir.call_log import rotation
from pbx_stir.call_log.outputs import LogFile
from pbx_stir.call_log.rotation import OlderFiles, Rotation

TODAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12).timestamp()
DAY = 86_400.0


def finish(step: Callable[[], bool]) -> int:
    """Repeat until nothing is left; returns how often."""
    times = 1
    while step():
        times += 1
    return times


def named(folder: Path) -> list[str]:
    """What lies in the folder."""
    return sorted(one.name for one in folder.iterdir())


def test_a_file_is_named_by_its_day_and_compressed(tmp_path: Path) -> None:
    """Two of one day have two names; their contents and times stay."""
    path = tmp_path / "calls.jsonl"
    older = OlderFiles(path, Rotation())
    for text in ("first\n", "second\n"):
        path.write_text(text)
        os.utime(path, (NOON, NOON))
        older.move(path, TODAY)
    older.sweep(TODAY)
    finish(older.compress_piece)
    assert named(tmp_path) == ["calls.jsonl-20261122-2.gz", "calls.jsonl-20261122.gz"]
    first = tmp_path / "calls.jsonl-20261122.gz"
    assert gzip.decompress(first.read_bytes()) == b"first\n"
    assert first.stat().st_mtime == NOON
    assert first.stat().st_mode & 0o777 == 0o640


def test_what_is_too_old_goes_and_nothing_else(tmp_path: Path) -> None:
    """Only files that the log itself has named, by the day in their name."""
    keep = [
        "calls.jsonl-20261023.gz",
        "calls.jsonl-20260001.gz",
        "calls.jsonl-20260101.gz.bak",
        "calls.jsonl-20260101.csv",
        "calls.jsonl.1",
        "calls.jsonl.2.gz",
        "notes-20260101.gz",
        "xcalls.jsonl-20260101.gz",
    ]
    go = [
        "calls.jsonl-20261022.gz",
        "calls.jsonl-20261022-2.gz",
        "calls.jsonl-20260101",
        "calls.jsonl-20260101.gz.part",
    ]
    for name in keep + go:
        (tmp_path / name).write_text("")
    OlderFiles(tmp_path / "calls.jsonl", Rotation(keep_days=30)).sweep(TODAY)
    assert named(tmp_path) == sorted(keep)


def test_compressing_is_done_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pieces lines are written; until the end the file is there under its old name."""
    monkeypatch.setattr(rotation, "PIECE", 10)
    aside = tmp_path / "calls.jsonl-20261121"
    aside.write_bytes(b"x" * 95)
    older = OlderFiles(tmp_path / "calls.jsonl", Rotation())
    older.sweep(TODAY)
    for _ in range(9):
        assert older.compress_piece()
        assert aside.exists()
    assert finish(older.compress_piece) < 5
    assert named(tmp_path) == ["calls.jsonl-20261121.gz"]


def test_what_a_stop_has_left_is_compressed_later(tmp_path: Path) -> None:
    """A half one is no file, and the next start begins again."""
    aside = tmp_path / "calls.jsonl-20261121"
    aside.write_bytes(b"x" * 95)
    older = OlderFiles(tmp_path / "calls.jsonl", Rotation())
    older.sweep(TODAY)
    older.compress_piece()
    older.close()
    assert named(tmp_path) == [aside.name]
    (tmp_path / f"{aside.name}.gz.part").write_text("half")
    older.sweep(TODAY)
    finish(older.compress_piece)
    assert named(tmp_path) == [f"{aside.name}.gz"]


def test_another_process_that_compresses_is_let_be(tmp_path: Path) -> None:
    """Two listeners of one PBX write to one file during an upgrade."""
    aside = tmp_path / "calls.jsonl-20261121"
    aside.write_bytes(b"x")
    older = OlderFiles(tmp_path / "calls.jsonl", Rotation())
    older.sweep(TODAY)
    with aside.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        finish(older.compress_piece)
        assert named(tmp_path) == [aside.name]


def test_a_disk_that_is_full_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be compressed stays as it is."""
    aside = tmp_path / "calls.jsonl-20261121"
    aside.write_bytes(b"kept")
    older = OlderFiles(tmp_path / "calls.jsonl", Rotation())
    older.sweep(TODAY)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        finish(older.compress_piece)
    assert named(tmp_path) == [aside.name]
    assert aside.read_bytes() == b"kept"


def output(path: Path, moment: list[float], **settings: int) -> LogFile:
    """A log file whose time is ``moment[0]``."""
    return LogFile(path, Rotation(**settings), now=lambda: moment[0])


def test_midnight_begins_a_new_file(tmp_path: Path) -> None:
    """With the first line of the day, and without one when nobody calls."""
    path, moment = tmp_path / "calls.jsonl", [NOON]
    out = output(path, moment)
    out.write(b"22\n", more=False)
    moment[0] += DAY
    out.write(b"23\n", more=False)
    assert path.read_bytes() == b"23\n"
    assert (tmp_path / "calls.jsonl-20261122").read_bytes() == b"22\n"
    moment[0] += DAY
    finish(lambda: out.tidy(idle=True))
    assert named(tmp_path) == ["calls.jsonl-20261122.gz", "calls.jsonl-20261123.gz"]
    # an empty day is no file
    moment[0] += DAY
    finish(lambda: out.tidy(idle=True))
    assert len(named(tmp_path)) == 2
    out.write(b"25\n", more=False)
    moment[0] += 40 * DAY
    finish(lambda: out.tidy(idle=True))
    assert named(tmp_path) == []


def test_a_file_of_an_earlier_day_is_moved_by_the_next_process(tmp_path: Path) -> None:
    """Stopped in the evening, started in the morning."""
    path = tmp_path / "calls.jsonl"
    path.write_text("old\n")
    os.utime(path, (NOON - DAY, NOON - DAY))
    out = output(path, [NOON])
    out.write(b"new\n", more=False)
    out.close()
    assert path.read_text() == "new\n"
    assert (tmp_path / "calls.jsonl-20261121").read_text() == "old\n"


def test_a_large_file_is_moved_within_its_day(tmp_path: Path) -> None:
    """No line is divided, none is lost."""
    path = tmp_path / "calls.jsonl"
    out = output(path, [NOON], most_octets=20)
    written = [f"line {count:3}\n" for count in range(10)]
    for one in written:
        out.write(one.encode(), more=False)
    finish(lambda: out.tidy(idle=True))
    out.close()
    files = [tmp_path / "calls.jsonl-20261122.gz"]
    files += [tmp_path / f"calls.jsonl-20261122-{count}.gz" for count in (2, 3)]
    found = "".join(gzip.decompress(one.read_bytes()).decode() for one in files)
    assert found + path.read_text() == "".join(written)


def test_two_writers_share_a_file(tmp_path: Path) -> None:
    """Whoever rotates first has done it for both."""
    path, moment = tmp_path / "calls.jsonl", [NOON]
    first, second = output(path, moment), output(path, moment)
    first.write(b"a\n", more=False)
    second.write(b"b\n", more=False)
    moment[0] += DAY
    first.write(b"c\n", more=False)
    os.utime(path, (moment[0], moment[0]))
    second.write(b"d\n", more=False)
    assert path.read_bytes() == b"c\nd\n"
    assert (tmp_path / "calls.jsonl-20261122").read_bytes() == b"a\nb\n"


def test_without_keep_days_nothing_is_touched(tmp_path: Path) -> None:
    """logrotate's own files may have the same names."""
    path, moment = tmp_path / "calls.jsonl", [NOON]
    (tmp_path / "calls.jsonl-20200101").write_text("logrotate's")
    out = output(path, moment, keep_days=0, most_octets=1)
    for _ in range(3):
        out.write(b"x\n", more=False)
        moment[0] += DAY
        assert not out.tidy(idle=True)
    assert named(tmp_path) == ["calls.jsonl", "calls.jsonl-20200101"]


def test_a_folder_that_lets_nobody_rename_costs_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One file that grows, said once an hour."""
    path, moment = tmp_path / "calls.jsonl", [NOON]
    out = output(path, moment, most_octets=1)

    def refused(*_: object) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refused)
    for count in range(5):
        out.write(b"%d\n" % count, more=False)
    assert path.read_bytes() == b"0\n1\n2\n3\n4\n"
    assert caplog.text.count("cannot be rotated") == 1


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_plain_file_is_not_moved(tmp_path: Path, kind: str) -> None:
    """A link to another disk, a pipe to another program."""
    path, moment = tmp_path / "calls.jsonl", [NOON]
    reader = -1
    if kind == "link":
        (tmp_path / "elsewhere").write_text("")
        path.symlink_to("elsewhere")
    else:
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    out = output(path, moment, most_octets=1)
    for _ in range(3):
        out.write(b"x\n", more=False)
        moment[0] += DAY
        out.tidy(idle=True)
    assert path.is_symlink() or path.is_fifo()
    assert len(named(tmp_path)) == (2 if kind == "link" else 1)
    out.close()
    if reader >= 0:
        os.close(reader)
