"""What was installed, so that it can be undone: a file that root alone may read and write.

Takes entries, gives them back. It lies beside the service's state and not in it: the service's
user could change it there, and what it says is later carried out by root.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pbx_stir.errors import ConfigurationError
from pbx_stir.private_files import PrivateFolder

LARGEST: Final = 64 << 20


def digest(octets: bytes) -> str:
    """The SHA-256 of a file's octets, in hexadecimal."""
    return hashlib.sha256(octets).hexdigest()


class Entry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file that was written.

    ``original`` are its octets before, None where there was none; ``digest`` is of what it was
    given, which itself, a key perhaps, is not kept. Of a symbolic link ``original`` is what it led
    to, ``target`` what it leads to.
    """

    path: str
    original: bytes | None
    digest: str
    block: bool = False
    target: str = ""


class Journal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that was written for one PBX, in the order in which it was written."""

    version: int = 2
    entries: tuple[Entry, ...] = ()
    folders: tuple[str, ...] = ()


class JournalFile:
    """The journal of one PBX in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        """Nothing is read or made yet."""
        self.path = folder / f"{name}.json"

    def load(self) -> Journal:
        """The journal, empty where nothing is installed.

        Raises ConfigurationError where it is not ours alone, or cannot be read.
        """
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return Journal()
        except OSError as error:
            raise ConfigurationError(f"cannot read {self.path}: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise ConfigurationError(f"{self.path} was not written by this user")
        folder = self._folder()
        octets = folder.read(self.path, LARGEST)
        try:
            return msgspec.json.decode(octets or b"", type=Journal)
        except (msgspec.DecodeError, ValueError) as error:
            raise ConfigurationError(
                f"{self.path} cannot be read: {error}",
                hint="take the lines between BEGIN pbx-stir and END pbx-stir out by hand",
            ) from error

    def save(self, journal: Journal) -> None:
        """Write the journal; an empty one is erased, with its folder if that is empty.

        Raises ConfigurationError where the folder is not ours alone, or cannot be written to.
        """
        folder = self._folder()
        if journal.entries or journal.folders:
            folder.write(self.path, msgspec.json.encode(journal))
            return
        if self.path.exists():
            folder.erase(self.path)
        if not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()

    def _folder(self) -> PrivateFolder:
        """The journal's folder, which nobody but us may own: what it says is carried out."""
        folder = PrivateFolder(self.path.parent, holds="what was installed")
        if os.lstat(folder.path).st_uid != os.geteuid():
            raise ConfigurationError(f"{folder.path} belongs to another user")
        return folder
