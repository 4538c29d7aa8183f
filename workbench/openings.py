"""What the window opens: an experiment file, an example, a bundle, a text as corpus, chosen or dropped; and the tour."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QProcess, QTimer
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QWidget

from workbench import kinds, menus

if TYPE_CHECKING:
    from workbench.tour import Stop
    from workbench.window import Window

WORDS = 10_000
"""Of the vocabulary of an experiment on a text of one's own: so many are learned within minutes."""
READ = 4096
"""Bytes at the head of a file by which a text is told from anything else."""
DROP = "Drop the file to open it: an experiment, a bundle, or a text that becomes the corpus of a new experiment."


def connect(window: Window) -> None:
    """Fulfil the wishes of the start page."""
    desk = window.desk
    desk.wants_new.connect(lambda: menus.new(window))
    desk.wants_file.connect(lambda: menus.open_file(window))
    desk.wants_path.connect(lambda path: open_path(window, Path(path)))
    desk.wants_example.connect(lambda path, run: open_example(window, Path(path), run=run))
    desk.wants_copy.connect(lambda: copy_as_new(window))
    desk.wants_tour.connect(lambda: take_tour(window))


def open_path(window: Window, path: Path) -> None:
    """Open a file by its kind: an experiment in place of what is edited, a bundle in a window of its own, a text as the corpus of a new experiment.

    What is none of them is said at the top of the window.
    """
    window.notice.clear()
    suffix = path.suffix.lower()
    if suffix == kinds.BUNDLE:
        open_bundle(window, path)
    elif suffix not in kinds.EXPERIMENTS:
        open_text(window, path)
    elif window.may_discard():
        window.go("experiment")
        window.open_path(path)


# --- Dropped on the window ------------------------------------------------------------------------------------------------------------------


def files(event: QDropEvent) -> list[Path]:
    """The files of this machine that are dragged; none where it is something else."""
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def drag_enters(window: Window, event: QDragEnterEvent) -> None:
    """Take any file: why one cannot be opened is said when it is dropped."""
    if files(event):
        event.acceptProposedAction()
        window.desk.dragging.emit(True)
        window.say(DROP)


def drop(window: Window, event: QDropEvent) -> None:
    """Open the file that was dropped."""
    window.desk.dragging.emit(False)
    window.say("")
    paths = files(event)
    if paths:
        event.acceptProposedAction()
        open_dropped(window, paths)


def open_dropped(window: Window, paths: Sequence[Path]) -> None:
    """Open the one file of these; folders and several files are refused."""
    folder = next((path for path in paths if path.is_dir()), None)
    if folder is not None:
        _refuse(window, f"{folder} is a folder: drop one file of it.")
    elif len(paths) > 1:
        _refuse(window, f"Drop one file; these are {len(paths)}.")
    else:
        open_path(window, paths[0])


def _refuse(window: Window, sentence: str) -> None:
    window.notice.say("error", sentence)


# --- Kinds of files -------------------------------------------------------------------------------------------------------------------------


def open_example(window: Window, path: Path, *, run: bool = False) -> None:
    """Open a starter experiment as a copy, so that saving does not write into the installation; `run` starts it at once."""
    from engines.experiment import load

    if window.may_discard():
        loaded = load(path)
        window.document.open_copy(loaded.data, loaded.folder, loaded.text)
        window.last.remember("example", path)
        window.go("experiment")
        if run:
            window.start_run(False)


def open_text(window: Window, path: Path) -> None:
    """Begin a new experiment on a text file. What is no text is refused."""
    try:
        with path.open("rb") as file:
            head = file.read(READ)
    except OSError as error:
        _refuse(window, f"{path} could not be read: {error.strerror or error}.")
        return
    if not head:
        _refuse(window, f"{path.name} is empty. Choose a text file in UTF-8.")
        return
    if not _is_text(head):
        kinds_ = f"an experiment ({', '.join(kinds.EXPERIMENTS)}), a bundle ({kinds.BUNDLE}) or a text in UTF-8"
        _refuse(window, f"{path.name} cannot be opened: it is no text. What opens here is {kinds_}.")
        return
    if not window.may_discard():
        return
    window.document.start_new()
    window.last.remember()
    window.document.edit(f"Use {path.name} as the corpus", partial(_put_text, path=path))
    window.go("experiment")
    window.say(f"{path.name} is the corpus of a new experiment; validation and test are cut from its end.")


