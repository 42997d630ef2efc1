"""What the board's tests share: one Chromium for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.chromium import Browser, browsing, chromium


@pytest.fixture
async def chrome(tmp_path: Path) -> AsyncIterator[Browser]:
    """A real browser; skipped where there is none. Its pages have no complaint at the end."""
    if chromium() is None:
        pytest.skip("no chromium: install Debian's package chromium")
    async with browsing(tmp_path) as browser:
        yield browser
        assert browser.complaints == []
