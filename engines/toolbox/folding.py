"""Moving a scale of input channels from a layer into what stands before it, exactly: W x = (W s) (x / s), where x / s is what comes out of a
norm, a linear layer or an embedding whose outputs were divided by s.

Which part feeds which layer is watched on a batch, then tried: a fold is kept only where the model gives out what it gave out before.
Shapes: D channels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engines.toolbox.inputs import first_input
from engines.toolbox.packed import stock

TRIED, TRIED_IN_FLOAT = 1e-9, 1e-5
"""What a try may change in the outputs of a copy in double precision, or in single, relative: rounding, and no more."""


@dataclass(frozen=True)
class Fold:
    """A producer whose outputs may be divided by s, and all layers that read them and are multiplied by it."""

    producer: str
    consumers: tuple[str, ...]
    width: int


def divide(module: nn.Module, s_D: Tensor) -> None:
    """The outputs of a norm, linear layer or embedding, over s."""
    with torch.no_grad():
        weight: Any = module.weight
        weight.div_(s_D[:, None].to(weight) if isinstance(module, nn.Linear) else s_D.to(weight))
        bias: Any = getattr(module, "bias", None)
        if bias is not None:
            bias.div_(s_D.to(bias))


def takes(module: nn.Module) -> bool:
    """Whether a layer reads channels that a scale can be multiplied into: of a convolution they do not lie along the last dimension."""
    return isinstance(module, nn.Linear | nn.LSTM | nn.GRU)


def multiply(module: nn.Module, s_D: Tensor) -> None:
    """What a layer multiplies its inputs with, times s along its inputs."""
    weight: Any = module.weight_ih_l0 if isinstance(module, nn.RNNBase) else module.weight
    with torch.no_grad():
        weight.mul_(s_D.to(weight))


def apply(module: nn.Module, fold: Fold, s_D: Tensor) -> None:
    """The fold, in place."""
    divide(module.get_submodule(fold.producer), s_D)
    for name in fold.consumers:
        multiply(module.get_submodule(name), s_D)


def _width(module: nn.Module) -> int | None:
    """Channels that a module gives out and that a scale can be divided into; None where there are none."""
    kind = stock(module)
    if kind is nn.Linear:
        return int(module.out_features)  # type: ignore[arg-type]
    if kind is nn.Embedding and getattr(module, "max_norm", None) is None:
        return int(module.embedding_dim)  # type: ignore[arg-type]
    weight = getattr(module, "weight", None)
    return len(weight) if isinstance(module, nn.LayerNorm | nn.RMSNorm) and weight is not None and weight.dim() == 1 else None


def candidates(module: nn.Module, names: Iterable[str], batch: Any) -> list[Fold]:
    """For each layer of `names` the part whose output it reads; where no part gave out just that tensor, the last one of its width before it."""
    wanted, handles = set(names), []
    given: list[tuple[str, Tensor]] = []
    feeds: dict[str, list[str]] = {}
    guesses: dict[str, list[str]] = {}

    def watch(name: str) -> Any:
        def hook(child: nn.Module, args: Any, named: Any, output: Any) -> None:
            x = first_input(args, named)
            if name in wanted and x is not None:
                fitting = [(who, y) for who, y in given if y.shape[-1] == x.shape[-1]]
                same = [who for who, y in fitting if y.data_ptr() == x.data_ptr() and y.numel() == x.numel()]
                if same:
                    feeds.setdefault(same[-1], []).append(name)
                elif fitting:
                    guesses.setdefault(fitting[-1][0], []).append(name)
            if _width(child) is not None:
                given.append((name, output))  # held, so that its memory is not given to another

        return hook

    for name, child in module.named_modules():
        if name and (name in wanted or _width(child) is not None):
            handles.append(child.register_forward_hook(watch(name), with_kwargs=True))
    try:
        with torch.no_grad():
            module(batch, None)
    finally:
        for handle in handles:
            handle.remove()
    return [
        Fold(who, tuple(dict.fromkeys(readers)), int(_width(module.get_submodule(who)) or 0))
        for who, readers in (guesses | feeds).items()  # what is seen to be read by some is not guessed to be read by others
        if who not in readers
    ]  # fmt: skip


def folds(module: nn.Module, names: Sequence[str], batch: Any) -> list[Fold]:
    """The folds that leave the model as it is, found on a copy in double precision with scales drawn between 1/2 and 2."""
    trial = exactly(module, batch)
    tied = {id(p) for p in _tied(trial)}
    expected = outputs(trial, batch)
    generator = torch.Generator().manual_seed(0)
    kept = []
    for fold in candidates(trial, names, batch):
        parts = [trial.get_submodule(name) for name in (fold.producer, *fold.consumers)]
        if any(id(p) in tied for part in parts for p in part.parameters()):
            continue
        state = [copy.deepcopy(part.state_dict()) for part in parts]
        s_D = torch.exp2(2 * torch.rand(fold.width, generator=generator, dtype=torch.float64) - 1).to(expected.device)
        apply(trial, fold, s_D)
        if equal(outputs(trial, batch), expected):
            kept.append(fold)
        for part, before in zip(parts, state, strict=True):
            part.load_state_dict(before)
    return kept


def _tied(module: nn.Module) -> list[nn.Parameter]:
    """Parameters that stand under several names."""
    seen: dict[int, int] = {}
    for _, parameter in module.named_parameters(remove_duplicate=False):
        seen[id(parameter)] = seen.get(id(parameter), 0) + 1
    return [parameter for parameter in module.parameters() if seen[id(parameter)] > 1]


def exactly(module: nn.Module, batch: Any) -> nn.Module:
    """A copy in evaluation mode to try things on: in double precision, or as it is where the module's own code makes tensors of single precision."""
    trial = copy.deepcopy(module).double().eval()
    try:
        outputs(trial, batch)
    except (RuntimeError, ValueError, TypeError):  # which of them depends on the layer that meets two types
        return copy.deepcopy(module).eval()
    return trial


