"""The menu bar: every action of the window with its keys."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QAction, QActionGroup, QDesktopServices
from PySide6.QtWidgets import QMenu

from workbench import keys, menus, palette
from workbench.comparing.exporting import FORMATS
from workbench.theme import Choice, neighbour

if TYPE_CHECKING:
    from workbench.editor.document import Document
    from workbench.views.editor import EditorView
    from workbench.window import Window

Deed = Callable[..., QAction]


def build(window: Window) -> None:
    """Fill the menu bar. Keys that the person chose take the place of those that stand here."""
    bar = window.menuBar()

    def action(menu: QMenu, text: str, act: Callable[[], object], *given: str) -> QAction:
        made = menu.addAction(text)
        made.triggered.connect(lambda _checked=False: act())
        keys.give(made, *given)
        return made

    for title, fill in (
        ("&File", _file), ("&Edit", _edit), ("&View", _view), ("E&xperiment", _experiment), ("&Run", _run), ("&Compare", _compare),
        ("&Tools", _tools), ("&Help", _help),
    ):  # fmt: skip
        fill(window, bar.addMenu(title), action)
    keys.apply(window)


def _file(window: Window, file: QMenu, action: Deed) -> None:
    action(file, "&New experiment", lambda: menus.new(window), "Ctrl+N")
    action(file, "&Open …", lambda: menus.open_file(window), "Ctrl+O")
    window.recent_menu = file.addMenu("Open &recent")
    window.recent_menu.aboutToShow.connect(lambda: menus.fill_recent(window))
    examples = file.addMenu("Open an &example")
    examples.aboutToShow.connect(lambda: menus.fill_examples(window, examples))
    file.addSeparator()
    action(file, "&Save", lambda: menus.save(window), "Ctrl+S")
    action(file, "Save &as …", lambda: menus.save_as(window), "Ctrl+Shift+S")
    file.addSeparator()
    action(file, "&Bundle the experiment …", lambda: menus.bundle(window))
    action(file, "Open a b&undle …", lambda: menus.open_bundle(window))
    window.copy_action = action(file, "Copy the bundle as a new e&xperiment", window.desk.wants_copy.emit)
    window.copy_action.setEnabled(False)
    file.addSeparator()
    action(file, "&Quit", window.close, "Ctrl+Q")


def _edit(window: Window, edit: QMenu, action: Deed) -> None:
    window.edit_menu = edit
    action(edit, "&Settings …", lambda: menus.show_settings(window), "Ctrl+,")


def _view(window: Window, view: QMenu, action: Deed) -> None:
    for number, key in enumerate(window.navigation, 1):
        action(view, window.navigation[key].text(), partial(window.go, key), f"Ctrl+{number}")
    view.addSeparator()
    action(view, "&Command palette", partial(palette.show, window), "Ctrl+K", "Ctrl+Shift+P")
    view.addSeparator()
    themes = view.addMenu("&Theme")
    group = QActionGroup(window)
    choices: tuple[tuple[Choice, str], ...] = (("system", "As the system"), ("light", "Light"), ("dark", "Dark"))
    for choice, name in choices:
        made = action(themes, name, partial(window.appearance.choose_theme, choice))
        made.setCheckable(True)
        group.addAction(made)

    def tick() -> None:
        for (choice, _name), made in zip(choices, group.actions(), strict=True):
            made.setChecked(window.appearance.choice == choice)

    themes.aboutToShow.connect(tick)
    tick()
    themes.addSeparator()
    action(themes, "S&witch between light and dark", lambda: window.appearance.choose_theme(_other(window)), "Ctrl+Shift+T")
    sizes = view.addMenu("Text &size")
    action(sizes, "&Larger text", lambda: window.appearance.choose_text_size(neighbour(window.appearance.text_size, 1)), "Ctrl++", "Ctrl+=")
    action(sizes, "&Smaller text", lambda: window.appearance.choose_text_size(neighbour(window.appearance.text_size, -1)), "Ctrl+-")
    action(sizes, "&As the desktop's text", lambda: window.appearance.choose_text_size(100), "Ctrl+0")
    action(view, "&Full screen", lambda: window.showNormal() if window.isFullScreen() else window.showFullScreen(), "F11")


def _other(window: Window) -> Choice:
    return "light" if window.desk.theme.name == "dark" else "dark"


def _experiment(window: Window, model: QMenu, action: Deed) -> None:
    variants = lambda: window.view("experiment").variants  # noqa: E731
    action(model, "&Add variant", lambda: _in_editor(window).variants.add(), "Ctrl+Shift+N")
    action(model, "&Duplicate variant", lambda: variants().duplicate(variants().scope), "Ctrl+D")
    action(model, "Re&name variant", lambda: variants().start_rename(), "F2")
    action(model, "&Make it the baseline", lambda: variants().make_baseline(variants().scope), "Ctrl+B")
    action(model, "Remo&ve variant", lambda: variants().remove(variants().scope), "Ctrl+Backspace")
    model.addSeparator()
    action(model, "Variants side &by side", lambda: _in_editor(window).open_side_by_side(), "Ctrl+Shift+B")
    action(model, "S&weep over values …", lambda: _in_editor(window).open_sweep(), "Ctrl+Shift+W")
    action(model, "&Leave out techniques one by one", lambda: _in_editor(window).ablate(False))
    action(model, "Add &techniques one by one", lambda: _in_editor(window).ablate(True))


def _run(window: Window, run: QMenu, action: Deed) -> None:
    runs = lambda: _at(window, "runs")  # noqa: E731
    action(run, "&Run", lambda: window.start_run(False), "Ctrl+Return", "Ctrl+Enter")
    action(run, "S&moke test", lambda: window.start_run(True), "Ctrl+Shift+Return", "Ctrl+Shift+Enter")
    run.addSeparator()
    action(run, "&Stop the selected runs", lambda: window.view("runs").commands.stop(), "Ctrl+Alt+Return")
    action(run, "R&esume the selected runs", lambda: runs().commands.resume())
    action(run, "Retry &failed runs only", lambda: runs().commands.retry_failed())
    run.addSeparator()
    action(run, "Show the &queue", lambda: runs().show_queue())
    action(run, "Show the &log of the run, or the curves", lambda: runs().below.toggle_log(), "Ctrl+J")


def _compare(window: Window, compare: QMenu, action: Deed) -> None:
    action(compare, "&Compare the experiment of the runs", lambda: _compare_chosen(window), "Ctrl+Shift+C")
    compare.addSeparator()
    export = compare.addMenu("&Export report")
    for form, (name, *_rest) in FORMATS.items():
        action(export, f"{name} …", partial(menus.export, window, form))


def _compare_chosen(window: Window) -> None:
    chosen = window.view("runs").list.current if "runs" in window.views else None
    if chosen is None:
        window.go("compare")
    else:
        window.desk.wants_comparison.emit(chosen)


def _tools(window: Window, tools: QMenu, action: Deed) -> None:
    action(tools, "&Measure what this machine can do at best", window.desk.wants_peaks.emit)
    tools.addSeparator()
    if sys.platform.startswith("linux"):
        action(tools, "Add to the &applications of the desktop", lambda: menus.install_entry(window))
    action(tools, "Open the &folder of the store", lambda: menus.open_folder(window))
    action(tools, "Open the folder of the se&ttings", lambda: QDesktopServices.openUrl(menus.folder_of_settings(window)))


def _help(window: Window, help_menu: QMenu, action: Deed) -> None:
    action(help_menu, "&Tour of the window", window.desk.wants_tour.emit)
    action(help_menu, "&Keyboard shortcuts", lambda: menus.show_shortcuts(window), "F1", "Ctrl+/", "Ctrl+Alt+/")
    action(help_menu, "&About", lambda: menus.about(window))


def _at(window: Window, key: str) -> Any:
    window.go(key)
    return window.view(key)


def _in_editor(window: Window) -> EditorView:
    window.go("experiment")
    editor: EditorView = window.view("experiment")
    return editor


def connect_document(window: Window, document: Document) -> None:
    """Undo and redo belong to the document, which exists once the editor does."""
    undo, redo = document.undo.createUndoAction(window, "&Undo"), document.undo.createRedoAction(window, "&Redo")
    first = window.edit_menu.actions()[0]
    for action, name, given in ((undo, "Undo", ("Ctrl+Z",)), (redo, "Redo", ("Ctrl+Y", "Ctrl+Shift+Z"))):
        action.setObjectName(name)  # Its text tells what would be undone.
        keys.give(action, *given)
        window.edit_menu.insertAction(first, action)
    window.edit_menu.insertSeparator(first)
    keys.apply(window)
