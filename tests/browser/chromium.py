"""A real browser with real hands: Chromium over its debugging protocol, through a pipe.

https://chromedevtools.github.io/devtools-protocol/ describes the commands.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_PATIENCE = 120.0  # seconds, on a machine that is busy with other tests

PHONE = (390, 844)
DESKTOP = (1280, 900)


class Browser:
    """One tab, whose pages are files. A context manager."""

    def __init__(self, profile: Path) -> None:
        (commands_out, commands), (replies, replies_in) = os.pipe(), os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
        options += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]
        options += [f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        # Chromium reads commands from descriptor 3 and writes replies to descriptor 4.
        moved = f'exec "$@" 3<&{commands_out} 4>&{replies_in}'
        self._process = subprocess.Popen(
            ["bash", "-c", moved, "bash", str(EXECUTABLE), *options],
            pass_fds=(commands_out, replies_in),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(replies_in)
        self._commands, self._replies = os.fdopen(commands, "wb", 0), os.fdopen(replies, "rb", 0)
        self._number, self._session, self._rest = 0, "", b""
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._send("Page.enable")
        self.show()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self._commands.close()  # Chromium ends when nobody commands it any more
        self._replies.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def show(self, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> None:
        """Choose the window's size, with a finger instead of a mouse on a phone, and dark colors."""
        width, height = size
        phone = size == PHONE
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self._send("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path) -> None:
        """Open a file, and wait until its script has run."""
        self._send("Page.navigate", url="about:blank")
        self._send("Page.navigate", url=page.as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str) -> Any:
        """Return the value of an expression."""
        told = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait for an expression to become true, also while the page is loaded again."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            told = self._send("Runtime.evaluate", expression=condition, returnByValue=True)
            if told.get("result", {}).get("value") is True:
                return
            time.sleep(0.05)
        raise AssertionError(f"{condition} has not become true")

    def texts(self, selector: str) -> list[str]:
        """Return what all elements say that a selector finds."""
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")

    def point(self, selector: str, number: int = 0) -> None:
        """Move the mouse to an element."""
        x, y = self._middle(selector, number)
        self._send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str, number: int = 0) -> None:
        x, y = self._middle(selector, number)
        self._send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def tap(self, selector: str, number: int = 0) -> None:
        """Touch an element with a finger."""
        x, y = self._middle(selector, number)
        self._send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self._send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        """Press a key of this name, such as "Tab" or "ArrowDown"."""
        code = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self._send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def picture(self, file: Path) -> None:
        """Save what is seen as a PNG."""
        file.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", format="png")["data"]))

    def _middle(self, selector: str, number: int) -> tuple[float, float]:
        """Bring an element into sight and return its middle, in the window's pixels."""
        x, y = self.run(
            f"""(() => {{
              const node = document.querySelectorAll({json.dumps(selector)})[{number}];
              node.scrollIntoView({{ block: "center", behavior: "instant" }});
              const box = node.getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        return x, y

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        return self._read(lambda reply: reply.get("id") == self._number)

    def _read(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first reply that is wanted; events in between are nobody's."""
        while True:
            while b"\0" not in self._rest:
                received = self._replies.read(1 << 20)
                assert received, "the browser has ended"
                self._rest += received
            text, _, self._rest = self._rest.partition(b"\0")
            reply = json.loads(text)
            if wanted(reply):
                return reply.get("result", {})
