"""Folders of secrets: files that their owner alone may read, whole or not there at all.

Takes paths and octets. Several processes use a folder at the same time, under its lock. A file is
written beside its place and moved there, so that neither a crash nor a reader ever meets half of
it; what root writes belongs to whom the folder belongs. Erased means overwritten and removed: a
journal, a snapshot or a worn-levelled disk may still hold the octets.

Every failure is a ``ConfigurationError`` that names the file and what to do about it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pbx_stir.errors import ConfigurationError
from pbx_stir.ownership import give_to_owner

LOCK: Final = "lock"
UNFINISHED: Final = ".new-"
ERASED: Final = ".erased-"
FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC


class PrivateFolder:
    """One such folder, made with mode 0700 where it is missing."""

    def __init__(self, path: Path, *, holds: str) -> None:
        """``holds`` is what strangers must not see, in words: "our keys".

        Raises ``ConfigurationError`` where others may enter it or it cannot be used.
        """
        self.path = path
        self._holds = holds
        with told("make", path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check(path, os.lstat(path), directory=True)

    def read(self, path: Path, most: int) -> bytes | None:
        """Give a file's octets, ``most`` of them; None where it is not there."""
        with told("read", path):
            try:
                descriptor = os.open(path, os.O_RDONLY | FLAGS)
            except FileNotFoundError:
                return None
            with open(descriptor, "rb") as file:
                self._check(path, os.fstat(descriptor), directory=False)
                return file.read(most)

    def write(self, path: Path, octets: bytes) -> None:
        """Write a file that is there whole or not at all, also when the power fails."""
        with told("write", path):
            descriptor, temporary = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
            try:
                with open(descriptor, "wb") as file:
                    os.fchmod(descriptor, 0o600)
                    self.give_to_owner(descriptor)
                    file.write(octets)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
            _sync(path.parent)

    def erase(self, path: Path) -> None:
        """Overwrite and remove a file."""
        with told("erase", path):
            # under another name first: a reader must not meet a half erased file
            leaving = path.parent / (ERASED + path.name.removeprefix(ERASED))
            os.replace(path, leaving)
            with open(leaving, "r+b", opener=_no_links) as file:
                size = os.fstat(file.fileno()).st_size
                file.write(bytes(size))
                file.flush()
                os.fsync(file.fileno())
            leaving.unlink()
            _sync(path.parent)

    def tidy(self) -> None:
        """Erase what a crash left unfinished; to be called under the lock, which writers hold."""
        for prefix in (UNFINISHED, ERASED):
            for path in self.path.glob(f"**/{prefix}*"):
                self.erase(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for ourselves, among processes."""
        path = self.path / LOCK
        with told("write", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
        try:
            with told("lock", path):
                self.give_to_owner(descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def give_to_owner(self, what: int | Path) -> None:
        """Let what root made belong to whom the folder belongs: the service must read it."""
        give_to_owner(self.path, what)

    def _check(self, path: Path, status: os.stat_result, *, directory: bool) -> None:
        """Refuse what others may read or change, and what somebody else put there."""
        right_kind = stat.S_ISDIR if directory else stat.S_ISREG
        if not right_kind(status.st_mode):
            kind = "directory" if directory else "plain file"
            raise ConfigurationError(f"{path} is not a {kind}")
        if status.st_mode & 0o077:
            mode = "700" if directory else "600"
            raise ConfigurationError(
                f"{path} has mode {stat.S_IMODE(status.st_mode):o}: others may read {self._holds}",
                hint=f"chmod {mode} {path}",
            )
        if os.geteuid() not in (0, status.st_uid):
            raise ConfigurationError(
                f"{path} belongs to another user",
                hint="chown it to the user who runs the service",
            )


@contextmanager
def told(doing: str, path: Path) -> Iterator[None]:
    """Turn what the system says of a file into a ``ConfigurationError``."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot {doing} {path}: {error.strerror or error}",
            hint="it must be a plain file or folder of the user who runs the service",
        ) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_links(path: str, flags: int) -> int:
    return os.open(path, flags | FLAGS)
