"""Own models: found, made, given weights, tried; what is wrong is told; techniques apply by type and name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engines.runtime import shapes as inspected
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.plan import PlanError, block, plugin
from engines.runtime.validate import problems
from engines.toolbox.factories import find_function
from plugins.models import own
from tests.engines.runtime import session as small
from tests.plugins.checks import TRIALS, assert_holds, certificates
from tests.plugins.models import nets

NETS = "tests.plugins.models.nets"
ADAM = {"id": "optimization/adam", "lr": 0.01}


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(own), ids=lambda each: each.__name__)
def test_certificates(certificate: Any, trial: Any) -> None:
    assert_holds(certificate, trial)


def model(factory: str, **chosen: Any) -> dict[str, Any]:
    return {"id": "models/own", "factory": factory if ":" in factory else f"{NETS}:{factory}", **chosen}


def assembled(factory: str, **chosen: Any) -> Any:
    torch.manual_seed(0)
    task: Any = plugin({"id": "tasks/language_model"})
    return task.assemble(model(factory, **chosen), block, small.text(), 12)


def refused(factory: str, **chosen: Any) -> str:
    with pytest.raises((ValueError, PlanError)) as error:
        assembled(factory, **chosen)
    return str(error.value)


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    assert 'written as "package.module:function"' in refused("net.make:", folder=str(tmp_path))
    assert f"There is no module netz in {tmp_path}" in refused("netz:make", folder=str(tmp_path))
    assert "has no recurent. Did you mean recurrent?" in refused("recurent")
    assert "is a int: factory must name a function" in refused("NUMBER")
    assert "returned a list: it must return an nn.Module." in refused("no_module")
    assert "failed: KeyError: 'width'" in refused("breaks")
    assert "takes no argument widht; it takes: vocabulary_size, width, layers." in refused("recurrent", arguments={"widht": 3})
    assert "gives scores of shape (2, 12, 7) for ids of shape (2, 12): it must give (2, 12, 500)" in refused("narrow")
    assert "failed on ids of shape (2, 12): RuntimeError" in refused("fails_when_run")
    assert "lets a token see the tokens after it: changing token 2 moves an earlier output" in refused("seeing")


def test_modules_that_do_not_import_say_why(tmp_path: Path) -> None:
    (tmp_path / "needs_more.py").write_text("import no_such_package_anywhere\n")
    (tmp_path / "is_wrong.py").write_text("def make(:\n")
    assert "it needs the module no_such_package_anywhere, which is not installed" in refused("needs_more:make", folder=str(tmp_path))
    assert "is_wrong could not be imported: SyntaxError" in refused("is_wrong:make", folder=str(tmp_path))
    assert str(tmp_path) not in sys.path


@pytest.fixture
def _forget_net() -> Iterator[None]:
    yield
    sys.modules.pop("net_of_two_folders", None)


@pytest.mark.usefixtures("_forget_net")
def test_modules_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net_of_two_folders.py").write_text(f"def make():\n    return {name!r}\n")
    found = [find_function("net_of_two_folders:make", str(tmp_path / name))() for name in ("one", "two", "one")]
    assert found == ["one", "two", "one"]


@pytest.mark.usefixtures("_forget_net")
def test_a_file_that_was_edited_is_read_anew_and_what_is_installed_stays(tmp_path: Path) -> None:
    net = tmp_path / "net_of_two_folders.py"
    net.write_text("def make():\n    return 1\n")
    assert find_function("net_of_two_folders:make", str(tmp_path))() == 1
    net.write_text("def make():\n    return 'edited'\n")
    assert find_function("net_of_two_folders:make", str(tmp_path))() == "edited"
    for folder in (tmp_path, tmp_path.parent):
        assert find_function("torch.nn:Linear", str(folder)) is torch.nn.Linear


def test_weights_come_from_a_file_and_must_fit(tmp_path: Path) -> None:
    torch.manual_seed(5)
    net = nets.Recurrent(small.SIZE, width=8)
    path = str(tmp_path / "net.safetensors")
    save_file(net.state_dict(), path)
    made = assembled("recurrent", arguments={"width": 8}, weights=path)
    assert all(torch.equal(made.body.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
    sentence = refused("recurrent", arguments={"width": 9}, weights=path)
    assert "of another shape: table.weight (500x8 in the file, 500x9 in the model)" in sentence
    save_file({"table.wait": net.table.weight.detach(), **{k: v for k, v in net.state_dict().items() if k != "table.weight"}}, path)
    sentence = refused("recurrent", arguments={"width": 8}, weights=path)
    assert "missing: table.weight; unexpected: table.wait" in sentence
    assert "cannot be read as a safetensors file" in refused("recurrent", weights=str(tmp_path / "none.safetensors"))


def test_a_tied_weight_may_stand_in_the_file_once(tmp_path: Path) -> None:
    path = str(tmp_path / "net.safetensors")
    save_file({"0.weight": torch.randn(small.SIZE, 8)}, path)
    made = assembled("tied", weights=path)
    assert made.body[0].weight is made.body[1].weight


@pytest.mark.parametrize("factory", ["recurrent", "transformer"])
def test_pieces_continue_as_the_whole_does(factory: str) -> None:
    """A module without state begins anew after the training length, here 12."""
    made = assembled(factory).eval()
    ids = torch.randint(small.SIZE, (3, 12 if factory == "transformer" else 30), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = made.hidden(ids)[0]
        state, pieces = None, []
        for piece in ids.split(5, dim=1):
            scores, state, _ = made.hidden(piece, state)
            pieces.append(scores)
        torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-4, atol=1e-5)
        twice = made.hidden(torch.cat((ids[:, :12], ids[:, :12]), dim=1))[0]
        if factory == "transformer":
            torch.testing.assert_close(twice[:, 12:], twice[:, :12], rtol=1e-4, atol=1e-5)


def trained(folder: Path, factory: str, techniques: list[dict[str, Any]], steps: int = 6) -> Any:
    trainer = small.trainer(folder, small.plan([ADAM, *techniques], model=model(factory), budget={"steps": steps}))
    trainer.train()
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("factory", ["recurrent", "transformer"])
@pytest.mark.parametrize(
    "technique",
    [
        {"id": "pruning/magnitude", "sparsity": 0.5, "include": ["body.scores*"], "exclude": [], "fine_tune_tokens": 96},
        {"id": "quantization/dynamic_int8", "include": ["body.scores"]},
        {"id": "quantization/dynamic_int8"},
        {"id": "memory/gradient_checkpointing", "modules": ["body.blocks.*", "body.lstm"]},
        {"id": "regularization/weight_drop", "weights": "body.*weight*"},
        {"id": "precision/mixed"},
        {"id": "memory/gradient_accumulation"},
    ],
    ids=lambda technique: technique["id"],
)
def test_general_techniques_apply_by_type_and_name(factory: str, technique: dict[str, Any], tmp_path: Path) -> None:
    trainer = trained(tmp_path, factory, [technique])
    records = trainer.pipeline.finish()
    told = " ".join(effect.sentence for effect in trainer.pipeline.stated_effects() if effect.technique == technique["id"])
    assert "Nothing" not in told, told
    session = trainer.session
    net = session.model.eval()
    save_finished(net, session.plan, records, tmp_path / "model", session.text.fingerprint)
    loaded: Any = load_finished(tmp_path / "model", "cpu", session.text).model
    ids = torch.randint(small.SIZE, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        # Not bit for bit: torch's encoder layers take another path where hooks are on their weights.
        torch.testing.assert_close(net.hidden(ids)[0], loaded.hidden(ids)[0], rtol=1e-5, atol=1e-5)
    if technique["id"] == "pruning/magnitude":
        assert float((net.body.scores.weight == 0).float().mean()) == pytest.approx(0.5, abs=1e-3)


def test_checkpointing_without_a_match_says_so(tmp_path: Path) -> None:
    trainer = trained(tmp_path, "transformer", [{"id": "memory/gradient_checkpointing", "modules": ["body.layers.*"]}])
    assert any("Nothing was checkpointed: no module of the model matches" in effect.sentence for effect in trainer.pipeline.stated_effects())


def test_the_inspector_shows_its_modules_and_what_a_pattern_matches() -> None:
    plan = small.plan([ADAM, {"id": "pruning/magnitude", "include": ["body.blocks.0.*"]}], model=model("transformer"))
    found = inspected.shapes(plan)
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["body.scores"]["shape_out"] == [1, 12, found["vocabulary"]]
    assert rows["body.blocks.1.linear1"]["parameters"] == 24 * 48 + 48
    (matched,) = inspected.matches(plan)
    assert matched["names"] == [f"body.blocks.0.{layer}.weight" for layer in ("self_attn.out_proj", "linear1", "linear2")]
    assert matched["weights"] == 24 * 24 + 2 * 24 * 48


def test_what_only_the_module_tells_is_a_problem_of_the_model() -> None:
    plans = {"mine": small.plan([ADAM], model=model("seeing"))}
    (problem,) = problems(plans)
    assert problem.path == "mine.model"
    assert "lets a token see the tokens after it" in problem.rule
