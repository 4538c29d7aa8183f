"""Inference after structured pruning against before, interleaved: half the neurons of a transformer, all hidden layers of an MLP halved; and the
same shares as connection pruning (zeros in the same matrices), which changes nothing.

    python -m tests.benchmarks structured [transformer] [mlp] [rounds=N]

Weights that nobody trained, one thread, float32, evaluation mode, tokens of one call in random order of the arms; the median of the paired
ratios of the rounds with its interval. Parameters are those of the layers (a transformer's table and head are not its neurons'). Where
Torch-Pruning is installed (pip install torch-pruning), it cuts the same layers by the same criterion in the same rounds, and the time that each
takes to cut is compared, dependency graphs and choice included.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engines.api import Site, Trial
from engines.statistics import median_interval, median_ratio
from engines.toolbox import trials
from engines.toolbox.assembly import LanguageModel, Layer
from engines.toolbox.parts import parts_of
from engines.toolbox.pruning import smallest, weights_of, zero
from engines.toolbox.slicing import Part, narrow
from plugins.attention.full import Full
from plugins.feedforward.dense import Dense
from plugins.pruning.structured import Structured
from tests.benchmarks.rounds import held, interleaved, words

WIDTH, LAYERS, ROWS, LENGTH = 512, 4, 8, 64
ROUNDS, CUTS = 30, 9
LONGEST = 1.2
"""Our time to cut, as a share of the peer's."""


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)
    rounds = next((int(word.partition("=")[2]) for word in wanted if word.startswith("rounds=")), ROUNDS)
    parts = [word for word in wanted if "=" not in word] or ["transformer", "mlp"]
    with torch.no_grad():
        for part in parts:
            {"transformer": transformer, "mlp": mlp}[part](rounds)


def transformer(rounds: int) -> None:
    """Layers of attention and feed-forward, width 512, hidden 2048; head and table are outside of what is timed."""
    torch.manual_seed(0)
    site = Site(width=WIDTH, vocabulary=trials.site(Trial()).vocabulary, length=LENGTH)
    layers = [
        Layer(Full(heads=8).build(site), Dense().build(site), width=WIDTH, residual=True, feedforward_residual=True, norm="layer")
        for _ in range(LAYERS)
    ]
    model = LanguageModel(nn.Identity(), layers, nn.Identity(), length=LENGTH).eval()
    x_BTD = torch.randn(ROWS, LENGTH, WIDTH)
    title = f"Transformer, {LAYERS} layers of width {WIDTH}, {ROWS} x {LENGTH} tokens"
    compare(title, Hidden(model), x_BTD, rounds, 1.5, 0.67)


def mlp(rounds: int) -> None:
    """A user's own chain: 512 - 4 x 1024 - 512 with ReLU."""
    torch.manual_seed(0)
    widths = [WIDTH, *[1024] * 5, WIDTH]
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*parts[:-1]).eval()
    x_ND = torch.randn(256, WIDTH)
    compare(f"MLP {' - '.join(map(str, widths))}, {len(x_ND)} rows", model, x_ND, rounds, 3.3, None)


class Hidden(nn.Module):
    """The hidden states of a language model as a module of their own, which both sides can call."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.model.hidden(x_BTD)[0]


def cut_by_us(model: nn.Module) -> list[Part]:
    """Halves the neurons in place; the parts that were cut."""
    technique = Structured(neurons=0.5, criterion="magnitude")
    neurons = [part for part in parts_of(model).parts if part.kind == "neurons"]
    for part in neurons:
        narrow(model, part, technique._kept(model, [part], [])[part.name])
    return neurons


def cut_by_torch_pruning(model: nn.Module, x: Tensor, entered: list[str]) -> None:
    """Halves the outputs of the layers named, in place; all others only follow."""
    import torch_pruning

    ignored = [child for name, child in model.named_modules() if isinstance(child, nn.Linear) and name not in entered]
    with torch.enable_grad():
        importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        torch_pruning.pruner.BasePruner(model, x, importance=importance, pruning_ratio=0.5, ignored_layers=ignored).step()


def compare(what: str, model: nn.Module, x: Tensor, rounds: int, faster: float, smaller: float | None) -> None:
    def run(each: nn.Module) -> Any:
        return each(x)

    cut, zeros = copy.deepcopy(model), copy.deepcopy(model)
    neurons = cut_by_us(cut)
    entered = [part.slabs[0].module for part in neurons]
    matrices = {slab.module for part in neurons for slab in part.slabs}
    weights = {name: each for name, each in weights_of(zeros, ["Linear"], ["*"], []).items() if name.rpartition(".")[0] in matrices}
    zero(weights, smallest({name: each.detach().abs() for name, each in weights.items()}, 0.5, "layer"))
    sizes = [sum(p.numel() for p in each.parameters()) for each in (model, cut)]
    arms: dict[str, Callable[[], Any]] = {
        "whole": lambda: run(model), "again": lambda: run(model), "cut": lambda: run(cut), "zeros": lambda: run(zeros)
    }  # fmt: skip
    peer = copy.deepcopy(model) if importlib.util.find_spec("torch_pruning") else None
    if peer is not None:
        cut_by_torch_pruning(peer, x, entered)
        arms["peer"] = lambda: run(peer)
    seconds = interleaved(arms, rounds)
    share = sizes[1] / sizes[0]
    verdict = "" if smaller is None else f" (<= {smaller:g}: {'holds' if share <= smaller else 'does not hold'})"
    print(f"{what}: whole {1e3 * median_interval(seconds['whole']).value:.1f} ms")
    print(f"  half the neurons cut:      {_ratio(seconds, 'cut', faster)}; parameters {share:.3f}x{verdict}")
    print(f"  half the weights zero:     {_ratio(seconds, 'zeros', None)}; parameters 1x, stored as before")
    print(f"  the same again (A/A):      {_ratio(seconds, 'again', None)}", flush=True)
    if peer is None:
        print("  Torch-Pruning is not installed: no peer", flush=True)
        return
    print(f"  Torch-Pruning:             {_ratio(seconds, 'peer', None)}; parameters {sum(p.numel() for p in peer.parameters()) / sizes[0]:.3f}x")
    spent = interleaved({"ours": cutting(model, cut_by_us), "theirs": cutting(model, lambda each: cut_by_torch_pruning(each, x, entered))}, CUTS)
    ratio = median_ratio(spent["ours"], spent["theirs"])
    ours, theirs = (1e3 * median_interval(spent[name]).value for name in ("ours", "theirs"))
    print(
        f"  time to cut: ours {ours:.1f} ms, Torch-Pruning {theirs:.1f} ms; "
        f"ours takes {words(ratio)} theirs ({held(ratio, LONGEST, below=True)})",
        flush=True,
    )


def cutting(model: nn.Module, cut: Callable[[nn.Module], Any]) -> Callable[[], None]:
    """A cut of a fresh copy; the copy is in both times."""
    return lambda: cut(copy.deepcopy(model))


def _ratio(seconds: dict[str, list[float]], name: str, reach: float | None) -> str:
    found = median_ratio(seconds["whole"], seconds[name])
    return f"{words(found)} as fast ({held(found, reach)})"


if __name__ == "__main__":
    main(sys.argv[1:])
