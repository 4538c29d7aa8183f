"""What all tests share: an offscreen Qt, a store and a cache of their own, and nothing left running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engines.store.database import Store

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYTEST_QT_API", "pyside6")
# Torch threads that share busy cores are several times slower than one thread; children inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Windows of tests start no supervisor of their own accord.
os.environ.setdefault("WORKBENCH_SPARE", "0")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Plain `pytest` leaves the slow tests out; `-m "slow or not slow"` runs all. GPU tests are skipped, with a sentence, without a GPU."""
    if not config.getoption("-m"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            for item in items:
                if item.get_closest_marker("gpu"):
                    item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU; torch finds none here"))


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never touch the person's own store, settings or cache; the cache is shared by the session, since corpora take seconds."""
    root = tmp_path_factory.mktemp("workbench")
    before = {name: os.environ.get(name) for name in ("WORKBENCH_CACHE", "WORKBENCH_STORE", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    os.environ["WORKBENCH_CACHE"] = str(root / "cache")
    os.environ["WORKBENCH_STORE"] = f"sqlite:///{root / 'default.sqlite'}"
    os.environ["XDG_CONFIG_HOME"] = str(root / "config")
    os.environ["XDG_DATA_HOME"] = str(root / "data")
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """The address of a fresh store."""
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A fresh store, open."""
    from engines.store.database import Store

    with Store.open(store_url) as opened:
        yield opened
