"""One question to the inspector about the finished model of a run: the button waits, only the latest answer counts, a refusal is said in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtWidgets import QPushButton

from workbench.desk import Desk
from workbench.widgets.surfaces import Notice


class Question:
    """Asks again and again; an answer to an earlier question, or about another run, never arrives.

    run: the run that is asked, None for none. button: shows `waiting` meanwhile and cannot be pressed.
    """

    def __init__(self, desk: Desk, notice: Notice, run: Callable[[], int | None], button: QPushButton | None = None, waiting: str = "") -> None:
        self._desk, self._notice, self._run = desk, notice, run
        self._button, self._waiting = button, waiting
        self._idle_text = button.text() if button is not None else ""
        self._number: int | None = None

    @property
    def pending(self) -> bool:
        return self._number is not None

    def ask(self, question: str, show: Callable[[Any], None], **fields: Any) -> None:
        """Ask; `show` gets the answer. Asks nothing while no run or no store is there."""
        run, store = self._run(), self._desk.store
        self.forget()
        if run is None or store is None:
            return
        self._settle(self._waiting, ready=False)
        self._notice.clear()

        def answered(answer: Any) -> None:
            self._number = None
            self._settle(self._idle_text, ready=True)
            show(answer)

        def refused(sentence: str) -> None:
            self._number = None
            self._settle(self._idle_text, ready=True)
            self._notice.say("error", sentence)

        self._number = self._desk.inspector.ask(question, answered, refused, store=store.url, run=run, **fields)

    def forget(self) -> None:
        """Drop the question under way."""
        if self._number is not None:
            self._desk.inspector.forget(self._number)
            self._number = None
            self._settle(self._idle_text, ready=True)

    def _settle(self, text: str, *, ready: bool) -> None:
        if self._button is not None:
            self._button.setText(text)
            self._button.setEnabled(ready)
