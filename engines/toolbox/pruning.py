"""What pruning techniques share: which weights may go, which of them go, and keeping them away while training goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import nn

Prunable = Literal["Linear", "LSTM", "GRU", "Embedding", "Conv1d"]
Scope = Literal["layer", "global"]

TYPES: dict[str, type[nn.Module]] = {"Linear": nn.Linear, "LSTM": nn.LSTM, "GRU": nn.GRU, "Embedding": nn.Embedding, "Conv1d": nn.Conv1d}


def weights_of(module: nn.Module, types: Iterable[Prunable], include: Sequence[str], exclude: Sequence[str]) -> dict[str, nn.Parameter]:
    """The matrices of all children of these types whose full name ("layers.0.mixer.lstm.weight_hh_l0") matches a pattern of `include` and
    none of `exclude`. Vectors (biases, gains) never. A tied weight stands here once, under the first name that qualifies."""
    kinds = tuple(TYPES[name] for name in types)
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for prefix, child in module.named_modules():
        if not isinstance(child, kinds):
            continue
        for own, parameter in child.named_parameters(recurse=False):
            name = f"{prefix}.{own}" if prefix else own
            wanted = any(fnmatchcase(name, pattern) for pattern in include) and not any(fnmatchcase(name, pattern) for pattern in exclude)
            if parameter.ndim > 1 and wanted and id(parameter) not in seen:
                seen.add(id(parameter))
                found[name] = parameter
    return found


def smallest(scores: Mapping[str, torch.Tensor], sparsity: float, scope: Scope) -> dict[str, torch.Tensor]:
    """Which entries have the smallest scores: bool tensors, exactly round(sparsity * size) True in each tensor ("layer") or together ("global").

    A count, not a threshold: among equal scores a threshold would take too many.
    """
    if scope == "layer":
        return {name: _smallest_of(score.flatten(), sparsity).view_as(score) for name, score in scores.items()}
    home = next(iter(scores.values())).device
    together = _smallest_of(torch.cat([score.flatten().to(home) for score in scores.values()]), sparsity)
    parts = torch.split(together, [score.numel() for score in scores.values()])
    return {name: part.view_as(score).clone().to(score.device) for (name, score), part in zip(scores.items(), parts, strict=True)}


def _smallest_of(score: torch.Tensor, sparsity: float) -> torch.Tensor:
    chosen = torch.zeros_like(score, dtype=torch.bool)
    chosen[torch.topk(score, k=round(sparsity * score.numel()), largest=False).indices] = True
    return chosen


def cubic(share: float, final: float) -> float:
    """s_t = s_f (1 - (1 - share)^3): steep while many weights are superfluous, flat at the end. Zhu and Gupta (2017), with s_0 = 0."""
    return final * (1 - (1 - min(1.0, max(0.0, share))) ** 3)


@torch.no_grad()
def zero(weights: Mapping[str, nn.Parameter], removed: Mapping[str, torch.Tensor], *, gradients: bool = False) -> None:
    """Set the removed weights (or their gradients) to zero. Filled, not multiplied, so that no -0.0 and no NaN stays."""
    for name, where in removed.items():
        tensor = weights[name].grad if gradients else weights[name]
        if tensor is not None:
            tensor.masked_fill_(where.to(tensor.device), 0.0)  # a resumed mask comes on the run's device, a placed part may be elsewhere


def sparsity_sentence(module: nn.Module, weights: Mapping[str, nn.Parameter]) -> tuple[str, dict[str, float]]:
    """What is zero now, of the weights that could go and of the whole model: a sentence and its figures."""
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    size = sum(weight.numel() for weight in weights.values())
    everything = sum(parameter.numel() for parameter in module.parameters())
    modules = len({name.rpartition(".")[0] for name in weights})
    figures: dict[str, float] = {"zero_weights": zeros, "prunable_weights": size, "parameters": everything, "modules": modules}
    return (
        f"{zeros / max(1, size):.1%} of {size:,} weights in {modules} modules are zero: {zeros / max(1, everything):.1%} of all {everything:,} "
        "parameters. Stored and multiplied like others (simulated): size and speed need a sparse format.",
        figures,
    )
