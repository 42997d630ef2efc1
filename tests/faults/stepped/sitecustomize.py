"""A clock that can be stepped: with this folder in PYTHONPATH a process's own is off.

The file that PBX_STIR_TEST_CLOCK names says by how many seconds; it is read anew ten times a
second. Deadlines, which go by the monotonic clock, stay as they are, as they do where a real clock
is set. (libfaketime 0.9 slows a process by a factor of ten, and its time.sleep fails.)
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_file = Path(os.environ["PBX_STIR_TEST_CLOCK"])
_real = time.time
_read_at = 0.0
_off = 0.0


def _stepped() -> float:
    """Seconds since the epoch, by this process's clock."""
    global _read_at, _off
    now = _real()
    if abs(now - _read_at) > 0.1:
        _read_at = now
        _off = float(_file.read_text())
    return now + _off


time.time = _stepped
time.time_ns = lambda: int(_stepped() * 1e9)
