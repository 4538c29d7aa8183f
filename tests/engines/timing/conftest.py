"""What the tests of timing sessions share: stand-ins that answer as stopwatches do, and a lock of their own."""

from __future__ import annotations

import subprocess

import pytest

from engines import interleaving, stopwatches, timing, timinglock
from engines.store.database import Store
from tests.engines.timing.finished import FAKE


@pytest.fixture(autouse=True)
def obedient(monkeypatch, tmp_path):
    """Stopwatches are stand-ins, and the lock of the machine lies in the test's own folder."""
    popen = subprocess.Popen

    def start(command, **options):
        assert command[1:3] == ["-m", stopwatches.MODULE]
        return popen([command[0], str(FAKE), *command[3:]], **options)

    monkeypatch.setattr(stopwatches.subprocess, "Popen", start)
    monkeypatch.setattr(timinglock, "user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr(timing, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(interleaving, "IDLE_SECONDS", 0.0)


@pytest.fixture
def store(store_url):
    opened = Store.open(store_url)
    yield opened
    opened.close()
