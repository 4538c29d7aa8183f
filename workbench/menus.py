"""The menu bar: every action of the window with its shortcut, recent files, examples, and the questions asked before work is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QUrl
from PySide6.QtGui import QAction, QActionGroup, QDesktopServices, QKeySequence
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QMenu, QMessageBox, QTextBrowser, QVBoxLayout

from workbench import desktop_entry, kinds, palette
from workbench.theme import RESOURCES, Choice, neighbour

if TYPE_CHECKING:
    from workbench.editor.document import Document
    from workbench.views.editor import EditorView
    from workbench.window import Window

RECENT = 8


def build(window: Window) -> None:
    """Fill the menu bar."""
    bar = window.menuBar()

    def action(menu: QMenu, text: str, act: Callable[[], object], *keys: str) -> QAction:
        made = menu.addAction(text)
        made.triggered.connect(lambda _checked=False: act())
        if keys:
            made.setShortcuts([QKeySequence(key) for key in keys])
        return made

    file = bar.addMenu("&File")
    action(file, "&New experiment", lambda: new(window), "Ctrl+N")
    action(file, "&Open …", lambda: open_file(window), "Ctrl+O")
    window.recent_menu = file.addMenu("Open &recent")
    window.recent_menu.aboutToShow.connect(lambda: _fill_recent(window))
    examples = file.addMenu("Open an &example")
    examples.aboutToShow.connect(lambda: _fill_examples(window, examples))
    file.addSeparator()
    action(file, "&Save", lambda: save(window), "Ctrl+S")
    action(file, "Save &as …", lambda: save_as(window), "Ctrl+Shift+S")
    file.addSeparator()
    export = file.addMenu("&Export report")
    for form, name in (("html", "HTML page …"), ("markdown", "Markdown …"), ("csv", "CSV table …"), ("json", "JSON …")):
        action(export, name, partial(_export, window, form))
    action(file, "&Bundle the experiment …", lambda: _bundle(window))
    action(file, "Open a b&undle …", lambda: _open_bundle(window))
    window.copy_action = action(file, "Copy the bundle as a new e&xperiment", window.desk.wants_copy.emit)
    window.copy_action.setEnabled(False)
    file.addSeparator()
    action(file, "&Quit", window.close, "Ctrl+Q")

    window.edit_menu = bar.addMenu("&Edit")
    variants = lambda: window.view("experiment").variants  # noqa: E731

    model = bar.addMenu("E&xperiment")
    action(model, "&Run", lambda: window.start_run(False), "Ctrl+Return", "Ctrl+Enter")
    action(model, "S&moke test", lambda: window.start_run(True), "Ctrl+Shift+Return", "Ctrl+Shift+Enter")
    action(model, "&Stop the selected runs", lambda: window.view("runs").commands.stop(), "Ctrl+Alt+Return")
    model.addSeparator()
    action(model, "&Add variant", lambda: variants().add(), "Ctrl+Shift+N")
    action(model, "&Duplicate variant", lambda: variants().duplicate(variants().scope), "Ctrl+D")
    action(model, "Re&name variant", lambda: variants().start_rename(), "F2")
    action(model, "&Make it the baseline", lambda: variants().make_baseline(variants().scope), "Ctrl+B")
    action(model, "Variants side &by side", lambda: _in_editor(window).open_side_by_side(), "Ctrl+Shift+B")
    action(model, "S&weep over values …", lambda: _in_editor(window).open_sweep(), "Ctrl+Shift+W")
    action(model, "&Leave out techniques one by one", lambda: _in_editor(window).ablate(False))
    action(model, "Add &techniques one by one", lambda: _in_editor(window).ablate(True))
    action(model, "Remo&ve variant", lambda: variants().remove(variants().scope), "Ctrl+Backspace")

    view = bar.addMenu("&View")
    for number, key in enumerate(window.navigation, 1):
        action(view, window.navigation[key].text(), partial(window.go, key), f"Ctrl+{number}")
    view.addSeparator()
    themes = view.addMenu("&Theme")
    group = QActionGroup(window)
    choices: tuple[tuple[Choice, str], ...] = (("system", "As the system"), ("light", "Light"), ("dark", "Dark"))
    for choice, name in choices:
        made = action(themes, name, partial(window.appearance.choose_theme, choice))
        made.setCheckable(True)
        made.setChecked(window.appearance.choice == choice)
        group.addAction(made)
    sizes = view.addMenu("Text &size")
    action(sizes, "&Larger text", lambda: window.appearance.choose_text_size(neighbour(window.appearance.text_size, 1)), "Ctrl++", "Ctrl+=")
    action(sizes, "&Smaller text", lambda: window.appearance.choose_text_size(neighbour(window.appearance.text_size, -1)), "Ctrl+-")
    action(sizes, "&As the desktop's text", lambda: window.appearance.choose_text_size(100), "Ctrl+0")
    action(view, "&Command palette", partial(palette.show, window), "Ctrl+K", "Ctrl+Shift+P")
    action(view, "&Full screen", lambda: window.showNormal() if window.isFullScreen() else window.showFullScreen(), "F11")

    help_menu = bar.addMenu("&Help")
    action(help_menu, "&Tour of the window", window.desk.wants_tour.emit)
    action(help_menu, "&Keyboard shortcuts", lambda: show_shortcuts(window), "F1", "Ctrl+/")
    if sys.platform.startswith("linux"):
        action(help_menu, "Add to the &applications of the desktop", lambda: _install_entry(window))
    action(help_menu, "Open the &folder of the store", lambda: _open_folder(window))
    action(help_menu, "&About", lambda: _about(window))


def _in_editor(window: Window) -> EditorView:
    window.go("experiment")
    editor: EditorView = window.view("experiment")
    return editor


def connect_document(window: Window, document: Document) -> None:
    """Undo and redo belong to the document, which exists once the editor does."""
    undo, redo = document.undo.createUndoAction(window, "&Undo"), document.undo.createRedoAction(window, "&Redo")
    undo.setShortcut(QKeySequence("Ctrl+Z"))
    redo.setShortcuts([QKeySequence("Ctrl+Y"), QKeySequence("Ctrl+Shift+Z")])
    window.edit_menu.addActions([undo, redo])


# --- Files ----------------------------------------------------------------------------------------------------------------------------------


def new(window: Window) -> None:
    if window.may_discard():
        window.document.start_new()
        window.last.remember()
        window.go("experiment")


def open_file(window: Window) -> None:
    folder = str(window.settings.value("folder", str(Path.home())))
    name, _ = QFileDialog.getOpenFileName(window, "Open a file", folder, kinds.OPEN_FILTER)
    if name:
        window.desk.wants_path.emit(name)


def save(window: Window) -> bool:
    """Save where the file lies; ask where there is none yet. True where it was saved."""
    path = window.document.path
    return _write(window, path) if path is not None else save_as(window)


def save_as(window: Window) -> bool:
    stem = "".join(letter if letter.isalnum() else "-" for letter in window.document.name.lower()).strip("-") or "experiment"
    start = window.document.path or Path(str(window.settings.value("folder", str(Path.home())))) / f"{stem}.toml"
    name, _ = QFileDialog.getSaveFileName(window, "Save the experiment", str(start), kinds.EXPERIMENT_FILTER)
    if not name:
        return False
    path = Path(name)
    return _write(window, path if path.suffix else path.with_suffix(".toml"))


def _write(window: Window, path: Path) -> bool:
    try:
        window.document.save(path)
    except OSError as error:
        window.view("experiment").notice.say("error", f"{path} could not be written: {error.strerror or error}. Choose another place.")
        return False
    window.view("experiment").notice.clear()
    remember(window, path)
    window.say(f"Saved {path}")
    return True


def remember(window: Window, path: Path) -> None:
    """Put a file on top of the recent ones; it is what is edited now."""
    window.last.remember("file", path.resolve())
    window.settings.setValue("folder", str(path.resolve().parent))
    known = [str(path.resolve()), *(name for name in _recent(window) if name != str(path.resolve()))]
    window.settings.setValue("recent", known[:RECENT])


def _recent(window: Window) -> list[str]:
    value = window.settings.value("recent", [])
    return [str(name) for name in (value if isinstance(value, list) else [value])]


def _fill_recent(window: Window) -> None:
    window.recent_menu.clear()
    names = [name for name in _recent(window) if Path(name).exists()]
    for name in names:
        window.recent_menu.addAction(name, partial(window.desk.wants_path.emit, name))
    if not names:
        window.recent_menu.addAction("None yet").setEnabled(False)


def _export(window: Window, form: str) -> None:
    window.go("compare")
    window.view("compare").export(form)


def _bundle(window: Window) -> None:
    """Write the experiment that is chosen in Runs, with its results, into one file."""
    window.go("runs")
    number, store = window.view("runs").list.current, window.desk.store
    notice = window.view("runs").notice
    if number is None or store is None:
        notice.say("info", "Choose an experiment at the left first: a bundle holds one experiment with its results.")
        return
    start = str(Path(str(window.settings.value("folder", str(Path.home())))) / f"experiment-{number}{kinds.BUNDLE}")
    name, _ = QFileDialog.getSaveFileName(window, "Bundle the experiment", start, kinds.BUNDLE_FILTER)
    if not name:
        return
    path = Path(name) if name.endswith(kinds.BUNDLE) else Path(f"{name}{kinds.BUNDLE}")

    def work() -> str:
        from engines.store import bundles

        packed = bundles.pack(store, number, path)
        return f"{packed.path}: {packed.files} files, {packed.bytes / 2**20:,.1f} MiB. Whoever gets it: workbench open {packed.path.name}"

    window.say(f"Writing {path} …")
    window.desk.errands.run(work, lambda sentence: notice.say("ok", sentence), lambda sentence: notice.say("error", sentence))


def _open_bundle(window: Window) -> None:
    name, _ = QFileDialog.getOpenFileName(window, "Open a bundle", str(window.settings.value("folder", str(Path.home()))), kinds.BUNDLE_FILTER)
    if name:
        window.desk.wants_path.emit(name)


def _fill_examples(window: Window, menu: QMenu) -> None:
    menu.clear()
    for path in sorted((RESOURCES / "experiments").glob("*.toml")):
        menu.addAction(path.stem.replace("_", " ").capitalize(), partial(_open_example, window, path))


def _open_example(window: Window, path: Path) -> None:
    window.desk.wants_example.emit(str(path), False)


def ask_to_save(window: Window) -> bool:
    """Ask what to do with changes that are not saved. True where it is all right to go on."""
    box = QMessageBox(QMessageBox.Icon.Question, "Save the changes?", f"“{window.document.name}” has changes that are not saved.", parent=window)
    box.setInformativeText("Runs that were started keep their own copy.")
    button = QMessageBox.StandardButton
    box.setStandardButtons(button.Save | button.Discard | button.Cancel)
    box.setDefaultButton(button.Save)
    answer = box.exec()
    return save(window) if answer == button.Save else answer == button.Discard


# --- Help -----------------------------------------------------------------------------------------------------------------------------------


def shortcuts(window: Window) -> list[tuple[str, str]]:
    """(what, keys) of every action that has a shortcut, in the order of the menus."""

    def below(actions: list[QAction]) -> Iterator[tuple[str, str]]:
        for action in actions:
            menu = action.menu()
            if isinstance(menu, QMenu):
                yield from below(menu.actions())
            elif action.shortcuts():
                yield action.text().replace("&", ""), ", ".join(key.toString() for key in action.shortcuts())

    return list(below(window.menuBar().actions()))


def show_shortcuts(window: Window) -> None:
    lines = [
        *shortcuts(window), ("Choose a field, leave it", "Tab, Shift+Tab"), ("Step a number", "Up, Down"), ("Show a whole curve again", "Home"),
        ("Move a technique of the recipe, show its card", "Alt+Up, Alt+Down, Enter"),
        ("Walk in the flame graph, fill the width, show all", "Arrows, Enter, Escape"),
    ]  # fmt: skip
    rows = "".join(f"<tr><td style='padding: 3px 24px 3px 0'>{what}</td><td><b>{keys}</b></td></tr>" for what, keys in lines)
    box = QDialog(window)
    box.setWindowTitle("Keyboard shortcuts")
    text = QTextBrowser()  # It scrolls: the list is longer than a small screen is high.
    text.setHtml(f"<table>{rows}</table>")
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(box.reject)
    column = QVBoxLayout(box)
    column.addWidget(text)
    column.addWidget(buttons)
    box.resize(min(620, window.width()), min(720, window.height() - 80))
    box.exec()
    box.deleteLater()


def _install_entry(window: Window) -> None:
    try:
        window.say(f"Written: {desktop_entry.install()}")
    except OSError as error:
        window.say(f"{error.filename or 'The entry'} could not be written: {error.strerror or error}.")


def _open_folder(window: Window) -> None:
    if window.desk.store is not None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(window.desk.store.folder)))


def _about(window: Window) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("efficiency-workbench")
    except PackageNotFoundError:
        number = "from a source folder"
    store = window.desk.store.url if window.desk.store else "not open"
    QMessageBox.about(window, "Efficiency Workbench", f"<b>Efficiency Workbench</b> {number}<br>Store: {store}")
