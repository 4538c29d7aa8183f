"""What can be done with what is chosen on the canvas, as a menu: the same words as its keys and buttons."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from PySide6.QtWidgets import QMenu, QWidget

ENTRIES = (
    ("Change its values", "open", "Enter"),
    ("About this block", "about", ""),
    ("", "", ""),
    ("Repeat once more", "more", "+"),
    ("One fewer", "fewer", "−"),
    ("Move to the left", "left", "Alt+Left"),
    ("Move to the right", "right", "Alt+Right"),
    ("", "", ""),
    ("Cut", "cut", "Ctrl+X"),
    ("Copy, for any variant", "copy", "Ctrl+C"),
    ("Paste", "paste", "Ctrl+V"),
    ("Duplicate", "duplicate", "Ctrl+D"),
    ("Remove", "remove", "Del"),
    ("", "", ""),
    ("Select all layers", "all", "Ctrl+A"),
    ("Find a block to add", "find", "double click"),
)
"""Text, word and keys; an empty line parts them."""


def menu(parent: QWidget, possible: Collection[str], act: Callable[[str], object]) -> QMenu:
    """The menu; what is not possible now is shown and cannot be chosen. `act` gets the word that was chosen."""
    made = QMenu(parent)
    for text, word, keys in ENTRIES:
        if not word:
            made.addSeparator()
            continue
        action = made.addAction(f"{text}\t{keys}" if keys else text, partial(act, word))
        action.setEnabled(word in possible)
    return made
