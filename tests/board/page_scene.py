"""The page in a browser, and calls to show on it."""

from __future__ import annotations

import json
import random
import time
from typing import Any

from lab.board import call, log_in
from lab.chromium import Browser, Page
from tests.board.scene import TOKEN

ROWS = "document.querySelectorAll('#rows tr').length"


def incoming(call_id: str, /, **changed: Any) -> dict[str, Any]:
    """A call that came in now, unsigned."""
    made = call(random.Random(call_id), time.time())
    made.pop("status", None)
    made |= {"id": call_id, "direction": "in", "verstat": "No-TN-Validation", "attest": ""}
    return made | {"reason": "no-passport", "signer": "", "name": "", "mode": "on"} | changed


def verified(call_id: str, /, **changed: Any) -> dict[str, Any]:
    """A call that came in now, verified."""
    passed = {"verstat": "TN-Validation-Passed", "reason": "verified", "signer": "Example Ltd"}
    return incoming(call_id, **(passed | changed))


async def opened(chrome: Browser, url: str, **look: bool) -> Page:
    """The page, logged in."""
    page = await chrome.page()
    await page.look(**look)
    await log_in(page, url, TOKEN)
    return page


async def text(page: Page, selector: str) -> str:
    """What stands in an element."""
    found = await page.js(f"document.querySelector({json.dumps(selector)}).textContent")
    return str(found)


async def rows(page: Page, count: int) -> None:
    """Wait for so many rows."""
    await page.until(f"{ROWS} === {count}")
