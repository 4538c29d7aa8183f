"""Every pruning, quantisation and distillation on modules of the user's own as on assembled models: it changes them, what it made is what is
kept, and every file that leaves equals it, or is refused with a sentence that says why.

A technique that is added is tested here without a line of its own, unless it refuses one of these models: then REFUSED says with what words.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from engines import catalogue
from engines.runtime import export, finished
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.freshload import outputs_of
from engines.runtime.graphs import NotExportable
from engines.runtime.portable import load_exported
from engines.runtime.runners import score
from engines.runtime.train import Trainer
from tests.engines.runtime import session as small
from tests.test_conformance import ADAM, EXAMPLES

FAMILIES = ("pruning", "quantization", "distillation")
IDS = [id for id in catalogue.sources() if id.partition("/")[0] in FAMILIES]
STEPS = 4


def own(factory: str, folder: str = ".", **arguments: Any) -> dict[str, Any]:
    return {"model": {"id": "models/own", "factory": factory, "folder": folder, "arguments": arguments}}


def blocks(mixer: str) -> dict[str, Any]:
    layer = {"mixer": {"id": mixer, "heads": 2}, "feedforward": {"id": "feedforward/dense"}, "repeat": 2, "residual": None, "norm": None}
    return {"model": {"embedding": {"id": "embeddings/lookup", "width": 24}, "layers": [layer], "head": {"id": "softmax/full"}}}


MODELS: dict[str, dict[str, Any]] = {
    "own transformer": own("tests.plugins.models.nets:Transformer"),
    "own LSTM": own("tests.plugins.models.nets:Recurrent", layers=1),
    "own convolutions": own("own_net:make", str(Path(__file__).parents[1] / "resources" / "experiments"), width=24, layers=2),
    "own GRU": own("tests.plugins.models.nets:Gated"),
    "own windows": own("tests.plugins.models.nets:Windows") | {"task": {"id": "tasks/text_classification"}},
    "own classifier": own("tests.plugins.models.nets:Reader") | {"task": {"id": "tasks/text_classification"}},
    "blocks": blocks("attention/full"),
    "blocks, classifier": blocks("attention/bidirectional") | {"task": {"id": "tasks/text_classification"}},
}
LAYERS = {"own transformer": "body.blocks", "own LSTM": "body.lstm", "own convolutions": "body.layers", "own classifier": "body.blocks"}
"""Where the layers stand that distillation compares."""
REFUSED = {
    ("distillation/layerwise", "own LSTM"): r'No module of the model is called "body\.lstm\.\*"',
    ("distillation/layerwise", "own convolutions"): r"body\.layers\.0 \(Conv1d\) gives shape .* must give \(rows, tokens, width\)",
    ("distillation/pretraining", "own LSTM"): "The student has 0 and the teacher 0 layers under .* set initialise = false",
}
"""(technique, model) -> what is said where it cannot be done."""


@pytest.fixture(autouse=True)
def _small_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished, "text_of", lambda *_: small.text())


def compressed(id: str, name: str, folder: Path) -> tuple[Trainer, list[dict[str, Any]]]:
    """A model that was trained a few steps with the technique and finished, and the records of that."""
    parameters = dict(EXAMPLES.get(id, {}))
    if id.startswith("distillation/") and "layers" in catalogue.load(id).model_fields and name in LAYERS:
        parameters["layers"] = LAYERS[name]
    made = small.trainer(folder, small.plan([ADAM, {"id": id, **parameters}], budget={"steps": STEPS}, **MODELS[name]))
    made.train()
    return made, made.pipeline.finish()


def kept(id: str, name: str, folder: Path) -> tuple[Trainer, Path]:
    made, records = compressed(id, name, folder)
    save_finished(made.session.model.eval(), made.session.plan, records, folder / "model", made.session.text.fingerprint)
    return made, folder / "model"


def judged(made: Trainer, model: Any) -> torch.Tensor:
    return score(model, *made.session.task.held_out(made.session.text, 8, 12))


FORMS = ("pruning/structured", "quantization/weight_only", "quantization/kmeans", "quantization/static_int8", "quantization/dynamic_int8")
"""Whose modules are unlike those of the others, on assembled models too."""
EXPORTED = (*FORMS, "quantization/smoothquant", "quantization/gptq", "pruning/magnitude")
"""One for each kind of module that techniques leave: what the others leave is exported alike."""


def cases() -> list[Any]:
    """Each technique on one model; on the others, slow ones, those whose modules differ and those that are refused there."""
    chosen = [(id, name) for name in MODELS for id in IDS if name == "own transformer" or id in EXPORTED or (id, name) in REFUSED]
    return [pytest.param(id, name, marks=() if name == "own transformer" else pytest.mark.slow, id=f"{id}-{name}") for id, name in chosen]


@pytest.mark.parametrize(("id", "name"), cases())
def test_it_runs_says_what_it_changed_and_is_rebuilt_from_one_file(id: str, name: str, tmp_path: Path) -> None:
    if sentence := REFUSED.get((id, name)):
        with pytest.raises(ValueError, match=sentence) as refusal:
            compressed(id, name, tmp_path)
        assert re.fullmatch(r"[A-Z\w].*[.!]", str(refusal.value), re.S), "a refusal is a sentence"
        return
    made, folder = kept(id, name, tmp_path)
    stated = [sentence for technique, sentence, _ in made.session.effects if technique == id]
    assert stated
    assert not any(re.match(r"0 of|No ", sentence) for sentence in stated), "it found something to work on"
    alone = judged(made, made.session.model)
    assert torch.equal(judged(made, load_finished(folder, text=made.session.text).model), alone)
    export.write(folder, tmp_path / "model.safetensors", "safetensors")
    again = load_exported(tmp_path / "model.safetensors", folder=made.session.plan["model"].get("folder"))
    assert torch.equal(judged(made, again.model), alone)


def in_this_process(requests: Any, _: Path) -> Any:
    """What the fresh process answers, without the seconds that it takes to start."""
    return [[outputs_of(torch.export.load(path).module(), example, rounds) for example in examples] for path, examples, rounds in requests]


PACKED = r"is an Int8Linear, whose integer kernels want their weights in a packed form that is no tensor.*Export it as safetensors"
NO_FORM = r"The operator aten\._int_mm has no ONNX form.*Export it as safetensors"
UNEXPORTED = {
    ("quantization/dynamic_int8", "torch-export"): PACKED,
    ("quantization/dynamic_int8", "onnx"): "which calls torch's own integer kernels: they have no ONNX form. The safetensors file",
    ("quantization/static_int8", "onnx"): NO_FORM,
    ("quantization/smoothquant", "onnx"): NO_FORM,
}
"""(technique, format) -> what is said where there is no program, or no graph."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("id", "name"),
    [*((id, name) for name in ("own classifier", "own windows") for id in EXPORTED), *((id, "blocks, classifier") for id in FORMS)],
)
def test_programs_and_graphs_equal_it_or_are_refused(id: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equality is what `export.write` measures before it keeps anything; further shapes are tried in test_export."""
    monkeypatch.setattr(export, "loaded_afresh", in_this_process)
    monkeypatch.setattr(export, "_resized", lambda part: {})
    _, folder = kept(id, name, tmp_path)
    for form, suffix in (("torch-export", "pt2"), ("onnx", "onnx")):
        path = tmp_path / f"model.{suffix}"
        if sentence := UNEXPORTED.get((id, form)):
            with pytest.raises(NotExportable, match=sentence):
                export.write(folder, path, form)
            assert not path.exists()
        else:
            answer = export.write(folder, path, form)
            assert path.exists()
            assert all(part["error"] < 1e-3 for part in answer["facts"]["parts"])
