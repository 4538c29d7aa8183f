"""The keys of the menus: which each action has, which the person gave it instead, and why keys are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar

if TYPE_CHECKING:
    from workbench.window import Window

SETTING = "keys"
"""Group of the settings: what the person chose, by the name of the action; an empty text for no keys."""
GIVEN = "given_keys"
"""Property of an action: the keys that it came with."""
IN_PLACE = (
    ("Choose a field, leave it", "Tab, Shift+Tab"), ("Step a number", "Up, Down"), ("Show a whole curve again", "Home"),
    ("Model: choose a block, several layers, all", "Arrows, Shift+Arrows, Ctrl+A"),
    ("Model: change, duplicate, remove what is chosen", "Enter, Ctrl+D, Del"),
    ("Model: repeat more or less often, move", "+, −, Alt+Left, Alt+Right"),
    ("Model: copy layers to another variant", "Ctrl+C, Ctrl+X, Ctrl+V"), ("Model: see it whole", "F"),
    ("Variant of the list: choose, remove", "Enter, Del"),
    ("Side by side: write, rename, add, remove", "F2, Shift+F2, Ins, Ctrl+Del"),
    ("Recipe: move a technique, show its card", "Alt+Up, Alt+Down, Enter"), ("Find a run", "Ctrl+F"),
    ("Flame graph: walk, fill the width, show all", "Arrows, Enter, Escape"),
)  # fmt: skip
"""Keys of the parts that have the focus; they stay as they are."""


def give(action: QAction, *keys: str) -> None:
    """The keys that an action comes with."""
    action.setProperty(GIVEN, list(keys))
    action.setShortcuts([QKeySequence(key) for key in keys])


def actions(bar: QMenuBar) -> list[tuple[str, QAction]]:
    """(name, action) of all that can be given keys, in the order of the menus: "Theme: Dark"."""

    def below(menu: QMenu, path: str) -> Iterator[tuple[str, QAction]]:
        for action in menu.actions():
            inner = action.menu()
            name = action.objectName() or action.text().replace("&", "").rstrip(" …")
            if isinstance(inner, QMenu):
                yield from below(inner, f"{path}{name}: ")
            elif action.property(GIVEN) is not None:
                yield f"{path}{name}", action

    tops = (top.menu() for top in bar.actions())
    return [each for menu in tops if isinstance(menu, QMenu) for each in below(menu, "")]


def words(action: QAction) -> str:
    """The keys of an action as they are shown: "Ctrl+Y, Ctrl+Shift+Z"."""
    return ", ".join(key.toString() for key in action.shortcuts())


def apply(window: Window) -> None:
    """Give the actions the keys that the person chose."""
    for name, action in actions(window.menuBar()):
        chosen = window.settings.value(f"{SETTING}/{_entry(name)}")
        if chosen is not None:
            action.setShortcuts([QKeySequence(str(chosen))] if chosen else [])


def refusal(bar: QMenuBar, action: QAction, keys: QKeySequence) -> str:
    """Why an action cannot have these keys, and what to do; empty where it can."""
    text = keys.toString()
    if not text:
        return ""
    taken = next((name for name, other in actions(bar) if other is not action and keys in other.shortcuts()), "")
    if taken:
        return f"{text} belongs to “{taken}”: give that other keys first."
    first = text.split(", ")[0]
    if not first.startswith(("Ctrl+", "Alt+", "Meta+")) and not (first.removeprefix("Shift+").startswith("F") and first[-1].isdigit()):
        return f"{text} alone would be taken from what you type: hold Ctrl or Alt with it, or take a function key."
    return ""


def choose(settings: QSettings, name: str, action: QAction, keys: QKeySequence) -> None:
    """Give an action keys for good; no keys: none. Whether they are free is not asked."""
    action.setShortcuts([keys] if not keys.isEmpty() else [])
    settings.setValue(f"{SETTING}/{_entry(name)}", keys.toString())


def restore(settings: QSettings, chosen: Sequence[tuple[str, QAction]]) -> None:
    """Give these actions the keys back that they came with."""
    for name, action in chosen:
        settings.remove(f"{SETTING}/{_entry(name)}")
        action.setShortcuts([QKeySequence(key) for key in action.property(GIVEN)])


def _entry(name: str) -> str:
    return name.replace("/", " ").replace("\\", " ")
