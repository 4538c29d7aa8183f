"""A real finished model timed in this process and in one of its own."""

from __future__ import annotations

import gc
import inspect
import textwrap

import pytest
import torch

from engines.runtime.finished import save_finished
from engines.runtime.plan import block, plugin, text_of
from engines.runtime.timing import Stopwatch
from engines.stopwatches import Stopwatch as Remote
from engines.stopwatches import StopwatchError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a small finished LSTM (untrained: its speed is that of a trained one)."""
    folder = tmp_path_factory.mktemp("finished")
    source = folder / "source.txt"
    source.write_text(inspect.getsource(textwrap) * 2, encoding="utf-8")
    plan = {
        "task": {"id": "tasks/language_model"}, "corpus": {"id": "corpora/text_files", "train": str(source)}, "device": "cpu", "threads": 1,
        "model": {
            "embedding": {"id": "embeddings/lookup", "width": 16},
            "layers": [{"mixer": {"id": "recurrent/lstm", "width": 16}, "feedforward": None, "repeat": 1, "residual": None, "norm": None}],
            "head": {"id": "softmax/full"},
        },
        "training": {"batch": 4, "sequence": 8}, "techniques": [],
    }  # fmt: skip
    text = text_of(plugin(plan["corpus"]), lambda _: None)
    save_finished(plugin(plan["task"]).assemble(plan["model"], block, text, 8), plan, [], folder / "model", text.fingerprint)
    return folder / "model"


def test_a_turn_gives_the_figures_of_the_design(model):
    before = torch.get_num_threads()
    try:
        watch = Stopwatch(model, {"threads": 1, "batch": 2})
        pace = watch.warm()
        found = watch.turn(3, 20)
    finally:
        torch.set_num_threads(before)
    assert (pace["tokens_a_pass"], pace["batch"], pace["length"], pace["device"], pace["threads"]) == (16, 2, 8, "cpu", 1)
    assert set(found) == {"speed/infer_tokens_per_s", "latency/p50_ms", "latency/p95_ms"}
    assert 0 < found["latency/p50_ms"] <= found["latency/p95_ms"]
    assert found["speed/infer_tokens_per_s"] > 0
    assert gc.isenabled()


def test_a_process_of_its_own_answers_line_by_line_and_leaves(model, tmp_path):
    with Remote(model, {}, tmp_path / "log") as watch:
        watch.loaded()
        assert watch.ask(warm=True)["batch"] == 4
        assert watch.ask(passes=2, steps=10)["latency/p50_ms"] > 0
    assert watch._process.returncode == 0


@pytest.mark.slow
def test_what_cannot_be_timed_is_a_sentence(model, tmp_path):
    with Remote(model, {"device": "cuda:7"}, tmp_path / "log") as watch, pytest.raises(StopwatchError, match="cuda:7"):
        watch.loaded()
    with Remote(tmp_path / "nowhere", {}, tmp_path / "log") as watch, pytest.raises(StopwatchError, match="no finished model"):
        watch.loaded()
