"""pruning/structured: which units go, that the smaller model is the masked one, and what is said of what stays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from engines.api import Trial
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.train import Trainer
from engines.toolbox.importance import layer_scores, unit_scores
from engines.toolbox.parts import parts_of
from engines.toolbox.slicing import mask, narrow
from engines.toolbox.specimen import Surroundings, batches, stacked_lstm, transformer
from plugins.pruning import structured
from plugins.pruning.structured import Structured
from tests.engines.runtime import session as small
from tests.plugins.checks import EXACT, assert_holds, certificates

TRIAL = Trial(length=6, width=16, vocabulary=30)
ADAM = {"id": "optimization/adam", "lr": 0.01}
CLIP = {"id": "optimization/clip_norm", "max_norm": 0.5}
LAYER = {"mixer": {"id": "attention/full", "heads": 4}, "feedforward": {"id": "feedforward/dense"}, "repeat": 2, "residual": None, "norm": None}
TRANSFORMER = {"embedding": {"id": "embeddings/lookup", "width": 24}, "layers": [LAYER], "head": {"id": "softmax/full"}}


class Reading(Surroundings):
    """A context with text."""

    def calibration(self, count: int) -> list[Any]:
        return batches(TRIAL, count)


class Scored(nn.Module):
    """A language model around a chain of a user's own."""

    def __init__(self, chain: nn.Module, width: int = 16) -> None:
        super().__init__()
        self.table, self.chain, self.scores = nn.Embedding(30, width), chain, nn.Linear(width, 30)

    def forward(self, batch: Any, state: Any = None) -> tuple[Tensor, int, Any, dict[str, Any]]:
        scores = self.scores(self.chain(self.table(batch.inputs_BT))).flatten(0, 1)
        return nn.functional.cross_entropy(scores, batch.targets_BT.flatten(), reduction="sum"), batch.tokens, None, {}


def chain(*between: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Linear(16, 40), *between), nn.Linear(40, 24), nn.Sigmoid(), nn.Dropout(0.1), nn.Linear(24, 16)).double()


@pytest.mark.parametrize("certificate", certificates(structured), ids=lambda each: each.__name__)
def test_certificates_hold_to_rounding(certificate: Any) -> None:
    assert_holds(certificate, EXACT)


