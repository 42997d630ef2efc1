"""Files in folders that may be somebody else's, held so that nobody moves them under root's hands.

The PBX's user often owns the PBX's folder, so at any moment he can put a link where a file was,
and root's writing would follow it. Therefore a path is walked once, folder by folder, none of them
by a link unless it may be trusted; the last folder and the file that was read stay open, and all
that is written, given away or removed goes by these descriptors. A link is followed where its
folder is root's alone, and else only to what belongs to the link's own owner: nobody can gain
by that what was not his. A file's new octets belong to whom those it was read with did.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pbx_stir.errors import ConfigurationError

LARGEST_FILE: Final = 16 << 20
_MOST_LINKS: Final = 40
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER: Final = _LOOK | os.O_DIRECTORY
# without waiting for whoever writes to a pipe
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read_plain(path: Path, descriptor: int) -> bytes:
    """The octets of an open file. Raises ConfigurationError: no plain file, or enormous."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ConfigurationError(f"{path} is no plain file")
    octets = bytearray()
    while len(octets) <= LARGEST_FILE:
        more = os.pread(descriptor, 1 << 20, len(octets))
        if not more:
            return bytes(octets)
        octets += more
    raise ConfigurationError(f"{path} is larger than {LARGEST_FILE} octets")


def read_any(path: Path) -> bytes | None:
    """The octets of a file that is only read, by whatever links; None where it is not there.

    Raises OSError, ConfigurationError.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise ConfigurationError(f"{path} is no plain file") from None
        return None
    try:
        return read_plain(path, descriptor)
    finally:
        os.close(descriptor)


class Place:
    """A name in a folder that is held open; once it was read, the file is held open too."""

    def __init__(self, path: Path, folder: int, name: str, owner: int | None) -> None:
        """``folder`` is a descriptor, ours to close; ``owner`` who must own the file."""
        self.path = path
        self._folder = folder
        self._name = name
        self._owner = owner
        self._file: int | None = None
        self._octets: bytes | None = None

    def close(self) -> None:
        """Let go of folder and file."""
        self._hold(None, None)
        os.close(self._folder)

    def read(self) -> bytes | None:
        """The file's octets, None where there is none. Raises OSError, ConfigurationError."""
        try:
            descriptor = os.open(self._name, _READ | os.O_NOFOLLOW, dir_fd=self._folder)
        except FileNotFoundError:
            self._hold(None, None)
            return None
        try:
            octets = read_plain(self.path, descriptor)
            _refuse_strangers(self.path, descriptor, self._owner)
        except BaseException:
            os.close(descriptor)
            raise
        self._hold(descriptor, octets)
        return octets

    def write(self, octets: bytes, mode: int, ids: tuple[int, int] | None) -> None:
        """Put these octets where the file is that was read, with its mode and owner.

        ``mode`` and ``ids`` (user and group; None: our own) are a new file's. Raises OSError,
        and ConfigurationError where what was read is not what is there.
        """
        if self._file is not None:
            status = os.fstat(self._file)
            mode, ids = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
        temporary = f".pbx-stir-{secrets.token_hex(8)}"
        descriptor = os.open(temporary, _NEW, 0o600, dir_fd=self._folder)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(octets)
            if ids is not None:
                os.fchown(descriptor, *ids)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            self._still()
            self._move(temporary)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._folder)
            raise
        self._hold(descriptor, octets)

    def remove(self) -> None:
        """Remove the file that was read. Raises OSError, ConfigurationError."""
        self._still()
        os.unlink(self._name, dir_fd=self._folder)
        self._hold(None, None)

    def link(self) -> str | None:
        """Where the symbolic link leads that is there; None where there is nothing.

        Raises OSError, and ConfigurationError where it is something else.
        """
        try:
            return os.readlink(self._name, dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{self.path} is no link") from error

    def link_to(self, target: str | None) -> None:
        """Make a symbolic link, in place of one that is there; None removes it."""
        if target is None:
            os.unlink(self._name, dir_fd=self._folder)
            return
        temporary = f".pbx-stir-{secrets.token_hex(8)}"
        os.symlink(target, temporary, dir_fd=self._folder)
        self._move(temporary)

    def make_folder(self, mode: int, ids: tuple[int, int] | None) -> None:
        """Make a folder of that name, or none. Raises OSError, ConfigurationError."""
        os.mkdir(self._name, 0o700, dir_fd=self._folder)
        try:
            self._give_folder(mode, ids)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove_folder()
            raise

    def _give_folder(self, mode: int, ids: tuple[int, int] | None) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._name, flags, dir_fd=self._folder)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid() or os.listdir(descriptor):
                raise ConfigurationError(f"{self.path} has changed meanwhile")
            if ids is not None:
                os.fchown(descriptor, *ids)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def remove_folder(self) -> None:
        """Remove an empty folder of that name. Raises OSError."""
        os.rmdir(self._name, dir_fd=self._folder)

    def _hold(self, descriptor: int | None, octets: bytes | None) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._octets = descriptor, octets

    def _still(self) -> None:
        """Refuse where the name has come to mean another file, or the file was written to."""
        try:
            now = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            is_same = self._file is None
        else:
            is_same = (
                self._file is not None
                and os.path.samestat(now, os.fstat(self._file))
                and read_plain(self.path, self._file) == self._octets
            )
        if not is_same:
            raise ConfigurationError(
                f"{self.path} has changed meanwhile", hint="look at the changes again"
            )

    def _move(self, temporary: str) -> None:
        os.replace(temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)


