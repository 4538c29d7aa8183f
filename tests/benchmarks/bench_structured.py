"""Inference after structured pruning against before, interleaved: half the neurons of a transformer, all hidden layers of an MLP halved; and the
same shares as connection pruning (zeros in the same matrices), which changes nothing.

    python -m tests.benchmarks structured [transformer] [mlp] [rounds=N]

Weights that nobody trained, one thread, float32, evaluation mode, tokens of one call in random order of the arms; the median of the paired
ratios of the rounds with its interval. Parameters are those of the layers (a transformer's table and head are not its neurons').
"""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from engines.api import Site, Trial
from engines.statistics import median_interval, median_ratio
from engines.toolbox import trials
from engines.toolbox.assembly import LanguageModel, Layer
from engines.toolbox.pruning import smallest, weights_of, zero
from engines.toolbox.slicing import narrow, parts_of
from plugins.attention.full import Full
from plugins.feedforward.dense import Dense
from plugins.pruning.structured import Structured
from tests.benchmarks.bench_heads import held, interleaved, words

WIDTH, LAYERS, ROWS, LENGTH = 512, 4, 8, 64
ROUNDS = 30


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
    compare(f"Transformer, {LAYERS} layers of width {WIDTH}, {ROWS} x {LENGTH} tokens", model, lambda each: each.hidden(x_BTD)[0], rounds, 1.5, 0.67)


def mlp(rounds: int) -> None:
    """A user's own chain: 512 - 4 x 1024 - 512 with ReLU."""
    torch.manual_seed(0)
    widths = [WIDTH, *[1024] * 5, WIDTH]
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*parts[:-1]).eval()
    x_ND = torch.randn(256, WIDTH)
    compare(f"MLP {' - '.join(map(str, widths))}, {len(x_ND)} rows", model, lambda each: each(x_ND), rounds, 3.3, None)


def compare(what: str, model: nn.Module, run: Callable[[Any], Any], rounds: int, faster: float, smaller: float | None) -> None:
    cut, zeros = copy.deepcopy(model), copy.deepcopy(model)
    technique = Structured(neurons=0.5, criterion="magnitude")
    parts = parts_of(cut).parts
    neurons = [part for part in parts if part.kind == "neurons"]
    for part in neurons:
        kept = technique._kept(cut, [part], [])
        narrow(cut, part, kept[part.name])
    matrices = {slab.module for part in neurons for slab in part.slabs}
    weights = {name: each for name, each in weights_of(zeros, ["Linear"], ["*"], []).items() if name.rpartition(".")[0] in matrices}
    zero(weights, smallest({name: each.detach().abs() for name, each in weights.items()}, 0.5, "layer"))
    sizes = [sum(p.numel() for p in each.parameters()) for each in (model, cut)]
    seconds = interleaved({"whole": lambda: run(model), "again": lambda: run(model), "cut": lambda: run(cut), "zeros": lambda: run(zeros)}, rounds)
    share = sizes[1] / sizes[0]
    verdict = "" if smaller is None else f" (<= {smaller:g}: {'holds' if share <= smaller else 'does not hold'})"
    print(f"{what}: whole {1e3 * median_interval(seconds['whole']).value:.1f} ms")
    print(f"  half the neurons cut:      {_ratio(seconds, 'cut', faster)}; parameters {share:.3f}x{verdict}")
    print(f"  half the weights zero:     {_ratio(seconds, 'zeros', None)}; parameters 1x, stored as before")
    print(f"  the same again (A/A):      {_ratio(seconds, 'again', None)}", flush=True)


def _ratio(seconds: dict[str, list[float]], name: str, reach: float | None) -> str:
    found = median_ratio(seconds["whole"], seconds[name])
    return f"{words(found)} as fast ({held(found, reach)})"


if __name__ == "__main__":
    main(sys.argv[1:])
