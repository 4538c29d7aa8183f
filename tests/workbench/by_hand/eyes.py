"""The real window in a process of its own, with eyes for a test: it tells what is seen on the screen and where. It never acts on the window.

A question is a line of JSON on standard input, the answer a line on standard output:

    {"ask": "find", "text": "Run", "within": ""}    every place whose first line that is, or those in a list of that name alone:
                                                    [{"x", "y", "enabled", "seen", "label", "room", "above"}, ...]
    {"ask": "texts"}                    all that can be read
    {"ask": "facts"}                    the view in front, the runs of the table with their states, how many points of the loss are drawn

x, y: pixels of the screen. seen: nothing lies over it there. room, above: the middle of the area that scrolls it, and whether it is above what
that shows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from PySide6.QtCore import QModelIndex, QRect, QSocketNotifier, Qt
from PySide6.QtWidgets import QAbstractItemView, QAbstractScrollArea, QApplication, QComboBox, QLabel, QLineEdit, QMenu, QMenuBar, QTabBar, QWidget

from workbench.application import application
from workbench.window import Window


def main(store: str) -> int:
    made = application()
    window = Window(store=store)
    notifier = QSocketNotifier(sys.stdin.fileno(), QSocketNotifier.Type.Read)

    def answer() -> None:
        line = sys.stdin.readline()
        if not line:
            notifier.setEnabled(False)
            return
        asked = json.loads(line)
        found = {"find": lambda: find(asked["text"], asked.get("within", "")), "texts": texts, "facts": lambda: facts(window)}[asked["ask"]]()
        print(json.dumps(found), flush=True)

    notifier.activated.connect(answer)
    window.show()
    return made.exec()


def find(text: str, within: str = "") -> list[dict[str, Any]]:
    """All places called so; what can be acted on comes before labels, what is seen before the rest."""
    widgets = [widget for widget in _widgets() if not within or widget.accessibleName() == within]
    named = [(widget, area) for widget in widgets for name, area in _named(widget) if name.partition("\n")[0] == text]
    places = [place for widget, area in named if (place := _place(widget, area)) is not None]
    return sorted(places, key=lambda place: (place["label"], not place["seen"]))


def texts() -> list[str]:
    """All that is written on the screen, or would be after some scrolling, and what a screen reader calls things."""
    return sorted({name for widget in _widgets() for name, _area in _named(widget) if name})


def facts(window: Window) -> dict[str, Any]:
    """What no text says."""
    runs = window.views.get("runs")
    plot = runs.board.plot("train/loss") if runs is not None else None  # type: ignore[attr-defined]
    return {
        "view": window.current,
        "runs": [[run.id, run.variant, run.status] for run in runs.model.shown] if runs is not None else [],  # type: ignore[attr-defined]
        "drawn": sum(plot.drawn_points(key) for key in plot.keys) if plot is not None else 0,
    }


def _widgets() -> list[QWidget]:
    popup = QApplication.activePopupWidget() or QApplication.activeModalWidget()
    return [widget for widget in QApplication.allWidgets() if widget.isVisible() and (popup is None or widget.window() is popup)]


def _named(widget: QWidget) -> Iterator[tuple[str, QRect]]:
    """What parts of a widget are called, with their areas in it."""
    if isinstance(widget, QMenu | QMenuBar):
        for action in widget.actions():
            yield action.text().replace("&", ""), widget.actionGeometry(action)
    elif isinstance(widget, QAbstractItemView):
        model = widget.model()
        for row in range(min(model.rowCount(), 500) if model is not None else 0):
            index = model.index(row, 0, QModelIndex())
            yield str(index.data(Qt.ItemDataRole.DisplayRole) or ""), widget.visualRect(index).translated(widget.viewport().pos())
    elif isinstance(widget, QTabBar):
        for place in range(widget.count()):
            yield widget.tabText(place), widget.tabRect(place)
    for name in {widget.accessibleName(), *_text(widget)}:
        yield name, widget.rect()


def _text(widget: QWidget) -> tuple[str, ...]:
    if isinstance(widget, QLabel):
        return (widget.text(),)
    if isinstance(widget, QComboBox):
        return ()
    if isinstance(widget, QLineEdit):
        return (widget.placeholderText(),)
    text = getattr(widget, "text", None)
    return (str(text()).replace("&", ""),) if callable(text) else ()


def _place(widget: QWidget, area: QRect) -> dict[str, Any] | None:
    if area.isEmpty():
        return None
    clip = widget.visibleRegion().boundingRect().intersected(area)
    centre = (clip if not clip.isEmpty() else area).center()
    at = widget.mapToGlobal(centre)
    top = QApplication.widgetAt(at)
    seen = not clip.isEmpty() and clip.height() >= min(area.height(), 8) and top is not None and (top is widget or widget.isAncestorOf(top))
    room = _room(widget)
    place = {"x": at.x(), "y": at.y(), "enabled": widget.isEnabled(), "seen": seen, "label": isinstance(widget, QLabel)}
    if room is None:
        return place | {"room": None, "above": False}
    middle = room.viewport().mapToGlobal(room.viewport().rect().center())
    return place | {"room": [middle.x(), middle.y()], "above": widget.mapToGlobal(area.center()).y() < middle.y()}


def _room(widget: QWidget) -> QAbstractScrollArea | None:
    above = widget if isinstance(widget, QAbstractItemView) else widget.parentWidget()
    while above is not None and not (isinstance(above, QAbstractScrollArea) and above.verticalScrollBar().maximum() > 0):
        above = above.parentWidget()
    return above if isinstance(above, QAbstractScrollArea) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
