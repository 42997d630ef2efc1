"""How the page looks and is read out, in a real Chromium: colours, widths, motion, voices."""

from __future__ import annotations

import asyncio
import time

import pytest

from lab.board import choose, contest
from lab.chromium import Browser
from pbx_stir.board.feed import Feed
from pbx_stir.board.server import serving
from tests.board.page_scene import incoming, opened, rows, verified
from tests.board.scene import settings


@pytest.mark.parametrize("dark", [False, True])
async def test_light_and_dark(chrome: Browser, dark: bool) -> None:
    """The system's choice, until one is made on the page; which stays."""
    ground = "getComputedStyle(document.body).backgroundColor"
    light_ground, dark_ground = "rgb(241, 244, 247)", "rgb(14, 20, 27)"
    async with serving(settings(), Feed()) as url:
        page = await opened(chrome, url, dark=dark)
        assert await page.js(ground) == (dark_ground if dark else light_ground)
        await choose(page, "theme", "light" if dark else "dark")
        assert await page.js(ground) == (light_ground if dark else dark_ground)
        await page.goto(url)
        await page.until("document.getElementById('state')?.dataset.state === 'live'")
        assert await page.js(ground) == (light_ground if dark else dark_ground)


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440, 1920])
async def test_nothing_is_wider_than_the_window(chrome: Browser, width: int) -> None:
    """On a phone, a tablet and a wall; long words and numbers are cut in their place."""
    feed = Feed()
    long = {"name": "W" * 64, "signer": "W" * 96, "trunk": "w" * 40, "orig": "1" * 64}
    feed.put(verified("a", **long))
    feed.put(verified("b"))
    async with serving(settings(), feed) as url:
        page = await opened(chrome, url)
        await page.size(width, 800, phone=width < 700)
        await rows(page, 2)
        wide = "document.documentElement.scrollWidth - innerWidth"
        assert await page.js(wide) <= 0
        await page.js("document.querySelector('#rows tr').click()")
        assert await page.js(wide) <= 0
        await page.press("Escape")
        await page.js("document.querySelector('[data-show=overview]').click()")
        assert await page.js(wide) <= 0
        cut = await page.js(
            "[...document.querySelectorAll('#rows tr[data-id=b] .pill')]"
            ".every((one) => one.scrollWidth <= one.closest('td').clientWidth + 1)"
        )
        assert cut


async def test_what_a_screen_reader_gets(chrome: Browser) -> None:
    """A table with its rows counted, names for all that can be used, and calls as a sum."""
    feed = Feed()
    async with serving(settings(), feed) as url:
        page = await opened(chrome, url)
        for number in range(12):
            feed.put(verified(f"v{number}") if number % 4 == 0 else incoming(f"n{number}"))
        await rows(page, 12)
        await page.until("document.getElementById('heard').textContent !== ''")
        assert (
            await page.js("document.getElementById('heard').getAttribute('aria-live')") == "polite"
        )
        tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
        named: dict[str, list[str]] = {}
        for node in tree:
            if not node.get("ignored"):
                role = node.get("role", {}).get("value", "")
                named.setdefault(role, []).append(node.get("name", {}).get("value", ""))
        assert named["grid"] == ["Calls"]
        assert len(named["columnheader"]) >= 8
        assert any("Not verified" in name for name in named["row"])
        for role in ("button", "combobox", "searchbox", "checkbox", "link"):
            assert "" not in named.get(role, []), role
        assert any("Verified share of the last 24 hours" in name for name in named["image"])


async def test_little_is_read_out(chrome: Browser) -> None:
    """A hundred calls are a sentence or two, a contested one is said at once; or none at all."""
    feed = Feed()
    began = time.monotonic()
    async with serving(settings(), feed) as url:
        page = await opened(chrome, url)
        await page.js(
            "window.heard_ = []; new MutationObserver(() =>"
            " heard_.push(document.getElementById('heard').textContent))"
            ".observe(document.getElementById('heard'), {childList: true})"
        )
        for number in range(100):
            feed.put(verified(f"v{number}"))
            await asyncio.sleep(0.01)
        await page.until("document.getElementById('rows').textContent !== '' && heard_.length")
        feed.put(contest(verified("v50"), "x"))
        await page.until("heard_.at(-1).startsWith('Contested')")
        heard = await page.js("heard_")
        # one at first, one each six seconds, and the contested one
        assert len(heard) <= 2 + (time.monotonic() - began) / 6
        assert any("verified" in one.lower() for one in heard)
        await page.js("document.getElementById('announce').click()")
        await page.js("heard_.length = 0")
        feed.put(verified("silent"))
        await page.until("document.querySelector('#rows tr[data-id=silent]') !== null")
        assert await page.js("heard_.length") == 0


@pytest.mark.parametrize("calm", [True, False])
async def test_who_wants_little_motion_gets_none(chrome: Browser, calm: bool) -> None:
    """Nothing moves by itself; for others a new row shows that it is new."""
    feed = Feed()
    async with serving(settings(), feed) as url:
        page = await opened(chrome, url, calm=calm)
        feed.put(verified("a"))
        await rows(page, 1)
        assert (await page.js("document.getAnimations().length") == 0) == calm
