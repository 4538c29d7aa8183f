"""A real finished model and its training, timed in this process and in one of its own."""

from __future__ import annotations

import gc
import inspect
import json
import subprocess
import textwrap
import time

import pytest
import torch

from engines import programmes, stopwatches
from engines.runtime import export, turns
from engines.runtime.evaluate import held_out_batch
from engines.runtime.failures import ran_out
from engines.runtime.finished import save_finished
from engines.runtime.plan import block, plugin, text_of
from engines.runtime.turns import INFER, STEPS, TRAIN, Inference, Training
from engines.stopwatches import Stopwatch, StopwatchError, of_model, of_training

pytestmark = pytest.mark.slow


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
        "training": {"batch": 4, "sequence": 8}, "techniques": [{"id": "optimization/adam"}], "budget": {"tokens": 10_000},
    }  # fmt: skip
    text = text_of(plugin(plan["corpus"]), lambda _: None)
    save_finished(plugin(plan["task"]).assemble(plan["model"], block, text, 8), plan, [], folder / "model", text.fingerprint)
    return folder / "model"


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_turn_gives_the_figures_of_the_design(model):
    subject = Inference(model, {"threads": 1, "batch": 2}, [1, 2])
    pace = subject.warm()
    found = subject.turn({INFER: 3, f"{INFER}/batch_1": 4, STEPS: 20})
    assert (pace["tokens_a_pass"], pace["batch"], pace["length"], pace["device"], pace["threads"]) == (16, 2, 8, "cpu", 1)
    assert pace["seconds"].keys() == {INFER, f"{INFER}/batch_1", STEPS}
    assert set(found) == set(programmes.INFERENCE) | {f"{INFER}/batch_1", f"{INFER}/batch_2"}
    assert 0 < found["latency/p50_ms"] <= found["latency/p95_ms"]
    assert found[f"{INFER}/batch_2"] == found[INFER]  # the target's own size is timed once
    assert all(value > 0 for value in found.values())
    assert gc.isenabled()


def test_a_batch_that_does_not_fit_is_named_and_the_rest_is_timed(model, monkeypatch):
    def refuse(finished, batch, length):
        if batch == 64:
            raise RuntimeError("not enough memory: you tried to allocate 10 bytes.\nTrace")
        return held_out_batch(finished, batch, length)

    monkeypatch.setattr(turns, "held_out_batch", refuse)
    subject = Inference(model, {}, [64, 1])
    pace = subject.warm()
    assert pace["absent"] == {f"{INFER}/batch_64": "not enough memory: you tried to allocate 10 bytes."}
    assert f"{INFER}/batch_64" not in pace["seconds"]
    assert f"{INFER}/batch_1" in subject.turn(dict.fromkeys(pace["seconds"], 1))


def test_training_is_timed_at_its_start_turn_after_turn(model):
    subject = Training(model, 0, {})
    pace = subject.warm()
    session = subject._rehearsal.session
    started = (session.step, session.tokens)
    weights = [parameter.clone() for parameter in session.model.parameters()]
    clock = time.perf_counter()
    rate = subject.turn({TRAIN: 20})[TRAIN]
    # 20 updates of a batch of 4 rows of 8 tokens, and one before them.
    assert 20 * 32 / (time.perf_counter() - clock) < rate
    assert session.tokens == started[1] + 21 * 32
    assert any(not torch.equal(before, after) for before, after in zip(weights, session.model.parameters(), strict=True))
    subject.turn({TRAIN: 1})
    assert (session.step, session.tokens) == (started[0] + 2, started[1] + 2 * 32)
    assert pace["trained_share"] == pytest.approx(started[1] / 10_000)
    assert pace["batch"] == 4


def test_a_process_of_its_own_answers_line_by_line_and_leaves(model, tmp_path):
    with Stopwatch(of_model(model, {}), tmp_path / "log") as watch:
        watch.loaded()
        assert watch.ask(warm=True)["batch"] == 4
        assert watch.ask(turn={STEPS: 10})["latency/p50_ms"] > 0
    assert watch._process.returncode == 0


def test_what_plugins_print_is_no_answer(model, tmp_path, monkeypatch):
    popen = subprocess.Popen
    code = (
        "import os, sys; from engines.runtime import timing, turns; warm = turns.Inference.warm\n"
        "turns.Inference.warm = lambda self: [print('loud', flush=True), os.write(1, b'louder'), warm(self)][2]\n"
        "sys.exit(timing.main(sys.argv[1:]))"
    )
    monkeypatch.setattr(stopwatches.subprocess, "Popen", lambda command, **options: popen([command[0], "-c", code, *command[3:]], **options))
    with Stopwatch(of_model(model, {}), tmp_path / "log") as watch:
        watch.loaded()
        assert watch.ask(warm=True)["batch"] == 4
    assert "loud\nlouder" in (tmp_path / "log").read_text(encoding="utf-8")


def test_training_runs_in_a_process_of_its_own_too(model, tmp_path):
    with Stopwatch(of_training(model, 3, {}), tmp_path / "log") as watch:
        watch.loaded()
        assert watch.ask(warm=True)["state"] == "start of training"
        assert watch.ask(turn={TRAIN: 2})[TRAIN] > 0


def test_a_recipe_with_a_teacher_reads_its_finished_model(model, tmp_path):
    plan = json.loads((model / "plan.json").read_text(encoding="utf-8"))
    plan["techniques"].append({"id": "distillation/soft_labels", "teacher": "large"})
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    subject = Training(tmp_path, 0, {"large": model})
    assert subject.warm()["seconds"][TRAIN] > 0
    assert subject.turn({TRAIN: 1})[TRAIN] > 0


def test_what_cannot_be_timed_is_a_sentence(model, tmp_path):
    with Stopwatch(of_model(model, {"device": "cuda:7"}), tmp_path / "log") as watch, pytest.raises(StopwatchError, match="cuda:7"):
        watch.loaded()
    with Stopwatch(of_training(tmp_path / "nowhere", 0, {}), tmp_path / "log") as watch, pytest.raises(StopwatchError, match="no plan to train"):
        watch.loaded()


def test_running_out_of_memory_is_told_apart():
    assert ran_out(RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."))
    assert ran_out(MemoryError())
    assert not ran_out(RuntimeError("no kernel"))


def test_graphs_are_timed_and_written_as_the_model_is(model, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    subject = Inference(model, {"name": "graph", "runtime": "onnxruntime", "threads": 1, "batch": 2}, [2, 4])
    pace = subject.warm()
    assert set(pace["seconds"]) == {INFER, f"{INFER}/batch_4", STEPS}
    assert pace["absent"] == {}
    assert pace["tokens_a_pass"] == 16
    assert pace["runtime"].startswith("onnxruntime")
    figures = subject.turn({INFER: 2, f"{INFER}/batch_4": 2, STEPS: 10})
    assert figures[f"{INFER}/batch_2"] == figures[INFER]
    assert all(value > 0 for value in figures.values())
    assert export.main(["--model", str(model), "--out", str(tmp_path / "lstm.onnx")]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    graphs = [path.name for path in sorted(tmp_path.glob("*.onnx"))]
    assert graphs == ["lstm.onnx", "lstm.prompt.onnx", "lstm.step.onnx"]
    assert sum("Equals the model to" in sentence for sentence in answer["told"]) == len(graphs), answer["told"]
