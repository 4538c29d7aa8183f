"""Int8 weights, activations quantised as they arrive."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
from torch import nn

from engines.api import Context, Matches, Technique, Trial, certificate, param
from engines.toolbox.exchanging import exchange
from engines.toolbox.int8 import dequantise, int8_form, quantise, reason_against
from engines.toolbox.optimization import largest_difference
from engines.toolbox.packed import bytes_of
from engines.toolbox.specimen import Surroundings, batches, specimen


class DynamicInt8(Technique):
    """Dynamic int8 quantisation

    Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference; the dynamic form is
    that of torch.ao.quantization.quantize_dynamic, whose outputs these equal.

    Equations, for y = W x + b in every nn.Linear and in the gates of every nn.LSTM:

        s_w = max|W| / 127.5,   Q = clamp(round(W / s_w), -128, 127)         (1)  once, after training; one s_w or one a row
        s_x, z_x from min and max of x,   q = round(x / s_x) + z_x           (2)  at each call, over the whole input
        y = s_w s_x (Q q - z_x Q 1) + b                                      (3)  integer products, sums in 32 bits

    Symbols: W (E, D), Q int8 (E, D), q in 7 bits (products of 8 could overflow on processors without VNNI).
    Cost: none in training; (2) is a pass over the input. A quarter of the bytes of W; faster where reading W or multiplying by it is what
    takes time, so for wide layers, and on processors with VNNI.
    Does nothing when: the model has no nn.Linear and no nn.LSTM that matches (it then says so).
    Parameters: per_channel, include, exclude.

    Embeddings stay in float32. A head that is tied to one gets an int8 copy of the table, so the file grows by that copy while the product
    gets cheaper; exclude "head*" to keep the one table. (2) takes one range for all rows of a call, so a figure depends slightly on how
    many rows are judged at once. The kernels are the CPU's: the finished model lives there, wherever it was trained.
    """

    paper: ClassVar[str] = "Jacob et al. (2018), https://arxiv.org/abs/1712.05877"
    replaces: ClassVar[tuple[str, ...]] = ("Linear", "LSTM")
    after: ClassVar[tuple[str, ...]] = ("pruning/magnitude", "pruning/structured")

    per_channel: bool = param(False, "One scale for each output row of a matrix instead of one for the matrix.")
    include: tuple[str, ...] = param(("*",), "Patterns over full module names (* matches anything); one must match.")
    exclude: tuple[str, ...] = param((), "Patterns over full module names; none may match.")

    @classmethod
    def unavailable(cls) -> str:
        if all(engine == "none" for engine in torch.backends.quantized.supported_engines):
            return "This build of torch has no int8 kernels for the CPU (torch.backends.quantized.supported_engines is empty)."
        return ""

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The module on the CPU with its Linear and LSTM children exchanged; the record names them."""
        module = module.to("cpu").eval()
        bytes_before = bytes_of(module)
        names, skipped = self._matches(module)
        weights = sum(p.numel() for name in names for p in module.get_submodule(name).parameters() if p.ndim > 1)
        tied = _tied(module, names)
        for name in names:
            exchange(module, name, int8_form(module.get_submodule(name), self.per_channel))
        sentence = _sentence(module, names, skipped, tied, weights, bytes_before)
        ctx.effect(sentence, modules=len(names), weights=weights, bits=8, bytes_before=bytes_before)
        return module, {"modules": names, "per_channel": self.per_channel}

    def restore(self, module: nn.Module, record: dict[str, Any]) -> nn.Module:
        """The same structure with room for the weights that a state_dict brings."""
        for name in record["modules"]:
            exchange(module, name, int8_form(module.get_submodule(name), record["per_channel"], empty=True))
        return module

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches:
        names, skipped = self._matches(module)
        return Matches(tuple(names), tuple(f"{each} is skipped." for each in skipped))

    def _matches(self, module: nn.Module) -> tuple[list[str], list[str]]:
        """Names of the modules to exchange, and sentences about those that match but cannot be."""
        names, skipped = [], []
        for name, child in module.named_modules():
            wanted = any(fnmatchcase(name, p) for p in self.include) and not any(fnmatchcase(name, p) for p in self.exclude)
            reason = reason_against(child)
            if wanted and name and reason is None:
                names.append(name)
            elif wanted and reason:
                skipped.append(f"{name} ({reason})")
        return names, skipped


def _tied(module: nn.Module, names: list[str]) -> list[tuple[str, str]]:
    """(module to exchange, other module) for every weight that both hold."""
    holders = {id(p): name for name in names for p in module.get_submodule(name).parameters(recurse=False) if p.ndim > 1}
    return [
        (holders[id(p)], other)
        for other, child in module.named_modules()
        if other not in names
        for p in child.parameters(recurse=False)
        if id(p) in holders
    ]


def _sentence(module: nn.Module, names: list[str], skipped: list[str], tied: list[tuple[str, str]], weights: int, bytes_before: int) -> str:
    if not names:
        why = f" Skipped: {', '.join(skipped)}." if skipped else ""
        return f"Nothing was quantised: no nn.Linear and no nn.LSTM of the model matched.{why}"
    left = sum(p.numel() for p in module.parameters() if p.dtype != torch.int8)
    parts = [
        f"{weights:,} weights in {len(names)} modules became int8: {bytes_before / 2**20:.2f} MiB became {bytes_of(module) / 2**20:.2f} MiB.",
        f"{left:,} parameters (embeddings, biases, norms) stay as they were.",
        *(f"{other} keeps the float table that {name} was tied to; {name} has its own int8 copy." for name, other in tied),
        *([f"Skipped: {', '.join(skipped)}."] if skipped else []),
    ]
    return " ".join(parts)


@certificate("An int8 weight is at most half a step from its float weight, with one scale and with one a row", tolerance=1e-4)
def half_a_step(trial: Trial) -> float:
    """By how much the largest error exceeds half a step, in steps."""
    torch.manual_seed(trial.seed)
    weight_ED = torch.randn(trial.vocabulary, trial.width)
    excess = 0.0
    for per_channel in (False, True):
        levels, scale = quantise(weight_ED, per_channel)
        steps = (weight_ED - dequantise(levels, scale)).abs() / (scale[:, None] if per_channel else scale)
        excess = max(excess, float(steps.max()) - 0.5)
    return excess


@certificate("A model that is saved and restored computes bit-equally", tolerance=0.0)
def restores(trial: Trial) -> float:
    """Largest difference of hidden states and log p after state_dict, restore and load; on the CPU, in float32."""
    cpu = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, "cpu", "float32", trial.seed)
    module: Any = specimen(cpu, tied=True)
    technique = DynamicInt8(per_channel=True)
    fresh = copy.deepcopy(module)
    finished: Any
    finished, record = technique.finish(module, Surroundings(module))
    restored: Any = technique.restore(fresh, record).eval()
    restored.load_state_dict(finished.state_dict())
    error = 0.0
    for batch in batches(cpu, 1):
        ours, theirs = (model.hidden(batch.inputs_BT)[0].flatten(0, 1) for model in (restored, finished))
        error = max(error, largest_difference(ours, theirs), largest_difference(restored.head.log_prob(ours), finished.head.log_prob(theirs)))
    return error
