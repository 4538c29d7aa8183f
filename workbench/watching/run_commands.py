"""What the buttons and the menu above the runs do: to the selected runs, else to all that are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from workbench.desk import Desk
from workbench.watching import run_actions
from workbench.watching.experiment_list import ExperimentList
from workbench.watching.export_action import ExportAction
from workbench.watching.run_list import RunList
from workbench.watching.runs_bar import RunsBar
from workbench.widgets.surfaces import Notice

if TYPE_CHECKING:
    from engines.store.rows import RunRow


class RunCommands(QObject):
    """done: called after each write of the store. Why something was refused is said in the notice."""

    def __init__(
        self, desk: Desk, bar: RunsBar, table: RunList, experiments: ExperimentList, notice: Notice, done: Callable[[], None], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._desk, self._table, self._done = desk, table, done
        self._refused = lambda sentence: notice.say("error", sentence)
        self.exporting = ExportAction(desk, notice, parent)
        for signal, act in (
            (bar.stop, self.stop),
            (bar.resume, self.resume),
            (bar.retry, self.retry_failed),
            (bar.compare, lambda: desk.wants_comparison.emit(experiments.current or 0)),
            (bar.ask, self._ask),
            (bar.profile, lambda: desk.wants_profile.emit(table.selected[0].id)),
            (bar.export, lambda: self.exporting.ask(table.selected[0])),
            (bar.edit, lambda: desk.wants_experiment.emit(experiments.current or 0)),
        ):
            signal.connect(act)

    @property
    def _chosen(self) -> list[RunRow]:
        return self._table.selected or self._table.runs.shown

    def stop(self) -> None:
        """Ask the selected runs, or all that are shown and have not ended, to stop."""
        run_actions.stop(self._desk, self._chosen, self._done, self._refused)

    def resume(self) -> None:
        """Queue the selected failed, cancelled or lost runs again, or all of those that are shown."""
        run_actions.resume(self._desk, self._chosen, self._done, self._refused)

    def retry_failed(self) -> None:
        """Queue the failed and lost runs of the experiment again, and no others."""
        failed = [run for run in self._table.runs.runs if run.status in ("failed", "lost")]
        run_actions.resume(self._desk, failed, self._done, self._refused)

    def _ask(self) -> None:
        if self._table.selected:
            self._desk.wants_answers.emit(self._table.selected[0].id)