@contextmanager
def place(path: Path, *, follow: bool = True) -> Iterator[Place]:
    """Hold the place of ``path``; if not ``follow``, of the link itself that it may be.

    Raises FileNotFoundError where its folder is not there, other OSErrors, and
    ConfigurationError where a link on the way may not be followed.
    """
    walk = _Walk(path)
    root = os.open("/", _ENTER)
    try:
        folder, name, owner = walk.found(root, str(path.absolute()), follow=follow)
    finally:
        os.close(root)
    held = Place(path, folder, name, owner)
    try:
        yield held
    finally:
        held.close()


class _Walk:
    """One way through folders to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._links = 0

    def found(self, start: int, text: str, *, follow: bool = True) -> tuple[int, str, int | None]:
        """The folder (a descriptor, the caller's) and name that ``text`` means from ``start``.

        The third is who must own what is there, None for anybody.
        """
        *above, last = [one for one in text.split("/") if one not in {"", "."}] or ["."]
        held = os.open("/" if text.startswith("/") else ".", _ENTER, dir_fd=start)
        try:
            for name in above:
                inner = self._entered(held, name)
                os.close(held)
                held = inner
            further = self._followed(held, last) if follow else None
        except BaseException:
            os.close(held)
            raise
        if further is None:
            return held, last, None
        os.close(held)
        return further

    def _entered(self, held: int, name: str) -> int:
        """The folder ``name`` of the folder ``held``."""
        further = self._followed(held, name)
        if further is None:
            return os.open(name, _ENTER, dir_fd=held)
        folder, last, owner = further
        try:
            inner = os.open(last, _ENTER, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            _refuse_strangers(self.path, inner, owner)
        except BaseException:
            os.close(inner)
            raise
        return inner

    def _followed(self, held: int, name: str) -> tuple[int, str, int | None] | None:
        """Where the link of that name leads; None where it is no link, or nothing."""
        try:
            link = os.open(name, _LOOK, dir_fd=held)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(link)
            if not stat.S_ISLNK(status.st_mode):
                return None
            self._links += 1
            if self._links > _MOST_LINKS:
                raise ConfigurationError(f"{self.path}: too many links")
            # of the very link that was looked at, whatever has its name by now
            folder, last, owner = self.found(held, os.readlink("", dir_fd=link))
        finally:
            os.close(link)
        try:
            os.stat(last, dir_fd=folder, follow_symlinks=False)
            if not _is_ours_alone(os.fstat(held)):
                if owner not in {None, status.st_uid}:
                    raise _refused(self.path)
                owner = status.st_uid
        except FileNotFoundError:
            os.close(folder)
            raise ConfigurationError(
                f"{self.path} is no plain file", hint="a link to nothing"
            ) from None
        except BaseException:
            os.close(folder)
            raise
        return folder, last, owner


def _is_ours_alone(folder: os.stat_result) -> bool:
    """Whether only root, or we, can put something into a folder."""
    others = 0o002 if folder.st_gid == 0 else 0o022
    return folder.st_uid in {0, os.geteuid()} and not folder.st_mode & others


def _refuse_strangers(path: Path, descriptor: int, owner: int | None) -> None:
    if owner is not None and os.fstat(descriptor).st_uid != owner:
        raise _refused(path)


def _refused(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is, or is behind, a link to what belongs to another user than the link",
        hint="whoever can make that link could have root write there: put the file itself in "
        "its place, or give link (chown -h) and file the same owner",
    )
