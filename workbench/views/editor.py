"""The experiment editor: variants on the left, the chosen one in the middle, what is wrong and what the model amounts to on the right."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QPushButton, QSplitter, QVBoxLayout, QWidget

from engines.merging import Index, Merged, model_table, table_of
from engines.predicting import training_seconds
from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor import draft, places
from workbench.editor.cost_bar import CostBar
from workbench.editor.costs import Known
from workbench.editor.document import Document
from workbench.editor.draft import Scope
from workbench.editor.fix_button import Fixes
from workbench.editor.forecast import Forecast
from workbench.editor.model_panel import ModelPanel
from workbench.editor.question_panel import CorpusPanel, MeasurePanel, QuestionPanel
from workbench.editor.recipe_panel import RecipePanel
from workbench.editor.side import Side
from workbench.editor.side_by_side import SideBySide
from workbench.editor.sweep_card import SweepCard
from workbench.editor.variants_panel import VariantsPanel
from workbench.icons import icon
from workbench.theme import Theme
from workbench.widgets.surfaces import Notice, recolour, scroll_along, scrolled
from workbench.widgets.text import ElidedLabel, label

if TYPE_CHECKING:
    from engines.experiment import Experiment
    from engines.fixes import Fix

CHECK_AFTER_MS = 500
"""How long the keyboard must rest before the inspector builds the model as a check."""

BUILDING = "The model is being built on paper …"

MOST_MENDED = 30
"""Problems that fixes are looked for at once: an experiment in ruins is mended from the top."""

WIDEST = 1280
"""Pixels of the middle column at most: longer lines are hard to read."""


class EditorView(QWidget):
    """Shows and changes the document. Static problems are found at every change, the rest by the inspector when typing rests."""

    run_asked = Signal(bool)
    """Run the experiment; True for the tiny smoke run."""

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk, self.document = desk, document
        self._static: list[Problem] = []
        self._fixes: Fixes = {}
        self._found: list[Problem] = []
        self._checked = False
        self._forecast = Forecast(self)
        self._figures_of = ""
        self._known, self._base = Known(), Known()
        """What was found out about the variant that is looked at, and about the baseline."""
        self._questions: list[int] = []
        self._merged: Merged | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._bar())
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
        titles = QHBoxLayout()
        self._title = ElidedLabel("heading")
        titles.addWidget(self._title, 1)
        self._caption = label("", "caption")
        titles.addWidget(self._caption)
        self._revert = QPushButton("Drop all changes of this variant")
        self._revert.setProperty("quiet", True)
        self._revert.clicked.connect(self._drop_changes)
        titles.addWidget(self._revert)
        stack.addLayout(titles)
        self.sweep = SweepCard(desk, document)
        self.sweep.made.connect(self._show_made)
        self.side_by_side = SideBySide(desk, document)
        self.side_by_side.chosen.connect(self._go_to_setting)
        self.side_by_side.asked.connect(self.variants.act)
        for panel in (self.side_by_side, self.sweep, self.corpus, self.model, self.recipe, self.question, self.measure):
            stack.addWidget(panel)
        stack.addStretch(1)
        self._scroll = scrolled(middle)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        for part, stretch in ((self.variants, 0), (self._scroll, 1), (self.side, 0)):
            self.splitter.addWidget(part)
            self.splitter.setStretchFactor(self.splitter.count() - 1, stretch)
        self.splitter.setSizes([250, 700, 270])
        column.addWidget(self.splitter, 1)
        self.costs = CostBar()
        column.addWidget(self.costs)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(CHECK_AFTER_MS)
        self._rest.timeout.connect(self._check_deeply)
        self._choice_rest = QTimer(self)
        self._choice_rest.setSingleShot(True)
        self._choice_rest.setInterval(CHECK_AFTER_MS)
        self._choice_rest.timeout.connect(self._figures_of_the_choice)
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
        document.named.connect(self._show_name)
        document.replaced.connect(self._start_over)
        desk.catalogue_ready.connect(self._offer)
        desk.theme_changed.connect(self._recolour)
        if desk.catalogue is not None:
            self._offer(desk.catalogue)
        else:
            self._show()

    def _bar(self) -> QFrame:
        bar = QFrame()
        bar.setObjectName("bar")
        row = QHBoxLayout(bar)
        row.setContentsMargins(16, 10, 16, 10)
        row.setSpacing(10)
        self.name = QLineEdit()
        self.name.setProperty("heading", True)
        self.name.setAccessibleName("Name of the experiment")
        self.name.setToolTip("Name of the experiment; choose it so that it asks the question")
        self.name.textEdited.connect(
            lambda text: self.document.edit("Rename the experiment", lambda data: data.setdefault("experiment", {}).__setitem__("name", text), "name")
        )
        row.addWidget(self.name, 1)
        self._file = label("", "caption")
        row.addWidget(self._file)
        self.smoke_button = QPushButton("Smoke test")
        self.smoke_button.setToolTip("Run every variant for a few steps, to see that all works (Ctrl+Shift+Enter)")
        self.smoke_button.clicked.connect(lambda: self.run_asked.emit(True))
        row.addWidget(self.smoke_button)
        self.run_button = QPushButton("Run")
        self.run_button.setProperty("primary", True)
        self.run_button.setIcon(icon("play", self._desk.theme.on_accent))
        self.run_button.setToolTip("Run all variants (Ctrl+Enter)")
        self.run_button.clicked.connect(lambda: self.run_asked.emit(False))
        row.addWidget(self.run_button)
        return bar

    # --- Showing --------------------------------------------------------------------------------------------------------------------------

    @property
    def all_problems(self) -> list[Problem]:
        return self._static or self._found

    @property
    def checked(self) -> bool:
        """Whether the inspector has answered about the experiment as it stands."""
        return self._checked

    @property
    def foretold(self) -> bool:
        """Whether what training will take is shown, or why that is not known."""
        return not self._forecast.running and bool(self._known.found or self._known.refused)

    def _index(self) -> Index:
        return Index(self._desk.catalogue or {})

    def _offer(self, catalogue: dict[str, Any]) -> None:
        for panel in (self.corpus, self.model, self.recipe):
            panel.offer(catalogue)
        self._changed()

    def _start_over(self) -> None:
        self.variants.scope = None

    def _changed(self) -> None:
        self._found, self._checked = [], False
        for number in self._questions:
            self._desk.inspector.forget(number)
        if self._base.shapes is None:
            self._base = Known()  # The question about it is among those that are forgotten.
        self._questions.clear()
        self._figures_of = ""
        self._choice_rest.stop()
        self._forecast.forget()
        self.sweep.foretell("", None)
        self._fixes = {}
        if self._desk.catalogue is not None:
            self._static = self.document.experiment.problems(self._desk.catalogue)
            if self._static:
                self._look_for_fixes(self._static, self.document.experiment, self._desk.catalogue)
        self._show()
        if not self._static and self._desk.catalogue is not None:
            self._rest.start()
            self._know(Known(self._shown()), BUILDING)
        else:
            self._rest.stop()
            self._know(Known(self._shown()), "Figures appear once the problems are mended.")

    def _look_for_fixes(self, problems: list[Problem], experiment: Experiment, catalogue: dict[str, Any]) -> None:
        """Try out, in a thread, what would mend each problem: every try checks the whole experiment."""
        from engines.fixes import fixes_of

        def show(found: Fixes) -> None:
            if problems is self._static:  # Else it was edited meanwhile.
                self._fixes = found
                self._show()

        self._desk.errands.run(
            lambda: {(problem.path, problem.rule): fixes_of(problem, experiment, catalogue, problems) for problem in problems[:MOST_MENDED]},
            show,
            lambda sentence: self.notice.say("warning", f"What would mend the problems could not be found: {sentence}"),
        )

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
        changes = draft.differences(data, index, scope) if scope is not None else []
        self._title.setText("Shared base" if scope is None else names[scope])
        self._caption.setText(
            "every variant starts from this" if scope is None else "changes of the base are outlined" if changes else "same as the base"
        )
        self._revert.setVisible(bool(changes))
        self.corpus.show_scope(merged, scope, problems)
        self.model.show_scope(merged, scope, problems)
        self.model.mark_changes(set(model_table(table_of(data["variant"][scope]).get("model"))) if scope is not None else set())
        self._desk.trial = draft.trial(data, index, merged)
        self.recipe.show_scope(merged, scope, problems, self._fixes)
        self.sweep.show_scope(index, scope)
        self.side_by_side.show_document(index, problems)
        for panel in (self.question, self.measure):
            panel.setVisible(scope is None)
            panel.show_problems(problems)
        self.problems.show_problems(problems, dict(enumerate(names)), checking=not self._checked, fixes=self._fixes)
        name = str(table_of(data.get("experiment")).get("name", ""))
        if self.name.text() != name:
            self.name.setText(name)
            self.name.setCursorPosition(0)

    def _show_another(self) -> None:
        """Another variant is looked at: its figures are not those of the one before."""
        self._show()
        if not self._figures_of or self._shown() == self._figures_of:
            return  # A check is to come, which asks for them; or they are there.
        self._forecast.forget()
        self._know(Known(self._shown()), BUILDING)
        self._choice_rest.start()

    def _figures_of_the_choice(self) -> None:
        from engines.problems import ExperimentError

        try:
            self._ask_figures(self.document.experiment.plans(self._desk.catalogue))
        except ExperimentError:
            return  # Mended or broken meanwhile: the check that follows every change tells.

    def _show_name(self) -> None:
        saved = "not saved yet" if self.document.path is None else self.document.path.name
        self._file.setText(saved + (" · edited" if self.document.dirty and self.document.path else ""))
        self._file.setToolTip(str(self.document.path or ""))

    def _recolour(self, theme: Theme) -> None:
        self.run_button.setIcon(icon("play", theme.on_accent))
        recolour(self, theme)
        self._show()

    def leave(self) -> None:
        """The window closes."""
        self._forecast.forget()

    # --- Deep checks ----------------------------------------------------------------------------------------------------------------------

    def _check_deeply(self) -> None:
        """Let the inspector build every variant: cross-field rules of the plugins, sizes that do not fit."""
        from engines.problems import ExperimentError

        try:
            plans = self.document.experiment.plans(self._desk.catalogue)
        except ExperimentError:
            return  # A static problem; it is shown already.
        self._questions.append(self._desk.inspector.ask("validate", self._validated, self._not_validated, plans=plans, runs=self._runs()))
        self._ask_figures(plans)

    def _runs(self) -> str:
        """Folder of the runs of the store, which recipes may name; empty before it is opened."""
        return str(self._desk.store.folder / "runs") if self._desk.store is not None else ""

    def _shown(self) -> str:
        """The variant whose figures stand at the right: the chosen one, the baseline beside the shared base."""
        names = draft.variant_names(self.document.data)
        return names[self.variants.scope] if self.variants.scope is not None else draft.baseline(self.document.data)

    def _ask_figures(self, plans: dict[str, dict[str, Any]]) -> None:
        shown, base = self._shown(), draft.baseline(self.document.data)
        if base in plans and base != shown and self._base.plan != plans[base]:
            self._base = Known(base, plans[base])
            self._questions.append(self._desk.inspector.ask("shapes", self._keep_base_figures, lambda _sentence: None, plan=plans[base]))
        if shown in plans:
            self._figures_of = shown
            self._questions.append(
                self._desk.inspector.ask("shapes", lambda answer: self._show_figures(answer, shown, plans), self._no_figures, plan=plans[shown])
            )

    def _keep_base_figures(self, shapes: dict[str, Any]) -> None:
        """What the baseline amounts to: the figures of others stand in proportion to it."""
        self._base = replace(self._base, shapes=shapes)

    def _know(self, known: Known, state: str = "") -> None:
        """Show what is known of the variant that is looked at. state: what is being done to know more, or why that is not possible."""
        self._known = known
        base = draft.baseline(self.document.data)
        if known.name == base:
            self._base = known
        beside = None if known.name == base else self._base if self._base.name == base else Known(base)
        self.costs.show_known(known, beside, state, waiting=bool(state))
        self.problems.forecast.show_known(known, beside)

    def _show_figures(self, shapes: dict[str, Any], shown: str, plans: dict[str, dict[str, Any]]) -> None:
        """What the model amounts to; then what training it will take is tried out."""
        if shown != self._figures_of:
            return  # Another variant was chosen meanwhile.
        merged = draft.effective(self.document.data, self._index(), draft.variant_names(self.document.data).index(shown))
        self.model.canvas.show_figures(shapes, merged)
        if isinstance(shapes.get("vocabulary"), int):
            self._desk.trial["vocabulary"] = shapes["vocabulary"]
        known = Known(shown, plans[shown], shapes)
        self._know(known, "A few steps are being tried out …")

        def show(found: Any) -> None:
            self._know(replace(known, found=found))
            self.model.canvas.show_memory(found, merged)
            self.sweep.foretell(shown, training_seconds(plans[shown], found))
            self._predict_base(plans)

        self._forecast.ask(plans[shown], plans, self._runs(), show, lambda sentence: self._know(replace(known, refused=sentence)))

    def _predict_base(self, plans: dict[str, dict[str, Any]]) -> None:
        """Once for each state of the baseline: the figures of a variant stand in proportion to it."""
        base = self._base
        if base.name == self._known.name or base.plan is None or base.found is not None or base.refused:
            return

        def keep(**answer: Any) -> None:
            self._base = replace(self._base, **answer)
            self._know(self._known)

        self._forecast.ask(base.plan, plans, self._runs(), lambda found: keep(found=found), lambda sentence: keep(refused=sentence))

    def _validated(self, answer: Any) -> None:
        self._checked = True
        told = [Problem(p.get("path", ""), p.get("value"), p.get("rule", ""), p.get("hint", "")) for p in answer["problems"]]
        self._found = self.document.experiment.placed(told, self._desk.catalogue)
        self._show()

    def _not_validated(self, sentence: str) -> None:
        self.notice.say("warning", f"The model could not be checked by building it: {sentence}", "Try again", self._check_deeply)

    def _no_figures(self, sentence: str) -> None:
        self._know(Known(self._shown(), refused=sentence))

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
            self.name.setFocus()
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
        self._scroll.ensureWidgetVisible(self.side_by_side, 0, 0)

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

    def _drop_changes(self) -> None:
        scope = self.variants.scope
        if scope is not None:

            def drop(data: draft.Tree) -> None:
                data["variant"][scope] = {"name": data["variant"][scope].get("name", "")}

            self.document.edit("Drop the changes of a variant", drop)
