"""One rich comparison for all tests of the parts, made by the real `compare` from a real store."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engines.comparison import compare
from engines.store.database import Store
from workbench import theme
from workbench.comparing.overview import Overview
from workbench.comparing.subject import Subject

sys.path.insert(0, str(Path(__file__).parent.parent))
import rich_sample


@pytest.fixture(scope="session")
def _compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('rich') / 'store.sqlite'}") as store:
        return compare(store, [rich_sample.rich(store)])


@pytest.fixture
def comparison(_compared: dict[str, Any]) -> dict[str, Any]:
    """Six variants over five seeds and twelve rounds, a limit that one of them breaks, savings and explanations."""
    return copy.deepcopy(_compared)


@pytest.fixture
def subject(qapp: QApplication, comparison: dict[str, Any]) -> Subject:
    """The comparison, shown, with nothing selected."""
    made = Subject(theme.theme("light"))
    theme.apply(qapp, made.theme)
    made.show(comparison)
    return made


@pytest.fixture
def part(qtbot: QtBot, subject: Subject, comparison: dict[str, Any], settings: QSettings) -> Overview:
    """The overview with its table of verdicts, as the view wires it."""
    made = Overview(subject, settings)
    qtbot.addWidget(made)
    made.resize(1000, 800)
    made.draw(comparison)
    subject.selected.connect(made.mark)
    made.show()
    qtbot.waitExposed(made)
    return made
