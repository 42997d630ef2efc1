"""The call board to be looked at without a PBX: made-up calls, and pictures of it.

::

    python -m lab.board                       serves it until Ctrl-C, with a call now and then
    python -m lab.board --pictures FOLDER     writes pictures of it with 1,000 calls, and ends
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lab.chromium import Browser, Page, browsing
from pbx_stir.board.feed import Feed
from pbx_stir.board.server import serving
from pbx_stir.board.settings import BoardSettings

TOKEN: Final = "made-up-token-of-the-lab"
_TRUNKS: Final = ("carrier-1", "carrier-2", "sip-east", "branch")
_NAMES: Final = ("Alice Miller", "Zoë Müller", "Harbour Pharmacy", "Dr. Amrit Kaur", "", "", "", "")
_SIGNERS: Final = ("Example Ltd", "Harbour Health", "SPC 709J", "Kowalski & Sons")
# (how often, verstat, reason, attest, rejections)
_INBOUND: Final = (
    (36, "TN-Validation-Passed", "verified", "A", ()),
    (4, "No-TN-Validation", "attest-b", "B", (("attestation", "attest-b", "attested B"),)),
    (41, "No-TN-Validation", "no-passport", "", ()),
    (4, "No-TN-Validation", "stale", "", (("iat", "stale", "94 s old"),)),
    (
        3,
        "No-TN-Validation",
        "orig-mismatch",
        "",
        (
            ("open", "malformed", "not for one of our keys"),
            ("orig", "orig-mismatch", "signed for 12125550177"),
        ),
    ),
    (
        2,
        "No-TN-Validation",
        "certificate-untrusted",
        "",
        (("certificate", "certificate-untrusted", "no path to an anchor"),),
    ),
    (
        2,
        "No-TN-Validation",
        "cps-unavailable",
        "",
        (("retrieve https://cps.example.net", "cps-unavailable", "no answer within 1.8 s"),),
    ),
    (1, "No-TN-Validation", "replayed", "", (("single use", "replayed", "used by another call"),)),
    (
        2,
        "TN-Validation-Failed",
        "bad-signature",
        "",
        (("signature", "bad-signature", "under Example Ltd"),),
    ),
)
_OUTBOUND: Final = (
    (60, "stored", "stored", "A", ()),
    (25, "skipped", "no-cps", "", ()),
    (6, "skipped", "caller-not-allowed", "", ()),
    (5, "error", "cps-unavailable", "", (
        ("https://cps.example.net", "cps-unavailable", "no answer within 1.3 s"),
    )),
)  # fmt: skip


def call(chance: random.Random, at: float) -> dict[str, Any]:
    """A made-up call, as the call log has it."""
    is_in = chance.random() < 0.72
    kinds = _INBOUND if is_in else _OUTBOUND
    _, verdict, reason, attest, met = chance.choices(kinds, [one[0] for one in kinds])[0]
    ours = f"12125551{chance.randrange(200, 300)}"
    theirs = f"1646555{chance.randrange(100, 9_999):04d}"
    line: dict[str, Any] = {
        "event": "call",
        "time": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        "id": f"{chance.getrandbits(64):016x}",
        "pbx": "office",
        "uniqueid": f"w-{at:.2f}",
        "linkedid": f"w-{at:.2f}",
        "direction": "in" if is_in else "out",
        "mode": "monitor" if chance.random() < 0.05 else "on",
        "trunk": chance.choices(_TRUNKS, (6, 3, 2, 1))[0],
        "orig": theirs if is_in else ours,
        "dest": ours if is_in else theirs,
        "reason": reason,
        "ms": round(chance.lognormvariate(1.9, 0.6), 1) + (1_800 if "unavailable" in reason else 0),
        "released": True,
        "verstat" if is_in else "status": verdict,
        "attest": attest,
        "signer": chance.choice(_SIGNERS) if attest else "",
    }
    if not is_in:
        line |= {"originator": ["alice"], "came_in": ""}
    if reason == "verified" and (name := chance.choice(_NAMES)):
        line["name"] = name
    if reason not in {"no-cps", "caller-not-allowed"}:
        line["asked"] = [_asked(line["ms"], reason)]
    if met:
        line["rejections"] = [
            {"step": step, "reason": why, "detail": detail} for step, why, detail in met
        ]
    return line


def _asked(ms: float, reason: str) -> dict[str, Any]:
    """What a CPS was asked in a call of so many milliseconds."""
    if reason == "cps-unavailable":
        return {"cps": "https://cps.example.net", "number": "", "answer": reason}
    found = {"passports": 3, "opened": 0 if reason == "no-passport" else 1}
    return {"cps": "https://cps.example.net", "number": "", "answer": "ok", "ms": ms} | found


def contest(first: dict[str, Any], claimed_by: str) -> dict[str, Any]:
    """The line that says that another call claimed the signature of ``first``."""
    return {
        "event": "contested",
        "time": first["time"],
        "id": first["id"],
        "pbx": first["pbx"],
        "uniqueid": first["uniqueid"],
        "claimed_by": claimed_by,
        "note": "two calls claimed this signature; either may be the genuine one",
    }


def calls_of_a_day(count: int, now: float, seed: int = 8816) -> Iterator[dict[str, Any]]:
    """So many calls, more of them in the last hours than at night."""
    chance = random.Random(seed)
    ago = sorted((chance.triangular(0, 86_000, 0) for _ in range(count)), reverse=True)
    passed: dict[str, Any] = {}
    for seconds in ago:
        line = call(chance, now - seconds)
        is_second = line["reason"] == "replayed" and bool(passed)
        if is_second:
            line["contests"] = passed["id"]
        yield line
        if is_second:
            yield contest(passed, line["id"])
        if line["reason"] == "verified":
            passed = line


async def log_in(page: Page, url: str, token: str = TOKEN) -> None:
    """Log in as a person would, and wait for the calls."""
    await page.goto(f"{url}/login")
    await page.until("document.getElementById('token') !== null")
    await page.js("document.getElementById('token').focus()")
    await page.type(token)
    await page.press("Enter")
    await page.until("document.getElementById('state')?.dataset.state === 'live'")


async def choose(page: Page, name: str, value: str) -> None:
    """Choose a value in one of the page's lists."""
    await page.js(f"document.getElementById('{name}').value = '{value}'")
    await page.js(f"document.getElementById('{name}').dispatchEvent(new Event('input'))")


