"""Figures of finished models: present, plausible, with warm-up and threads declared, also for int8, and threads put back."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from engines import energy, meters
from engines.runtime import evaluate
from engines.runtime.finished import Finished, load_finished, save_finished
from tests.engines.runtime import session as small

SGD = {"id": "optimization/sgd", "lr": 0.5}


def finished(folder: Path, techniques: list[dict[str, Any]], **changes: Any) -> tuple[Finished, int]:
    plan = small.plan([SGD, *techniques], budget={"steps": 2}, **changes)
    trainer = small.trainer(folder, plan)
    trainer.train()
    written = save_finished(trainer.session.model, plan, trainer.pipeline.finish(), folder / "model", trainer.session.text.fingerprint)
    return load_finished(folder / "model", "cpu", trainer.session.text), written


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "SECONDS", 0.01)
    monkeypatch.setattr(evaluate, "LATENCY_STEPS", 20)


@pytest.mark.slow
@pytest.mark.parametrize("techniques", [[], [{"id": "quantization/dynamic_int8"}]], ids=["float", "int8"])
def test_every_figure_is_there_on_every_target(tmp_path: Path, techniques: list[dict[str, Any]]) -> None:
    if techniques and "fbgemm" not in torch.backends.quantized.supported_engines and "onednn" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no int8 kernels")
    targets = [{"name": "one", "device": "cpu", "threads": 1, "batch": 2}, {"name": "graph", "device": "cpu", "batch": 2, "runtime": "onnxruntime"}]
    made, written = finished(tmp_path, techniques, targets=targets if importlib.util.find_spec("onnxruntime") else targets[:1])
    threads, said = torch.get_num_threads(), []
    rows = {(row.key, row.target): row for row in evaluate.figures(made, written, said.append)}
    assert torch.get_num_threads() == threads
    for key in ("speed/infer_tokens_per_s", "latency/p50_ms", "latency/p95_ms"):
        row = rows[key, "one"]
        assert row.value > 0
        assert row.detail["threads"] == 1
        assert row.detail["warm_up"] > 0
    assert rows["latency/p50_ms", "one"].value <= rows["latency/p95_ms", "one"].value
    assert rows["size/model_mib", ""].value == pytest.approx(written / 2**20)
    assert 0 < rows["size/nonzero_parameters", ""].value <= rows["size/parameters", ""].value
    on_graph = {key: row for (key, target), row in rows.items() if target == "graph"}
    if techniques or not importlib.util.find_spec("onnxruntime"):
        assert on_graph == {}
        assert not techniques or any('Target "graph": scoring is not measured. layers.0.mixer.lstm is an Int8LSTM' in sentence for sentence in said)
    else:
        assert {"speed/infer_tokens_per_s", "latency/p50_ms", "latency/p95_ms"} <= set(on_graph)
        # A process with onnxruntime and this small graph alone is far below one with torch.
        assert 10 < on_graph["memory/infer_peak_host_mib"].value < rows["memory/infer_peak_host_mib", "one"].value / 1.5
        assert on_graph["latency/p50_ms"].detail["runtime"].startswith("onnxruntime 1.")
        assert 0 <= on_graph["latency/p50_ms"].detail["differs_from_torch"] <= 1e-4


def test_operations_and_bytes_are_those_of_the_formulas(tmp_path: Path) -> None:
    made, written = finished(tmp_path, [])
    rows, facts = evaluate.operations(made, print)
    found = {row.key: row for row in rows}
    lstm, head = 2 * 4 * 24 * 48, 2 * 24 * small.SIZE
    assert found["compute/flops_per_token"].value == found["compute/executed_flops_per_token"].value == pytest.approx(lstm + head)
    assert found["compute/flops_per_token"].detail["uncounted"] == {}
    layers = {layer["name"]: layer for layer in facts["layers"]}
    assert list(layers) == ["embedding", "layers.0", "layers.0.mixer", "layers.0.mixer.lstm", "head"]
    assert layers["layers.0.mixer.lstm"]["forward_flops"] == lstm
    assert layers["head"]["forward_flops"] == head
    # An embedding reads an id of 8 bytes and a row of 24 numbers, and writes the row; modules beside each other add up to the whole.
    assert layers["embedding"]["forward_bytes"] == 8 + 2 * 4 * 24
    parts = sum(layers[name]["forward_bytes"] for name in ("embedding", "layers.0", "head"))
    assert parts == pytest.approx(found["compute/bytes_per_token"].value)
    quantised, written_int8 = finished(tmp_path / "int8", [{"id": "quantization/dynamic_int8"}])
    narrow = {row.key: row.value for row in evaluate.operations(quantised, print)[0]}
    assert narrow["compute/flops_per_token"] == pytest.approx(lstm + head)
    assert narrow["compute/bytes_per_token"] < found["compute/bytes_per_token"].value
    assert written_int8 < 0.6 * written


class _Meter:
    """50 W at rest; each piece of work adds a joule."""

    scope = "a made-up device"

    def __init__(self) -> None:
        self.extra = 0.0

    def joules(self) -> float:
        return 50.0 * time.perf_counter() + self.extra

    def busy_percent(self) -> float:
        return 0.0


def test_energy_of_inference_is_what_the_work_adds_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = _Meter()
    monkeypatch.setattr(meters, "meter_of", lambda device: meter)
    monkeypatch.setattr(energy, "rest", lambda meter: energy.Idle(50.0, 2.0, 0.0001))
    monkeypatch.setattr(energy, "SHORTEST_SECONDS", 0.1)
    monkeypatch.setattr(evaluate, "ENERGY_SECONDS", 0.15)

    def work() -> None:
        meter.extra += 1.0
        time.sleep(0.005)

    row = evaluate.energy_row("energy/infer_joules_per_token", evaluate._energy(work, 20, torch.device("cpu")), "one")
    assert row.value == pytest.approx(1 / 20, rel=0.01)
    assert row.low < 1 / 20 < row.high
    assert (row.unit, row.target, row.detail["what"]) == ("J/token", "one", "a made-up device, above idle")
