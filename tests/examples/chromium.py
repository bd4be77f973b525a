"""Drives a headless Chromium over the DevTools protocol, with the WebSocket client that is there
anyway. For the tests of pages; `CHROMIUM` is None where there is no browser."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from pylon import codec

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
)
_START_SECONDS = 60.0
_ANSWER_SECONDS = 60.0
_WAIT_MILLISECONDS = 60_000


class PageError(AssertionError):
    """JavaScript in the page failed, or what was waited for did not come."""


class Browser:
    """One browser with one profile: its pages share cookies and localStorage."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}
        self._reader = asyncio.create_task(self._read())

    async def send(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Call a DevTools method and wait for its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(codec.encode(message).decode())
        return await asyncio.wait_for(answer, _ANSWER_SECONDS)

    async def open(self, url: str) -> Page:
        """A new window with this address."""
        target = await self.send("Target.createTarget", url="about:blank", newWindow=True)
        attached = await self.send(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable", page.session)
        await self.send("Emulation.setFocusEmulationEnabled", page.session, enabled=True)
        await page.go(url)
        return page

    async def close(self) -> None:
        """Close the connection; the process is ended by `browser`."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for text in self._socket:
            message = codec.decode_trusted(text)
            if "id" in message:
                answer = self._waiting.pop(message["id"])
                if answer.done():
                    continue
                if "error" in message:
                    answer.set_exception(PageError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
            elif message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].note(message["method"], message["params"])


class Page:
    """One window."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self.session = session
        self.exceptions: list[str] = []
        self.violations: list[str] = []
        self._dialogs: list[asyncio.Future[Any]] = []

    def note(self, method: str, params: dict[str, Any]) -> None:
        """Remember what went wrong in the page."""
        if method == "Runtime.exceptionThrown":
            self.exceptions.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["source"] == "security":
            self.violations.append(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            answer = self._browser.send("Page.handleJavaScriptDialog", self.session, accept=True)
            self._dialogs.append(asyncio.ensure_future(answer))

    async def go(self, url: str) -> None:
        """Load an address and wait until it is there."""
        await self._browser.send("Page.navigate", self.session, url=url)
        await self.wait_for(
            "document.readyState === 'complete'"
            f" && (location.href !== 'about:blank' || {url == 'about:blank':d})"
        )

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = await self._browser.send(
            "Runtime.evaluate",
            self.session,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in answer:
            raise PageError(answer["exceptionDetails"])
        return answer["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        """Wait until an expression is truthy."""
        deadline = asyncio.get_running_loop().time() + _WAIT_MILLISECONDS / 1000
        while not await self.evaluate(f"Boolean({condition})"):
            if asyncio.get_running_loop().time() > deadline:
                body = await self.evaluate("document.body.innerText")
                raise PageError(f"never came true: {condition}\nthe page says: {body!r}")
            await asyncio.sleep(0.03)

    async def click(self, selector: str) -> None:
        """Click the first element that matches."""
        await self.evaluate(f"document.querySelector({selector!r}).click()")

    async def type(self, text: str) -> None:
        """Type into whatever has the focus."""
        await self._browser.send("Input.insertText", self.session, text=text)

    async def press_enter(self) -> None:
        """Press the Enter key."""
        for kind in ("keyDown", "keyUp"):
            await self._browser.send(
                "Input.dispatchKeyEvent",
                self.session,
                type=kind,
                key="Enter",
                code="Enter",
                text="\r" if kind == "keyDown" else "",
                windowsVirtualKeyCode=13,
            )

    async def network(self, *, offline: bool) -> None:
        """Cut this window off from the network, or give it back."""
        await self._browser.send("Network.enable", self.session)
        await self._browser.send(
            "Network.emulateNetworkConditions",
            self.session,
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    async def run_first(self, source: str) -> None:
        """Run this script in every document from now on, before the page's own."""
        await self._browser.send(
            "Page.addScriptToEvaluateOnNewDocument", self.session, source=source
        )

    async def size(self, width: int, height: int) -> None:
        """Make the window as large as that, in CSS pixels."""
        await self._browser.send(
            "Emulation.setDeviceMetricsOverride",
            self.session,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def screenshot(self, file: Path, *, width: int = 900, height: int = 640) -> None:
        """What is seen, as PNG."""
        await self.size(width, height)
        answer = await self._browser.send("Page.captureScreenshot", self.session, format="png")
        await asyncio.to_thread(file.write_bytes, base64.b64decode(answer["data"]))


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Browser]:
    """A running browser with an empty profile in that folder."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *_FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = await _address(profile / "DevToolsActivePort", process)
        async with connect(address, max_size=None, proxy=None, ping_interval=None) as socket:
            opened = Browser(socket)
            try:
                yield opened
            finally:
                await opened.close()
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 60)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _address(file: Path, process: asyncio.subprocess.Process) -> str:
    """Where the browser listens; it writes that to a file of its profile."""
    async with asyncio.timeout(_START_SECONDS):
        while True:
            if process.returncode is not None:
                raise PageError(f"the browser ended with {process.returncode}")
            lines = await asyncio.to_thread(_lines, file)
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            await asyncio.sleep(0.05)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
