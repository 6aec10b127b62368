"""A headless Chromium over the DevTools protocol, through a pipe: no port, nothing to install beside the browser.

Protocol: https://chromedevtools.github.io/devtools-protocol/ (messages are JSON, each ended by a zero byte).
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
TIMEOUT_S = 60
ROOT = Path(__file__).resolve().parent.parent
# Expressions for `run`.
BROKEN_IMAGES = "[...document.images].filter(image => !image.complete || image.naturalWidth === 0).length"


def find() -> str | None:
    """The path of an installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def find_axe() -> Path | None:
    """The script of axe-core, the accessibility checker: $RV1106_AXE, or where `npm install axe-core` puts it."""
    if given := os.environ.get("RV1106_AXE"):
        return Path(given)
    installed = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    return installed if installed.is_file() else None


class Chromium:
    """A browser with one page. `events` holds what the page told since it was opened, as (method, parameters)."""

    def __init__(self, program: str, profile: Path):
        to_browser, self._write = _pipe()
        self._read, from_browser = _pipe()
        # The browser reads its file descriptor 3 and writes to 4.
        command = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", program, *OPTIONS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self._session = b"", 0, None
        self.events = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        """End the browser and wait for it."""
        self._session = None
        self.send("Browser.close")
        self._process.wait(TIMEOUT_S)
        os.close(self._read)
        os.close(self._write)

    def open(
        self,
        path: Path,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        scripts: bool = True,
        media: str = "",
    ) -> None:
        """Open a file in a window of `width` x `height` CSS pixels and wait until it has loaded.

        dark: what the page is told of the reader's colour scheme. scripts: whether the page's own scripts run.
        media: `print` shows the page as it is printed.
        """
        self.events.clear()
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired")

    def run(self, expression: str):
        """The JSON value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def faults(self) -> list[str]:
        """Everything that the page, or the browser about it, told as an error since it was opened."""
        return [
            json.dumps(parameters)
            for method, parameters in self.events
            if method == "Runtime.exceptionThrown"
            or (method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"))
            or (method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"))
        ]

    def addresses(self) -> list[str]:
        """What the page asked for since it was opened, other than files and what it holds itself."""
        asked = [
            parameters["request"]["url"] for method, parameters in self.events if method == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith(("file:", "data:"))]

    def screenshot(self, path: Path, full: bool = False) -> None:
        """Write what the window shows, or with `full` the whole page, as PNG."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(answer["data"]))

    def violations(self, axe: Path) -> list[str]:
        """What axe-core finds wrong with the page as it is now: rule, and the elements that break it."""
        self.send("Runtime.evaluate", expression=axe.read_text())
        found = self.run("axe.run(document, {resultTypes: ['violations']}).then(result => result.violations)")
        return [f"{rule['id']}: {', '.join(each['html'] for each in rule['nodes'])}" for rule in found]

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code={" ": "Space"}.get(key, key),
                windowsVirtualKeyCode={"Enter": 13, " ": 32, "Tab": 9}[key],
                text=text if kind == "keyDown" else "",
            )

    def click(self, selector: str) -> None:
        """Click the middle of the first element that `selector` finds, as a mouse would."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def send(self, method: str, **parameters) -> dict:
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != message["id"]:
            pass
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def wait_for(self, event: str) -> None:
        """Wait until the page tells `event`."""
        while event not in (method for method, _ in self.events):
            self._receive()

    def _receive(self) -> dict:
        deadline = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            received = os.read(self._read, 1 << 16) if ready else b""
            assert received, f"the browser says nothing (exit code {self._process.poll()})"
            self._buffer += received
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message


def _pipe() -> tuple[int, int]:
    """The two ends of a pipe, read and write, above the numbers that the browser's own two take."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return tuple(ends)
