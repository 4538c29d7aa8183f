"""Channels of convolutions that really go: the smaller network is the masked one, torch's masks included, and what cannot go is named."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.utils import prune

from engines.toolbox.importance import unit_scores
from engines.toolbox.parts import parts_of
from engines.toolbox.slicing import mask, narrow
from engines.toolbox.specimen import Surroundings
from engines.toolbox.tried import tried
from plugins.pruning.structured import Structured


def one_dimension() -> nn.Sequential:
    """A batch norm, padding and dropout between; a pooling, a Flatten and a Linear behind."""
    return nn.Sequential(
        nn.Conv1d(5, 16, 3), nn.BatchNorm1d(16), nn.ReLU(), nn.ConstantPad1d((1, 1), 0.0), nn.Conv1d(16, 12, 3, padding=1, bias=False), nn.GELU(),
        nn.Dropout(0.1), nn.AdaptiveMaxPool1d(2), nn.Flatten(), nn.Linear(24, 7),
    )  # fmt: skip


def two_dimensions() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 16, (2, 5)), nn.BatchNorm2d(16, affine=False), nn.Tanh(), nn.Conv2d(16, 3, (3, 1), stride=(2, 1)))


NETS = {"one dimension": (one_dimension, (4, 5, 11)), "two dimensions": (two_dimensions, (4, 1, 9, 5))}


def trained(make: Any, shape: tuple[int, ...]) -> tuple[nn.Sequential, Tensor]:
    """In evaluation, with statistics that are not those of the start."""
    torch.manual_seed(0)
    net = make().double()
    for _ in range(3):
        net(2 + torch.randn(shape, dtype=torch.float64))
    return net.eval(), torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("name", NETS)
def test_what_is_cut_out_equals_what_torch_masks_gradients_too(name: str) -> None:
    net, x = trained(*NETS[name])
    parts = parts_of(net).parts
    assert [(part.kind, part.units) for part in parts] == [("channels", 16), ("channels", 12)][: len(parts)]
    masked = copy.deepcopy(net)
    for part in parts:
        kept = torch.arange(0, part.units, 3)
        reader = masked.get_submodule(part.tap[0])
        columns = torch.zeros_like(reader.weight).unflatten(1, (part.units, -1))
        columns[:, kept] = 1
        prune.custom_from_mask(reader, "weight", columns.flatten(1, 2))
        narrow(net, part, kept)
    x.requires_grad_()
    ours, theirs = net(x), masked(x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    cotangent = torch.randn_like(ours)
    mine, other = (torch.autograd.grad(y, [x, first.weight], cotangent) for y, first in ((ours, net[0]), (theirs, masked[0])))
    torch.testing.assert_close(mine[0], other[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(mine[1], other[1][torch.arange(0, 16, 3)], rtol=0, atol=1e-12)
    first = net[0]
    assert (first.out_channels, net[1].num_features) == (6, 6), "modules know their sizes"


class Judged(nn.Module):
    """The mean square of what a net gives, as a loss."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, int, None, dict[str, Any]]:
        return self.net(x).square().sum(), len(x), None, {}


@pytest.mark.parametrize("name", NETS)
def test_scores_are_what_is_lost_and_what_the_loss_would_gain(name: str) -> None:
    net, x = trained(*NETS[name])
    model = Judged(net).eval()
    parts = parts_of(model).parts
    added, slopes = (unit_scores(model, parts, criterion, [x]) for criterion in ("activation", "gradient"))
    for part in parts:
        reader = part.tap[0]
        whole, lost = output(model, reader, x), []
        for unit in range(part.units):
            without = copy.deepcopy(model)
            mask(without, part, torch.tensor([unit]))
            change = output(without, reader, x) - whole
            lost.append(change.square().flatten(2).sum(1).mean() if change.dim() > 2 else change.square().sum(1).mean())
        torch.testing.assert_close(added[part.name], torch.stack(lost))
        differences = []
        for unit in range(part.units):
            sides = []
            for factor in (1 + 1e-6, 1 - 1e-6):
                scaled = copy.deepcopy(model)
                slab = next(each for each in part.slabs if each.reads)
                with torch.no_grad():
                    weight = slab.of(scaled)
                    index = slab.index(part.units, torch.tensor([unit]))
                    weight.index_copy_(1, index, factor * weight.index_select(1, index))
                    sides.append(scaled.net(x).square().flatten(1).sum(1))
            differences.append(((sides[0] - sides[1]) / 2e-6).abs().mean())
        torch.testing.assert_close(slopes[part.name], torch.stack(differences), rtol=1e-5, atol=1e-6)


