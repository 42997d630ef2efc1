"""What is sealed to us opens, in bounded time, and what is not costs nothing twice."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx_stir.directory import keyring as room
from pbx_stir.directory import not_ours
from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.directory.keyring import Keyring
from pbx_stir.services.sealed_opener import OpenedSet
from pbx_stir.stir import sealing

NOW = 1_750_000_000.0
NUMBER = "12125551234"
LATER = 1e12
STRANGER = sealing.public_octets(sealing.new_private_key())


@pytest.fixture
def files(tmp_path: Path) -> KeyFiles:
    """A directory with one key."""
    files = KeyFiles(tmp_path / "keys")
    files.new(NOW)
    return files


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The blobs that were tried, in order."""
    tried: list[bytes] = []
    genuine = sealing.open_sealed

    def counted(blob: bytes, private_key: object, number: str) -> object:
        tried.append(blob)
        return genuine(blob, private_key, number)  # type: ignore[arg-type]

    monkeypatch.setattr(room.sealing, "open_sealed", counted)
    return tried


def seal(public: bytes, passport: str = "a.b.c", number: str = NUMBER) -> bytes:
    """Seal a text."""
    return sealing.seal(passport, [], public, number)


async def test_ours_open_in_the_order_given(files: KeyFiles) -> None:
    """Among dummies and blobs of others, ours are found, and their order is kept."""
    keyring = Keyring(files)
    (key,) = keyring.keys
    dummies = [sealing.dummy(bytes([each] * 32)) for each in range(3)]
    blobs = [
        dummies[0],
        seal(key.public, "first.one.here"),
        seal(STRANGER),
        dummies[1],
        seal(key.public, "second.one.here"),
        dummies[2],
    ]
    found = await keyring.open_sealed(NUMBER, blobs, time.monotonic() + 60)
    assert [each.passport for each in found.opened] == ["first.one.here", "second.one.here"]
    assert (found.malformed, found.unread) == (0, 0)


async def test_only_dummies_is_nothing(files: KeyFiles) -> None:
    """A CPS that has nothing for us gives nothing, and that is no failure."""
    keyring = Keyring(files)
    dummy = sealing.dummy(bytes(32))
    assert await keyring.open_sealed(NUMBER, [dummy], LATER) == OpenedSet()
    assert await keyring.open_sealed(NUMBER, [], LATER) == OpenedSet()


async def test_the_previous_key_still_opens(files: KeyFiles) -> None:
    """During a rollover both keys open."""
    old = files.load()[0]
    new = files.new(NOW + 1)
    keyring = Keyring(files)
    blobs = [seal(old.public, "old.key.still"), seal(new.public, "new.key.now")]
    found = await keyring.open_sealed(NUMBER, blobs, LATER)
    assert [each.passport for each in found.opened] == ["old.key.still", "new.key.now"]


async def test_a_blob_of_another_number_is_not_ours(files: KeyFiles) -> None:
    """What a CPS moved to another number does not open there, and still does where it belongs."""
    keyring = Keyring(files)
    blob = seal(keyring.keys[0].public)
    assert (await keyring.open_sealed("12125559999", [blob], LATER)).opened == ()
    assert len((await keyring.open_sealed(NUMBER, [blob], LATER)).opened) == 1
    assert await keyring.open_sealed("not a number", [blob], LATER) == OpenedSet()


async def test_a_second_look_costs_nothing(files: KeyFiles, opened: list[bytes]) -> None:
    """What is not ours is tried once; what is ours each time it is asked for."""
    keyring = Keyring(files)
    mine = seal(keyring.keys[0].public)
    foreign = [sealing.dummy(bytes([each] * 32)) for each in range(5)]
    for _ in range(3):
        found = await keyring.open_sealed(NUMBER, [*foreign, mine], LATER)
        assert len(found.opened) == 1
    assert opened == [*foreign, mine, mine, mine]


async def test_what_has_the_wrong_size_is_not_tried(files: KeyFiles, opened: list[bytes]) -> None:
    """Only the length can be told from outside, and it is."""
    keyring = Keyring(files)
    blob = seal(keyring.keys[0].public)
    found = await keyring.open_sealed(NUMBER, [blob[:-1], blob + b"x", b""], LATER)
    assert found == OpenedSet()
    assert opened == []


