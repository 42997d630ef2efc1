"""A base image made from Debian's archive, for machines that reach no image registry.

Takes a suite, gives a tar file for ``docker import``: Debian's essential packages, apt and
ca-certificates. Needs root and ``mmdebstrap``. The mirror is the one that the machine's own apt is
configured with, and so is how it is reached; both go into the image, whose apt needs them too.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from lab import debian
from lab.debian import KEYRING, LabError

_APT = ('Acquire::Check-Valid-Until "false";', 'Acquire::Languages "none";')
_LEFT_OUT = ("doc", "info", "locale", "man", "zoneinfo")


def why_not() -> str:
    """Why no base image can be made here, or an empty string if one can."""
    if os.geteuid() != 0:
        return "making a base image takes root"
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed"
    return debian.why_not()


def base_image(suite: str, folder: Path) -> Path:
    """The file ``folder/base-SUITE.tar``, made the first time.

    Raises LabError with what mmdebstrap said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"base-{suite}.tar"
    with (folder / f"base-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(suite, made)
    return made


def _make(suite: str, made: Path) -> None:
    reason = why_not()
    if reason:
        raise LabError(reason)
    fresh = made.with_suffix(".fresh.tar")
    options = [f"--aptopt={line}" for line in (*_APT, *debian.reach())]
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    # as Debian's own images have it: an image is whole or not there
    options.append("--dpkgopt=force-unsafe-io")
    done = subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", *options),
            *(suite, str(fresh), f"deb [signed-by={KEYRING}] {debian.mirror()} {suite} main"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=debian.TIME_LIMIT_SECONDS,
    )
    if done.returncode:
        raise LabError(f"mmdebstrap failed: {done.stderr.strip()[-800:]}")
    fresh.rename(made)
