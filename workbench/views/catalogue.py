"""The catalogue: every plugin by family with a search; its card, its parameters, whether it runs here, and its certificates on demand."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QBrush, QColor, QShowEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from workbench.cards import card_html, facts, parameters_html
from workbench.certificates import Certificates
from workbench.desk import Desk
from workbench.theme import Theme
from workbench.widgets.flow import Beside
from workbench.widgets.richtext import RichText
from workbench.widgets.surfaces import Card, Empty, Notice, recolour, scrolled
from workbench.widgets.text import label

ID = Qt.ItemDataRole.UserRole
USABLE = ("block", "technique", "corpus")


class CatalogueView(QWidget):
    """Browse, read, verify, and put into the experiment."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._id = ""
        self._wanted = ""
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self._side())
        self.pages = QStackedWidget()
        self.empty = Empty("catalogue", "Reading the catalogue …", "The first time after a plugin changed this takes some seconds.")
        self.empty.paint_with(desk.theme)
        self.pages.addWidget(self.empty)
        self.pages.addWidget(scrolled(self._page()))
        splitter.addWidget(self.pages)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([270, 850])
        row.addWidget(splitter)
        desk.catalogue_ready.connect(self._fill)
        desk.catalogue_failed.connect(lambda sentence: self.empty.say("The catalogue could not be read", sentence))
        desk.theme_changed.connect(self._recolour)
        if desk.catalogue is not None:
            self._fill(desk.catalogue)

    def _side(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(14, 14, 12, 12)
        column.setSpacing(8)
        column.addWidget(label("Catalogue", "heading"))
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search names, cards and papers")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search the catalogue")
        self.search.textChanged.connect(self._filter)
        column.addWidget(self.search)
        self.tree = QTreeWidget()
        self.tree.setProperty("flat", True)
        self.tree.setHeaderHidden(True)
        self.tree.setRootIsDecorated(False)
        self.tree.setIndentation(0)  # What is indented is painted in two pieces where it is chosen.
        self.tree.setAccessibleName("Plugins by family")
        self.tree.currentItemChanged.connect(self._chosen)
        column.addWidget(self.tree, 1)
        self._none = label("Nothing in the catalogue matches.", "muted", wrap=True)
        self._none.hide()
        column.addWidget(self._none)
        side.setMinimumWidth(220)
        return side

    def _page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(24, 20, 24, 24)
        column.setSpacing(14)
        top = Beside(least=240)
        titles = QVBoxLayout()
        titles.setSpacing(3)
        self.title = label("", "title", wrap=True)
        self.caption = label("", "caption", wrap=True, selectable=True)
        titles.addWidget(self.title)
        titles.addWidget(self.caption)
        top.addLayout(titles)
        self.back_button = QPushButton("Back to the experiment")
        self.back_button.setProperty("quiet", True)
        self.back_button.clicked.connect(self._desk.wants_editor)
        self.back_button.hide()
        top.addWidget(self.back_button)
        self.use_button = QPushButton("Use in the experiment")
        self.use_button.clicked.connect(lambda: self._desk.wants_plugin.emit(self._id))
        top.addWidget(self.use_button)
        column.addLayout(top)
        self.notice = Notice()
        column.addWidget(self.notice)
        about = Card("Card")
        self.card = RichText()
        about.body.addWidget(self.card)
        column.addWidget(about)
        parameters = Card("Parameters")
        self.parameters = RichText()
        parameters.body.addWidget(self.parameters)
        column.addWidget(parameters)
        self.certificates = Certificates(self._desk, self.notice)
        column.addWidget(self.certificates)
        column.addStretch(1)
        return page

    # --- Browsing -------------------------------------------------------------------------------------------------------------------------

    def _fill(self, catalogue: dict[str, Any]) -> None:
        kept = self._wanted or self._id
        self.tree.clear()
        families: dict[str, QTreeWidgetItem] = {}
        for plugin_id, entry in catalogue["plugins"].items():
            family = str(entry["family"])
            if family not in families:
                head = QTreeWidgetItem([family.replace("_", " ").capitalize()])
                head.setFlags(Qt.ItemFlag.ItemIsEnabled)
                font = head.font(0)
                font.setBold(True)
                head.setFont(0, font)
                self.tree.addTopLevelItem(head)
                families[family] = head
            item = QTreeWidgetItem([str(entry["title"])])
            item.setData(0, ID, plugin_id)
            item.setToolTip(0, plugin_id if entry["available"]["ok"] else f"{plugin_id}: not available here. {entry['available']['reason']}")
            families[family].addChild(item)
        self.tree.expandAll()
        self._dim()
        self._filter(self.search.text())
        self.pages.setCurrentIndex(1)
        if not self.choose(kept) and families:
            self.tree.setCurrentItem(self._items()[0])

    def _chosen(self, item: QTreeWidgetItem | None) -> None:
        if item is not None and item.data(0, ID):
            self._show(item.data(0, ID))

    def _heads(self) -> list[QTreeWidgetItem]:
        return [head for number in range(self.tree.topLevelItemCount()) if (head := self.tree.topLevelItem(number)) is not None]

    def _dim(self) -> None:
        for item in self._items():
            entry = self._desk.entry(item.data(0, ID))
            ok = entry is not None and entry["available"]["ok"]
            item.setForeground(0, QBrush(QColor(self._desk.theme.text if ok else self._desk.theme.muted)))
        for head in self._heads():
            head.setForeground(0, QBrush(QColor(self._desk.theme.muted)))

    def _items(self) -> list[QTreeWidgetItem]:
        return [item for head in self._heads() for number in range(head.childCount()) if (item := head.child(number)) is not None]

    def choose(self, plugin_id: str) -> bool:
        """Show a plugin's card; False where the catalogue does not hold it (yet)."""
        self._wanted = plugin_id
        for item in self._items():
            if item.data(0, ID) == plugin_id:
                self._wanted = ""
                self.search.clear()
                self.tree.setCurrentItem(item)
                self.tree.scrollToItem(item)
                return True
        return False

    def _filter(self, text: str) -> None:
        words = text.lower().split()
        any_left = False
        for head in self._heads():
            shown = 0
            for item in (item for item in self._items() if item.parent() is head):
                entry = self._desk.entry(item.data(0, ID)) or {}
                full = f"{entry.get('id')} {entry.get('title')} {entry.get('card')} {entry.get('paper')}".lower()
                matches = all(word in full for word in words)
                item.setHidden(not matches)
                shown += matches
            head.setHidden(not shown)
            any_left = any_left or shown > 0
        self._none.setVisible(not any_left and bool(words))

    def _show(self, plugin_id: str) -> None:
        entry = self._desk.entry(plugin_id)
        if entry is None:
            return
        self._id = plugin_id
        theme = self._desk.theme
        self.title.setText(str(entry["title"]))
        self.caption.setText(f"{plugin_id}  ·  " + "  ·  ".join(facts(entry)))
        self.notice.clear()
        if entry.get("error"):
            self.notice.say("error", f"This plugin could not be read: {entry['error']}")
        elif not entry["available"]["ok"]:
            self.notice.say("warning", f"Not available here: {entry['available']['reason']}")
        self.use_button.setVisible(entry["kind"] in USABLE and not entry.get("error"))
        self.card.say(card_html(entry, theme), str(entry["card"]))
        self.parameters.setHtml(parameters_html(entry, theme))
        self.certificates.show_plugin(entry)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.certificates.offer_own()

    def leave(self) -> None:
        """The window closes."""
        self.certificates.close_down()

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        self._dim()
        if self._id:
            self._show(self._id)
