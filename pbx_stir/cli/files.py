"""What several commands read from files, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pbx_stir.errors import UsageError

LARGEST_FILE: Final = 1 << 20


def octets_of(name: str, *, cut: bool = False) -> bytes:
    """The octets of the file ``name``, "-" being standard input; ``cut``: no more than 1 MiB.

    Raises:
        UsageError: it cannot be read, or is larger than 1 MiB
    """
    try:
        with open("/dev/stdin" if name == "-" else Path(name), "rb") as stream:
            octets = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    if len(octets) > LARGEST_FILE and not cut:
        raise UsageError(f"{name} is larger than {LARGEST_FILE} octets")
    return octets
