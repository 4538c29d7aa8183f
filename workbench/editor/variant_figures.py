"""What is found out, while one edits, about the variant that is looked at and about the baseline: what the model amounts to, what training takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from engines.merging import Index
from workbench.desk import Desk
from workbench.editor import draft
from workbench.editor.checks import CHECK_AFTER_MS, runs_folder
from workbench.editor.costs import Known
from workbench.editor.document import Document
from workbench.editor.forecast import Forecast

BUILDING = "The model is being built on paper …"
Plans = dict[str, dict[str, Any]]


class VariantFigures(QObject):
    """Asks the inspector what the models amount to, then has a few steps tried out. looked_at: gives the name of the variant."""

    known = Signal(object, object, str)
    """Known of the variant, Known of the baseline (None where it is that), and what is being done to know more, or why that is not possible."""
    shaped = Signal(object, object)
    """The inspector's answer about the model, and the merged variant that it is about."""
    tried = Signal(object, object)
    """Known of the variant with what training takes, and the merged variant."""

    def __init__(self, desk: Desk, document: Document, looked_at: Callable[[], str], parent: QObject) -> None:
        super().__init__(parent)
        self._desk, self._document, self.looked_at = desk, document, looked_at
        self.forecast = Forecast(self)
        self.asked_for = ""
        """The variant that was asked about last; empty since the last change."""
        self._known, self._base = Known(), Known()
        self._questions: list[int] = []
        self.rest = QTimer(self)
        self.rest.setSingleShot(True)
        self.rest.setInterval(CHECK_AFTER_MS)
        self.rest.timeout.connect(self._ask_about_the_choice)

    @property
    def foretold(self) -> bool:
        """Whether what training will take is known, or why it is not."""
        return not self.forecast.running and bool(self._known.found or self._known.refused)

    def forget(self) -> None:
        """The experiment was changed: what is being found out is no longer wanted."""
        for number in self._questions:
            self._desk.inspector.forget(number)
        if self._base.shapes is None:
            self._base = Known()  # The question about it is among those that are forgotten.
        self._questions.clear()
        self.asked_for = ""
        self.rest.stop()
        self.forecast.forget()

    def wait(self, state: str) -> None:
        """Nothing is known yet of the variant that is looked at; state says why."""
        self.know(Known(self.looked_at()), state)

    def look_at_another(self) -> None:
        """Another variant was chosen: its figures are not those of the one before."""
        if not self.asked_for or self.looked_at() == self.asked_for:
            return  # A check is to come, which asks for them; or they are there.
        self.forecast.forget()
        self.wait(BUILDING)
        self.rest.start()

    def _ask_about_the_choice(self) -> None:
        from engines.problems import ExperimentError

        try:
            self.ask(self._document.experiment.plans(self._desk.catalogue))
        except ExperimentError:
            return  # Mended or broken meanwhile: the check that follows every change tells.

    def ask(self, plans: Plans) -> None:
        """Find out about the variant that is looked at, and about the baseline where its plan is another than before."""
        shown, base = self.looked_at(), draft.baseline(self._document.data)
        if base in plans and base != shown and self._base.plan != plans[base]:
            self._base = Known(base, plans[base])
            self._questions.append(self._desk.inspector.ask("shapes", self._keep_base_shapes, lambda _sentence: None, plan=plans[base]))
        if shown in plans:
            self.asked_for = shown
            self._questions.append(
                self._desk.inspector.ask("shapes", lambda answer: self._show_shapes(answer, shown, plans), self._not_shaped, plan=plans[shown])
            )

    def know(self, known: Known, state: str = "") -> None:
        """Tell what is known of the variant that is looked at."""
        self._known = known
        base = draft.baseline(self._document.data)
        if known.name == base:
            self._base = known
        beside = None if known.name == base else self._base if self._base.name == base else Known(base)
        self.known.emit(known, beside, state)

    def _keep_base_shapes(self, shapes: dict[str, Any]) -> None:
        """What the baseline amounts to: the figures of others stand in proportion to it."""
        self._base = replace(self._base, shapes=shapes)

    def _show_shapes(self, shapes: dict[str, Any], shown: str, plans: Plans) -> None:
        """What the model amounts to; then what training it will take is tried out."""
        if shown != self.asked_for:
            return  # Another variant was chosen meanwhile.
        data = self._document.data
        merged = draft.effective(data, Index(self._desk.catalogue or {}), draft.variant_names(data).index(shown))
        self.shaped.emit(shapes, merged)
        known = Known(shown, plans[shown], shapes)
        self.know(known, "A few steps are being tried out …")

        def show(found: Any) -> None:
            answered = replace(known, found=found)
            self.know(answered)
            self.tried.emit(answered, merged)
            self._predict_base(plans)

        self.forecast.ask(plans[shown], plans, runs_folder(self._desk), show, lambda sentence: self.know(replace(known, refused=sentence)))

    def _not_shaped(self, sentence: str) -> None:
        self.know(Known(self.looked_at(), refused=sentence))

    def _predict_base(self, plans: Plans) -> None:
        """Once for each state of the baseline: the figures of a variant stand in proportion to it."""
        base = self._base
        if base.name == self._known.name or base.plan is None or base.found is not None or base.refused:
            return

        def keep(**answer: Any) -> None:
            self._base = replace(self._base, **answer)
            self.know(self._known)

        self.forecast.ask(base.plan, plans, runs_folder(self._desk), lambda found: keep(found=found), lambda sentence: keep(refused=sentence))
