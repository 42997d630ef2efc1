"""The CPS's token keys on disk: made ahead, shared, kept from others, erased in time."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.tokens.epochs import EPOCH_SECONDS
from pbx_stir.tokens.key_files import GRACE_SECONDS, KeyFiles, MemoryKeys, SecretKey, wanted_epochs
from pbx_stir.tokens.passed import BELIEVED_SECONDS

EPOCH = 20_833
START = float(EPOCH * EPOCH_SECONDS)
NOON = START + EPOCH_SECONDS / 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the keys of noon, for tests that only look."""
    folder = tmp_path_factory.mktemp("keys") / "token-keys"
    KeyFiles(folder).prepare(NOON)
    return folder


def epochs(keys: tuple[SecretKey, ...]) -> list[int]:
    """Their epochs."""
    return [key.epoch for key in keys]


def test_keys_are_made_ahead_and_kept_a_little_after() -> None:
    """This epoch's and the next one's; the last one's as long as its stores are on their way."""
    assert list(wanted_epochs(NOON)) == [EPOCH, EPOCH + 1]
    assert list(wanted_epochs(START)) == [EPOCH - 1, EPOCH, EPOCH + 1]
    assert list(wanted_epochs(START + GRACE_SECONDS - 1)) == [EPOCH - 1, EPOCH, EPOCH + 1]
    assert list(wanted_epochs(START + GRACE_SECONDS)) == [EPOCH, EPOCH + 1]


def test_a_restart_finds_the_same_keys(made: Path) -> None:
    """Keys and secrets come back as they were; nothing is made anew."""
    first, again = KeyFiles(made).prepare(NOON), KeyFiles(made).prepare(NOON + 60)
    assert epochs(first) == epochs(again) == [EPOCH, EPOCH + 1]
    for one, other in zip(first, again, strict=True):
        assert one.private.private_numbers() == other.private.private_numbers()
        assert one.secret == other.secret
        assert len(one.secret) == 32
        assert one.private.key_size == 2048
    assert first[0].secret != first[1].secret


def test_a_key_is_published_before_its_epoch(made: Path) -> None:
    """What an epoch's key is was fixed the day before."""
    today = KeyFiles(made).prepare(NOON)
    tomorrow = KeyFiles(made).prepare(NOON + 60)
    assert today[1].public.public.public_numbers() == tomorrow[1].public.public.public_numbers()
    assert today[1].public.not_before > NOON


class Clock:
    """A clock that goes when told."""

    moment = NOON

    def __call__(self) -> float:
        """Tell the time."""
        return self.moment


def test_an_old_key_is_erased(tmp_path: Path) -> None:
    """After its epoch and a little grace the file is gone, overwritten before."""
    clock = Clock()
    files = KeyFiles(tmp_path, clock)

    def at(moment: float) -> list[int]:
        clock.moment = moment
        return epochs(files.prepare(moment))

    at(NOON)
    path = tmp_path / f"{EPOCH}.key"
    with open(path, "rb") as held:
        assert at(START + EPOCH_SECONDS + 1) == [EPOCH, EPOCH + 1, EPOCH + 2]
        assert path.exists()
        assert at(START + EPOCH_SECONDS + GRACE_SECONDS) == [EPOCH + 1, EPOCH + 2]
        assert not path.exists()
        assert held.read().strip(b"\0") == b""


@pytest.mark.parametrize("kind", [KeyFiles, MemoryKeys])
def test_a_clock_that_was_set_forth_and_back_costs_no_key(
    tmp_path: Path, kind: type[KeyFiles | MemoryKeys]
) -> None:
    """Two days ahead for some minutes, and back: the day's keys are those that were published."""
    clock = Clock()
    source = MemoryKeys(clock) if kind is MemoryKeys else KeyFiles(tmp_path, clock)
    right = source.prepare(NOON)
    for _ in range(4):
        clock.moment += 60
        ahead = source.prepare(clock.moment + 2 * EPOCH_SECONDS)
        assert epochs(ahead) == [EPOCH + 2, EPOCH + 3]
    assert [key.secret for key in source.prepare(NOON + 240)] == [key.secret for key in right]


