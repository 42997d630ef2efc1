"""Whom a new file belongs to: in a service's folder, the service, also where root made it."""

from __future__ import annotations

import os
from pathlib import Path


def give_to_owner(folder: Path, what: int | Path) -> None:
    """Let what root made in ``folder`` belong to whom that belongs: the service must read it.

    ``what`` is a descriptor, or a path that nobody else can have put a link at. Raises OSError.
    """
    owner = os.stat(folder)
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(what, owner.st_uid, owner.st_gid)
