"""Predictions against what real steps take, straight lines against whole batches, and what techniques of the recipe change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from engines import peaks
from engines.api import Corpus, Task
from engines.predicting import memory_within
from engines.runtime import predict
from engines.runtime.flops import Operation
from engines.runtime.plan import plugin, text_of
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam"}


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads and random state of the other tests are left alone; nothing is known of this machine."""
    monkeypatch.setattr(peaks, "stored", lambda *asked: None)
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def predicted(*techniques: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return predict.predict(small.plan([ADAM, *techniques], **changes), text=small.text())


def test_counts_and_owners_are_those_of_the_formulas() -> None:
    found = predicted()
    lstm, head = 4 * 24 * 48, 24 * small.SIZE
    parameters = 24 * small.SIZE + lstm + 2 * 4 * 24 + head + small.SIZE
    assert found["parameters"] == parameters
    assert found["flops_per_token"] == 2 * (lstm + head)
    assert found["training_flops_per_token"] == pytest.approx(3 * 2 * (lstm + head), rel=0.05)
    assert found["memory_mib"]["parameters"] == pytest.approx(4 * parameters / 2**20)
    assert found["memory_mib"]["optimizer"] == pytest.approx(8 * parameters / 2**20, rel=0.01)
    assert found["tried_rows"] == [8]
    assert found["step_ms"] > 0
    assert "roofline_ms" not in found
    assert "doctor --measure" in found["missing"][0]
    within = memory_within(found["modules"])
    assert within["layers.0.mixer"]["parameters"] == pytest.approx(4 * (lstm + 2 * 4 * 24) / 2**20)
    assert within["embedding"]["optimizer"] == pytest.approx(2 * within["embedding"]["parameters"], rel=0.01)
    # One cell and its gates for each of 12 steps of 8 rows at least: 5 numbers of 24 wide.
    assert within["layers.0.mixer"]["activations"] > 5 * 24 * 8 * 12 * 4 / 2**20
    assert_sums_to_the_whole(found)


def test_operations_of_a_text_are_those_of_the_padded_batch_that_evaluation_counts(tmp_path: Path) -> None:
    lines = [f"{'short' if n % 3 else 'long'}\t{' '.join(['word', 'other'] * (1 + 3 * (n % 3 == 0)))}\n" for n in range(200)]
    (tmp_path / "texts.txt").write_text("".join(lines), encoding="utf-8")
    corpus = {"id": "corpora/labelled_files", "train": str(tmp_path / "texts.txt"), "level": "word"}
    plan = small.plan([ADAM], task={"id": "tasks/text_classification"}, corpus=corpus, training={"batch": 8, "sequence": 24})
    text = text_of(cast(Corpus, plugin(corpus)), lambda _: None)
    inputs, _ = cast(Task, plugin(plan["task"])).held_out(text, 8, 24)
    assert (inputs >= 0).sum(1).unique().numel() == 2
    # Every place of the padded batch goes through the LSTM of 24 columns, the end of each text through the head of two classes.
    expected = inputs.shape[1] * 2 * (4 * 24 * 2 * 24) + 2 * 24 * 2
    assert predict.predict(plan, text=text)["flops_per_token"] == pytest.approx(expected, rel=0.01)


def assert_sums_to_the_whole(found: dict[str, Any]) -> None:
    """What stands on the blocks, what lies between them and the process are together the memory at the peak."""
    within = memory_within(found["modules"])
    tops = [name for name in within if name and "." not in name]
    for owner, mib in found["memory_mib"].items():
        if owner != "process":
            assert sum(within[name].get(owner, 0.0) for name in tops) == pytest.approx(mib)
    tensors = sum(sum(within[name].values()) for name in tops)
    assert sum(within[""].values()) == pytest.approx(tensors)
    assert found["memory_mib"]["process"] + tensors == pytest.approx(found["train_peak_mib"])
    assert {"embedding", "layers", "head"} <= set(tops)


def test_modules_still_sum_to_their_owner_where_the_line_of_one_falls_below_zero() -> None:
    class Cut:
        def __init__(self, rows: int, **mib: float) -> None:
            self.rows, self.memory = rows, self
            self.modules = [{"name": name, "owners_mib": {"activations": size}} for name, size in mib.items()]

    few, more = Cut(1, a=3.0, b=1.0), Cut(2, a=1.0, b=5.0, c=1.0)

    def at_batch(figure: Any) -> float:
        return figure(more) + (figure(more) - figure(few))  # Three rows.

    found = predict._modules([few, more], {"activations": 10.0}, at_batch)  # type: ignore[list-item]
    assert found == [
        {"name": "b", "owners_mib": {"activations": pytest.approx(9 / 11 * 10)}},
        {"name": "c", "owners_mib": {"activations": pytest.approx(2 / 11 * 10)}},
    ]  # fmt: skip


@pytest.mark.slow
def test_cut_batches_continue_in_a_straight_line(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"training": {"batch": 24, "sequence": 12}}
    whole = predicted(**changes)
    monkeypatch.setattr(predict, "AFFORDABLE_TOKENS", 200)
    cut = predicted(**changes)
    assert (whole["tried_rows"], cut["tried_rows"]) == ([24], [8, 16])
    assert cut["training_flops_per_token"] == pytest.approx(whole["training_flops_per_token"], rel=1e-6)
    assert cut["training_bytes_per_token"] == pytest.approx(whole["training_bytes_per_token"], rel=0.02)
    own, other = ({key: value for key, value in found["memory_mib"].items() if key != "process"} for found in (cut, whole))
    assert sum(own.values()) == pytest.approx(sum(other.values()), rel=0.05)
    assert_sums_to_the_whole(cut)


@pytest.mark.slow
def test_techniques_of_the_recipe_are_really_applied() -> None:
    model = {
        **small.plan([])["model"],
        "layers": [{"mixer": {"id": "attention/full", "heads": 4}, "feedforward": {"id": "feedforward/dense"}, "repeat": 2}],
    }
    changes = {"model": model, "training": {"batch": 8, "sequence": 64}}
    plain = predicted(**changes)
    parts = predicted({"id": "memory/gradient_accumulation", "micro_batches": 4}, **changes)
    again = predicted({"id": "memory/gradient_checkpointing"}, **changes)
    assert parts["memory_mib"]["activations"] < 0.5 * plain["memory_mib"]["activations"]
    assert again["memory_mib"]["activations"] < 0.8 * plain["memory_mib"]["activations"]
    assert again["training_flops_per_token"] > 1.05 * plain["training_flops_per_token"]
    sgd = predict.predict(small.plan([{"id": "optimization/sgd", "lr": 0.1}]), text=small.text())
    assert sgd["memory_mib"]["optimizer"] == 0


@pytest.mark.gpu
def test_on_a_gpu_steps_are_tried_there_and_workspaces_are_foreseen() -> None:
    from engines.runtime.rehearsal import Rehearsal

    plan = small.plan([ADAM], device="cuda")
    found = predict.predict(plan, text=small.text())
    made = Rehearsal(plan, text=small.text())
    for _ in range(3):
        made.step()
    made.wait()
    others = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    made.step()
    made.wait()
    assert found["tried_on"].startswith("cuda")
    assert found["memory_mib"]["workspace"] > 4  # cuBLAS keeps as much
    assert sum(found["memory_mib"].values()) == pytest.approx(found["train_peak_mib"], abs=2 + others / 2**20)
    assert found["train_peak_mib"] == pytest.approx(torch.cuda.max_memory_allocated() / 2**20, rel=0.1)
    assert 0 < found["step_ms"] < 1000


def test_a_model_that_is_too_large_to_try_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "LARGEST", 1000)
    with pytest.raises(predict.CannotPredict, match="tried out up to 1,000"):
        predicted()


def test_the_time_by_the_roofline_is_the_sum_over_operators() -> None:
    machine = {"flops_per_s": {"float32": 1e9, "bfloat16": 4e9}, "bytes_per_s": 1e8, "launch_us": 10.0}
    operations = [
        Operation("mm", 1e6, 1000, "float32"), Operation("mm", 1e6, 1000, "bfloat16"), Operation("add", 0.0, 10_000, "float32"),
        Operation("add", 0.0, 4, "float32"),
    ]  # fmt: skip
    found = predict._seconds(operations, machine)
    assert found == pytest.approx({"compute": 1e-3 + 0.25e-3, "memory": 1e-4, "launch": 1e-5})