async def test_what_opens_but_has_not_the_form_is_counted(
    files: KeyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Malformed inside is said each time, and tried once."""
    keyring = Keyring(files)
    with monkeypatch.context() as patched:
        patched.setattr(sealing, "_plaintext", lambda passport, chain: b"\xff" * 4096)
        blob = seal(keyring.keys[0].public)
    for _ in range(2):
        assert await keyring.open_sealed(NUMBER, [blob], LATER) == OpenedSet(malformed=1)


async def test_it_stops_when_the_time_is_over(files: KeyFiles) -> None:
    """What it knows by then is returned, and the rest is counted as unread."""
    ticks = itertools.count()
    keyring = Keyring(files, clock=lambda: float(next(ticks)))
    mine = seal(keyring.keys[0].public)
    blobs = [mine] * 3 + [sealing.dummy(bytes(32))] * 7
    found = await keyring.open_sealed(NUMBER, blobs, 5.0)
    assert len(found.opened) == 3
    # the clock is read before each blob, and once where the call waits
    assert found.unread in (5, 6)


async def test_a_thousand_foreign_blobs_within_the_deadline(files: KeyFiles) -> None:
    """A haystack is searched off the event loop; over time it is left, and the loop is alive."""
    keyring = Keyring(files)
    foreign = sealing.dummy(bytes(32))
    blobs = [foreign[:-4] + each.to_bytes(4, "big") for each in range(1000)]
    found = await keyring.open_sealed(NUMBER, blobs, time.monotonic() + 60)
    assert found == OpenedSet()
    past = await keyring.open_sealed(NUMBER, blobs, time.monotonic() - 1)
    assert past == OpenedSet(unread=1000)


async def test_a_key_made_by_another_process_opens_the_next_call(files: KeyFiles) -> None:
    """A rotation needs no restart, and what was not ours before is tried with the new key."""
    keyring = Keyring(files)
    new = KeyFiles(files.directory).new(NOW + 1)
    blob = seal(new.public)
    assert len((await keyring.open_sealed(NUMBER, [blob], LATER)).opened) == 1
    assert keyring.keys[0].name == new.name


async def test_broken_key_files_leave_the_old_keys(files: KeyFiles) -> None:
    """A mistake on disk while it runs does not close our ears."""
    keyring = Keyring(files)
    blob = seal(keyring.keys[0].public)
    (files.directory / "broken.key").write_bytes(b"{}")
    assert len((await keyring.open_sealed(NUMBER, [blob], LATER)).opened) == 1


async def test_after_close_nothing_is_opened(files: KeyFiles) -> None:
    """A late call is answered, not broken."""
    keyring = Keyring(files)
    keyring.close()
    assert await keyring.open_sealed(NUMBER, [b"x"], LATER) == OpenedSet(unread=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=40) | st.just(b"x" * sealing.SEALED_OCTETS)), st.text())
async def test_no_blob_and_no_number_break_it(
    files: KeyFiles, blobs: list[bytes], number: str
) -> None:
    """Any octets under any number: nothing opens, nothing is raised."""
    keyring = Keyring(files)
    found = await keyring.open_sealed(number, blobs, LATER)
    keyring.close()
    assert found == OpenedSet()


async def test_the_memory_is_bounded(
    files: KeyFiles, monkeypatch: pytest.MonkeyPatch, opened: list[bytes]
) -> None:
    """The oldest half is forgotten first."""
    monkeypatch.setattr(room, "MOST_REMEMBERED", 2)
    keyring = Keyring(files)
    blobs = [sealing.dummy(bytes([each] * 32)) for each in range(3)]
    await keyring.open_sealed(NUMBER, blobs, LATER)
    await keyring.open_sealed(NUMBER, blobs[1:], LATER)
    assert opened == blobs
    await keyring.open_sealed(NUMBER, blobs[:1], LATER)
    assert opened == [*blobs, blobs[0]]


async def test_what_is_not_ours_is_forgotten(files: KeyFiles, opened: list[bytes]) -> None:
    """No CPS keeps it for so long; whoever does has it looked at once more."""
    now = [0.0]
    keyring = Keyring(files, clock=lambda: now[0])
    blob = sealing.dummy(bytes(32))
    for moment in (0.0, not_ours.SECONDS, 2 * not_ours.SECONDS, 5 * not_ours.SECONDS):
        now[0] = moment
        await keyring.open_sealed(NUMBER, [blob], LATER)
    assert opened == [blob, blob]


async def test_a_call_does_not_wait_for_busy_threads(
    files: KeyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the work has not begun by the deadline, all is unread."""
    keyring = Keyring(files)
    free = threading.Event()
    monkeypatch.setattr(Keyring, "_open_all", lambda *_: free.wait(10))
    many = room.HANDFUL + 1
    found = await keyring.open_sealed(NUMBER, [b"x"] * many, time.monotonic())
    free.set()
    assert found == OpenedSet(unread=many)
    keyring.close()


async def test_a_handful_needs_no_thread(files: KeyFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """What most calls have is opened at once; more of it, and keys that changed, in a thread."""
    keyring = Keyring(files)
    blob = seal(keyring.keys[0].public)
    threads: list[str] = []
    genuine = Keyring._open_all

    def noted(
        self: Keyring, number: str, blobs: list[bytes], until: float, in_thread: bool = False
    ) -> OpenedSet:
        threads.append(threading.current_thread().name.partition("_")[0])
        return genuine(self, number, blobs, until, in_thread)

    monkeypatch.setattr(Keyring, "_open_all", noted)
    for blobs in ([blob] * room.HANDFUL, [blob] * (room.HANDFUL + 1)):
        assert len((await keyring.open_sealed(NUMBER, blobs, LATER)).opened) == len(blobs)
    KeyFiles(files.directory).new(NOW + 1)
    await keyring.open_sealed(NUMBER, [blob], LATER)
    assert threads == ["MainThread", "open-sealed", "open-sealed"]


@pytest.mark.parametrize("count", [1, room.HANDFUL + 1])
async def test_a_mistake_of_ours_is_no_exception_of_the_call(
    files: KeyFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """What fails, in a thread or not, is logged by its kind, and the blobs are unread."""

    def fail(*_: object) -> OpenedSet:
        raise KeyError("secret")

    monkeypatch.setattr(Keyring, "_open_all", fail)
    found = await Keyring(files).open_sealed(NUMBER, [b"x"] * count, LATER)
    assert found == OpenedSet(unread=count)
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text
