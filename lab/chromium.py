"""A real Chromium without a window, for looking at our pages: over the DevTools protocol.

Started in a folder of its own and ended by its id; it speaks to this machine alone.
Source: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

from lab.debian import LabError

START_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 60.0
_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--lang=en-GB",
    "--remote-debugging-port=0",
)
# what a key is called besides its name: its code, and the text that it types
_KEYS: Final = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), " ": (32, " ")}
_MOVES: Final = {
    "ArrowDown": 40,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowLeft": 37,
    "Home": 36,
    "End": 35,
    "PageDown": 34,
    "PageUp": 33,
}


def chromium() -> str | None:
    """Where Chromium is; None where it is not installed. Debian's package is ``chromium``."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell"))), None)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol to this tab, and give its result."""
        return await self._browser.send(method, session=self._session, **params)

    async def goto(self, url: str) -> None:
        """Open ``url``; its scripts may still be running."""
        await self.send("Page.navigate", url=url)

    async def js(self, expression: str) -> Any:
        """The value of an expression in the page, awaited. Raises LabError for one that throws."""
        found = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise LabError(json.dumps(found["exceptionDetails"])[:2_000])
        return found["result"].get("value")

    async def until(self, expression: str, seconds: float = 30.0) -> Any:
        """Wait until an expression is true, and give it. Raises LabError where it never is."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with contextlib.suppress(LabError):
                        # a page that is being left has nothing to say
                        if found := await self.js(expression):
                            return found
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise LabError(f"never true in the page: {expression}") from None

    async def press(self, key: str, *, shift: bool = False) -> None:
        """Press and let go of a key, by its name as in ``KeyboardEvent.key``."""
        code, text = _KEYS.get(key, (_MOVES.get(key, 0), ""))
        event: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        event["modifiers"] = 8 if shift else 0
        down = "keyDown" if text else "rawKeyDown"
        await self.send("Input.dispatchKeyEvent", type=down, text=text, **event)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.send("Input.insertText", text=text)

    async def look(self, *, dark: bool = False, calm: bool = False) -> None:
        """Have the system wish for dark colours, or for little motion."""
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if calm else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        await self.send("Emulation.setEmulatedMedia", features=features)

    async def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Have a window of so many pixels."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    async def screenshot(self, path: Path) -> None:
        """Write what the window shows as a PNG."""
        found = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(found["data"]))


class Browser:
    """One Chromium; made by ``browsing``. ``complaints`` are what pages wrote as errors."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0
        self.complaints: list[str] = []

    async def page(self, width: int = 1440, height: int = 900) -> Page:
        """A new tab with a storage of its own."""
        context = await self.send("Target.createBrowserContext")
        target = await self.send(
            "Target.createTarget",
            url="about:blank",
            browserContextId=context["browserContextId"],
        )
        attached = await self.send(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await page.send(f"{domain}.enable")
        await page.size(width, height)
        await page.look()
        return page

    async def send(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Send a command, and give its result. Raises LabError."""
        self._last += 1
        number = self._last
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        command: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        await self._socket.send_json(command)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answered
        except TimeoutError:
            raise LabError(f"chromium does not answer {method}") from None
        finally:
            del self._asked[number]

    async def listen(self) -> None:
        """Take answers and complaints until the connection ends."""
        async for message in self._socket:
            told = json.loads(message.data)
            answered = self._asked.get(told.get("id", 0))
            if answered is not None and not answered.done():
                if "error" in told:
                    answered.set_exception(LabError(str(told["error"])))
                else:
                    answered.set_result(told["result"])
            self._complain(told)

    def _complain(self, told: dict[str, Any]) -> None:
        params = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:2_000])
        entry = params.get("entry", {})
        if told.get("method") == "Log.entryAdded" and entry.get("level") == "error":
            self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")


@contextlib.asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Browser]:
    """Run Chromium as long as the context lasts, with its profile in ``folder``.

    Raises LabError where it is not installed or does not start.
    """
    program = chromium()
    if program is None:
        raise LabError("chromium is not installed: Debian's package chromium has it")
    process = _started(program, folder)
    try:
        url = await _url(folder, process.poll)
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(url, max_msg_size=1 << 28) as socket,
        ):
            browser = Browser(socket)
            listening = asyncio.create_task(browser.listen())
            try:
                yield browser
            finally:
                listening.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            # its own session: its renderers end with it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _started(program: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "chromium.log").open("wb") as log:
        return subprocess.Popen(
            [program, *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "HOME": str(folder)},
        )


def _port_and_path(folder: Path) -> list[str]:
    """What it writes of its DevTools into its profile; nothing before it has."""
    try:
        return (folder / "profile" / "DevToolsActivePort").read_text().split()
    except OSError:
        return []


async def _url(folder: Path, ended: Callable[[], int | None]) -> str:
    """Where its DevTools listen."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            while ended() is None:
                if len(found := _port_and_path(folder)) == 2:
                    return f"ws://127.0.0.1:{found[0]}{found[1]}"
                await asyncio.sleep(0.05)
    said = await asyncio.to_thread((folder / "chromium.log").read_text, errors="replace")
    raise LabError(f"chromium does not start: {said[-500:]}")
