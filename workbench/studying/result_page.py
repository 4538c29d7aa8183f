"""One result of a study: what was expected and what came out, the picture, steps, findings, and what was not shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from workbench.studying.hearing import memory_of
from workbench.studying.plot import StudyPlot
from workbench.theme import Theme
from workbench.widgets.columns import Columns
from workbench.widgets.figures import Column, FigureTable
from workbench.widgets.surfaces import Card, emptied
from workbench.widgets.text import flag, label, number

STEPS = (
    Column("name", "Step", text=True),
    Column("took", "Took", "Median and 95% interval", text=True, width=170),
    Column("first", "Than the first", "How many times faster than the first step, of the same rounds", text=True, width=150),
    Column("before", "Than the one before", "How many times faster than the step before it, of the same rounds", text=True, width=150),
)
OUTCOMES = {"met": "ok", "refuted": "danger", "not decided": "warning"}


class ResultPage(QWidget):
    """`show_result` takes a whole result or what is known of one that is being measured."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._result: Mapping[str, Any] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(14)
        self.expectation = Card("Expectation")
        self.badge = QLabel()
        self.badge.setProperty("badge", "muted")
        self.expectation.corner.addWidget(self.badge)
        self.sentence = label("", wrap=True, selectable=True)
        self.reason = label("", "muted", wrap=True, selectable=True)
        self.expectation.body.addWidget(self.sentence)
        self.expectation.body.addWidget(self.reason)
        picture = Card()
        self.as_ratio = QCheckBox("As ratio to the first curve")
        self.as_ratio.setToolTip("How many times faster each curve is, of the same rounds")
        self.as_ratio.toggled.connect(lambda _on: self._draw())
        self.as_memory = QCheckBox("Peak memory")
        self.as_memory.setToolTip("What torch allocates at most during one call, measured by itself outside the timed rounds")
        self.as_memory.toggled.connect(lambda _on: self._draw())
        top = QHBoxLayout()
        self.title = label("", "heading")
        top.addWidget(self.title, 1)
        top.addWidget(self.as_memory)
        top.addWidget(self.as_ratio)
        picture.body.addLayout(top)
        self.plot = StudyPlot(theme)
        picture.body.addWidget(self.plot)
        self.steps_card = Card("Step by step")
        self.steps = FigureTable(STEPS, theme, "Steps and how much faster each is")
        self.steps.setSortingEnabled(False)
        self.steps_card.body.addWidget(self.steps)
        self.findings, self._found = _sentences("What it found")
        self.missing, self._missed = _sentences("What it did not show")
        self.conditions, self._under = _sentences("Measured under")
        column.addWidget(self.expectation)
        column.addWidget(picture)
        column.addWidget(self.steps_card)
        lower = [self.findings, self.missing, self.conditions]
        column.addWidget(Columns(lower, [(0, [[0, 1, 2]]), (900, [[0], [1, 2]])]))
        column.addStretch(1)

    def show_result(self, result: Mapping[str, Any], expects: str = "") -> None:
        """expects: the study's expectation, where the result does not say it yet."""
        self._result = result
        found = result.get("expectation") or {}
        outcome = found.get("outcome")
        self.sentence.setText(found.get("sentence") or expects)
        self.reason.setText(found.get("reason") or "")
        self.reason.setVisible(bool(found.get("reason")))
        self.expectation.setVisible(bool(self.sentence.text()))
        self.badge.setText(outcome or "being measured")
        flag(self.badge, "badge", OUTCOMES.get(outcome or "", "muted"))
        self.as_ratio.setVisible(bool(result.get("speedups")))
        self.as_memory.setVisible(memory_of(result) is not None)
        self._draw()
        steps = result.get("steps") or []
        self.steps_card.setVisible(bool(steps))
        self.steps_card.heading.setText(result.get("steps_title") or "Step by step")
        self.steps.show_rows([step_row(step) for step in steps])
        self.steps.fit()
        for card, box, sentences in (
            (self.findings, self._found, result.get("findings") or []),
            (self.missing, self._missed, result.get("not_shown") or []),
            (self.conditions, self._under, condition_words(result)),
        ):
            emptied(box)
            card.setVisible(bool(sentences))
            for sentence in sentences:
                box.addWidget(label(sentence, wrap=True, selectable=True))

    def show_points(self, result: Mapping[str, Any]) -> None:
        """Only the picture, while points come in."""
        self._result = result
        self._draw()

    def _draw(self) -> None:
        result = (memory_of(self._result) if self.as_memory.isChecked() else None) or self._result
        ratio = self.as_ratio.isChecked() and bool(result.get("speedups"))
        if "x" in result:
            over = f" over {result['x']['name']}"
            self.title.setText(("Speed-up" if ratio else str(result["y"]["name"]).capitalize()) + over)
        self.plot.show_result(result, speedups=ratio)

    def paint_with(self, theme: Theme) -> None:
        self.plot.paint_with(theme)
        self.steps.paint_with(theme)


def step_row(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step as a row of texts; a ratio that was not measured is None."""
    return {
        "name": step["name"],
        "took": f"{number(step['value'])} {step['unit']}{_interval(step.get('low'), step.get('high'))}",
        "first": _times(step, "ratio"),
        "before": _times(step, "gain"),
    }


def _times(step: Mapping[str, Any], key: str) -> str | None:
    value = step.get(key)
    return None if value is None else f"{number(value, 3)}x{_interval(step.get(f'{key}_low'), step.get(f'{key}_high'))}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{number(low, 3)}, {number(high, 3)}]"


def condition_words(result: Mapping[str, Any]) -> list[str]:
    """Machine, versions and load, as they were."""
    machine = result.get("machine") or {}
    words = []
    if machine:
        versions = machine.get("versions") or {}
        packages = ", ".join(f"{name} {versions[name]}" for name in ("torch", "numpy") if name in versions)
        words.append(f"{machine.get('cpu', 'unknown processor')}, {machine.get('cores', '?')} usable cores" + (f"; {packages}" if packages else ""))
        loads = [load["machine_percent"] for load in machine.get("loads") or [] if load.get("machine_percent") is not None]
        if loads:
            words.append(f"Other work used {' and '.join(f'{load:.0f}%' for load in loads)} of the machine before and after.")
    return words


def _sentences(heading: str) -> tuple[Card, QVBoxLayout]:
    card = Card(heading)
    box = QVBoxLayout()
    box.setSpacing(8)
    card.body.addLayout(box)
    return card, box
