"""What one view wants of another, fulfilled: views do not know each other, they tell the desk."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.window import Window


def connect(window: Window) -> None:
    """Fulfil the wishes that lead from view to view."""
    desk = window.desk
    for signal, act in (
        (desk.wants_runs, partial(_choose, window, "runs")), (desk.wants_comparison, partial(_choose, window, "compare")),
        (desk.wants_profile, partial(_choose, window, "profile")), (desk.wants_answers, partial(_choose, window, "ask")),
        (desk.wants_card, partial(_show_card, window)), (desk.wants_plugin, partial(_use_plugin, window)),
        (desk.wants_experiment, partial(_open_stored, window)),
    ):  # fmt: skip
        signal.connect(act)
    desk.wants_peaks.connect(lambda: _measure_peaks(window))
    desk.wants_editor.connect(lambda: window.go("experiment"))


def _choose(window: Window, key: str, number: int) -> None:
    """Show an experiment or a run in a view."""
    window.go(key)
    window.view(key).choose(number)


def _measure_peaks(window: Window) -> None:
    window.go("machine")
    window.view("machine").measure()


def _show_card(window: Window, plugin_id: str) -> None:
    from_editor = window.current == "experiment"
    window.go("catalogue")
    window.view("catalogue").choose(plugin_id)
    window.view("catalogue").back_button.setVisible(from_editor)


def _use_plugin(window: Window, plugin_id: str) -> None:
    window.say(window.view("experiment").use(plugin_id))
    window.go("experiment")


def _open_stored(window: Window, experiment_id: int) -> None:
    store = window.desk.store
    if store is None:
        return

    def read() -> Any:
        from engines.store import queries

        return queries.experiment(store, experiment_id)

    def show(row: Any) -> None:
        if window.may_discard():
            window.view("experiment")
            window.document.open_copy(row.document, Path(row.folder or "."), row.text or "")
            window.last.remember("stored", row.id)
            window.go("experiment")

    window.desk.errands.run(read, show, window.say)
