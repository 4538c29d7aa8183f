"""Training that sees the rounding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from pydantic import model_validator
from torch import nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.exchanging import exchange
from engines.toolbox.fake import FakeInput, FakeWeight
from engines.toolbox.integer import ACTIVATIONS, StaticInt8Linear
from engines.toolbox.optimization import largest_difference
from engines.toolbox.packed import StoredMatrix, matrices_of
from engines.toolbox.packing import GridPacking, grid_matrices, once_each
from engines.toolbox.quantisers import grid, quantise
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from engines.toolbox.substitution import substitute


class QuantisationAwareTraining(GridPacking):
    """Quantisation-aware training

    Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, section 3; the
    straight-through estimator: Bengio, Leonard and Courville (2013).

    Equations, for each matched weight W, once training has come to the share `begin` of its budget:

        forward:   the layer computes with W^, W rounded to the grid of quantization/weight_only, made anew from W at each call      (1)
        backward:  dL/dW = dL/dW^ where W lies within the grid, else 0                                                               (2)
        inputs:    x^ likewise in 8 bits, its range (low, high) <- (low, high) + m ((min x, max x) - (low, high))                    (3)
        from the share `freeze` of the budget on the ranges of (3) stay as they are                                                  (4)

    The optimiser moves W, in float. At the end W^ is packed as weight_only packs it: the model that is judged is the one that was trained.
    Symbols: W (E, D), m momentum. (3) only where `activations` is set, and then for the inputs of every nn.Linear.
    Cost: a pass over W (and x) more at each call in training; stored and executed as weight_only.
    Does nothing when: no module matches; with begin = 1, and with a budget of nothing, it is weight_only.
    Parameters: those of weight_only, begin, activations, momentum m, freeze.

    activations = true trains for the integer products of quantization/static_int8, and finishes as these: weights in 8 bits, one scale a
    row, ranges as learned. It then asks for bits = 8, symmetric, granularity = "channel", and Linear alone.
    """

    paper: ClassVar[str] = "Jacob et al. (2018), https://arxiv.org/abs/1712.05877; Bengio et al. (2013), https://arxiv.org/abs/1308.3432"

    begin: float = param(0.0, "Share of the budget that is trained in float before rounding sets in.", unit="share", ge=0, le=1)
    activations: bool = param(False, "Round the inputs of layers too, and finish with integer products.")
    momentum: float = param(0.05, "Weight of a step's range in the average of (3).", symbol="m", gt=0, le=1)
    freeze: float = param(0.5, "Share of the budget from which on ranges of inputs stay.", unit="share", ge=0, le=1)

    @model_validator(mode="after")
    def _integer_products_take_one_form(self) -> Self:
        form = (self.bits, self.symmetric, self.granularity, self.types, self.layer_bits)
        if self.activations and form != (8, True, "channel", ("Linear",), {}):
            raise ValueError(
                'activations = true ends in integer products of 8 bits: set bits = 8, symmetric = true, granularity = "channel", types = ["Linear"] '
                "and no layer_bits; or leave activations off."
            )
        return self

    def model(self, module: nn.Module, ctx: Context) -> nn.Module:
        """The same module; matched weights are exchanged around each call by (1), inputs rounded by (3)."""
        self._come_to(ctx)
        for name in matrices_of(module, self.types, self.include, self.exclude)[0]:
            owner, _, own = name.rpartition(".")
            child = module.get_submodule(owner)
            substitute(child, [own], FakeWeight(self.scheme(name), ctx.state))
            if self.activations:
                child.register_forward_pre_hook(FakeInput(owner, ACTIVATIONS, self.momentum, ctx.state), with_kwargs=True)
        return module

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """The update, and whether the next step rounds (1) and its ranges still move (4)."""

        def update_and_look() -> None:
            update()
            self._come_to(ctx)

        return update_and_look

    def _come_to(self, ctx: Context) -> None:
        ctx.state["rounding"] = ctx.progress >= self.begin
        ctx.state["frozen"] = ctx.progress >= self.freeze

    def compress(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> tuple[dict[str, StoredMatrix], str]:
        """The grids that training saw."""
        first = once_each(weights)
        made = {name: quantise(weights[name], self.scheme(name)) for name in dict.fromkeys(first.values())}
        return grid_matrices({name: made[own] for name, own in first.items()}), "Training saw the rounding."

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """Packed weights, or integer layers with the ranges of training."""
        ranges: Mapping[str, torch.Tensor] = ctx.state.get("ranges", {})
        if not self.activations or not ranges:
            return super().finish(module, ctx)
        module.eval()
        weights = 0
        for name, range_ in ranges.items():
            linear: Any = module.get_submodule(name)
            low, high = range_.to(linear.weight.device)
            exchange(module, name, StaticInt8Linear.of(linear, *grid(low, high, ACTIVATIONS), per_channel=True))
            weights += linear.weight.numel()
        ctx.effect(
            f"{weights:,} weights in {len(ranges)} modules and their inputs became int8 on the grids that training saw; products are integer.",
            modules=len(ranges), weights=weights, bits=8,
        )  # fmt: skip
        return module, {"modules": list(ranges)}

    def restore(self, module: nn.Module, record: dict[str, Any]) -> nn.Module:
        """The same structure with room for the weights that a state_dict brings."""
        if "matrices" in record:
            return super().restore(module, record)
        for name in record["modules"]:
            linear: Any = module.get_submodule(name)
            exchange(module, name, StaticInt8Linear.like(linear, per_channel=True))
        return module


@certificate("Without training it is rounding after training: the same outputs before and after packing, and the rounded weights", tolerance=1e-6)
def without_training_is_rounding(trial: Trial) -> float:
    """Largest difference of hidden states, in float32."""
    single = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed)
    technique = QuantisationAwareTraining(bits=3, group_size=5, symmetric=False)
    module: Any = specimen(single).eval()
    rounded, surroundings = copy.deepcopy(module), Surroundings(module)
    for name in matrices_of(rounded, technique.types, ("*",), ())[0]:
        weight = rounded.get_parameter(name)
        weight.data.copy_(quantise(weight, technique.scheme(name)).dense())
    ids_BT = batches(single, 1)[0].inputs_BT
    expected = rounded.hidden(ids_BT)[0]
    technique.model(module, surroundings)
    trained = module.hidden(ids_BT)[0]
    finished: Any = technique.finish(module, surroundings)[0]
    return max(largest_difference(trained, expected), largest_difference(finished.hidden(ids_BT)[0], expected))


@certificate("The gradient of a weight is that of the rounded weight", tolerance=1e-5)
def passes_straight_through(trial: Trial) -> float:
    """Largest difference to a module that holds the rounded weights, relative."""
    technique, batch = QuantisationAwareTraining(bits=4, group_size=5, granularity="group"), batches(trial, 1)[0]
    trained, rounded = specimen(trial), specimen(trial)
    technique.model(trained, Surroundings(trained))
    for name in matrices_of(rounded, technique.types, ("*",), ())[0]:
        weight = rounded.get_parameter(name)
        weight.data.copy_(quantise(weight, technique.scheme(name)).dense())
    backward_of(trained)(batch, None)
    backward_of(rounded)(batch, None)
    return largest_difference(gradients(trained), gradients(rounded)) / float(gradients(rounded).abs().max())


@certificate("Integer layers give what the rounded layers of training gave", tolerance=1e-5)
def integers_equal_training(trial: Trial) -> float:
    """Largest difference of log p at the head, relative, in float32: in other layers a value on the edge of a step may fall to either side."""
    single = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed)
    technique = QuantisationAwareTraining(bits=8, granularity="channel", types=("Linear",), activations=True, include=("head*",))
    module: Any = specimen(single)
    surroundings = Surroundings(module)
    technique.model(module, surroundings)
    hidden_ND = torch.randn(trial.batch * trial.length, trial.width, device=trial.device)
    with torch.no_grad():
        module.train().head.scores(hidden_ND)
        expected = module.eval().head.scores(hidden_ND)
        finished: Any = technique.finish(module, surroundings)[0]
        return largest_difference(finished.head.scores(hidden_ND), expected) / float(expected.abs().max())
