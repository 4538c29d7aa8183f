"""The command palette: everything the window can do or show, found by a few letters of its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, QRect, QSize, Qt
from PySide6.QtGui import QAction, QFont, QKeyEvent, QPainter, QPalette
from PySide6.QtWidgets import (
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)  # fmt: skip

if TYPE_CHECKING:
    from workbench.window import Window

WIDTH, HEIGHT, ROW = 620, 420, 34
SHOWN = 60
"""Entries in the list at once."""
RUNS = 2000
"""The latest runs that can be found: more would be scored longer than a key press may take."""
KEYS = Qt.ItemDataRole.UserRole
KIND = Qt.ItemDataRole.UserRole + 1


@dataclass(frozen=True)
class Entry:
    """One thing to do: what it is called, what kind of thing it is, its keys, and the deed."""

    name: str
    kind: str
    keys: str
    act: Callable[[], object]


def score(wanted: str, name: str) -> float | None:
    """How well a name fits what was typed; None where its letters do not occur in this order.

    Each word typed must be found; a word at the beginning of a word of the name counts most, letters in a row count more than scattered ones.
    """
    low, total = name.lower(), 0.0
    for word in wanted.lower().split():
        place = low.find(word)
        if place >= 0:
            begins = place == 0 or not low[place - 1].isalnum()
            total += 10 + 5 * begins - 0.02 * place
            continue
        at, last, found = -1, -1, 0.0
        for letter in word:
            at = low.find(letter, at + 1)
            if at < 0:
                return None
            found += 1.0 if at == last + 1 else 0.2
            last = at
        total += found / len(word)
    return total - 0.01 * len(name)


def best(wanted: str, entries: Iterable[Entry]) -> list[Entry]:
    """The entries that fit, best first; all of them, in their order, where nothing is typed. The kind of an entry may be typed too."""
    if not wanted.strip():
        return list(entries)[:SHOWN]
    scored = [(found, entry) for entry in entries if (found := score(wanted, f"{entry.name} {entry.kind}")) is not None]
    return [entry for _, entry in sorted(scored, key=lambda each: -each[0])[:SHOWN]]


class Palette(QFrame):
    """Lies over the window at its top. Up and Down choose, Enter acts, Escape or a click elsewhere closes it."""

    def __init__(self, entries: Sequence[Entry], parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setProperty("card", True)
        self.setAccessibleName("Command palette")
        self._entries = list(entries)
        self.shown: list[Entry] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 10, 10, 10)
        column.setSpacing(6)
        self.line = QLineEdit()
        self.line.setPlaceholderText("What do you want to do or see?")
        self.line.setAccessibleName("What do you want to do or see?")
        self.line.textChanged.connect(self._search)
        self.line.installEventFilter(self)
        self.line.returnPressed.connect(self._act)
        column.addWidget(self.line)
        self.list = QListWidget()
        self.list.setProperty("flat", True)
        self.list.setAccessibleName("What was found")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setUniformItemSizes(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setItemDelegate(_Row(self.list))
        self.list.itemClicked.connect(lambda _item: self._act())
        column.addWidget(self.list, 1)
        self.resize(min(WIDTH, parent.width() - 40), min(HEIGHT, parent.height() - 80))
        self.move(parent.mapToGlobal(parent.rect().center()).x() - self.width() // 2, parent.mapToGlobal(parent.rect().topLeft()).y() + 48)
        self._search("")

    def add(self, entries: Iterable[Entry]) -> None:
        """More entries, as they become known."""
        self._entries += entries
        if self.line.text():
            self._search(self.line.text())

    def _search(self, text: str) -> None:
        self.shown = best(text, self._entries)
        self.list.clear()
        for entry in self.shown:
            item = QListWidgetItem(entry.name, self.list)
            item.setData(KEYS, entry.keys)
            item.setData(KIND, entry.kind)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{entry.name}, {entry.kind} {entry.keys}")
            item.setToolTip(entry.name)
        self.list.setCurrentRow(0)
        if not self.shown:
            QListWidgetItem(f"Nothing is called like “{text}”.", self.list).setFlags(Qt.ItemFlag.NoItemFlags)

    def _act(self) -> None:
        place = self.list.currentRow()
        if 0 <= place < len(self.shown):
            entry = self.shown[place]
            self.close()
            entry.act()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.line and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            page = max(1, self.list.viewport().height() // ROW - 1)
            by = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_PageDown: page, Qt.Key.Key_PageUp: -page}.get(Qt.Key(event.key()))
            if by is not None and self.shown:
                self.list.setCurrentRow(max(0, min(len(self.shown) - 1, self.list.currentRow() + by)))
                return True
        return super().eventFilter(watched, event)


class _Row(QStyledItemDelegate):
    """The name at the left; the kind and the keys at the right, muted."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Any) -> None:
        self.initStyleOption(option, index)
        name, option.text = option.text, ""
        option.widget.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, option.widget)
        told = "   ".join(part for part in (index.data(KIND), index.data(KEYS)) if part)
        area = option.rect.adjusted(12, 0, -12, 0)
        painter.save()
        small = QFont(option.font)
        small.setPointSizeF(option.font.pointSizeF() * 0.92)
        painter.setFont(small)
        painter.setPen(option.palette.color(QPalette.ColorRole.PlaceholderText))
        wide = painter.fontMetrics().horizontalAdvance(told)
        painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, told)
        painter.setFont(option.font)
        painter.setPen(option.palette.color(QPalette.ColorRole.Text))
        left = QRect(area.left(), area.top(), max(0, area.width() - wide - 16), area.height())
        shown = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, left.width())
        painter.drawText(left, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Any) -> QSize:
        return QSize(0, ROW)