def output(model: nn.Module, name: str, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_hook(lambda module, args, y: seen.append(y.detach()))
    model(x)
    hook.remove()
    return seen[0]


def test_it_is_cut_checked_said_and_restored() -> None:
    net, x = trained(*NETS["one dimension"])
    model, fresh = Judged(net).eval(), Judged(one_dimension().double()).eval()
    around = Surroundings(model)
    around.batches = [x]
    technique = Structured(channels=0.5, part_shares={"net.4": 0.75}, multiple=1, fine_tune_tokens=0)
    assert technique.matches(model).names == ("net.0", "net.4")
    _, record = technique.finish(model, around)
    assert [tuple(net[place].weight.shape) for place in (0, 4, 9)] == [(8, 5, 3), (3, 8, 3), (7, 6)]
    assert "17 of 28 channels in 2 parts" in around.effects[-1][0]
    restored = technique.restore(fresh, record)
    restored.load_state_dict(model.state_dict())
    assert torch.equal(restored(x)[0], model(x)[0])


class Free(nn.Module):
    """Layers that nothing but this code puts behind one another. mixes: a softmax over the channels between the convolutions."""

    def __init__(self, mixes: bool = False) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.Conv1d(8, 12, 3)
        self.three, self.four, self.five = nn.Linear(12, 10), nn.Linear(10, 10), nn.Linear(10, 6)
        self.mixes = mixes

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, int, None, dict[str, Any]]:
        y = self.norm(self.one(x))
        y = y.softmax(1) if self.mixes else y.relu()
        z = self.three(input=self.two(y).tanh().amax(-1)).relu()
        z = z + self.four(z)  # a residual: neither can lose a unit
        return self.five(z).square().sum(), len(x), None, {}


def test_layers_behind_one_another_are_found_by_trying_and_come_back() -> None:
    torch.manual_seed(0)
    model, fresh = Free(), Free().eval()
    with torch.no_grad():
        model.norm.running_mean.normal_()
    around = Surroundings(model)
    around.batches = [torch.randn(3, 4, 9)]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = tried(model, around.batches, parts_of(model))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()), "statistics of norms among them"
    model.eval()
    assert [(part.name, part.tap[0], part.kind) for part in found] == [("one", "two", "channels"), ("two", "three", "channels")]
    for part in found:
        kept, masked, sliced = torch.arange(0, part.units, 2), copy.deepcopy(model), copy.deepcopy(model)
        mask(masked, part, torch.arange(1, part.units, 2))
        narrow(sliced, part, kept)
        torch.testing.assert_close(sliced(around.batches[0])[0], masked(around.batches[0])[0])
    _, record = (technique := Structured(multiple=1, fine_tune_tokens=0)).finish(model, around)
    assert [tuple(layer.weight.shape) for layer in (model.one, model.two, model.three)] == [(4, 4, 3), (6, 4, 3), (10, 6)]
    assert model.norm.num_features == 4
    restored = technique.restore(fresh, json.loads(json.dumps(record)))
    restored.load_state_dict(model.state_dict())
    assert torch.equal(restored(around.batches[0])[0], model(around.batches[0])[0])
    assert "three" not in around.effects[-1][0]


def test_what_stays_whole_is_named() -> None:
    model = Free(mixes=True)
    around = Surroundings(model)
    around.batches = [torch.randn(2, 4, 9)]
    assert [part.name for part in tried(model, around.batches, parts_of(model))] == ["two"]
    Structured(heads=0.5, fine_tune_tokens=0).finish(model, around)
    assert "one is left alone: nothing shows that one part alone reads the channels, each by itself." in around.effects[-1][0]
    assert "No heads were found: attention is cut where" in around.effects[-1][0]
    grouped = parts_of(nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=2)))
    assert grouped.parts == []
    assert any("0 is left alone: 2, a Conv1d, reads all its channels at once." in sentence for _, sentence in grouped.reasons)
    with pytest.raises(ValidationError, match='part_shares gives "a" 1'):
        Structured(part_shares={"a": 1.0})
    with pytest.raises(ValidationError, match="none has a share of its own"):
        Structured(part_shares={"a": 0.5}, scope="global")