def _is_text(head: bytes) -> bool:
    """Whether these first bytes of a file are UTF-8 without zeros; the last letter may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _put_text(data: dict[str, Any], path: Path) -> None:
    corpus = {"id": "corpora/text_files", "train": str(path), "level": "word", "max_vocabulary": WORDS}
    data.setdefault("experiment", {}).update(name=f"What pays on {path.stem}?", corpus=corpus)


# --- Bundles --------------------------------------------------------------------------------------------------------------------------------


def open_bundle(window: Window, path: Path) -> None:
    """In a window of its own: this one stays with its store. One that cannot be opened is refused here, where it is seen."""

    def check() -> str:
        from engines.store.bundles import unpack

        return unpack(path)

    def start(_laid_out: str) -> None:
        _start_window(window, "open", str(path.absolute()))

    window.say(f"Opening {path.name} …")
    window.desk.errands.run(check, start, partial(_refuse, window))


def copy_as_new(window: Window) -> None:
    """Open the experiment of the bundle that this window shows as a new one, in a window on the person's own store."""
    if window.store_url is not None:
        _start_window(window, "open", str(Path(window.store_url).absolute()), "--copy")


def _start_window(window: Window, *words: str) -> None:
    if QProcess.startDetached(sys.executable, ["-m", "workbench", *words]):
        window.say("It opens in a window of its own.")
    else:
        _refuse(window, "No second window could be started.")


def open_copy_of(window: Window, path: Path) -> None:
    """Open the experiment of a bundle as a draft that is not saved yet; its figures stay in the bundle."""

    def read() -> Any:
        from engines.store import queries
        from engines.store.bundles import unpack
        from engines.store.database import Store

        with Store.open(unpack(path), read_only=True) as store:
            return queries.experiments(store)[0]

    def show(row: Any) -> None:
        # Its paths are relative to a folder of the machine that it was run on; here that need not be one.
        folder = Path(row.folder) if row.folder and Path(row.folder).is_dir() else Path.cwd()
        window.document.open_copy(row.document, folder, row.text or "", saved=False)
        window.last.remember()
        window.go("experiment")
        window.say(f"A copy of “{row.name}” from {path.name}: change it, run it, or save it (Ctrl+S).")

    window.desk.errands.run(read, show, partial(_refuse, window))


# --- The tour -------------------------------------------------------------------------------------------------------------------------------


def take_tour(window: Window) -> None:
    """Walk through the window; it ends where it began."""
    from workbench.tour import Tour

    tour = Tour(stops(window), window.desk.theme, window.middle)
    tour.ended.connect(lambda whole: window.settings.setValue("tour", "seen" if whole else "left"))
    tour.ended.connect(lambda _whole: window.go("start"))


def stops(window: Window) -> list[Stop]:
    """The places of the tour, in the order in which one works."""
    from workbench.tour import Stop

    def at(key: str, part: str = "") -> QWidget:
        window.go(key)
        view = window.view(key)
        found: QWidget = getattr(view, part) if part else window.navigation[key]
        if part and key == "experiment":
            QTimer.singleShot(0, found, lambda: view.reveal(found))
        return found

    editor = partial(at, "experiment")
    return [
        Stop(
            "An experiment asks a question",
            "It holds a model, a recipe of techniques, and variants of both that are compared with a baseline. Examples stand here; one of your own "
            "begins with a corpus and a task.",
            lambda: at("start"),
        ),
        Stop(
            "Variants",
            "The first column says what is compared. Choose “Shared base” to change what all have in common, or a variant to change it alone; what "
            "differs is outlined.",
            lambda: editor("variants"),
        ),
        Stop("The model", "Blocks in a stack: an embedding, layers, a head. Each has a form with units, bounds and help.", lambda: editor("model")),
        Stop(
            "The recipe",
            "Techniques act on the model or its training, in order: pruning, quantisation, distillation and many more.",
            lambda: editor("recipe"),
        ),
        Stop(
            "What is wrong, and what it will take",
            "Problems are listed as they arise, and a click leads to the place. Parameters, operations, memory and the time of training here are "
            "foretold beside them.",
            lambda: editor("problems"),
        ),
        Stop("Run", "Ctrl+Enter. Every run is a process of its own: close the window, and it goes on.", lambda: editor("run_button")),
        Stop("Watch", "Loss, throughput and memory, live. Runs wait in a queue that you can order, pause and resume.", lambda: at("runs")),
        Stop(
            "Compare",
            "Each variant against the baseline, with an interval, and a verdict only where the figures carry one: better, worse, no practical "
            "difference, or not enough data. The report is exported from here.",
            lambda: at("compare"),
        ),
        Stop("Why", "A profile tells where a step spends its time and memory, studies measure one operation over its sizes.", lambda: at("profile")),
        Stop(
            "Look things up",
            "Every block and technique has a card: equation, paper, cost, and when it does nothing. Its claims can be checked on this machine. "
            "Ctrl+K finds everything by name, F1 lists the keyboard shortcuts.",
            lambda: at("catalogue"),
        ),
    ]
