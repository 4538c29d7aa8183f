"""Exported graphs beside torch: equal figures, carried state, and a sentence where there is no graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.runtime import evaluate, export, graphs
from engines.runtime.finished import Finished
from engines.runtime.onnxgraph import Graph, GraphError
from engines.runtime.plan import Parts, block
from engines.runtime.runners import GraphRunner, TorchRunner, score
from tests.engines.runtime import session as small

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

DENSE = {"id": "feedforward/dense"}


def model(*layers: dict[str, Any], head: str = "softmax/full", embedding: int = 24) -> Any:
    """A small assembled model with weights that nobody trained."""
    tables = {"embedding": {"id": "embeddings/lookup", "width": embedding}, "layers": list(layers), "head": {"id": head}}
    torch.manual_seed(0)
    plan = small.plan([], model=tables)
    made: Any = Parts.of(plan).task.assemble(plan["model"], block, small.text(), 12)
    return made.eval().requires_grad_(False)


def text(rows: int, length: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(small.SIZE, (2, rows, length), generator=generator)
    return ids[0], ids[1]


@pytest.mark.slow
def test_a_transformer_scores_and_steps_as_in_torch() -> None:
    made = model({"mixer": {"id": "attention/full"}, "feedforward": DENSE})
    inputs, targets = text(3)
    runner = GraphRunner(made, threads=1)
    (nll,) = runner.scoring(inputs, targets)()  # type: ignore[misc]
    torch.testing.assert_close(torch.from_numpy(nll.numpy()), score(made, inputs, targets), rtol=1e-4, atol=1e-4)
    begin = runner.stepping(inputs[:1])
    for _ in range(2):  # each start is a new one
        step = begin()
        for _ in range(3):
            step()
    assert 0 <= runner.facts["differs_from_torch"] <= graphs.TOLERANCE


def test_torch_steps_carry_their_state() -> None:
    made = model({"mixer": {"id": "recurrent/lstm"}})
    inputs, _ = text(1)
    seen: list[torch.Tensor] = []
    hidden = made.hidden
    made.hidden = lambda ids, state: seen.append(ids) or hidden(ids, state)
    step = TorchRunner(made).stepping(inputs)()
    for _ in range(4):
        step()
    made.hidden = hidden
    tokens = torch.cat(seen[1:], dim=1)
    whole, _, _ = hidden(torch.cat((inputs, tokens), dim=1), None)
    expected = made.head.topk(whole[0, inputs.shape[1] - 1 : -1], 1)[1].flatten()
    assert tokens.flatten().tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("layers", "head", "sentence"),
    [
        (({"mixer": {"id": "recurrent/lstm"}},), "softmax/adaptive", r"depends on values, not on shapes alone \(adaptive.py:\d+\)"),
        (({"mixer": {"id": "attention/full", "positions": "none"}, "feedforward": {"id": "experts/switch"}},), "softmax/full", r"\(switch.py:\d+\)"),
    ],
)
def test_code_that_depends_on_values_is_named(tmp_path: Path, layers: tuple[dict[str, Any], ...], head: str, sentence: str) -> None:
    with pytest.raises(graphs.NotExportable, match=sentence):
        graphs.export_scoring(model(*layers, head=head), *text(2), tmp_path / "x.onnx")


def test_a_state_whose_numbers_steer_the_code_has_no_step(tmp_path: Path) -> None:
    with pytest.raises(graphs.NotExportable, match=r"\(linear.py:\d+\)"):
        graphs.export_step(model({"mixer": {"id": "attention/linear"}}), text(1)[0], tmp_path / "x.onnx")


def test_a_state_that_grows_has_no_step(tmp_path: Path) -> None:
    made = model({"mixer": {"id": "attention/full", "context": 100}})
    with pytest.raises(graphs.NotExportable, match="grows from token to token"):
        graphs.export_step(made, text(1)[0], tmp_path / "x.onnx")


class _OffBy(Graph):
    """A graph whose figures are wrong by so much."""

    def __init__(self, model: Any, error: float) -> None:
        self.model, self.error = model, error

    def value(self, array: np.ndarray) -> Any:
        return torch.from_numpy(array)

    def __call__(self, values: Any) -> list[Any]:
        return [score(self.model, *values) + self.error]


def test_a_graph_that_computes_something_else_is_refused() -> None:
    made = model({"mixer": {"id": "recurrent/lstm"}})
    wrong, right = _OffBy(made, 0.01), _OffBy(made, 0.0)
    assert graphs.checked_scoring(right, made, *text(2)) == 0
    with pytest.raises(graphs.NotExportable, match=r"differ by 0\.00\d+, allowed is 0.0001"):
        graphs.checked_scoring(wrong, made, *text(2))
    wrong.error = float("nan")
    with pytest.raises(graphs.NotExportable, match="differ by nan"):
        graphs.checked_scoring(wrong, made, *text(2))


def test_export_answers_in_a_line_where_there_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--model", str(tmp_path), "--out", str(tmp_path / "x.onnx")]) == 1
    assert json.loads(capsys.readouterr().out)["error"].startswith("There is no finished model")


class _Unbased(Exception):
    """As onnxruntime's own: no RuntimeError."""


def test_a_graph_that_onnxruntime_refuses_costs_the_target_its_figures_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise _Unbased("NOT_IMPLEMENTED : no kernel for Odd(1)\nand where")

    monkeypatch.setattr("onnxruntime.InferenceSession", refuse)
    monkeypatch.setattr(graphs, "export_scoring", lambda *_: None)
    monkeypatch.setattr(graphs, "export_step", lambda *_: None)
    with pytest.raises(GraphError, match=r"^NOT_IMPLEMENTED : no kernel for Odd\(1\)$"):
        Graph(tmp_path / "x.onnx", 1)
    targets = [{"name": "graph", "device": "cpu", "batch": 2, "runtime": "onnxruntime"}]
    plan = small.plan([], training={"batch": 2, "sequence": 12}, targets=targets)
    made = Finished(model({"mixer": {"id": "recurrent/lstm"}}), plan, Parts.of(plan).task, small.text())
    said: list[str] = []
    rows = evaluate.figures(made, 100, said.append)
    assert {row.target for row in rows} == {""}
    assert [sentence.split(":")[0] for sentence in said] == ['Target "graph"'] * 2
    assert all("not measured. onnxruntime does not run the graph: NOT_IMPLEMENTED" in sentence for sentence in said)


def test_what_fails_in_a_graph_is_a_sentence() -> None:
    graph = Graph.__new__(Graph)
    graph.inputs, graph.outputs, graph._session = [], [], _Failing()
    with pytest.raises(GraphError, match=r"^It broke$"):
        graph([])


class _Failing:
    def run_with_ort_values(self, outputs: list[str], values: dict[str, Any]) -> None:
        raise _Unbased("It broke\nhere")
