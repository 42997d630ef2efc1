"""Whether a file was begun since the machine started, and is whole therefore.

For a file that is never forced to the disk: whoever opens it while the machine runs finds all that
was written, whatever became of the processes that wrote it; after a loss of power parts of it may
be missing. So an SQLite file of the machine's run before is removed, and begun anew.

Beside the file lies its mark, ``NAME-boot``: the run of the machine whose processes do not force it
to the disk, or "-" where it is forced there; and since when the file knows everything. All who use
it hold a lock on the mark: nobody removes what another one has open.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from pbx_stir.ownership import give_to_owner

LOCK_SECONDS: Final = 10.0
# for whoever looks into the file only
OPEN_SECONDS: Final = 2.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
# of a run of the machine: 32 hexadecimal digits, or "-"; and "-" where nothing was removed
_MARK: Final = re.compile(rb"([0-9a-f]{32}|-) (-|[0-9]{1,15}\.[0-9]{1,9})\n")


def this_boot(environment: Mapping[str, str], file: Path = _BOOT_ID) -> str:
    """Give 32 hexadecimal digits that the machine draws when it starts; "": it does not say.

    Where a service manager hides ``file``, it may say it as ``PBX_STIR_BOOT`` (systemd's ``%b``).
    """
    try:
        said = file.read_text("ascii")
    except (OSError, ValueError):
        said = environment.get("PBX_STIR_BOOT", "")
    plain = said.strip().replace("-", "").lower()
    return plain if re.fullmatch("[0-9a-f]{32}", plain) else ""


def since_start() -> float:
    """Seconds since the machine started: never set, and the same for all of its processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class BootMark:
    """The mark of one file that is about to be opened; to be closed after it."""

    def __init__(self, path: Path, boot: str) -> None:
        """Remove what another run of the machine left at ``path``; ``boot``: see ``this_boot``.

        Where ``boot`` is not known, what a run left that knew its own is of another one: it was not
        forced to the disk. Raises OSError, and TimeoutError where another process is in the way.
        """
        self._path = path
        self._boot = boot.encode() or b"-"
        mark = path.with_name(path.name + "-boot")
        self._descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            give_to_owner(path.parent, self._descriptor)
            if self._locked(fcntl.LOCK_EX):
                self._begin()
            moment = time.monotonic() + LOCK_SECONDS
            # another one that opens it now may have removed it for a moment
            while not self._locked(fcntl.LOCK_SH):
                if time.monotonic() > moment:
                    raise TimeoutError(f"{mark}: another process holds it")
                time.sleep(0.02)
            octets = self._octets()
        except BaseException:
            os.close(self._descriptor)
            raise
        found = _MARK.fullmatch(octets)
        self.is_of_one_boot = found is not None and found[1] != b"-"
        """Whether the next run of the machine will begin the file anew: it may be lost then."""
        self.begun = since_start() if octets else None
        """When, by ``since_start``, it was begun anew; None: it has all it ever had."""
        # else somebody has it open who was told of another run: what that one knows nobody says
        if found is not None and found[1] in (self._boot, b"-"):
            self.begun = None if found[2] == b"-" else min(float(found[2]), since_start())

    def close(self) -> None:
        """Nobody here uses the file any more."""
        os.close(self._descriptor)

    def _octets(self) -> bytes:
        return os.pread(self._descriptor, 200, 0)

    def _locked(self, how: int) -> bool:
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _begin(self) -> None:
        """No other one who knows of marks has it open: see whether it is whole."""
        octets = self._octets()
        found = _MARK.fullmatch(octets)
        begun = found[2] if found is not None else b"-"
        # what has no mark yet was forced to the disk by who wrote it
        if octets and (found is None or found[1] not in (self._boot, b"-")):
            self._remove()
            begun = _now()
        elif begun != b"-" and float(begun) > since_start():
            # of a run before: none of what that used was made after this moment
            begun = _now()
        text = self._boot + b" " + begun + b"\n"
        if text == octets:
            return
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))
        # it must not be lost while the file is not
        os.fsync(self._descriptor)

    def _remove(self) -> None:
        if _is_open(self._path):
            raise TimeoutError(
                f"{self._path} is of another run of the machine,"
                " and a process of another version has it open"
            )
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + end).unlink()
        # before the mark says that it was
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _now() -> bytes:
    return b"%d.%03d" % divmod(int(since_start() * 1000), 1000)


def _is_open(path: Path) -> bool:
    """Whether a connection to the file exists, whoever's; one that is no database has none."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, OPEN_SECONDS, uri=True, isolation_level=None)) as file:
            # with a write-ahead log each connection has a lock until it is closed
            file.execute("PRAGMA locking_mode = EXCLUSIVE")
            file.execute("PRAGMA synchronous = OFF")
            file.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return False
