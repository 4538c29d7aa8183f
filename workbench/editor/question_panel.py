"""The question: which text, which task, how long to train, which seeds, on what device, and what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from engines.merging import Index, Merged, list_of, table_of
from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor import draft
from workbench.editor.document import Document
from workbench.editor.draft import Scope, Tree
from workbench.editor.places import sentence, trouble_of
from workbench.editor.plugin_card import PluginCard
from workbench.forms import Form
from workbench.timing_fields import TIMING
from workbench.widgets.surfaces import Card, icon_button

UNITS = ("tokens", "steps", "seconds", "epochs")
DEVICE = {"type": "string", "default": "auto", "description": "auto, cpu, cuda, cuda:1 or mps."}
QUESTION_SCHEMA: Tree = {
    "properties": {
        "budget": {"type": "number", "exclusiveMinimum": 0, "description": "How long each variant trains."},
        "budget_unit": {"enum": list(UNITS), "default": "tokens", "description": "What the budget counts. Equal tokens is the usual fair choice."},
        "seeds": {
            "type": "array", "items": {"type": "integer", "minimum": 0}, "default": [0], "minItems": 1,
            "description": "Every variant runs once with each. From 5 seeds on, verdicts on quality carry intervals.",
        },
        "device": DEVICE,
        "threads": {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None, "unit": "threads",
            "description": "Threads of a run. Not set: cores minus one.",
        },
    }
}  # fmt: skip
MEASURE_SCHEMA: Tree = {
    "properties": {
        "metrics": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Keys of the metrics that judge; empty: the usual."},
        "margin": {
            "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.02, "unit": "ratio − 1",
            "description": "Differences smaller than this are called no practical difference.",
        },
        **TIMING,
        "batches": {
            "type": "array", "items": {"type": "integer", "minimum": 1}, "default": [],
            "description": "Further batch sizes at which finished models are timed, for example 1, 16.",
        },
        "evaluations": {"type": "integer", "minimum": 0, "default": 10, "description": "Validations during training."},
        "held_out_tokens": {
            "type": "integer", "minimum": 0, "default": 0, "unit": "tokens", "description": "Held-out tokens that are evaluated; 0 for all.",
        },
    }
}  # fmt: skip
TARGET_SCHEMA: Tree = {
    "properties": {
        "name": {"type": "string", "description": "What this target is called in tables, for example: one core."},
        "device": DEVICE,
        "threads": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None, "unit": "threads", "description": ""},
        "batch": {"type": "integer", "minimum": 1, "default": 1, "unit": "sequences", "description": "Sequences at a time."},
        "runtime": {"enum": ["torch", "onnxruntime"], "default": "torch", "description": "What runs the finished model."},
        "max_memory": {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}], "default": None, "unit": "MiB",
            "description": "Peak memory while it judges text (of the device on a GPU). Variants that need more are dimmed in the comparison.",
        },
        "max_latency_ms": {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}], "default": None, "unit": "ms",
            "description": "What 95 of 100 next-token steps stay within. Slower variants are dimmed in the comparison.",
        },
    }
}  # fmt: skip


class CorpusPanel(Card):
    """The corpus of the base or of a variant and, in the base, the task."""

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__("Text and task", "", parent)
        self._desk, self._document = desk, document
        self._scope: Scope = None
        self._merged: Merged | None = None
        self.corpus = PluginCard(desk, "Corpus")
        self.task = PluginCard(desk, "Task")
        self.body.addWidget(self.corpus)
        self.body.addWidget(self.task)
        self.corpus.picked.connect(lambda name: self._set_corpus({"id": name}))
        self.corpus.edited.connect(lambda values: self._set_corpus({"id": self._chosen("corpus"), **values}, f"{self._scope} corpus"))
        self.task.picked.connect(lambda name: self._set_task({"id": name}))
        self.task.edited.connect(lambda values: self._set_task({"id": self._chosen("task"), **values}, "task"))

    def offer(self, catalogue: Tree) -> None:
        entries = catalogue["plugins"].values()
        self.corpus.offer([entry for entry in entries if entry["kind"] == "corpus"])
        self.task.offer([entry for entry in entries if entry["kind"] == "task"])

    def show_scope(self, merged: Merged, scope: Scope, problems: Sequence[Problem]) -> None:
        self._scope, self._merged = scope, merged
        self.task.setVisible(scope is None)
        for card, part, path in ((self.corpus, merged.corpus, "experiment.corpus"), (self.task, merged.task, "experiment.task")):
            card.show_table(part.table if part else None, folder=self._document.folder)
            trouble = trouble_of(part, problems)
            if part is None:
                trouble.whole += [sentence(problem) for problem in problems if problem.path == path]
            card.show_trouble(trouble)

    def _chosen(self, role: str) -> str:
        part = getattr(self._merged, role)
        return part.id if part else ""

    def _set_corpus(self, table: Tree, key: str = "") -> None:
        index, scope = Index(self._desk.catalogue or {}), self._scope
        self._document.edit("Change the corpus", lambda data: draft.set_corpus(data, index, scope, table), key)

    def _set_task(self, table: Tree, key: str = "") -> None:
        value: Any = table if len(table) > 1 else table["id"].rpartition("/")[2] if table["id"].startswith("tasks/") else table["id"]
        self._document.edit("Change the task", lambda data: data.setdefault("experiment", {}).__setitem__("task", value), key)


class QuestionPanel(Card):
    """Budget, seeds, device: what holds for all variants alike."""

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__("Budget and machine", "The same for every variant, so that they can be compared.", parent)
        self._document = document
        self.form = Form(QUESTION_SCHEMA)
        self.form.edited.connect(self._edit)
        self.body.addWidget(self.form)

    def show_problems(self, problems: Sequence[Problem]) -> None:
        experiment = table_of(self._document.data.get("experiment"))
        budget = table_of(experiment.get("budget"))
        unit = next((unit for unit in UNITS if unit in budget), "tokens")
        values: Tree = {key: experiment[key] for key in ("seeds", "device", "threads") if key in experiment}
        amount = budget.get(unit)
        self.form.set_values({**values, "budget_unit": unit, **({"budget": amount} if amount is not None else {})})
        found: dict[str, str] = {}
        for problem in problems:
            key = problem.path.removeprefix("experiment.").split(".")[0].split("[")[0]
            if problem.path.startswith("experiment.") and key in QUESTION_SCHEMA["properties"]:
                found.setdefault(key, sentence(problem))
        self.form.complain(found)

    def _edit(self, values: Tree) -> None:
        def apply(data: Tree) -> None:
            experiment = data.setdefault("experiment", {})
            amount = values.get("budget")
            unit = values.get("budget_unit", "tokens")
            whole = isinstance(amount, float) and amount.is_integer()
            experiment["budget"] = {} if amount is None else {unit: int(amount) if whole and isinstance(amount, float) else amount}
            for key in ("seeds", "device", "threads"):
                if values.get(key) is None:
                    experiment.pop(key, None)
                else:
                    experiment[key] = values[key]

        self._document.edit("Change the question", apply, "question")


class MeasurePanel(Card):
    """What judges, how carefully it is timed, and where: the targets."""

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__("Measurement", "How quality and speed are judged, and the machines or settings that matter to you.", parent)
        self._desk, self._document = desk, document
        self.form = Form(MEASURE_SCHEMA)
        self.form.edited.connect(self._edit)
        self.body.addWidget(self.form)
        self._targets = QVBoxLayout()
        self.body.addLayout(self._targets)
        row = QHBoxLayout()
        add = QPushButton("Add target")
        add.setProperty("quiet", True)
        add.setToolTip("A device and thread count on which finished variants are timed")
        add.clicked.connect(self._add)
        row.addWidget(add)
        row.addStretch(1)
        self.body.addLayout(row)
        self._cards: list[Form] = []

    def show_problems(self, problems: Sequence[Problem]) -> None:
        self.form.set_values(table_of(self._document.data.get("measure")))
        self.form.complain(_by_key(problems, "measure"))
        targets = list_of(self._document.data.get("target"))
        while len(self._cards) > len(targets):
            frame = self._cards.pop().parentWidget()
            assert frame is not None
            frame.hide()
            frame.deleteLater()
        while len(self._cards) < len(targets):
            self._append()
        for number, (form, table) in enumerate(zip(self._cards, targets, strict=True)):
            form.set_values(table_of(table))
            form.complain(_by_key(problems, f"target[{number}]"))

    def _append(self) -> None:
        number = len(self._cards)
        card = Card(f"Target {number + 1}")
        remove = icon_button("trash", "Remove this target", self._desk.theme)
        remove.clicked.connect(lambda: self._document.edit("Remove a target", lambda data: data["target"].pop(number)))
        card.corner.addWidget(remove)
        form = Form(TARGET_SCHEMA)
        form.edited.connect(
            lambda values: self._document.edit("Change a target", lambda data: data["target"].__setitem__(number, values), f"target {number}")
        )
        card.body.addWidget(form)
        self._targets.addWidget(card)
        self._cards.append(form)

    def _add(self) -> None:
        self._document.edit("Add a target", lambda data: data.setdefault("target", []).append({"name": "one core", "device": "cpu", "threads": 1}))

    def _edit(self, values: Tree) -> None:
        def apply(data: Tree) -> None:
            if values:
                data["measure"] = values
            else:
                data.pop("measure", None)

        self._document.edit("Change the measurement", apply, "measure")


def _by_key(problems: Sequence[Problem], table: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for problem in problems:
        if problem.path.startswith(table + "."):
            found.setdefault(problem.path[len(table) + 1 :].split("[")[0].split(".")[0], sentence(problem))
    return found