# --- What the window offers -------------------------------------------------------------------------------------------------------------------


def show(window: Window) -> Palette:
    """Open the palette over the window; stored experiments and examples join when they are read."""
    found = Palette([*_actions(window), *_variants(window), *_cards(window)], window)
    desk = window.desk

    def join(entries: Callable[[Any], list[Entry]], read: Callable[[], Any]) -> None:
        # The palette may be closed, and deleted, before what was read arrives.
        alive = [found]
        found.destroyed.connect(alive.clear)

        def arrive(rows: Any) -> None:
            for each in alive:
                each.add(entries(rows))

        desk.errands.run(read, arrive, desk.says.emit)

    if desk.store is not None:
        join(partial(_experiments, window), partial(_stored, desk.store))
        join(partial(_runs, window), partial(_latest_runs, desk.store))
    join(partial(_examples, window), _gallery)
    found.show()
    found.line.setFocus()
    return found


def _actions(window: Window) -> list[Entry]:
    """Every action of the menus that can be chosen now."""

    def below(menu: QMenu, path: str) -> Iterable[Entry]:
        for action in menu.actions():
            inner = action.menu()
            name = action.text().replace("&", "").rstrip(" …")
            if isinstance(inner, QMenu):
                yield from below(inner, f"{path}{name}: ")
            elif name and action.isEnabled() and not action.isSeparator():
                yield Entry(f"{path}{name}", "", _keys(action), action.trigger)

    found: list[Entry] = []
    for top in window.menuBar().actions():
        menu = top.menu()
        if isinstance(menu, QMenu):
            kind = top.text().replace("&", "").lower()
            found += [Entry(each.name, kind, each.keys, each.act) for each in below(menu, "")]
    return found


def _keys(action: QAction) -> str:
    return action.shortcut().toString() if not action.shortcut().isEmpty() else ""


def _variants(window: Window) -> list[Entry]:
    if "experiment" not in window.views:
        return []
    view = window.view("experiment")

    def choose(scope: int | None) -> None:
        window.go("experiment")
        view.variants.choose(scope)

    names = [str(variant.get("name", "")) for variant in window.document.variants if isinstance(variant, dict)]
    base = Entry("Shared base", "variant", "", partial(choose, None))
    return [base, *(Entry(name, "variant", "", partial(choose, number)) for number, name in enumerate(names))]


def _cards(window: Window) -> list[Entry]:
    plugins = (window.desk.catalogue or {}).get("plugins", {})
    cards = [Entry(f"{entry['title']} ({name})", "card", "", partial(window.desk.wants_card.emit, name)) for name, entry in sorted(plugins.items())]

    def study(name: str) -> None:
        window.go("studies")
        window.view("studies").choose(name)

    studies = [
        Entry(f"{entry['title']} ({name})", "study", "", partial(study, name)) for name, entry in sorted(plugins.items()) if entry["kind"] == "study"
    ]
    return cards + studies


def _stored(store: Any) -> list[Any]:
    from engines.store import queries

    return list(reversed(queries.experiments(store)))


def _experiments(window: Window, rows: Sequence[Any]) -> list[Entry]:
    desk = window.desk
    return [
        Entry(f"{row.name} (#{row.id})", kind, "", partial(wish.emit, row.id))
        for row in rows
        for kind, wish in (("runs", desk.wants_runs), ("comparison", desk.wants_comparison))
    ]


def _latest_runs(store: Any) -> list[Any]:
    from engines.store import queries

    return list(reversed(queries.runs(store)))[:RUNS]


def _runs(window: Window, rows: Sequence[Any]) -> list[Entry]:
    def choose(experiment_id: int, run_id: int) -> None:
        window.go("runs")
        window.view("runs").choose(experiment_id, run_id)

    return [Entry(f"r{row.id} {row.variant}, seed {row.seed}", f"run, {row.status}", "", partial(choose, row.experiment_id, row.id)) for row in rows]


def _gallery() -> list[Any]:
    from workbench.gallery import groups

    return [example for group in groups() for example in group.examples]


def _examples(window: Window, found: Sequence[Any]) -> list[Entry]:
    return [Entry(each.title, "example", "", partial(window.desk.wants_example.emit, str(each.path), False)) for each in found]
