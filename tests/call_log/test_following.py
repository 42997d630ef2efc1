"""A call log as it grows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbx_stir.call_log import following
from pbx_stir.call_log.following import Follower
from tests.call_log.written import octets


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A call log with one line."""
    path = tmp_path / "calls.jsonl"
    path.write_bytes(octets(id="a") + b"\n")
    return path


@pytest.fixture
def follower(log: Path) -> Iterator[Follower]:
    """Who reads it."""
    made = Follower(log)
    yield made
    made.close()


def ids(follower: Follower) -> str:
    """What is new, by ids of one letter."""
    return "".join(line.id for line, _ in follower.more())


def add(path: Path, call_id: str) -> None:
    """Another call."""
    with path.open("ab") as stream:
        stream.write(octets(id=call_id) + b"\n")


def test_each_line_is_told_once(log: Path, follower: Follower) -> None:
    """First what is there, then what comes; half a line waits for its other half."""
    assert ids(follower) == "a"
    assert ids(follower) == ""
    half = octets(id="b")
    with log.open("ab", buffering=0) as stream:
        stream.write(half[:50])
        assert ids(follower) == ""
        stream.write(half[50:] + b"\n")
    assert ids(follower) == "b"


def test_a_file_that_is_moved_away_is_read_to_its_end(log: Path, follower: Follower) -> None:
    """Then the new one, from its beginning; between the two there may be none."""
    assert ids(follower) == "a"
    add(log, "b")
    aside = log.with_name("calls.jsonl-20261122")
    log.rename(aside)
    add(aside, "c")
    assert ids(follower) == "bc"
    add(aside, "d")
    add(log, "e")
    assert ids(follower) == "de"
    add(log, "f")
    assert ids(follower) == "f"


def test_a_file_that_is_emptied_is_begun_again(log: Path, follower: Follower) -> None:
    """As logrotate's copytruncate does."""
    add(log, "b")
    assert ids(follower) == "ab"
    os.truncate(log, 0)
    add(log, "c")
    assert ids(follower) == "c"


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """The first call makes it."""
    path = tmp_path / "calls.jsonl"
    follower = Follower(path)
    assert ids(follower) == ""
    add(path, "a")
    assert ids(follower) == "a"
    follower.close()


def test_what_is_no_line_is_passed_over(
    log: Path, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A huge one takes no memory."""
    monkeypatch.setattr(following, "LONGEST_LINE", 1000)
    monkeypatch.setattr(following, "_BLOCK", 100)
    with log.open("ab") as stream:
        stream.write(b"nonsense\n" + b"{" * 5000 + b"\n" + octets(id="b") + b"\n")
    assert ids(follower) == "ab"
