"""What pruning techniques share: which weights may go, which of them go, and keeping them away while training goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

Prunable = Literal["Linear", "LSTM", "GRU", "Conv1d", "Conv2d", "Embedding"]
WithInputs = Literal["Linear", "LSTM", "GRU", "Conv1d", "Conv2d"]
"""Whose calls show what their matrices are multiplied with."""
Scope = Literal["layer", "global", "row"]
Granularity = Literal["weight", "block", "row", "2:4"]

TYPES: dict[str, type[nn.Module]] = {
    "Linear": nn.Linear, "LSTM": nn.LSTM, "GRU": nn.GRU, "Conv1d": nn.Conv1d, "Conv2d": nn.Conv2d, "Embedding": nn.Embedding,
}  # fmt: skip


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
            wanted = wanted and not own.endswith("_score")  # what a learned mask keeps beside a weight
            if parameter.ndim > 1 and wanted and id(parameter) not in seen:
                seen.add(id(parameter))
                found[name] = parameter
    return found


def smallest(
    scores: Mapping[str, torch.Tensor],
    sparsity: float | Mapping[str, float],
    scope: Scope,
    granularity: Granularity = "weight",
    block: tuple[int, int] = (1, 1),
) -> dict[str, torch.Tensor]:
    """Which entries have the smallest scores: bool tensors, exactly round(sparsity * n) groups of entries True among the n of each tensor
    ("layer"), of all together ("global") or of each row of a tensor ("row"). sparsity: one for all, or (but for "global") one for each tensor.

    granularity: a group is one entry, a block of (rows, columns), cut smaller at the edges, or an output row; its score is the mean of its
    entries. "2:4": the two smallest of each four neighbours in a row, whatever sparsity and scope say. Tensors with more than two dimensions are
    matrices with one row an output. A count, not a threshold: among equal scores a threshold would take too many.
    """
    if granularity == "weight":
        return _smallest(scores, sparsity, scope)
    if granularity == "2:4":
        return {name: two_of_four(score.flatten(1)).view_as(score) for name, score in scores.items()}
    matrices = {name: score.flatten(1) for name, score in scores.items()}
    sizes = {name: block if granularity == "block" else (1, matrix.shape[1]) for name, matrix in matrices.items()}
    pooled = {name: _block_means(matrix, sizes[name]) for name, matrix in matrices.items()}
    chosen = _smallest(pooled, sparsity, scope)
    return {name: _spread(chosen[name], sizes[name], matrix).view_as(scores[name]) for name, matrix in matrices.items()}


def _smallest(scores: Mapping[str, torch.Tensor], sparsity: float | Mapping[str, float], scope: Scope) -> dict[str, torch.Tensor]:
    each = {name: sparsity[name] if isinstance(sparsity, Mapping) else sparsity for name in scores}
    if scope == "row":
        return {name: _smallest_of(score.flatten(1), each[name]).view_as(score) for name, score in scores.items()}
    if scope == "layer" or not scores:
        return {name: _smallest_of(score.flatten(), each[name]).view_as(score) for name, score in scores.items()}
    (one,) = set(each.values())
    home = next(iter(scores.values())).device
    together = _smallest_of(torch.cat([score.flatten().to(home) for score in scores.values()]), one)
    parts = torch.split(together, [score.numel() for score in scores.values()])
    return {name: part.view_as(score).clone().to(score.device) for (name, score), part in zip(scores.items(), parts, strict=True)}


def _smallest_of(score: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Along the last dimension."""
    chosen = torch.zeros_like(score, dtype=torch.bool)
    return chosen.scatter_(-1, torch.topk(score, k=round(sparsity * score.shape[-1]), largest=False).indices, True)


def _block_means(matrix: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    size = (min(size[0], matrix.shape[0]), min(size[1], matrix.shape[1]))
    return F.avg_pool2d(matrix[None].float(), size, size, ceil_mode=True, count_include_pad=False)[0]


def _spread(chosen: torch.Tensor, size: tuple[int, int], like: torch.Tensor) -> torch.Tensor:
    """Each group's choice for each of its entries."""
    wide = chosen.repeat_interleave(size[0], dim=0).repeat_interleave(size[1], dim=1)
    return wide[: like.shape[0], : like.shape[1]].contiguous()


def two_of_four(score_OI: torch.Tensor) -> torch.Tensor:
    """True at the two smallest scores of each four neighbours in a row, the first of equal ones: what 2:4 removes. Up to three numbers at the end
    of a row whose length is no multiple of four stay."""
    columns = score_OI.shape[-1] // 4 * 4
    fours = score_OI[..., :columns].unflatten(-1, (-1, 4))
    removed = torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, fours.argsort(dim=-1, stable=True)[..., :2], True)
    return F.pad(removed.flatten(-2), (0, score_OI.shape[-1] - columns))


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
    shares = {name: float((weight == 0).float().mean()) for name, weight in weights.items()}
    figures |= {f"sparsity of {name}": share for name, share in shares.items()}
    low, high = min(shares, key=shares.__getitem__, default=""), max(shares, key=shares.__getitem__, default="")
    spread = f" From {shares[low]:.1%} ({low}) to {shares[high]:.1%} ({high})." if shares and shares[high] - shares[low] > 0.005 else ""
    return (
        f"{zeros / max(1, size):.1%} of {size:,} weights in {modules} modules are zero: {zeros / max(1, everything):.1%} of all {everything:,} "
        f"parameters.{spread} Stored and multiplied like others (simulated): size and speed need a sparse format.",
        figures,
    )


def overall(weights: Mapping[str, torch.Tensor], sparsity: Mapping[str, float]) -> float:
    """The share of all these weights together."""
    return sum(sparsity[name] * weight.numel() for name, weight in weights.items()) / max(1, sum(weight.numel() for weight in weights.values()))


def shared_with(module: nn.Module, weights: Mapping[str, nn.Parameter]) -> list[tuple[str, str]]:
    """(name of a weight, another name that it goes by in the model)."""
    first = {id(weight): name for name, weight in weights.items()}
    everything = module.named_parameters(remove_duplicate=False)
    return [(first[id(weight)], name) for name, weight in everything if id(weight) in first and name != first[id(weight)]]


def sparsity_after(share: float, final: float) -> float:
    """Sparsity when `share` of the rounds are done and each round removes the same share of what is left: 1 - (1 - s_f)^share."""
    return 1 - (1 - final) ** share
