"""The machine that is installed on: where its files are, who its users are, what it can run.

``root`` is another machine's root folder, such as an image's: then nothing is run, and new files
are ours. All paths that other modules name are the machine's own.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing.changes import Owner
from pbx_stir.installing.places import place, read_any

_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine by its root folder."""

    root: Path = Path("/")

    @property
    def here(self) -> bool:
        """Whether it is this very machine: only there commands can be run."""
        return self.root == Path("/")

    def path(self, name: str | Path) -> Path:
        """The machine's path ``name`` as one of ours."""
        return self.root / str(name).lstrip("/")

    def read(self, path: Path) -> bytes | None:
        """The octets of a file that is only read; None where it is not there.

        Raises ConfigurationError where it cannot be read, is no plain file, or is enormous.
        """
        with _readable(path):
            return read_any(path)

    def to_change(self, path: Path) -> bytes | None:
        """As ``read``, of a file that is to be written: by no link that may not be trusted."""
        with _readable(path):
            try:
                with place(path) as held:
                    return held.read()
            except FileNotFoundError:
                return None

    def matching(self, folder: Path, pattern: str) -> list[Path]:
        """The files that a pattern means, seen from ``folder``."""
        if pattern.startswith("/"):
            return [Path(name) for name in sorted(glob.glob(str(self.path(pattern))))]
        return [Path(name) for name in sorted(glob.glob(f"{glob.escape(str(folder))}/{pattern}"))]

    def owner_of(self, path: Path) -> Owner:
        """Who owns a file, by name."""
        try:
            status = path.stat()
        except OSError:
            return Owner()
        try:
            return Owner(pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name)
        except KeyError:
            return Owner(f"#{status.st_uid}", f"#{status.st_gid}")

    def ids(self, owner: Owner) -> tuple[int, int] | None:
        """User and group id of an owner; None where files are to stay whose they are."""
        if os.geteuid() != 0:
            return None
        user, group = 0, 0
        if owner.user.startswith("#"):
            return int(owner.user[1:]), int(owner.group[1:])
        try:
            if owner.user:
                user = pwd.getpwnam(owner.user).pw_uid
            if owner.group:
                group = grp.getgrnam(owner.group).gr_gid
        except KeyError:
            return None
        return user, group

    def has_user(self, name: str) -> bool:
        """Whether there is such a user."""
        try:
            pwd.getpwnam(name)
        except KeyError:
            return False
        return True

    @property
    def has_systemd(self) -> bool:
        """Whether services are run by systemd; an image has it where it has its folder."""
        return self.path("/run/systemd/system" if self.here else "/etc/systemd/system").is_dir()

    def program(self) -> str:
        """The path of the command ``pbx-stir`` that is running, as a service would call it."""
        beside = Path(sys.prefix) / "bin/pbx-stir"
        found = str(beside) if beside.exists() else shutil.which("pbx-stir")
        return found or "/opt/pbx-stir/bin/pbx-stir"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error


def run(command: Sequence[str]) -> str:
    """Run one command; returns what went wrong in words, or an empty string."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1] if said else f"exit status {done.returncode}"
