"""What was installed, so that it can be undone: a file that root alone may read and write.

Takes entries, gives them back. It lies beside the service's state and not in it: the service's
user could change it there, and what it says is later carried out by root.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pbx_stir.errors import ConfigurationError
from pbx_stir.private_files import PrivateFolder

LARGEST: Final = 64 << 20


class Entry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file that was written.

    ``original`` are its octets before, None where there was none; ``written`` what it was given. Of
    a symbolic link ``original`` is what it led to, ``target`` what it leads to.
    """

    path: str
    original: bytes | None
    written: bytes
    block: bool = False
    target: str = ""


class Journal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that was written for one PBX, in the order in which it was written."""

    version: int = 1
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
        folder = PrivateFolder(self.path.parent, holds="what was installed")
        octets = folder.read(self.path, LARGEST)
        try:
            return msgspec.json.decode(octets or b"", type=Journal)
        except (msgspec.DecodeError, ValueError) as error:
            raise ConfigurationError(
                f"{self.path} cannot be read: {error}",
                hint="take the lines between BEGIN pbx-stir and END pbx-stir out by hand",
            ) from error

    def save(self, journal: Journal) -> None:
        """Write the journal; an empty one is removed, with its folder if that is empty."""
        folder = PrivateFolder(self.path.parent, holds="what was installed")
        if journal.entries or journal.folders:
            folder.write(self.path, msgspec.json.encode(journal))
            return
        self.path.unlink(missing_ok=True)
        if not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()
