"""Models that leave: each format equals the model after it was loaded where the workbench is not, or is refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from engines.runtime import export, finished
from engines.runtime.finished import FinishedError, save_finished
from engines.runtime.freshload import outputs_of
from engines.runtime.graphs import NotExportable, values_of
from engines.runtime.onnxgraph import Graph
from engines.runtime.plan import Parts, block, plugin
from engines.runtime.portable import load_exported
from engines.runtime.programs import loaded_afresh
from engines.runtime.runners import score
from engines.toolbox.packed import matrices_in
from engines.toolbox.specimen import Surroundings
from tests.engines.runtime import session as small

pytestmark = pytest.mark.slow

LSTM = {"mixer": {"id": "recurrent/lstm", "width": 24}}
TRANSFORMER = {"mixer": {"id": "attention/full"}, "feedforward": {"id": "feedforward/dense"}}
FOUR_BITS = {"id": "quantization/weight_only", "bits": 4, "group_size": 8, "types": ["Linear", "LSTM", "Embedding"]}
OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, size, width):
        super().__init__()
        self.table, self.out = nn.Embedding(size, width), nn.Linear(width, size)

    def forward(self, ids_BT):
        return self.out(self.table(ids_BT).cumsum(1).tanh())

def make(vocabulary_size, width=16):
    return Net(vocabulary_size, width)
"""


@pytest.fixture(autouse=True)
def _small_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished, "text_of", lambda *_: small.text())


def kept(folder: Path, *layers: dict[str, Any], head: Any = "softmax/full", techniques: tuple[dict[str, Any], ...] = (), **changes: Any) -> Path:
    """A finished model on disk with weights that nobody trained."""
    head = head if isinstance(head, dict) else {"id": head}
    plan = small.plan([], **{"model": {"embedding": {"id": "embeddings/lookup", "width": 24}, "layers": list(layers), "head": head}, **changes})
    torch.manual_seed(0)
    model: Any = Parts.of(plan).task.assemble(plan["model"], block, small.text(), 12).eval()
    records = []
    for choice in techniques:
        model, record = plugin(choice).finish(model, Surroundings(model))  # type: ignore[attr-defined]
        records.append({"id": choice["id"], "parameters": {key: value for key, value in choice.items() if key != "id"}, "record": record})
    save_finished(model, plan, records, folder / "model", small.text().fingerprint)
    return folder / "model"


def held_out() -> tuple[torch.Tensor, torch.Tensor]:
    return Parts.of(small.plan([])).task.held_out(small.text(), 8, 12)


