"""The Asterisks of these tests, and why there may be none."""

from __future__ import annotations

import pytest

from lab import asterisk


def software_of(suite: str) -> asterisk.Software:
    """Debian's Asterisk of that suite; where none can be had the tests are skipped."""
    if reason := asterisk.why_not():
        pytest.skip(f"no Asterisk: {reason}")
    return asterisk.get(suite)
