"""Where a page has stopped, as its reader carries it: 22 characters that tell nothing.

The entry that was looked at last may be another holder's; its arrival and its id are for nobody
else. So they are encrypted, as one block of AES, and what was not made here reads as no place.
"""

from __future__ import annotations

import base64
import math
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pbx_stir.cps.places import Cursor
from pbx_stir.cps.wire import format_id, is_id

_ID_OCTETS = 8


def seal_cursor(cursor: Cursor, key: bytes) -> str:
    """Write a cursor; ``key`` has 16 octets. The id's first eight characters do."""
    block = struct.pack(">d8s", cursor.arrival, cursor.id[:_ID_OCTETS].encode("ascii"))
    encryptor = _cipher(key).encryptor()
    return format_id(encryptor.update(block) + encryptor.finalize())


def open_cursor(text: str, key: bytes) -> Cursor | None:
    """Read one; None for what is none, or was sealed under another key."""
    if not is_id(text):
        return None
    decryptor = _cipher(key).decryptor()
    block = decryptor.update(base64.urlsafe_b64decode(text + "==")) + decryptor.finalize()
    arrival, begins = struct.unpack(">d8s", block)
    if not math.isfinite(arrival) or not begins.isascii():
        return None
    return Cursor(arrival, begins.decode("ascii"))


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    # a single block, and never twice the same but for the same place
    return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305
