"""Mouse and keyboard of a person at a screen of their own (Xvfb), and the window that they look at, which is a real process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 60.0
"""So long may something take to appear on a busy machine."""
DOUBLE_CLICK = 0.6
"""Seconds after which a second click on the same place is one of its own."""
ROOT = Path(__file__).parents[3]
PLUGIN = """
import ctypes, pathlib
from PySide6 import QtGui
from PySide6.QtCore import QLibraryInfo
ctypes.CDLL(str(pathlib.Path(QLibraryInfo.path(QLibraryInfo.LibraryPath.PluginsPath)) / "platforms" / "libqxcb.so"))
"""


def missing() -> str:
    """What a screen and hands need and is not installed here, in words; empty where all is."""
    absent = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)} not installed (on Debian and Ubuntu: apt-get install xvfb xdotool)"
    tried = subprocess.run([sys.executable, "-c", PLUGIN], capture_output=True, text=True, check=False)
    return f"Qt cannot open windows on X here: {tried.stderr.strip().splitlines()[-1]}" if tried.returncode else ""


@contextmanager
def screen(width: int = 1280, height: int = 800) -> Iterator[str]:
    """A display that nobody sees; its name."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


class Person:
    """Opens a window, finds by what is written there, clicks and types."""

    def __init__(self, display: str, store: str, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
        self._clicked: tuple[tuple[int, int], float] = ((-1, -1), 0.0)
        command = [sys.executable, "-m", "tests.workbench.by_hand.eyes", store]
        self.window = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question: str, **more: Any) -> Any:
        """What the eyes answer. Raises RuntimeError where the window has gone."""
        assert self.window.stdin is not None
        assert self.window.stdout is not None
        self.window.stdin.write(json.dumps({"ask": question, **more}) + "\n")
        self.window.stdin.flush()
        line = self.window.stdout.readline()
        if not line:
            raise RuntimeError(f"the window ended with {self.window.wait()}")
        return json.loads(line)

    def wait(self, what: str, reached: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Look until something is there; returns it. Raises TimeoutError with all that can be read."""
        end = time.monotonic() + seconds
        while not (found := reached()):
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not come within {seconds:.0f} s. What can be read: {self.ask('texts')}")
            time.sleep(0.15)
        return found

    def reads(self, part: str) -> bool:
        """Whether a text with this in it can be read."""
        return any(part in text for text in self.ask("texts"))

    def click(self, text: str, within: str = "") -> None:
        """Scroll to what is called so (in the list of this name), once it can be used, and click on it."""
        place = self.wait(f"“{text}”", lambda: self._reached(text, within))
        at = (place["x"], place["y"])
        if at == self._clicked[0]:  # Two clicks on one place in quick succession are a double click.
            time.sleep(max(0.0, self._clicked[1] + DOUBLE_CLICK - time.monotonic()))
        self.do("mousemove", *at, "click", 1)
        self._clicked = (at, time.monotonic())

    def _reached(self, text: str, within: str) -> dict[str, Any] | None:
        place = next((place for place in self.ask("find", text=text, within=within) if place["enabled"]), None)
        if place is None or place["seen"]:
            return place
        if place["room"] is not None:
            self.do("mousemove", *place["room"], "click", 4 if place["above"] else 5)
        return None

    def press(self, *keys: str) -> None:
        """Keys by their X names, as "ctrl+Return"."""
        self.do("key", *keys)

    def type(self, text: str) -> None:
        self.do("type", "--delay", 5, text)

    def do(self, *words: object) -> None:
        """One command of xdotool."""
        subprocess.run(["xdotool", *map(str, words)], env=self._environment, check=True, capture_output=True)

    def kill(self) -> None:
        """End the window as a crash does: it gets no chance to save or say anything."""
        self.window.kill()
        self.window.wait()