def test_a_clock_that_was_set_right_is_followed(tmp_path: Path) -> None:
    """One that was days behind: what is over by the right time is erased after some minutes."""
    clock = Clock()
    files = KeyFiles(tmp_path, clock)
    files.prepare(NOON)
    files.prepare(NOON + 5 * EPOCH_SECONDS)
    assert (tmp_path / f"{EPOCH}.key").exists()
    clock.moment += BELIEVED_SECONDS
    files.prepare(clock.moment + 5 * EPOCH_SECONDS)
    assert sorted(path.name for path in tmp_path.glob("*.key")) == [
        f"{EPOCH + 5}.key",
        f"{EPOCH + 6}.key",
    ]


def test_a_clock_that_was_set_back_costs_no_key(tmp_path: Path) -> None:
    """Keys of later epochs stay, so that they are the published ones when it is right again."""
    files = KeyFiles(tmp_path)
    right = files.prepare(NOON)
    files.prepare(NOON - EPOCH_SECONDS)
    assert [key.secret for key in files.prepare(NOON)] == [key.secret for key in right]


def test_workers_share_their_keys(tmp_path: Path) -> None:
    """Whoever comes first makes a key, all others have the same."""
    found: list[tuple[SecretKey, ...]] = []
    threads = [
        threading.Thread(target=lambda: found.append(KeyFiles(tmp_path).prepare(NOON)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(key.secret for key in keys) for keys in found}) == 1
    assert len(found) == 4


def test_others_may_not_read_them(made: Path) -> None:
    """0700 and 0600, and nothing else lies there."""
    assert made.stat().st_mode & 0o777 == 0o700
    for path in made.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in made.iterdir()) == [
        f"{EPOCH}.key",
        f"{EPOCH + 1}.key",
        "lock",
    ]


def test_what_others_may_read_is_refused(tmp_path: Path) -> None:
    """A key that somebody else may have is no key."""
    folder = tmp_path / "keys"
    KeyFiles(folder).prepare(NOON)
    (folder / f"{EPOCH}.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="mode 644"):
        KeyFiles(folder).prepare(NOON)
    folder.chmod(0o750)
    with pytest.raises(ConfigurationError, match="mode 750"):
        KeyFiles(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        json.dumps({"version": 1, "private": "AAAA", "secret": "AA=="}).encode(),
        json.dumps({"version": 2, "private": "", "secret": ""}).encode(),
        json.dumps({"version": 1, "private": "ä", "secret": ""}).encode(),
    ],
)
def test_a_broken_key_is_named(tmp_path: Path, content: bytes) -> None:
    """The file that is wrong is said, and what to do; nothing takes its place by itself."""
    path = tmp_path / f"{EPOCH}.key"
    tmp_path.chmod(0o700)
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=f"{EPOCH}.key is not a token key"):
        KeyFiles(tmp_path).prepare(NOON)
    assert path.read_bytes() == content


def test_links_are_not_followed(tmp_path: Path, made: Path) -> None:
    """Somebody else's file is not our key."""
    tmp_path.chmod(0o700)
    os.symlink(made / f"{EPOCH}.key", tmp_path / f"{EPOCH}.key")
    with pytest.raises(ConfigurationError):
        KeyFiles(tmp_path).prepare(NOON)


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    """An unfinished file goes with the next start."""
    files = KeyFiles(tmp_path / "keys")
    (tmp_path / "keys" / ".new-abc").write_bytes(b"half a key")
    files.prepare(NOON)
    assert not list((tmp_path / "keys").glob(".new-*"))


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "keys").write_text("")
    with pytest.raises(ConfigurationError):
        KeyFiles(tmp_path / "keys")


def test_keys_in_memory_are_as_many() -> None:
    """Without a directory the same epochs have keys, and keep them while the process lives."""
    keys = MemoryKeys()
    first = keys.prepare(NOON)
    again = keys.prepare(START + EPOCH_SECONDS + GRACE_SECONDS)
    assert epochs(first) == [EPOCH, EPOCH + 1]
    assert epochs(again) == [EPOCH + 1, EPOCH + 2]
    assert again[0] is first[1]


def test_no_secret_is_printed(made: Path) -> None:
    """What is logged by accident says nothing."""
    [key, _] = KeyFiles(made).prepare(NOON)
    assert str(key) == f"SecretKey(epoch={EPOCH})"
