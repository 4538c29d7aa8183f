"""The experiment editor: variants on the left, the chosen one in the middle, what is wrong and what the model amounts to on the right."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from engines.merging import Index, Merged, model_table, table_of
from engines.predicting import training_seconds
from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor import draft, places
from workbench.editor.bar import ExperimentBar
from workbench.editor.checks import Checks
from workbench.editor.cost_bar import CostBar
from workbench.editor.costs import Known
from workbench.editor.document import Document
from workbench.editor.draft import Scope
from workbench.editor.model_panel import ModelPanel
from workbench.editor.question_panel import CorpusPanel, MeasurePanel, QuestionPanel
from workbench.editor.recipe_panel import RecipePanel
from workbench.editor.scope_title import ScopeTitle
from workbench.editor.side import Side
from workbench.editor.side_by_side import SideBySide
from workbench.editor.sweep_card import SweepCard
from workbench.editor.three_columns import ThreeColumns
from workbench.editor.variant_figures import BUILDING, VariantFigures
from workbench.editor.variants_panel import VariantsPanel
from workbench.theme import Theme
from workbench.widgets.columns import Columns
from workbench.widgets.surfaces import Apart, Notice, recolour, scroll_along, scrolled

if TYPE_CHECKING:
    from engines.fixes import Fix

LOW = 34
"""Lines of text of height up to which the figures at the foot keep to one line."""
TWO_COLUMNS, WIDEST = 1500, 2400
"""Pixels of the middle from which on the recipe stands beside the model, and at most: longer lines are hard to read."""


class EditorView(QWidget):
    """Shows and changes the document; what is found out about it (`checks`, `variant_figures`) comes by and by."""

    run_asked = Signal(bool)
    """Run the experiment; True for the tiny smoke run."""

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk, self.document = desk, document
        self._merged: Merged | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.bar = ExperimentBar(document, desk.theme)
        self.bar.run_asked.connect(self.run_asked)
        self.run_button = self.bar.run_button
        column.addWidget(self.bar)
        self.variants = VariantsPanel(desk, document)
        self.corpus = CorpusPanel(desk, document)
        self.question = QuestionPanel(document)
        self.model = ModelPanel(desk, document)
        self.recipe = RecipePanel(desk, document)
        self.measure = MeasurePanel(desk, document)
        self.side = Side(desk)
        self.problems = self.side.problems
        middle = QWidget()
        middle.setMaximumWidth(WIDEST)
        stack = QVBoxLayout(middle)
        stack.setContentsMargins(14, 14, 14, 24)
        stack.setSpacing(14)
        self.notice = Notice()
        stack.addWidget(self.notice)
        self.title = ScopeTitle(document)
        stack.addWidget(self.title)
        self.sweep = SweepCard(desk, document)
        self.sweep.made.connect(self._show_made)
        self.side_by_side = SideBySide(desk, document)
        self.side_by_side.chosen.connect(self._go_to_setting)
        self.side_by_side.asked.connect(self.variants.act)
        stack.addWidget(self.sweep)
        panels = (self.corpus, self.model, self.recipe, self.question, self.measure)
        stack.addWidget(Columns(panels, [(0, [[0, 1, 2, 3, 4]]), (TWO_COLUMNS, [[0, 1], [2, 3, 4]])]))
        stack.addStretch(1)
        self._scroll = scrolled(middle)
        column.addWidget(Apart(self.side_by_side, (14, 14, 14, 0)))
        self.splitter = ThreeColumns(self.variants, self._scroll, self.side)
        column.addWidget(self.splitter, 1)
        self.costs = CostBar()
        column.addWidget(self.costs)
        self.checks = Checks(desk, document, self)
        self.checks.changed.connect(self._show)
        self.checks.not_mended.connect(lambda sentence: self.notice.say("warning", sentence))
        self.checks.failed.connect(lambda sentence: self.notice.say("warning", sentence, "Try again", self.checks.build))
        self.figures = VariantFigures(desk, document, self._looked_at, self)
        self.checks.planned.connect(self.figures.ask)
        self.figures.known.connect(self._show_known)
        self.figures.shaped.connect(self._show_shapes)
        self.figures.tried.connect(self._show_tried)
        self.variants.scope_chosen.connect(lambda _scope: self._show_another())
        self.variants.sweep_asked.connect(self.open_sweep)
        self.variants.ablation_asked.connect(self.ablate)
        self.variants.side_by_side_asked.connect(self.open_side_by_side)
        self.problems.jumped.connect(self.jump)
        self.model.opened.connect(lambda name: self._reveal(name, ""))
        self.recipe.dragged_to.connect(lambda at: scroll_along(self._scroll, at))
        self.problems.fix_asked.connect(self.apply)
        self.recipe.fix_asked.connect(self.apply)
        document.changed.connect(self._changed)
        document.replaced.connect(self._start_over)
        desk.catalogue_ready.connect(self._offer)
        desk.theme_changed.connect(self._recolour)
        if desk.catalogue is not None:
            self._offer(desk.catalogue)
        else:
            self._show()

    # --- Showing --------------------------------------------------------------------------------------------------------------------------

    @property
    def all_problems(self) -> list[Problem]:
        """What is wrong, as far as it is known."""
        return self.checks.problems

    def _index(self) -> Index:
        return Index(self._desk.catalogue or {})

    def _offer(self, catalogue: dict[str, Any]) -> None:
        for panel in (self.corpus, self.model, self.recipe):
            panel.offer(catalogue)
        self._changed()

    def _start_over(self) -> None:
        self.variants.scope = None

    def _changed(self) -> None:
        self.figures.forget()
        self.sweep.foretell("", None)
        sound = self.checks.start()
        self._show()
        self.figures.wait(BUILDING if sound else "Figures appear once the problems are mended.")

    def apply(self, fix: Fix) -> None:
        """Mend a problem: one step of the undo history."""

        def change(data: draft.Tree) -> None:
            data.clear()
            data.update(deepcopy(fix.data))

        self.document.edit(fix.sentence, change)
        self._desk.says.emit(f"{fix.sentence}: done; Ctrl+Z takes it back.")

    def _show(self) -> None:
        index, data = self._index(), self.document.data
        problems = self.all_problems
        wrong: dict[Scope, int] = {}
        for problem in problems:
            scope = places.scope_of(problem)
            wrong[scope] = wrong.get(scope, 0) + 1
        self.variants.show_document(index, wrong)
        scope = self.variants.scope
        self._merged = merged = draft.effective(data, index, scope)
        names = draft.variant_names(data)
        self.title.show_scope(index, scope)
        self.corpus.show_scope(merged, scope, problems)
        self.model.show_scope(merged, scope, problems)
        self.model.mark_changes(set(model_table(table_of(data["variant"][scope]).get("model"))) if scope is not None else set())
        self._desk.trial = draft.trial(data, index, merged)
        self.recipe.show_scope(merged, scope, problems, self.checks.fixes)
        self.sweep.show_scope(index, scope)
        self.side_by_side.show_document(index, problems)
        for panel in (self.question, self.measure):
            panel.setVisible(scope is None)
            panel.show_problems(problems)
        self.problems.show_problems(problems, dict(enumerate(names)), checking=not self.checks.done, fixes=self.checks.fixes)
        self.bar.show_name()

    def _show_another(self) -> None:
        self._show()
        self.figures.look_at_another()

    def _looked_at(self) -> str:
        """The variant whose figures are shown: the chosen one, the baseline beside the shared base."""
        names = draft.variant_names(self.document.data)
        return names[self.variants.scope] if self.variants.scope is not None else draft.baseline(self.document.data)

    def _show_known(self, known: Known, base: Known | None, state: str) -> None:
        self.costs.show_known(known, base, state, waiting=bool(state))
        self.problems.forecast.show_known(known, base)

    def _show_shapes(self, shapes: dict[str, Any], merged: Merged) -> None:
        self.model.canvas.show_figures(shapes, merged)
        self.recipe.show_matches(shapes.get("matches", ()))
        if isinstance(shapes.get("vocabulary"), int):
            self._desk.trial["vocabulary"] = shapes["vocabulary"]

    def _show_tried(self, known: Known, merged: Merged) -> None:
        assert known.plan is not None
        assert known.found is not None
        self.model.canvas.show_memory(known.found, merged)
        self.sweep.foretell(known.name, training_seconds(known.plan, known.found))

    def _recolour(self, theme: Theme) -> None:
        self.bar.paint_with(theme)
        recolour(self, theme)
        self._show()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.costs.stand(low=event.size().height() < LOW * self.fontMetrics().height())

    def leave(self) -> None:
        """The window closes."""
        self.figures.forecast.forget()

    # --- Going to places and acting ---------------------------------------------------------------------------------------------------------

    def jump(self, problem: Problem) -> None:
        """Show the place of a problem and put the cursor there."""
        scope = places.scope_of(problem)
        self.variants.choose(scope)
        if self._merged is None:
            return
        name, parameter = places.card_of(problem, self._merged)
        if self._reveal(name, parameter):
            return
        for form in (self.question.form, self.measure.form, self.recipe.training):
            if form.focus(re.split(r"[.\[]", problem.path.partition(".")[2])[0]):
                self._scroll.ensureWidgetVisible(form, 40, 60)
                return
        if problem.path == "experiment.name":
            self.bar.name.setFocus()
        elif scope is not None and problem.path.endswith(".name"):
            self.variants.start_rename()

    def _reveal(self, name: str, parameter: str) -> bool:
        """Show the form of a part of the variant (`places.parts_of`), with the cursor in a field; whether there is one."""
        card = self.corpus.corpus if name == "corpus" else self.corpus.task if name == "task" else self.model.card(name) or self.recipe.card(name)
        if card is None:
            return False
        card.reveal(parameter)
        QTimer.singleShot(0, lambda: self._scroll.ensureWidgetVisible(card, 40, 60))
        return True

    def open_sweep(self) -> None:
        """Show the sweep of the variant that is chosen."""
        self.sweep.open()
        self.sweep.show_scope(self._index(), self.variants.scope)
        self._scroll.ensureWidgetVisible(self.sweep, 0, 0)

    def open_side_by_side(self) -> None:
        """Show the variants as columns."""
        self.side_by_side.open(self._index(), self.all_problems)

    def _go_to_setting(self, number: int, key: str) -> None:
        """Choose a variant and show the form of a setting of its plan."""
        self.variants.choose(number)
        if self._merged is None or not key:
            return
        for name, part in places.parts_of(self._merged).items():
            stem = places.key_of(name, part)
            if places.below(key, stem) and self._reveal(name, re.split(r"[.\[]", key[len(stem) + 1 :])[0]):
                return
        self._scroll.ensureWidgetVisible(self.recipe if key.startswith(("techniques", "training")) else self.model, 0, 40)

    def ablate(self, add_one: bool) -> None:
        """Add the ablation of the variant that is chosen; why there is none is said in place."""
        wrong = self.sweep.ablate(self.variants.scope, add_one=add_one)
        if wrong:
            self.notice.say("warning", wrong)

    def _show_made(self, first: int) -> None:
        self.notice.clear()
        self.variants.choose(first)
        self._desk.says.emit(f"{len(self.document.variants) - first} variants were added; Ctrl+Z takes them away again.")

    def reveal(self, part: QWidget) -> None:
        """Scroll to a part of the experiment."""
        self._scroll.ensureWidgetVisible(part, 0, 0)

    def use(self, plugin_id: str) -> str:
        """Put a plugin of the catalogue into the scope that is shown; returns a sentence about what was done."""
        entry, index, scope = self._desk.entry(plugin_id), self._index(), self.variants.scope
        if entry is None:
            return f"The catalogue does not know {plugin_id}."
        if entry["kind"] == "technique":
            self.recipe.add(plugin_id)
        elif entry["kind"] in ("corpus", "block"):
            self.document.edit(f"Choose {entry['title']}", lambda data: draft.put_in(data, index, scope, entry))
        else:
            return f"{plugin_id} is a {entry['kind']}; it is not part of a variant."
        return f"{entry['title']} is now part of {'the shared base' if scope is None else 'this variant'}."
