"""Whether a file was begun since the machine started, and is whole therefore.

For a file that is never forced to the disk: whoever opens it while the machine runs finds all that
was written, whatever became of the processes that wrote it; after a loss of power parts of it may
be missing. So a file of the machine's run before is removed, and begun anew.

Beside the file lies its mark, ``NAME-boot``: the run of the machine, and since when that knows
everything. All who use the file hold a lock on the mark: nobody removes what another one has open.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

LOCK_SECONDS: Final = 10.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
# of a run of the machine: 32 hexadecimal digits; and "-" where nothing was removed
_MARK: Final = re.compile(rb"([0-9a-f]{32}) (-|[0-9]{1,15}\.[0-9]{1,9})\n")


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
        """Remove what the machine's run before left at ``path``; ``boot``: see ``this_boot``.

        Where that is not known nothing is removed. Raises OSError.
        """
        self._path = path
        self._boot = boot.encode()
        mark = path.with_name(path.name + "-boot")
        self._descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if boot and self._locked(fcntl.LOCK_EX):
                self._begin()
            moment = time.monotonic() + LOCK_SECONDS
            # another one that opens it now may have removed it for a moment
            while not self._locked(fcntl.LOCK_SH):
                if time.monotonic() > moment:
                    raise TimeoutError(f"{mark}: another process holds it")
                time.sleep(0.02)
            found = _MARK.fullmatch(os.pread(self._descriptor, 200, 0))
        except BaseException:
            os.close(self._descriptor)
            raise
        removed = found is not None and found[2] != b"-"
        # not later than now: it may be of a run before, where somebody has that one's file open
        self.begun = min(float(found[2]), since_start()) if found and removed else None
        """When, by ``since_start``, it was begun anew; None: it has all it ever had."""

    def close(self) -> None:
        """Nobody here uses the file any more."""
        os.close(self._descriptor)

    def _locked(self, how: int) -> bool:
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _begin(self) -> None:
        """Nobody else has it open: see whether it is of this run of the machine."""
        octets = os.pread(self._descriptor, 200, 0)
        found = _MARK.fullmatch(octets)
        if found is not None and found[1] == self._boot:
            return
        begun = b"-"
        if octets:
            for end in ("", "-wal", "-shm", "-journal"):
                with suppress(FileNotFoundError):
                    self._path.with_name(self._path.name + end).unlink()
            begun = b"%d.%03d" % divmod(int(since_start() * 1000), 1000)
        # what has no mark yet was forced to the disk by who wrote it
        text = self._boot + b" " + begun + b"\n"
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))
        # it must not be lost while the file is not
        os.fsync(self._descriptor)
