"""What every block must be, whoever wrote it: trained, causal, one with its state, a distribution, and made of modules that techniques find."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from engines import catalogue
from engines.api import Block, Site, Task
from engines.runtime.plan import block
from engines.toolbox.batches import Batch
from engines.toolbox.heads import IGNORED, judge
from tests.engines.runtime import session as small
from tests.test_conformance import ADAM, choice, made, plugins, small_blocks

DEFAULTS = {"embedding": "embeddings/lookup", "mixer": "recurrent/lstm", "head": "softmax/full"}


def model_table(id: str) -> dict[str, Any]:
    """A two-layer model that has the block in its place, or the whole model."""
    slot = catalogue.entry(id)["slot"]
    if slot == "model":
        return choice(id)
    chosen = {name: {"id": default} for name, default in DEFAULTS.items()} | {slot: choice(id)}
    chosen["embedding"] = chosen["embedding"] | {"width": 24}
    layer = {"mixer": chosen["mixer"], "feedforward": chosen.get("feedforward"), "repeat": 2, "residual": None, "norm": None}
    return {"embedding": chosen["embedding"], "layers": [layer], "head": chosen["head"]}


def causal(id: str) -> bool:
    return bool(catalogue.entry(id)["causal"])


CAUSAL = [id for id in small_blocks() if causal(id)]


def task_of(id: str) -> str:
    """The task that a block is tried on: a mixer that looks ahead can only read whole texts."""
    return "tasks/language_model" if causal(id) else "tasks/text_classification"


def model_of(id: str) -> Any:
    torch.manual_seed(0)
    task: Task = catalogue.load(task_of(id))()  # type: ignore[assignment]
    return task.assemble(model_table(id), block, small.text(), 12)


def batch_of(length: int = 12, id: str = "") -> Batch:
    ids = torch.randint(small.SIZE, (4, length + 1), generator=torch.Generator().manual_seed(1))
    return Batch(ids[:, :-1], ids[:, 1:] if not id or causal(id) else ids[:, -1:] % 2)


@pytest.mark.parametrize("id", small_blocks())
def test_a_block_trains_and_every_weight_moves(id: str, tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, small.plan([ADAM], model=model_table(id), budget={"steps": 80}, task={"id": task_of(id)}))
    session = trainer.session
    before = {name: p.detach().clone() for name, p in session.model.named_parameters()}

    def judged() -> float:
        """By the task's first figure, the lower the better, on text that is trained on: a head's training loss may be a surrogate."""
        figure = session.task.evaluate(session.model, session.text, "train", 0, 32, session.device)[0]
        return figure.value if figure.better == "lower" else 1 / figure.value

    untrained = judged()
    trainer.train()
    if trainer.pipeline.fitted:
        assert trainer.session.tokens == 80 * 8 * 12
    else:
        assert len(small.losses(trainer)) == 80
    assert judged() < 0.9 * untrained
    still = [name for name, p in trainer.session.model.named_parameters() if p.requires_grad and torch.equal(before[name], p)]
    assert not still, "these parameters never moved"


@pytest.mark.parametrize("id", CAUSAL)
def test_a_future_token_changes_no_earlier_output(id: str) -> None:
    model, batch = model_of(id).eval(), batch_of()
    changed = batch.inputs_BT.clone()
    changed[:, 7] = (changed[:, 7] + 1) % small.SIZE
    with torch.no_grad():
        first, second = model.hidden(batch.inputs_BT, None)[0], model.hidden(changed, None)[0]
    # Not bit for bit: experts are called with other tokens together.
    torch.testing.assert_close(first[:, :7], second[:, :7], rtol=1e-5, atol=1e-6)
    assert (first[:, 7:] - second[:, 7:]).abs().max() > 1e-3


@pytest.mark.parametrize("id", [id for id in small_blocks() if not causal(id)])
def test_a_mixer_that_looks_ahead_is_refused_where_tokens_are_predicted(id: str) -> None:
    task: Task = catalogue.load("tasks/language_model")()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=rf"Layer 1 \({id}\) lets a token see the tokens after it.*use a causal mixer"):
        task.assemble(model_table(id), block, small.text(), 12)


@pytest.mark.parametrize("id", [id for id in small_blocks() if catalogue.entry(id)["slot"] in ("embedding", "mixer", "feedforward")])
def test_padding_behind_a_text_changes_nothing_of_it(id: str) -> None:
    """Neither its probabilities nor the gradients of its loss, in training as in evaluation."""
    torch.manual_seed(0)
    task: Task = catalogue.load("tasks/text_classification")()  # type: ignore[assignment]
    model: Any = task.assemble(model_table(id), block, small.text(), 12)
    ids_BT = batch_of().inputs_BT
    cut_BT = ids_BT.clone()
    cut_BT[:, 7:] = IGNORED
    targets_B1 = ids_BT[:, :1] % 2
    for training in (False, True):
        model.train(training)
        found = []
        for inputs_BT in (ids_BT[:, :7], cut_BT):
            loss, count, _, extras = model(Batch(inputs_BT, targets_B1, fresh=True))
            wanted = [p for p in model.parameters() if p.requires_grad]
            objective = loss + extras.get("auxiliary", 0.0) if training else loss  # the auxiliary loss of evaluation is read by nobody
            gradients = torch.autograd.grad(objective, wanted, materialize_grads=True)
            found.append([loss.detach(), torch.as_tensor(count), *gradients])
        for alone, padded in zip(*found, strict=True):
            torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("id", CAUSAL)
def test_token_by_token_equals_all_at_once(id: str) -> None:
    """What generation relies on: the carried state stands for the text before."""
    model, batch = model_of(id).eval(), batch_of()
    with torch.no_grad():
        whole, _, _ = model.hidden(batch.inputs_BT, None)
        state, steps = None, []
        for t in range(batch.inputs_BT.shape[1]):
            x_B1D, state, _ = model.hidden(batch.inputs_BT[:, t : t + 1], state)
            steps.append(x_B1D)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("id", [id for id in plugins(Block) if catalogue.entry(id)["slot"] == "head"])
def test_a_head_is_one_distribution_or_one_order_of_tokens_in_all_its_calls(id: str) -> None:
    head, target_N = model_of(id).eval().head, batch_of().targets_BT.flatten()
    with torch.no_grad():
        hidden_ND = torch.randn(len(target_N), 24, generator=torch.Generator().manual_seed(2))
        score_NV = torch.empty(len(target_N), small.SIZE)
        best_NV, order_NV = head.topk(hidden_ND, small.SIZE)
        score_NV.scatter_(1, order_NV, best_NV)
        assert torch.equal(order_NV.sort(1).values, torch.arange(small.SIZE).expand(len(target_N), -1))
        assert (best_NV.diff(dim=1) <= 0).all()
        own_N1 = score_NV.gather(1, target_N[:, None])
        above_N, others_N = (score_NV > own_N1).sum(1), (score_NV == own_N1).sum(1) - 1
        # A score that is computed once more may round past its neighbour.
        torch.testing.assert_close(head.rank(hidden_ND, target_N), 1 + above_N + others_N / 2, rtol=0, atol=2)
        assert head.rank(hidden_ND, torch.full_like(target_N, IGNORED)).isinf().all()
        values_NK, ids_NK = head.topk(hidden_ND, 5)
        torch.testing.assert_close(values_NK, best_NV[:, :5], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(score_NV.gather(1, ids_NK), values_NK, rtol=1e-4, atol=1e-4)
        if not head.normalised:
            assert not {"nll", "log_prob"} & set(dir(head)), "there is no distribution to ask for"
            assert re.fullmatch(r"[^A-Z].*[^.]", head.no_distribution), "the rest of a sentence, without its full stop"
            return
        torch.testing.assert_close(head.log_prob(hidden_ND), score_NV, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(score_NV.exp().sum(1), torch.ones(len(target_N)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(head.nll(hidden_ND, target_N), -own_N1.squeeze(1), rtol=1e-4, atol=1e-4)
        assert (head.nll(hidden_ND, torch.full_like(target_N, IGNORED)) == 0).all()


@pytest.mark.parametrize("id", small_blocks())
def test_weights_sit_in_stock_modules_that_are_called(id: str) -> None:
    """Otherwise techniques cannot find and swap them. Parameters of norms and single vectors are free."""
    model, batch = model_of(id), batch_of(id=id)
    called: set[int] = set()
    for module in model.modules():
        module.register_forward_hook(lambda module, args, output: called.add(id_of(module)))
    model(batch, None)
    model.eval()
    with torch.no_grad():
        judge(model.head, model.hidden(batch.inputs_BT, None)[0].flatten(0, 1), batch.targets_BT.flatten())
        for layer in getattr(model, "layers", ()):
            if layer.feedforward is not None:
                # Varied enough that every expert is sent something.
                layer.feedforward(3 * torch.randn(8, 12, 24, generator=torch.Generator().manual_seed(3)))
    owners = [(name, module) for name, module in model.named_modules() if any(p.dim() > 1 for p in module.parameters(recurse=False))]
    assert owners or callable(getattr(model, "fit", None)), "only what is fitted at once has no weights"
    for name, module in owners:
        stock = any(kind.__module__.startswith("torch.nn") for kind in type(module).__mro__[:2])
        assert stock, f"{name} ({type(module).__name__}) holds a matrix of its own"
        assert id_of(module) in called, f"{name} is never called"


id_of = id


def test_a_layer_of_every_mixer_and_feedforward_fits_together() -> None:
    slots = {id: catalogue.entry(id)["slot"] for id in plugins(Block)}
    site = Site(width=24, vocabulary=small.text().vocabulary, length=12)
    for id in (id for id, slot in slots.items() if slot in ("mixer", "feedforward")):
        built = made(id).build(site)
        assert built.width == 24, f"{id} must keep the incoming width by default and say it"
