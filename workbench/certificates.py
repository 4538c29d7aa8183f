"""The certificates of a plugin as a card: what they state, and what measuring them here, or on the sizes that are edited, comes to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from workbench.desk import Desk
from workbench.programs import Program
from workbench.widgets.flow import Flow
from workbench.widgets.surfaces import Card, Notice, emptied
from workbench.widgets.text import label

VERIFY, ON_OWN = "Verify", "Verify on my shapes"


class Certificates(Card):
    """Hidden for a plugin without any. What cannot be measured is said in the notice."""

    def __init__(self, desk: Desk, notice: Notice, parent: QWidget | None = None) -> None:
        super().__init__("Certificates", "Exact statements about this code, measured here and now on a small example.", parent)
        self._desk, self._notice = desk, notice
        self._id = ""
        self._question: int | None = None
        self._tried: dict[str, Any] = {}
        self.program = Program(self, fine=(0, 1))
        self.program.answered.connect(self._verified_on_own)
        self.program.failed.connect(self._not_verified_on_own)
        self.program.stopped.connect(lambda: self._not_verified_on_own(""))
        self.verify_button = QPushButton(VERIFY)
        self.verify_button.setToolTip("Measure the error of each statement on this machine")
        self.verify_button.clicked.connect(self.verify)
        self.own_button = QPushButton(ON_OWN)
        self.own_button.clicked.connect(self.verify_on_own)
        row = Flow(gap=6)
        for button in (self.verify_button, self.own_button):
            row.addWidget(button)
        self.body.addLayout(row)
        self.trial_words = label("", "caption", wrap=True)
        self.trial_words.hide()
        self.body.addWidget(self.trial_words)
        self.statements = QVBoxLayout()
        self.statements.setSpacing(6)
        self.body.addLayout(self.statements)
        self.hide()

    def show_plugin(self, entry: Mapping[str, Any]) -> None:
        """entry: of the catalogue. What is being measured of another plugin is given up."""
        plugin_id = str(entry["id"])
        if plugin_id != self._id:
            self.close_down()
        self._id = plugin_id
        if not self.program.running:
            self.trial_words.hide()
            self.own_button.setText(ON_OWN)
        self.offer_own()
        self.setVisible(bool(entry["certificates"]))
        self.verify_button.setEnabled(True)
        self.verify_button.setText(VERIFY)
        self._show([(statement, "", "muted") for statement in entry["certificates"]])

    def offer_own(self) -> None:
        """The experiment may have changed since the card was opened."""
        self.own_button.setEnabled(bool(self._desk.trial))
        self.own_button.setToolTip(f"With the sizes of the experiment that is edited: {_trial_words(self._desk.trial)}")

    def close_down(self) -> None:
        """Nothing is measured any more."""
        self.program.close()
        if self._question is not None:
            self._desk.inspector.forget(self._question)
            self._question = None

    # --- Measuring --------------------------------------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Ask the inspector to measure every certificate of the plugin that is shown."""
        self.verify_button.setEnabled(False)
        self.verify_button.setText("Verifying …")
        self._question = self._desk.inspector.ask("verify", self._verified, self._not_verified, plugin=self._id, trial={})

    def verify_on_own(self) -> None:
        """Measure them with the sizes and on the device of the experiment that is edited, in a program that can be stopped: it may be large."""
        if self.program.running:
            self.program.stop()
            return
        self._tried = dict(self._desk.trial)
        self._notice.clear()
        self.own_button.setText("Stop")
        self.trial_words.setText(f"Being measured with {_trial_words(self._tried)} …")
        self.trial_words.show()
        sizes = [word for key, value in self._tried.items() for word in (f"--{key}", str(value))]
        self.program.start(["-m", "workbench", "verify", self._id, "--json", *sizes])

    def _verified_on_own(self, answer: str) -> None:
        self.own_button.setText(ON_OWN)
        self.trial_words.setText(f"Measured with {_trial_words(self._tried)}.")
        self._verified(json.loads(answer))

    def _not_verified_on_own(self, sentence: str) -> None:
        self.own_button.setText(ON_OWN)
        self.trial_words.hide()
        if sentence:
            self._notice.say("error", sentence)

    def _verified(self, answer: Any) -> None:
        self._question = None
        self.verify_button.setEnabled(True)
        self.verify_button.setText("Verify again")
        lines = []
        for found in answer:
            if found.get("error") is None:
                lines.append((found["statement"], str(found.get("reason") or "could not be measured"), "error"))
                continue
            word = "holds" if found["holds"] else "does not hold"
            told = f"{word}: error {found['error']:.2e}, allowed {found['tolerance']:.0e}"
            lines.append((found["statement"], told, "ok" if found["holds"] else "error"))
        self._show(lines)

    def _not_verified(self, sentence: str) -> None:
        self._question = None
        self.verify_button.setEnabled(True)
        self.verify_button.setText(VERIFY)
        self._notice.say("error", sentence)

    def _show(self, lines: Sequence[tuple[str, str, str]]) -> None:
        emptied(self.statements)
        for statement, outcome, role in lines:
            self.statements.addWidget(label(statement[:1].upper() + statement[1:], wrap=True))
            if outcome:
                text = label(("✓ " if role == "ok" else "✗ ") + outcome, "caption" if role == "ok" else "error", wrap=True)
                if role == "ok":
                    text.setProperty("state", "ok")
                self.statements.addWidget(text)


def _trial_words(trial: Mapping[str, Any]) -> str:
    names = {"batch": "batch {}", "length": "{} tokens", "width": "width {}", "vocabulary": "{:,} words", "device": "device {}"}
    return ", ".join(words.format(trial[key]) for key, words in names.items() if key in trial)
