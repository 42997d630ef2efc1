"""The key of the call log's hashes: a private file, made once and kept.

Whoever has it can find the number of each hash by trying them all; whoever has lost it can no
longer tell which old hashes are which numbers.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from pbx_stir.call_log.numbers import KEY_OCTETS
from pbx_stir.errors import ConfigurationError
from pbx_stir.private_files import PrivateFolder

FOLDER: Final = "call_log"
FILE: Final = "key"


def hash_key(state_dir: Path, *, make: bool) -> bytes:
    """The key in ``state_dir``, with ``make`` a fresh one where there is none.

    Raises:
        ConfigurationError: there is none, it is none, or others may read it
    """
    path = state_dir / FOLDER / FILE
    if not make and not path.exists():
        hint = 'the service makes it when it runs with numbers = "hash"'
        raise ConfigurationError(f"cannot read {path}: there is no such file", hint=hint)
    folder = PrivateFolder(path.parent, holds="the key of the call log's hashes")
    with folder.locked():
        key = folder.read(path, KEY_OCTETS + 1)
        if key is None:
            key = secrets.token_bytes(KEY_OCTETS)
            folder.write(path, key)
    if len(key) != KEY_OCTETS:
        hint = "restore it; without it hashes change, and old ones are found by no number"
        raise ConfigurationError(f"{path} does not hold {KEY_OCTETS} octets", hint=hint)
    return key