KINDS: dict[str, tuple[tuple[dict[str, Any], ...], Any, tuple[dict[str, Any], ...]]] = {
    "tied": ((LSTM,), {"id": "softmax/full", "tied": True}, ()),
    "adaptive": ((LSTM,), "softmax/adaptive", ()),
    "tree": ((LSTM,), "softmax/hierarchical", ()),
    "negatives": ((LSTM,), "softmax/negative_sampling", ()),
    "pruned": ((TRANSFORMER,), "softmax/full", ({"id": "pruning/magnitude", "sparsity": 0.7, "fine_tune_tokens": 0},)),
    "structured": ((TRANSFORMER,), "softmax/full", ({"id": "pruning/structured", "criterion": "magnitude", "fine_tune_tokens": 0},)),
    "four bits, tied": ((LSTM,), {"id": "softmax/full", "tied": True}, (FOUR_BITS,)),
    "dynamic int8": ((LSTM,), "softmax/full", ({"id": "quantization/dynamic_int8"},)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_rebuilds_the_model_without_its_text(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers, head, techniques = KINDS[kind]
    folder, out = kept(tmp_path, *layers, head=head, techniques=techniques), tmp_path / "model.safetensors"
    answer = export.write(folder, out, "safetensors")
    assert answer["written"] == [str(out)]
    original = finished.load_finished(folder)
    monkeypatch.setattr(finished, "text_of", lambda *_: pytest.fail("the corpus was asked for"))
    again = load_exported(out)
    assert torch.equal(score(again.model, *held_out()), score(original.model, *held_out()))
    assert again.text.vocabulary.tokens == small.text().vocabulary.tokens
    with safe_open(out, "pt") as file, safe_open(folder / "weights.safetensors", "pt") as before:
        assert set(file.keys()) == set(before.keys())
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {before.get_slice(name).get_dtype() for name in before.keys()}  # noqa: SIM118
    assert [path.name for path in tmp_path.iterdir()] in (["model", out.name], [out.name, "model"])


def program(path: Path, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of a program."""
    found: list[torch.Tensor] = outputs_of(torch.export.load(path).module(), inputs, 1)[0]
    return found


def in_this_process(requests: Any, _: Path) -> Any:
    """What the fresh process answers, without the seconds that it takes to start."""
    return [[outputs_of(torch.export.load(path).module(), example, rounds) for example in examples] for path, examples, rounds in requests]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "loaded_afresh", in_this_process)


def test_programs_run_where_the_project_is_not(tmp_path: Path) -> None:
    """The real check, whose process sees no path of ours and says so where anything of ours was loaded. The head judges by another way than its
    own, which depends on values; the figures are those of its own."""
    layers, head, techniques = KINDS["adaptive"]
    folder = kept(tmp_path, *layers, head=head, techniques=techniques)
    answer = export.write(folder, tmp_path / "model.pt2", "torch-export")
    assert [Path(path).name for path in answer["written"]] == ["model.pt2", "model.prompt.pt2", "model.step.pt2", "model.vocabulary.json"]
    assert "the head's saving is not in it" in answer["told"][0]
    assert answer["facts"]["parts"][0]["inputs"] == ["inputs int64 (any, 12)", "targets int64 (any, 12)"]
    inputs, targets = held_out()
    (nll,) = program(tmp_path / "model.pt2", inputs[:3], targets[:3])
    torch.testing.assert_close(nll, score(finished.load_finished(folder).model, inputs[:3], targets[:3]), rtol=1e-4, atol=1e-4)
    with pytest.raises(NotExportable, match="does not run where it is loaded"):
        loaded_afresh([(tmp_path / "model.vocabulary.json", [], 1)], tmp_path)


@pytest.mark.usefixtures("here")
def test_programs_of_packed_pruned_layers_judge_and_write_on_as_the_model_does(tmp_path: Path) -> None:
    layers, head, techniques = KINDS["structured"]
    folder = kept(tmp_path, *layers, head=head, techniques=(*techniques, FOUR_BITS))
    answer = export.write(folder, tmp_path / "model.pt2", "torch-export")
    parts = {part["file"]: part for part in answer["facts"]["parts"]}
    assert set(parts) == {"model.pt2", "model.prompt.pt2", "model.step.pt2"}
    assert parts["model.pt2"]["inputs"][0] == "inputs int64 (any, any)"
    model: Any = finished.load_finished(folder).model
    inputs, targets = held_out()
    (nll,) = program(tmp_path / "model.pt2", inputs[:3, :7], targets[:3, :7])
    torch.testing.assert_close(nll, score(model, inputs[:3, :7], targets[:3, :7]), rtol=1e-4, atol=1e-4)
    _, token, *state = program(tmp_path / "model.prompt.pt2", inputs[:1])
    log_p, following, *_ = program(tmp_path / "model.step.pt2", token, *state)
    with torch.no_grad():
        hidden, _, _ = model.hidden(torch.cat((inputs[:1], token), dim=1), None)
        expected, best = model.head.topk(hidden[:, -1], 1)
    assert following.tolist() == best.tolist()
    torch.testing.assert_close(log_p, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("here")
def test_a_module_of_ones_own_and_a_classifier_leave(tmp_path: Path) -> None:
    (tmp_path / "net_that_leaves.py").write_text(OWN)
    own = {"id": "models/own", "factory": "net_that_leaves:make", "folder": str(tmp_path)}
    folder = kept(tmp_path, model=own)
    answer = export.write(folder, tmp_path / "own.pt2", "torch-export")
    assert "Writes on, a token at a time: left out. It carries no state from token to token: read the prompt again" in " ".join(answer["told"])
    inputs, targets = held_out()
    expected = score(finished.load_finished(folder).model, inputs, targets)
    torch.testing.assert_close(program(tmp_path / "own.pt2", inputs, targets)[0], expected, rtol=1e-4, atol=1e-4)
    export.write(folder, tmp_path / "own.safetensors", "safetensors")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "net_that_leaves.py").rename(moved / "net_that_leaves.py")
    assert torch.equal(score(load_exported(tmp_path / "own.safetensors", folder=str(moved)).model, inputs, targets), expected)
    with pytest.raises(FinishedError, match="made by net_that_leaves:make, which would be imported and called: if you trust"):
        load_exported(tmp_path / "own.safetensors")

    bidirectional = {"mixer": {"id": "attention/bidirectional"}}
    folder = kept(tmp_path / "classes", bidirectional, task={"id": "tasks/text_classification"})
    answer = export.write(folder, tmp_path / "classes.pt2", "torch-export")
    found = finished.load_finished(folder)
    texts, labels = found.task.held_out(found.text, 5, 12)
    (log_p,) = program(tmp_path / "classes.pt2", texts)
    assert log_p.shape == (5, 2)
    torch.testing.assert_close(-log_p.gather(1, labels).flatten(), score(found.model, texts, labels), rtol=1e-4, atol=1e-4)
    known = json.loads((tmp_path / "classes.vocabulary.json").read_text())
    assert (known["classes"], known["tokens"][0]) == (["no", "yes"], "<unk>")
    assert answer["facts"]["text"]["classes"] == ["no", "yes"]


def test_graphs_of_packed_weights_compute_from_their_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three bits lie in pieces of two and one: all ways of unpacking are in the graph, and no float matrix is."""
    pytest.importorskip("onnxscript")
    import onnx

    every = export.entrances
    monkeypatch.setattr(export, "entrances", lambda *given: [offer for offer in every(*given) if offer.what != "Reads a prompt"])
    three = {"id": "quantization/weight_only", "bits": 3, "types": ["Linear", "LSTM", "Embedding"]}
    folder = kept(tmp_path, LSTM, techniques=(three,))
    answer = export.write(folder, tmp_path / "model.onnx", "onnx")
    assert [part["file"] for part in answer["facts"]["parts"]] == ["model.onnx", "model.step.onnx"]
    model: Any = finished.load_finished(folder).model
    inputs, targets = held_out()
    graph = Graph(tmp_path / "model.onnx", threads=1)
    (nll,) = graph(values_of(graph, inputs, targets))
    torch.testing.assert_close(torch.from_numpy(nll.numpy()), score(model, inputs, targets), rtol=1e-4, atol=1e-4)
    kept_arrays = [onnx.numpy_helper.to_array(each) for each in onnx.load(tmp_path / "model.onnx").graph.initializer]
    assert sum(array.nbytes for array in kept_arrays) < sum(matrix.rows * matrix.columns for matrix in matrices_in(model))


# --- Refusals -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "form", "sentence"),
    [
        ("dynamic int8", "torch-export", r"Int8LSTM, whose integer kernels .* Export it as safetensors, or .* quantization/weight_only\.$"),
        ("dynamic int8", "onnx", r"Int8LSTM.* no ONNX form\. The safetensors file keeps them.* has a graph\.$"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(kind: str, form: str, sentence: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    layers, head, techniques = KINDS[kind]
    folder = kept(tmp_path, *layers, head=head, techniques=techniques)
    with pytest.raises(NotExportable, match=sentence):
        export.write(folder, tmp_path / "model.out", form)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.usefixtures("here")
def test_a_head_without_a_distribution_says_what_is_left_out(tmp_path: Path) -> None:
    layers, head, _ = KINDS["negatives"]
    answer = export.write(kept(tmp_path, *layers, head=head), tmp_path / "model.pt2", "torch-export")
    assert {part["file"] for part in answer["facts"]["parts"]} == {"model.prompt.pt2", "model.step.pt2"}
    assert answer["told"][-1].startswith("Judges text: left out. Its head gives scores and no probabilities")


def test_a_program_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(requests: Any, folder: Path) -> Any:
        """Refused sizes stay refused; the figures of the others are off by a hundredth."""
        return [
            [rounds if isinstance(rounds, str) else [[each + 0.01 for each in outputs] for outputs in rounds] for rounds in examples]
            for examples in in_this_process(requests, folder)
        ]

    monkeypatch.setattr(export, "loaded_afresh", wrong)
    with pytest.raises(NotExportable, match=r"The program gives other figures than torch: they differ by 0\.0.*Export it as safetensors"):
        export.write(kept(tmp_path, LSTM), tmp_path / "model.pt2", "torch-export")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_files_that_are_no_models_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(FinishedError, match="no safetensors file that can be read"):
        load_exported(tmp_path / "text.safetensors")
    folder = kept(tmp_path, LSTM)
    with pytest.raises(FinishedError, match="no plan to rebuild a model from"):
        load_exported(folder / "weights.safetensors")
    export.write(folder, tmp_path / "model.safetensors", "safetensors")
    with pytest.raises(FinishedError, match="comes from no module of your own"):
        load_exported(tmp_path / "model.safetensors", folder=".")
