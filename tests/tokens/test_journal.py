"""The journal: what was written is read again, by one process at a time, and no longer than due."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.tokens.journal import FILE_SECONDS, Journal, Record

NOW = 1_800_000_000.0
KEY = bytes(range(32))


def test_records_come_back(tmp_path: Path) -> None:
    """Key, count and end, where they lie; a count that is written over stands once."""
    journal = Journal(tmp_path)
    first = Record(KEY, 1, NOW + 86_400)
    place = journal.write(first)
    assert journal.write(replace(first, count=2, place=place)) == place
    other = Record(KEY[::-1], 0, NOW + 61.125)
    journal.write(other)
    journal.close()
    again = Journal(tmp_path)
    assert sorted(again.records(), key=lambda record: record.until) == [
        replace(other, place=0),
        replace(first, count=2, place=place),
    ]
    again.close()


def test_what_has_expired_leaves_no_trace(tmp_path: Path) -> None:
    """A file is removed when all in it has ended, and not before."""
    journal = Journal(tmp_path)
    journal.write(Record(KEY, 0, NOW))
    journal.write(Record(KEY, 0, NOW + 86_400))
    assert len(list(tmp_path.glob("*.spent"))) == 2
    journal.forget(NOW - 1)
    assert len(list(tmp_path.glob("*.spent"))) == 2
    journal.forget(NOW + FILE_SECONDS)
    assert len(list(tmp_path.glob("*.spent"))) == 1
    assert [record.until for record in journal.records()] == [NOW + 86_400]
    journal.close()


def test_it_is_for_one_process(tmp_path: Path) -> None:
    """Two that count apart would each let the limit be spent."""
    journal = Journal(tmp_path)
    with pytest.raises(ConfigurationError, match="another process"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_others_may_not_read_it(tmp_path: Path) -> None:
    """The directory is ours alone, and each file."""
    journal = Journal(tmp_path / "counts")
    journal.write(Record(KEY, 0, NOW))
    assert (tmp_path / "counts").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "counts").iterdir())
    journal.close()


@pytest.mark.parametrize("cut", range(0, 96, 7))
def test_a_file_that_was_cut_is_read_as_far_as_it_is_whole(tmp_path: Path, cut: int) -> None:
    """Half a record says nothing, and what comes later takes its place."""
    journal = Journal(tmp_path)
    for number in range(2):
        journal.write(Record(bytes([number]) * 32, 1, NOW))
    journal.close()
    [path] = tmp_path.glob("*.spent")
    path.write_bytes(path.read_bytes()[:cut])
    again = Journal(tmp_path)
    assert [record.key[0] for record in again.records()] == [0, 1][: cut // 48]
    again.write(Record(b"\x07" * 32, 1, NOW))
    assert [record.key[0] for record in again.records()] == [*[0, 1][: cut // 48], 7]
    again.close()


def test_a_disk_that_takes_nothing_is_said(tmp_path: Path) -> None:
    """503 for the store, not an exception of the operating system."""
    journal = Journal(tmp_path / "counts")
    journal.close()
    shutil.rmtree(tmp_path / "counts")
    with pytest.raises(StoreUnavailable):
        journal.write(Record(KEY, 0, NOW))


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "counts").write_text("")
    with pytest.raises(ConfigurationError):
        Journal(tmp_path / "counts")


@given(octets=st.binary(max_size=200))
def test_any_file_can_be_read(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    """Whatever lies there, nothing but records comes of it."""
    folder = tmp_path_factory.mktemp("journal")
    (folder / "1800000000.spent").write_bytes(octets)
    (folder / "x.spent").write_bytes(octets)
    journal = Journal(folder)
    assert len(list(journal.records())) == len(octets) // 48
    journal.close()
