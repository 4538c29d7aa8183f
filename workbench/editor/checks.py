"""What is wrong with the experiment that is edited, and what would mend it: found at every change, and by building the model when typing rests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor.document import Document
from workbench.editor.fix_button import Fixes

if TYPE_CHECKING:
    from engines.experiment import Experiment

CHECK_AFTER_MS = 500
"""How long the keyboard must rest before the inspector builds the model as a check."""
MOST_MENDED = 30
"""Problems that fixes are looked for at once: an experiment in ruins is mended from the top."""


class Checks(QObject):
    """Static problems (structure, ids, values) are known at once; what only the built model shows is asked of the inspector."""

    changed = Signal()
    """Other problems, or other ways to mend them, are known than a moment ago."""
    planned = Signal(object)
    """The plans of all variants by name, once nothing static is wrong and typing rests."""
    failed = Signal(str)
    """A sentence about a check that could not be made; `build` tries again."""
    not_mended = Signal(str)
    """A sentence about why no fixes are offered."""

    def __init__(self, desk: Desk, document: Document, parent: QObject) -> None:
        super().__init__(parent)
        self._desk, self._document = desk, document
        self._static: list[Problem] = []
        self._found: list[Problem] = []
        self.fixes: Fixes = {}
        self.done = False
        """Whether the inspector has answered about the experiment as it stands."""
        self._question: int | None = None
        self.rest = QTimer(self)
        self.rest.setSingleShot(True)
        self.rest.setInterval(CHECK_AFTER_MS)
        self.rest.timeout.connect(self.build)

    @property
    def problems(self) -> list[Problem]:
        """The static ones, else those of the built model."""
        return self._static or self._found

    def start(self) -> bool:
        """The experiment was changed: find the static problems now, and have it built soon where there are none. Returns whether it will be."""
        self._found, self.done = [], False
        if self._question is not None:
            self._desk.inspector.forget(self._question)
            self._question = None
        self.fixes = {}
        catalogue = self._desk.catalogue
        if catalogue is not None:
            self._static = self._document.experiment.problems(catalogue)
            if self._static:
                self._look_for_fixes(self._static, self._document.experiment, catalogue)
        sound = not self._static and catalogue is not None
        self.rest.start() if sound else self.rest.stop()
        return sound

    def _look_for_fixes(self, problems: list[Problem], experiment: Experiment, catalogue: dict[str, Any]) -> None:
        """Try out, in a thread, what would mend each problem: every try checks the whole experiment."""
        from engines.fixes import fixes_of

        def show(found: Fixes) -> None:
            if problems is self._static:  # Else it was edited meanwhile.
                self.fixes = found
                self.changed.emit()

        self._desk.errands.run(
            lambda: {(problem.path, problem.rule): fixes_of(problem, experiment, catalogue, problems) for problem in problems[:MOST_MENDED]},
            show,
            lambda sentence: self.not_mended.emit(f"What would mend the problems could not be found: {sentence}"),
        )

    def build(self) -> None:
        """Let the inspector build every variant: cross-field rules of the plugins, sizes that do not fit."""
        from engines.problems import ExperimentError

        try:
            plans = self._document.experiment.plans(self._desk.catalogue)
        except ExperimentError:
            return  # A static problem; it is shown already.
        self._question = self._desk.inspector.ask("validate", self.built, self._not_built, plans=plans, runs=runs_folder(self._desk))
        self.planned.emit(plans)

    def built(self, answer: dict[str, Any]) -> None:
        """Take the inspector's answer: problems of plans, told at their places in the file."""
        self.done = True
        told = [Problem(p.get("path", ""), p.get("value"), p.get("rule", ""), p.get("hint", "")) for p in answer["problems"]]
        self._found = self._document.experiment.placed(told, self._desk.catalogue)
        self.changed.emit()

    def _not_built(self, sentence: str) -> None:
        self.failed.emit(f"The model could not be checked by building it: {sentence}")


def runs_folder(desk: Desk) -> str:
    """Folder of the runs of the store, which recipes may name; empty before it is opened."""
    return str(desk.store.folder / "runs") if desk.store is not None else ""
