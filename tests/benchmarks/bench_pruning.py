"""What a cut costs, beside torch.nn.utils.prune on the same weights: the masks and the zeros of all linear layers of a transformer.

    python -m tests.benchmarks pruning [WIDTHS, default 512]

Six layers of four attention matrices (width x width) and two feed-forward ones (width x 4 width), 90% removed, in rounds of random order on
one thread; the median ratio to torch's time of the same round and its interval. torch leaves a mask and a second copy of each weight behind,
which its `remove` folds in; that is part of its time, since ours leaves plain zeros. Scores of other criteria than |w| are no part of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from engines.statistics import median_ratio
from engines.toolbox.pruning_technique import ByCriterion
from engines.toolbox.specimen import Surroundings
from plugins.pruning.magnitude import Magnitude
from plugins.pruning.random import Random
from tests.benchmarks.rounds import interleaved
from tests.benchmarks.rounds import words as told

ROUNDS, AMOUNT = 9, 0.9


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)
    for width in [int(word) for word in wanted] or [512]:
        compare(width)


def layers(width: int) -> nn.Sequential:
    torch.manual_seed(0)
    shapes = 4 * [(width, width)] + [(width, 4 * width), (4 * width, width)]
    return nn.Sequential(*(nn.Linear(*shape) for _ in range(6) for shape in shapes))


def ours(technique: ByCriterion, module: nn.Module) -> None:
    technique.cut(weights := technique.matched(module), dict.fromkeys(weights, AMOUNT), module, Surroundings(module))


def theirs(method: Any, module: nn.Sequential) -> None:
    for child in module:
        method(child, "weight", amount=AMOUNT)
        prune.remove(child, "weight")


def theirs_together(module: nn.Sequential) -> None:
    parts = [(child, "weight") for child in module]
    prune.global_unstructured(parts, pruning_method=prune.L1Unstructured, amount=AMOUNT)
    for part in parts:
        prune.remove(*part)


def compare(width: int) -> None:
    module = layers(width)
    print(f"{sum(p.numel() for p in module.parameters()):,} weights, width {width}, {AMOUNT:.0%} removed")
    pairs: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "magnitude, layer": (lambda: ours(Magnitude(), module), lambda: theirs(prune.l1_unstructured, module)),
        "magnitude, global": (lambda: ours(Magnitude(scope="global"), module), lambda: theirs_together(module)),
        "random, layer": (lambda: ours(Random(), module), lambda: theirs(prune.random_unstructured, module)),
    }
    saved = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for name, (mine, other) in pairs.items():
        seconds = interleaved({"ours": _from(saved, module, mine), "torch": _from(saved, module, other)}, ROUNDS)
        ratio = median_ratio(seconds["ours"], seconds["torch"])
        print(f"    {name:18} {1000 * min(seconds['ours']):8.1f} ms, torch {1000 * min(seconds['torch']):8.1f} ms, ratio {told(ratio)}")


def _from(saved: dict[str, torch.Tensor], module: nn.Module, cut: Callable[[], None]) -> Callable[[], None]:
    """Each cut finds the weights as they were; the copy is in both times."""

    def call() -> None:
        with torch.no_grad():
            for name, tensor in saved.items():
                module.get_parameter(name).copy_(tensor)
        cut()

    return call


if __name__ == "__main__":
    main(sys.argv[1:])
