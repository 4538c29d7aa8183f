"""What the menus do: files that are opened and saved, recent ones, examples, reports and bundles, settings, and the question before work is lost."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QMenu, QMessageBox

from workbench import desktop_entry, keys, kinds
from workbench.preferences import KEYBOARD, LOOK, Preferences
from workbench.theme import RESOURCES

if TYPE_CHECKING:
    from workbench.window import Window

RECENT = 8


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


def fill_recent(window: Window) -> None:
    window.recent_menu.clear()
    names = [name for name in _recent(window) if Path(name).exists()]
    for name in names:
        window.recent_menu.addAction(name, partial(window.desk.wants_path.emit, name))
    if not names:
        window.recent_menu.addAction("None yet").setEnabled(False)


def export(window: Window, form: str) -> None:
    window.go("compare")
    window.view("compare").export(form)


def bundle(window: Window) -> None:
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


def open_bundle(window: Window) -> None:
    name, _ = QFileDialog.getOpenFileName(window, "Open a bundle", str(window.settings.value("folder", str(Path.home()))), kinds.BUNDLE_FILTER)
    if name:
        window.desk.wants_path.emit(name)


def fill_examples(window: Window, menu: QMenu) -> None:
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
    """(what, keys) of every action that has keys, in the order of the menus."""
    return [(name, keys.words(action)) for name, action in keys.actions(window.menuBar()) if action.shortcuts()]


def show_shortcuts(window: Window) -> None:
    """The list of all keys, in which they are changed."""
    show_settings(window, KEYBOARD)


def show_settings(window: Window, place: int = LOOK) -> None:
    box = Preferences(window, place)
    box.exec()
    box.deleteLater()


def install_entry(window: Window) -> None:
    try:
        window.say(f"Written: {desktop_entry.install()}")
    except OSError as error:
        window.say(f"{error.filename or 'The entry'} could not be written: {error.strerror or error}.")


def open_folder(window: Window) -> None:
    if window.desk.store is not None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(window.desk.store.folder)))


def folder_of_settings(window: Window) -> QUrl:
    return QUrl.fromLocalFile(str(Path(window.settings.fileName()).parent))


def about(window: Window) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("efficiency-workbench")
    except PackageNotFoundError:
        number = "from a source folder"
    store = window.desk.store.url if window.desk.store else "not open"
    QMessageBox.about(window, "Efficiency Workbench", f"<b>Efficiency Workbench</b> {number}<br>Store: {store}")
