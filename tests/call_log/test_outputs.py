"""Where lines go: a file, standard output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbx_stir.call_log.outputs import LogFile


def test_a_moved_file_is_begun_again(tmp_path: Path) -> None:
    """logrotate renames, and needs no signal."""
    path, old = tmp_path / "calls.jsonl", tmp_path / "calls.jsonl.1"
    output = LogFile(path)
    output.write(b"1\n", more=False)
    path.rename(old)
    output.write(b"2\n", more=False)
    output.write(b"3\n", more=False)
    path.unlink()
    output.write(b"4\n", more=False)
    output.close()
    assert old.read_text() == "1\n"
    assert path.read_text() == "4\n"


def test_a_line_that_was_cut_off_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next line begins on a line of its own."""
    path = tmp_path / "calls.jsonl"
    output = LogFile(path)
    whole = os.write
    monkeypatch.setattr(os, "write", lambda stream, octets: whole(stream, octets[:3]))
    with pytest.raises(OSError, match="3 of 6"):
        output.write(b"12345\n", more=False)
    monkeypatch.undo()
    output.write(b"next\n", more=False)
    output.write(b"last\n", more=False)
    output.close()
    assert path.read_text() == "123\nnext\nlast\n"