async def _pictures(folder: Path, url: str) -> None:
    with tempfile.TemporaryDirectory() as profile:
        async with browsing(Path(profile)) as browser:
            for dark in (False, True):
                await _pictures_of(browser, folder, url, dark=dark)
            print("\n".join(browser.complaints) or "the page had no complaint")


async def _pictures_of(browser: Browser, folder: Path, url: str, *, dark: bool) -> None:
    colours = "dark" if dark else "light"
    page = await browser.page()
    await page.look(dark=dark)
    await page.goto(f"{url}/login")
    await page.until("document.getElementById('token') !== null")
    await page.screenshot(folder / f"board-login-{colours}.png")
    await log_in(page, url)
    await page.until("document.querySelectorAll('#rows tr').length > 5")
    await page.until("document.getElementById('latest').dataset.verdict !== 'waiting'")
    await asyncio.sleep(1.5)
    await page.screenshot(folder / f"board-{colours}.png")
    wanted = "[data-verdict=failed]" if dark else "[data-verdict=contested]"
    await choose(page, "verdict", "failed" if dark else "contested")
    await page.until(f"document.querySelector('#rows tr{wanted}') !== null")
    await page.js(f"document.querySelector('#rows tr{wanted}').click()")
    await asyncio.sleep(1.5)
    await page.screenshot(folder / f"board-call-{colours}.png")
    await page.js("document.getElementById('clear').click()")
    await page.press("Escape")
    await page.size(390, 844, phone=True)
    await asyncio.sleep(1.5)
    await page.screenshot(folder / f"board-phone-{colours}.png")
    await page.js("document.querySelector('[data-show=overview]').click()")
    await asyncio.sleep(1.5)
    await page.screenshot(folder / f"board-phone-overview-{colours}.png")


async def _run(args: argparse.Namespace) -> None:
    # room for what contests some of them
    feed = Feed(args.calls + 100)
    for line in calls_of_a_day(args.calls, time.time()):
        feed.put(line)
    port = 0 if args.pictures else 8490
    async with serving(BoardSettings("127.0.0.1", port, TOKEN), feed) as url:
        if args.pictures:
            await _pictures(Path(args.pictures), url)
            return
        print(f"{url}  token: {TOKEN}")
        chance = random.Random(secrets.randbits(64))
        while True:
            feed.put(call(chance, time.time()))
            await asyncio.sleep(chance.expovariate(args.rate))


def main() -> None:
    """Serve it, or take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m lab.board")
    parser.add_argument("--pictures", metavar="FOLDER")
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=1.0, help="calls a second")
    try:
        asyncio.run(_run(parser.parse_args()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