def equal(found: Tensor, expected: Tensor) -> bool:
    """Whether what a copy gives out is what it gave before, to the rounding of its numbers."""
    allowed = TRIED if found.dtype == torch.float64 else TRIED_IN_FLOAT
    return float((found - expected).abs().max()) <= allowed * float(expected.abs().max())


def outputs(module: nn.Module, batch: Any) -> Tensor:
    """What a model gives out that a wrong change of it would change: its mean loss and, where it has them, log probabilities of the batch."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        loss, count, _, extras = module(batch, None)
        head: Any = getattr(module, "head", None)
        parts = [torch.as_tensor(loss).flatten() / max(1, int(count))]
        if "hidden_ND" in extras and getattr(head, "normalised", False):
            parts.append(head.log_prob(extras["hidden_ND"][:64]).flatten())
    return torch.cat(parts)


def unfolded(names: Sequence[str], found: Sequence[Fold]) -> list[str]:
    """Layers that no fold reaches."""
    reached = {name for fold in found for name in fold.consumers}
    return [name for name in names if name not in reached]


def told(names: Sequence[str], found: Sequence[Fold]) -> str:
    """Which layers were scaled through what, and which could not be."""
    parts = [f"{fold.producer} takes the scale of {', '.join(fold.consumers)}" for fold in found]
    sentence = f"Scaled without changing the model: {'; '.join(parts)}." if parts else ""
    left = unfolded(names, found)
    why = " has no norm, linear layer or embedding of its own before it that could take a scale" if len(left) == 1 else (
        " have no norm, linear layer or embedding of their own before them that could take a scale"
    )  # fmt: skip
    return " ".join(part for part in (sentence, f"{', '.join(left)}{why}: rounded as they are." if left else "") if part)