def test_a_chain_of_linears_equals_the_one_that_torch_masks_gradients_too() -> None:
    net = chain(nn.ReLU()).eval()
    first, second = parts_of(net).parts
    assert [(part.name, part.units) for part in (first, second)] == [("0.0", 40), ("1", 24)]
    kept = [torch.tensor([0, 3, 4, 17, 39]), torch.tensor([1, 2, 23])]
    masked = copy.deepcopy(net)
    for linear, units in ((masked[1], kept[0]), (masked[4], kept[1])):
        columns = torch.zeros_like(linear.weight)
        columns[:, units] = 1
        prune.custom_from_mask(linear, "weight", columns)
    for part, units in zip((first, second), kept, strict=True):
        narrow(net, part, units)
    assert [tuple(linear.weight.shape) for linear in (net[0][0], net[1], net[4])] == [(5, 16), (3, 5), (16, 3)]
    assert (net[1].in_features, net[1].out_features) == (5, 3)
    x = torch.randn(7, 16, dtype=torch.float64, requires_grad=True)
    ours, theirs = net(x), masked(x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    cotangent = torch.randn_like(ours)
    mine = torch.autograd.grad(ours, [x, net[0][0].weight, net[1].weight, net[4].weight, net[4].bias], cotangent)
    wanted = [x, masked[0][0].weight, masked[1].weight_orig, masked[4].weight_orig, masked[4].bias]
    reference = list(torch.autograd.grad(theirs, wanted, cotangent))
    reference[1], reference[2], reference[3] = reference[1][kept[0]], reference[2][kept[1]][:, kept[0]], reference[3][:, kept[1]]
    for one, other in zip(mine, reference, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_what_reads_all_neurons_at_once_keeps_them() -> None:
    found = parts_of(chain(nn.LayerNorm(40)))
    assert [part.name for part in found.parts] == ["1"]
    assert found.reasons == [("neurons", "0.0 is left alone: 0.1, a LayerNorm, reads all its neurons at once.")]
    twice = nn.Linear(16, 16)
    shared = parts_of(nn.Sequential(twice, nn.ReLU(), twice, nn.ReLU(), nn.Linear(16, 16)))
    assert shared.parts == []
    assert "also serves in another place" in shared.reasons[0][1]


@pytest.mark.parametrize("norm_first", [True, False])
def test_torchs_transformer_layer_loses_neurons_and_keeps_its_fast_path(norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 48, dropout=0.0, batch_first=True, norm_first=norm_first).double().eval()
    found = parts_of(layer)
    assert ("heads", "self_attn is left alone: torch's MultiheadAttention ties its heads to the width of the model.") in found.reasons
    (part,) = found.parts
    masked = copy.deepcopy(layer)
    gone = torch.arange(0, 48, 2)
    mask(masked, part, gone)
    narrow(layer, part, torch.arange(1, 48, 2))
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    torch.testing.assert_close(layer(x), masked(x), rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), masked(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("made", [transformer, stacked_lstm])
def test_the_gradient_score_is_the_slope_of_a_rows_loss_over_the_unit(made: Any) -> None:
    model, (batch,) = made(TRIAL).eval(), batches(TRIAL, 1, rows=1)
    parts = parts_of(model).parts
    scores = unit_scores(model, parts, "gradient", [batch])
    for part in parts:
        reading = [slab for slab in part.slabs if slab.reads]
        if part.kind == "recurrent":
            reading = reading[1:]  # what the layer reads of itself is not tapped
        slopes = []
        for unit in range(part.units):
            losses = []
            for scale in (1 + 1e-5, 1 - 1e-5):
                changed = copy.deepcopy(model)
                with torch.no_grad():
                    for slab in reading:
                        weight = slab.of(changed)
                        index = slab.index(part.units, torch.tensor([unit]))
                        weight.index_copy_(slab.dim, index, scale * weight.index_select(slab.dim, index))
                    losses.append(float(changed(batch, None)[0]))
            slopes.append(abs(losses[0] - losses[1]) / 2e-5)
        torch.testing.assert_close(scores[part.name], torch.tensor(slopes, dtype=torch.float64), rtol=1e-4, atol=1e-5)


def test_a_layer_that_adds_nothing_is_the_first_to_go() -> None:
    model = transformer(TRIAL, layers=3)
    with torch.no_grad():
        model.layers[1].mixer.output.weight.mul_(1e-6)
        model.layers[1].feedforward.network.outer.weight.mul_(1e-6)
        model.layers[1].feedforward.network.outer.bias.zero_()
    for criterion in ("activation", "gradient", "magnitude"):
        scores = layer_scores(model, [0, 1, 2], criterion, batches(TRIAL, 2))
        assert min(scores, key=scores.__getitem__) == 1, criterion
    before = model.layers[0].mixer.query.weight
    _, record = Structured(neurons=0, layers=1, fine_tune_tokens=0).finish(model, context := Reading(model))
    assert record == {"layers": [1], "parts": {}}
    assert len(model.layers) == 2
    assert model.layers[0].mixer.query.weight is before
    assert context.effects[0][0].startswith("Removed: layers 1. ")


@pytest.mark.parametrize("criterion", ["magnitude", "activation", "gradient"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_units_that_nobody_reads_go_first_and_the_loss_does_not_move(criterion: str, scope: str) -> None:
    model = transformer(TRIAL, kv_heads=2)
    idle = torch.arange(0, 64, 2)
    with torch.no_grad():
        for layer in model.layers:
            net = layer.feedforward.network
            net.outer.weight[:, idle] = 0
            net.inner.weight[idle] *= 1e-3
            net.inner.bias[idle] *= 1e-3
    (batch,) = batches(TRIAL, 1)
    before = model.eval()(batch, None)[0]
    technique = Structured(neurons=0.5, criterion=criterion, scope=scope, fine_tune_tokens=0)
    technique.finish(model, context := Reading(model))
    torch.testing.assert_close(model(batch, None)[0], before, rtol=1e-12, atol=0)
    assert [layer.feedforward.network.inner.out_features for layer in model.layers] == [32, 32]
    assert context.effects[0][0].startswith("Removed: 64 of 128 neurons in 2 parts. ")


def test_sizes_are_rounded_up_to_what_kernels_like() -> None:
    def left(**values: Any) -> tuple[int, int]:
        model = transformer(TRIAL)
        Structured(fine_tune_tokens=0, **values).finish(model, Reading(model))
        return model.layers[0].feedforward.network.inner.out_features, model.layers[0].mixer.heads

    assert left(neurons=0.6) == (32, 4)  # 26 of 64
    assert left(neurons=0.6, multiple=1) == (26, 4)
    assert left(neurons=0.99) == (8, 4)
    assert left(neurons=0.99, multiple=1) == (1, 4)
    assert left(neurons=0, heads=0.75) == (64, 2)  # one head is 4 columns
    assert left(neurons=0, heads=0.75, multiple=4) == (64, 1)
    assert left(neurons=0.5, exclude=("layers.0.*",)) == (64, 4)


def test_global_ranking_takes_more_where_less_matters() -> None:
    model = transformer(TRIAL)
    with torch.no_grad():
        model.layers[0].feedforward.network.outer.weight[:, :56] *= 1e-3
    technique = Structured(neurons=0.5, scope="global", criterion="activation", multiple=1, fine_tune_tokens=0)
    technique.finish(model, Reading(model))
    sizes = [layer.feedforward.network.inner.out_features for layer in model.layers]
    assert sum(sizes) == 64
    assert sizes[0] < 16


def test_nothing_to_remove_is_said_with_the_reason() -> None:
    model = stacked_lstm(TRIAL)
    _, record = Structured().finish(model, context := Reading(model))
    assert record == {"layers": [], "parts": {}}
    assert context.effects[0][0] == "Nothing was removed: no part of the model matches, or the multiple leaves nothing to remove."
    Structured(layers=1).finish(model, context := Reading(model))
    assert "1 of 1 layers stay: only those that add their input back" in context.effects[0][0]


def test_a_model_whose_neurons_are_read_elsewhere_is_refused() -> None:
    class Peeking(Scored):
        def forward(self, batch: Any, state: Any = None) -> tuple[Tensor, int, Any, dict[str, Any]]:
            loss, *rest = super().forward(batch, state)
            return loss * (1 + self.chain[0][0].weight.square().sum()), *rest

    model = Peeking(chain(nn.ReLU()).float())
    with pytest.raises(ValueError, match=r"The cut changed what the model computes: .* nats a token, .* masked\. Something unseen reads the units"):
        Structured(fine_tune_tokens=0).finish(model, Reading(model))
    plain = Scored(chain(nn.ReLU()).float())
    Structured(fine_tune_tokens=0).finish(plain, context := Reading(plain))
    assert context.effects[0][0].startswith("Removed: 32 of 80 neurons in 3 parts. ")


# --- In the engine ----------------------------------------------------------------------------------------------------------------------------


def trained(folder: Path, *techniques: dict[str, Any], **changes: Any) -> Trainer:
    made = small.trainer(folder, small.plan([ADAM, CLIP, *techniques], **({"model": TRANSFORMER} | changes)))
    made.train()
    return made


CUT = {"id": "pruning/structured", "neurons": 0.5, "heads": 0.5, "layers": 1, "fine_tune_tokens": 960}


def test_a_transformer_is_cut_fine_tuned_with_its_own_optimiser_and_restored(tmp_path: Path) -> None:
    made = trained(tmp_path, CUT)
    model: Any = made.session.model
    records = made.pipeline.finish()
    (layer,) = model.layers
    assert (layer.mixer.heads, layer.feedforward.network.outer.in_features) == (4, 48)  # two heads are 12 columns, no multiple of 8
    assert len(small.losses(made)) == 50
    assert small.losses(made)[-1] < small.losses(made)[0]
    optimizer = made.session.optimizer
    assert optimizer is not None
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}
    for parameter in model.parameters():
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape
    save_finished(model, made.session.plan, records, tmp_path / "model", made.session.text.fingerprint)
    loaded: Any = load_finished(tmp_path / "model", "cpu", made.session.text).model
    ids = torch.arange(24).view(2, 12)
    assert torch.equal(loaded.hidden(ids)[0], model.eval().hidden(ids)[0])


def test_units_of_an_lstm_go_and_training_goes_on(tmp_path: Path) -> None:
    layers = [{"mixer": {"id": "recurrent/lstm", "width": 32}, "feedforward": None, "repeat": 2, "residual": None, "norm": None}]
    made = trained(tmp_path, {"id": "pruning/structured", "recurrent": 0.5, "fine_tune_tokens": 960}, model=TRANSFORMER | {"layers": layers})
    made.pipeline.finish()
    model: Any = made.session.model
    assert [layer.mixer.lstm.hidden_size for layer in model.layers] == [16, 16]
    assert model.head.output.in_features == 16
    assert small.losses(made)[-1] < small.losses(made)[0]


def test_experts_are_left_alone(tmp_path: Path) -> None:
    layer = LAYER | {"feedforward": {"id": "experts/switch", "experts": 2}}
    made = trained(tmp_path, {"id": "pruning/structured"}, model=TRANSFORMER | {"layers": [layer]}, budget={"steps": 2})
    made.pipeline.finish()
    (said,) = [effect.sentence for effect in made.pipeline.stated_effects() if effect.hook == "stated" and effect.technique == "pruning/structured"]
    assert "Nothing was removed" in said
    assert "layers.0.feedforward is left alone: its experts see different tokens" in said


def test_a_users_own_transformer_loses_its_neurons(tmp_path: Path) -> None:
    own = {"id": "models/own", "factory": "tests.plugins.models.nets:transformer"}
    made = trained(tmp_path, {"id": "pruning/structured", "criterion": "gradient"}, model=own, budget={"steps": 4})
    made.pipeline.finish()
    model: Any = made.session.model
    assert [block.linear1.out_features for block in model.body.blocks] == [24, 24]


@pytest.mark.gpu
@pytest.mark.parametrize("criterion", ["activation", "gradient"])
@pytest.mark.parametrize("made", [transformer, stacked_lstm])
def test_on_a_gpu_the_cut_is_the_same_as_on_the_cpu(made: Any, criterion: str) -> None:
    kept = []
    for device in ("cpu", "cuda"):
        model = made(TRIAL).to(device)
        parts = parts_of(model).parts
        text = [batch.to(torch.device(device)) for batch in batches(TRIAL, 2)]
        chosen = Structured(neurons=0.5, heads=0.5, recurrent=0.5, criterion=criterion, multiple=1)
        units = chosen._kept(model, parts, text)
        for part in parts:
            narrow(model, part, units[part.name])
        model(text[0], None)[0].backward()
        kept.append({name: each.tolist() for name, each in units.items()} | {"loss": pytest.approx(float(model(text[0], None)[0]), rel=1e-9)})
    assert kept[0] == kept[1]
