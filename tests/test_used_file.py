"""The single-use memory outlives its process, whatever became of the file."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir import used_file
from pbx_stir.errors import ConfigurationError
from pbx_stir.services.used import Claim, Note, Use, UsedPassports
from pbx_stir.used_file import UsedFile
from tests.services.world import ALICE, BOB, NOW


def claim(number: int) -> Claim:
    """A call."""
    one = str(number)
    return Claim("pbx", one, one, "carrier", ALICE, BOB, f"id{one}")


def note(key: str, until: float = NOW + 60) -> Note:
    """A PASSporT that is used."""
    return Note(key, until, claim(1))


def keys(path: Path, now: float = NOW) -> list[str]:
    """What a new process would know."""
    file = UsedFile(path, now)
    file.close()
    return [one.key for one in file.notes]


async def test_a_used_passport_stays_used_after_a_restart(tmp_path: Path) -> None:
    """Whom it let pass is known as well; a reservation given back is free again."""
    path = tmp_path / "state/used.jsonl"
    file = UsedFile(path, NOW)
    used = UsedPassports(file)
    await used.reserve("used", claim(1), NOW + 60, NOW)
    await used.confirm("used", claim(1), NOW)
    await used.reserve("back", claim(2), NOW + 60, NOW)
    await used.give_back("back", claim(2), NOW)
    file.close()
    again = UsedFile(path, NOW)
    later = UsedPassports(again)
    later.restore(again.notes, NOW)
    found = await later.reserve("used", claim(3), NOW + 60, NOW)
    assert (found.use, found.holder) == (Use.TAKEN, claim(1))
    assert (await later.reserve("back", claim(3), NOW + 60, NOW)).use is Use.FRESH
    again.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_what_no_longer_matters_is_dropped(tmp_path: Path) -> None:
    """A file that is begun anew has the live notes alone, each key's last."""
    path = tmp_path / "used.jsonl"
    file = UsedFile(path, NOW)
    await file.append(note("old", NOW + 1))
    await file.append(note("live"))
    await file.append(Note("freed", NOW + 60, claim(1)))
    await file.append(Note("freed", NOW + 60, free=True))
    await file.append(Note("live", NOW + 61, claim(2)))
    file.close()
    assert len(path.read_bytes().splitlines()) == 5
    assert keys(path, NOW + 2) == ["live"]
    (line,) = path.read_bytes().splitlines()
    assert json.loads(line)["claim"]["unique_id"] == "2"


async def test_damage_costs_its_own_lines_only(tmp_path: Path) -> None:
    """Broken lines, a line that was cut off, foreign octets: the rest is known."""
    path = tmp_path / "used.jsonl"
    file = UsedFile(path, NOW)
    await file.append(note("a"))
    await file.append(note("b"))
    file.close()
    good = path.read_bytes().splitlines()
    nested = b'{"key":"c","until":' + b"[" * 100_000
    damage = [good[0], b"", b"\xff\xfe", b'{"key":1}', b"\x00" * 100, nested, good[1], good[0][:20]]
    path.write_bytes(b"\n".join(damage))
    assert keys(path) == ["a", "b"]
    assert keys(path) == ["a", "b"]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_octets_can_be_begun_with(octets: bytes, at: int) -> None:
    """Whatever the file holds, the service starts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "used.jsonl"
        good = used_file._encoder.encode(note("a")) + b"\n"
        path.write_bytes(good + octets[:at] + b"\n" + good[:at] + octets[at:])
        assert "a" in keys(path)


async def test_a_file_that_has_grown_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what still matters, and its size is bounded by that."""
    monkeypatch.setattr(used_file, "LARGEST_FILE", 4000)
    monkeypatch.setattr("time.time", lambda: NOW + 2)
    path = tmp_path / "used.jsonl"
    file = UsedFile(path, NOW)
    await file.append(note("live"))
    for number in range(500):
        await file.append(note(f"old{number}", NOW + 1))
    await file.append(note("last"))
    file.close()
    assert path.stat().st_size < 8100
    assert keys(path, NOW + 2) == ["live", "last"]


async def test_a_file_that_matters_as_a_whole_is_not_begun_anew_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work a note is bounded: each new beginning waits until the file has doubled."""
    monkeypatch.setattr(used_file, "LARGEST_FILE", 1000)
    monkeypatch.setattr("time.time", lambda: NOW)
    begun = []
    begin = used_file._begin
    monkeypatch.setattr(used_file, "_begin", lambda *given: begun.append(1) or begin(*given))
    path = tmp_path / "used.jsonl"
    file = UsedFile(path, NOW)
    for number in range(400):
        await file.append(note(f"k{number}"))
    file.close()
    assert len(keys(path)) == 400
    assert len(begun) < 12


def test_a_place_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    """With the remedy."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file/used.jsonl", tmp_path / "folder"):
        with pytest.raises(ConfigurationError, match=r"state_dir must be a folder"):
            UsedFile(path, NOW)


async def test_a_full_disk_at_the_start_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file is replaced only by a whole one."""
    path = tmp_path / "used.jsonl"
    file = UsedFile(path, NOW)
    await file.append(note("a"))
    file.close()
    before = path.read_bytes()

    def full(*_: object, **__: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        UsedFile(path, NOW)
    assert path.read_bytes() == before


async def test_a_full_disk_costs_notes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised; a note that was cut off does not spoil the next one."""
    path = tmp_path / "used.jsonl"
    file = UsedFile(path, NOW)
    whole, left, said = os.write, [5], threading.Event()

    def nearly_full(stream: int, octets: bytes) -> int:
        if left[0] < 0:
            return whole(stream, octets)
        if left[0] == 0:
            left[0] = -1
            raise OSError(28, "No space left on device")
        written = whole(stream, octets[: left[0]])
        left[0] = 0
        return written

    monkeypatch.setattr(os, "write", nearly_full)
    await file.append(note("cut"))
    await file.append(note("lost"))
    await file.append(note("kept"))
    said.set()
    file.close()
    monkeypatch.undo()
    assert keys(path) == ["kept"]
    assert "1 notes of used PASSporTs lost" in caplog.text


async def test_a_slow_disk_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue has an end; what does not fit is counted and said."""
    monkeypatch.setattr(used_file, "LONGEST_QUEUE", 2)
    file = UsedFile(tmp_path / "used.jsonl", NOW)
    gate = threading.Event()
    whole = os.write

    def slow(stream: int, octets: bytes) -> int:
        gate.wait(10)
        return whole(stream, octets)

    monkeypatch.setattr(os, "write", slow)
    async with asyncio.timeout(1):
        for number in range(12):
            await file.append(note(f"k{number}"))
    assert "the disk cannot keep up" in caplog.text
    file.close(seconds=0.01)
    gate.set()
    file.close()
