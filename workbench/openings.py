"""What the start page asks for: an example, a text as corpus, a file, the tour through the window."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from workbench import menus

if TYPE_CHECKING:
    from workbench.tour import Stop
    from workbench.window import Window

WORDS = 10_000
"""Of the vocabulary of an experiment on a text of one's own: so many are learned within minutes."""
READ = 4096
"""Bytes at the head of a file by which binary is told from text."""


def connect(window: Window) -> None:
    """Fulfil the wishes of the start page."""
    desk = window.desk
    desk.wants_new.connect(lambda: menus.new(window))
    desk.wants_file.connect(lambda: menus.open_file(window))
    desk.wants_path.connect(lambda path: open_path(window, Path(path)))
    desk.wants_example.connect(lambda path, run: open_example(window, Path(path), run=run))
    desk.wants_text.connect(lambda path: open_text(window, Path(path)))
    desk.wants_tour.connect(lambda: take_tour(window))


def open_path(window: Window, path: Path) -> None:
    """Open an experiment file in place of what is edited; a bundle in a window of its own."""
    if path.suffix == ".workbench":
        menus.open_bundle(window, path)
        return
    if window.may_discard():
        window.go("experiment")
        window.open_path(path)


def open_example(window: Window, path: Path, *, run: bool = False) -> None:
    """Open a starter experiment as a copy, so that saving does not write into the installation; `run` starts it at once."""
    from engines.experiment import load

    if window.may_discard():
        loaded = load(path)
        window.document.open_copy(loaded.data, loaded.folder, loaded.text)
        window.go("experiment")
        if run:
            window.start_run(False)


def open_text(window: Window, path: Path) -> None:
    """Begin a new experiment on a text file. What cannot be one is said on the start page."""
    try:
        with path.open("rb") as file:
            head = file.read(READ)
    except OSError as error:
        window.view("start").notice.say("error", f"{path} could not be read: {error.strerror or error}.")
        return
    if not head or b"\0" in head:
        what = "is empty" if not head else "is no text: its first bytes hold zeros"
        window.view("start").notice.say("error", f"{path.name} {what}. Choose a text file in UTF-8.")
        return
    if not window.may_discard():
        return
    window.document.start_new()
    window.document.edit(f"Use {path.name} as the corpus", partial(_put_text, path=path))
    window.go("experiment")
    window.say(f"{path.name} is the corpus of a new experiment; validation and test are cut from its end.")


def _put_text(data: dict[str, Any], path: Path) -> None:
    corpus = {"id": "corpora/text_files", "train": str(path), "level": "word", "max_vocabulary": WORDS}
    data.setdefault("experiment", {}).update(name=f"What pays on {path.stem}?", corpus=corpus)


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
