"""A sender's storage tokens on disk: one folder for each CPS, readable by us alone.

Takes a directory, gives and takes records of tokens, and remembers the key of each epoch as it was
first seen. Several processes use it at the same time (two daemons during an upgrade, commands);
whoever takes records has them alone, and they are gone from the disk before he has them, so that
neither a restart nor another process ever uses one again. What is left of an epoch that is over is
overwritten and removed: a journal, a snapshot or a worn-levelled disk may still hold the octets.

A record is 320 octets: K_temp's private scalar (32), the randomizer (32), the CPS's signature
(256). A file holds those of one epoch, one after the other; one that a crash cut short is left out.

Every CPS has to give all senders the same key for an epoch: one that gave each his own would know
the tokens by it. So the first key that was seen for an epoch stays, and another one is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbx_stir.errors import ConfigurationError, Malformed, TokenRefused
from pbx_stir.private_files import FLAGS, PrivateFolder, told
from pbx_stir.tokens.epochs import (
    MAX_LIST_OCTETS,
    MOST_KEYS,
    KeyList,
    epoch_of,
    format_key_list,
    parse_key_list,
)

RECORD_OCTETS: Final = 320
MOST_CPS: Final = 256
MOST_TOKENS: Final = 100_000
# our clock may be ahead of the CPS's
GRACE_SECONDS: Final = 300.0
# a key published further ahead than this is left for later
EPOCHS_AHEAD: Final = 7

_FILLING = "filling"
_KEYS = "keys"
_URL = "cps"
_SUFFIX = ".tokens"
_LONGEST_URL = 2048


@dataclass(frozen=True, slots=True)
class Left:
    """How many tokens of an epoch lie on the disk for a CPS."""

    cps: str
    epoch: int
    count: int


class WalletFiles:
    """The directory. Each call takes the directory's lock: call it off the event loop.

    Every method raises ``ConfigurationError`` where the disk does not let it do its work. ``cps``
    is a CPS's base URL as ``cps.origin`` writes it.
    """

    def __init__(self, directory: Path) -> None:
        """Open ``directory``, made with mode 0700 where it is missing."""
        self.directory = directory
        self._disk = PrivateFolder(directory, holds="our tokens")

    def pin(self, cps: str, listed: KeyList, now: float, passed: float | None = None) -> KeyList:
        """Remember a CPS's keys, and give those that are good now or later, as first seen.

        Forgotten are those that were over at ``passed``, where it is earlier than ``now``.
        Raises ``TokenRefused`` where the list has another key for an epoch, or another issuer, than
        an earlier one: nothing of it is remembered then.
        """
        current = epoch_of(now)
        oldest = current if passed is None else min(current, epoch_of(passed))
        with self._disk.locked():
            seen = self._pinned(cps)
            known = {} if seen is None else {key.epoch: key for key in seen.keys}
            known = {epoch: key for epoch, key in known.items() if epoch >= oldest}
            if known and seen is not None and seen.issuer != listed.issuer:
                raise TokenRefused(f"{cps} calls itself {listed.issuer}, and {seen.issuer} before")
            for key in listed.keys:
                if not current <= key.epoch <= current + EPOCHS_AHEAD:
                    continue
                first = known.setdefault(key.epoch, key)
                if first.public.public_numbers() != key.public.public_numbers():
                    raise TokenRefused(
                        f"{cps} has another token key for epoch {key.epoch} than before",
                        hint=f"if it lost its keys and says so, remove {self._folder(cps)}",
                    )
            # by a wrong clock there may be none: an empty list could not be read again
            keys = tuple(known[epoch] for epoch in sorted(known))[:MOST_KEYS]
            folder = self._made(cps)
            if keys and (seen is None or (seen.issuer, seen.keys) != (listed.issuer, keys)):
                self._disk.write(folder / _KEYS, format_key_list(listed.issuer, keys))
        return KeyList(listed.issuer, tuple(key for key in keys if key.epoch >= current))

    def pinned(self, cps: str) -> KeyList | None:
        """Give what ``pin`` remembers of a CPS, epochs that are over among them."""
        with self._disk.locked():
            return self._pinned(cps)

    def add(self, cps: str, epoch: int, records: Sequence[bytes], most: int) -> int:
        """Put records of an epoch, as many as do not make it more than ``most``; gives how many."""
        with self._disk.locked():
            path = self._made(cps) / f"{epoch}{_SUFFIX}"
            with told("use", path), _opened(path, os.O_RDWR | os.O_CREAT) as descriptor:
                self._disk.give_to_owner(descriptor)
                whole = os.fstat(descriptor).st_size // RECORD_OCTETS
                added = records[: max(0, min(most, MOST_TOKENS) - whole)]
                # over what a crash may have left behind the last whole record
                _write_at(descriptor, b"".join(added), whole * RECORD_OCTETS)
                os.ftruncate(descriptor, (whole + len(added)) * RECORD_OCTETS)
                os.fsync(descriptor)
        return len(added)

    def check_out(self, cps: str, epoch: int, most: int) -> list[bytes]:
        """Take up to ``most`` records off the disk: once given they are no longer there."""
        with self._disk.locked():
            path = self._folder(cps) / f"{epoch}{_SUFFIX}"
            if not path.exists():
                return []
            with told("use", path), _opened(path, os.O_RDWR) as descriptor:
                whole = os.fstat(descriptor).st_size // RECORD_OCTETS
                start = max(0, whole - most) * RECORD_OCTETS
                octets = os.pread(descriptor, whole * RECORD_OCTETS - start, start)
                _write_at(descriptor, bytes(len(octets)), start)
                # first nothing, then nowhere: cutting alone would leave them on the disk
                os.fsync(descriptor)
                os.ftruncate(descriptor, start)
                os.fsync(descriptor)
        found = [
            octets[at : at + RECORD_OCTETS]
            for at in range(0, len(octets) - RECORD_OCTETS + 1, RECORD_OCTETS)
        ]
        # a crash between the two leaves zeros: those are nobody's
        return [record for record in found if any(record)]

    def count(self, cps: str, epoch: int) -> int:
        """How many records of an epoch there are for a CPS."""
        path = self._folder(cps) / f"{epoch}{_SUFFIX}"
        try:
            return path.stat().st_size // RECORD_OCTETS
        except OSError:
            return 0

    def known(self) -> list[str]:
        """The CPSs of which anything is known."""
        with self._disk.locked(), told("use", self.directory):
            found = [_read(path, _LONGEST_URL) for path in self.directory.glob(f"*/{_URL}")]
        return sorted(one.decode("ascii", "replace") for one in found if one is not None)

    def left(self) -> list[Left]:
        """How many there are for each CPS and epoch."""
        found = []
        with self._disk.locked(), told("use", self.directory):
            for path in sorted(self.directory.glob(f"*/*{_SUFFIX}")):
                cps = _read(path.parent / _URL, _LONGEST_URL)
                if cps is not None and path.stem.isdecimal():
                    count = path.stat().st_size // RECORD_OCTETS
                    found.append(Left(cps.decode("ascii", "replace"), int(path.stem), count))
        return found

    def wipe(self, now: float) -> int:
        """Erase the records of epochs that are over, and folders with nothing in them.

        Gives how many files were erased.
        """
        current, erased = epoch_of(now - GRACE_SECONDS), 0
        with self._disk.locked(), told("use", self.directory):
            for path in self.directory.glob(f"*/*{_SUFFIX}"):
                if path.stem.isdecimal() and int(path.stem) < current:
                    self._disk.erase(path)
                    erased += 1
            self._disk.tidy()
            for folder in self.directory.iterdir():
                if folder.is_dir():
                    self._remove_if_over(folder, current)
        return erased

    def begin_filling(self, cps: str) -> int | None:
        """Whether it is ours to obtain tokens of this CPS: one process at a time does.

        Waits for nobody. Gives what ``end_filling`` takes, or None where another one is at it.
        """
        with self._disk.locked():
            path = self._made(cps) / _FILLING
            with told("use", path):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
                try:
                    self._disk.give_to_owner(descriptor)
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BaseException as error:
                    os.close(descriptor)
                    if isinstance(error, BlockingIOError):
                        return None
                    raise
        return descriptor

    def end_filling(self, descriptor: int) -> None:
        """Let another process have its turn."""
        os.close(descriptor)

    def filling(self, cps: str) -> Filling:
        """A turn that is not begun yet: ``begin_filling`` for who may be gone before it is over."""
        return Filling(self, cps)

    def _folder(self, cps: str) -> Path:
        return self.directory / hashlib.sha256(cps.encode("utf-8")).hexdigest()[:32]

    def _made(self, cps: str) -> Path:
        folder = self._folder(cps)
        with told("make", folder):
            if not folder.is_dir():
                if sum(1 for each in self.directory.iterdir() if each.is_dir()) >= MOST_CPS:
                    raise ConfigurationError(f"{self.directory} has tokens of {MOST_CPS} CPSs")
                folder.mkdir(mode=0o700)
                self._disk.give_to_owner(folder)
            if not (folder / _URL).exists():
                self._disk.write(folder / _URL, cps.encode("ascii", "replace"))
        return folder

    def _pinned(self, cps: str) -> KeyList | None:
        path = self._folder(cps) / _KEYS
        octets = _read(path, MAX_LIST_OCTETS)
        if octets is None:
            return None
        try:
            return parse_key_list(octets)
        except Malformed as error:
            raise ConfigurationError(f"{path}: {error}", hint="remove its folder") from error

    def _remove_if_over(self, folder: Path, current: int) -> None:
        """Remove a folder without tokens and without a key that is or will be good."""
        if any(folder.glob(f"*{_SUFFIX}")):
            return
        octets = _read(folder / _KEYS, MAX_LIST_OCTETS)
        with suppress(Malformed):
            if octets is not None and parse_key_list(octets).keys[-1].epoch >= current:
                return
        for name in (_KEYS, _URL, _FILLING):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


class Filling:
    """One turn at obtaining a CPS's tokens, begun in a thread and ended wherever its taker is.

    A taker that is cancelled does not hear what the thread was given. Its descriptor would keep the
    lock for as long as the process lives: so what is ended first begins nothing that lasts.
    """

    def __init__(self, files: WalletFiles, cps: str) -> None:
        self._files = files
        self._cps = cps
        self._held: int | None = None
        self._is_over = False
        self._changing = threading.Lock()

    def begin(self) -> bool:
        """Whether it is our turn; see ``begin_filling``. Raises ``ConfigurationError``."""
        descriptor = self._files.begin_filling(self._cps)
        with self._changing:
            if not self._is_over:
                self._held, descriptor = descriptor, None
        if descriptor is not None:
            self._files.end_filling(descriptor)
        return self._held is not None

    def end(self) -> None:
        """Let another process have its turn, if this was ours; for ever. Waits for nobody."""
        with self._changing:
            self._is_over = True
            descriptor, self._held = self._held, None
        if descriptor is not None:
            self._files.end_filling(descriptor)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | FLAGS, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: Path, most: int) -> bytes | None:
    try:
        with _opened(path, os.O_RDONLY) as descriptor:
            return os.read(descriptor, most + 1)
    except FileNotFoundError:
        return None


def _write_at(descriptor: int, octets: bytes, at: int) -> None:
    while octets:
        written = os.pwrite(descriptor, octets, at)
        octets, at = octets[written:], at + written
