"""Int8 weights and activations, ranges fixed by calibration."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from engines.api import Context, Matches, Technique, Trial, certificate, param
from engines.toolbox.calibration import run
from engines.toolbox.exchanging import exchange
from engines.toolbox.inputs import watched
from engines.toolbox.integer import ACTIVATIONS, StaticInt8Linear, weight_levels
from engines.toolbox.optimization import largest_difference
from engines.toolbox.packed import matrices_of
from engines.toolbox.quantisers import Observer, grid
from engines.toolbox.specimen import Surroundings, batches, specimen


class StaticInt8(Technique):
    """Static int8 quantisation

    Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, section 2.

    Equations, for y = W x + b in every nn.Linear:

        s_w = max|W| / 127,   Q = round(W / s_w)                             (1)  one s_w, or one a row
        s_x, z from the range of x over calibration batches                  (2)  once, by an observer
        q = clamp(round(x / s_x) + z, 0, 255)                                (3)  at each call, in one pass
        y = s_w s_x (Q q - z Q 1) + b                                        (4)  integer products, sums in 32 bits

    Symbols: W (E, D), Q int8 (E, D), q 8 bits, Q 1 the sums of rows, stored.
    Observers of (2): min_max of all values; moving_average of each batch's smallest and largest; percentile, which leaves out a thousandth
    at each end; mse, the range whose grid leaves the least squared error on a sample.
    Cost: calibration passes without gradients. A quarter of the bytes of W and integer products; unlike dynamic int8 no pass over x for its
    range. What lies outside (2) is clamped.
    Does nothing when: no nn.Linear matches (it then says so). One that calibration never reached stays float.
    Parameters: per_channel, observer, batches, include, exclude.

    torch has no static kernel for nn.LSTM: those stay float here. Figures do not depend on how many rows are judged at once.
    """

    paper: ClassVar[str] = "Jacob et al. (2018), https://arxiv.org/abs/1712.05877"
    replaces: ClassVar[tuple[str, ...]] = ("Linear",)
    after: ClassVar[tuple[str, ...]] = ("pruning/magnitude", "pruning/structured")

    per_channel: bool = param(True, "One scale for each output row of a matrix instead of one for the matrix.")
    observer: Literal["min_max", "moving_average", "percentile", "mse"] = param("min_max", "How the range of activations is chosen.")
    batches: int = param(16, "Training batches that are read for calibration.", ge=1)
    include: tuple[str, ...] = param(("*",), "Patterns over full module names (* matches anything); one must match.")
    exclude: tuple[str, ...] = param((), "Patterns over full module names; none may match.")

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches:
        weights, skipped = matrices_of(module, ("Linear",), self.include, self.exclude)
        return Matches(tuple(weights), tuple(f"{each} is skipped." for each in skipped))

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The module with its Linear children exchanged; the record names them."""
        module.eval()
        found, skipped = matrices_of(module, ("Linear",), self.include, self.exclude)
        observers: dict[str, Observer] = {}
        texts = ctx.calibration(self.batches) if found else []
        with watched(module, list(found), lambda name, x_ND: observers.setdefault(name, Observer(self.observer, ACTIVATIONS)).observe(x_ND)):
            run(module, texts)
        skipped += [f"{name} (calibration shows none of its inputs)" for name in found if name not in observers]
        said = f" Left in float: {', '.join(skipped)}." if skipped else ""
        if not observers:
            ctx.effect(f"Nothing was quantised: no nn.Linear matches that calibration reaches.{said}")
            return module, {"modules": []}
        weights, figures = 0, dict[str, float]()
        forms = {}
        for name, observer in observers.items():
            owner = name.rpartition(".")[0]
            linear: Any = module.get_submodule(owner)
            scale, zero = grid(*observer.range(), ACTIVATIONS)  # (2)
            forms[owner] = StaticInt8Linear.of(linear, scale, zero, per_channel=self.per_channel)
            weights += linear.weight.numel()
            figures[f"range {owner}"] = float(scale) * ACTIVATIONS.top
        errors = self._errors(module, forms, texts[0])
        for owner, form in forms.items():
            exchange(module, owner, form)
        worst = max(errors, key=errors.__getitem__)
        ctx.effect(
            f"{weights:,} weights in {len(forms)} modules and their inputs became int8 (observer {self.observer}, {len(texts)} batches); products "
            f"are integer. Error of what a layer gives out: {sum(errors.values()) / len(errors):.2%} in the mean, at most {errors[worst]:.2%} "
            f"({worst}).{said}",
            modules=len(forms), weights=weights, bits=8, **figures, **{f"error {name}": value for name, value in errors.items()},
        )  # fmt: skip
        return module, {"modules": list(forms), "per_channel": self.per_channel}

    def restore(self, module: nn.Module, record: dict[str, Any]) -> nn.Module:
        """The same structure with room for the weights that a state_dict brings."""
        for name in record["modules"]:
            linear: Any = module.get_submodule(name)
            exchange(module, name, StaticInt8Linear.like(linear, per_channel=record["per_channel"]))
        return module

    def _errors(self, module: nn.Module, forms: dict[str, StaticInt8Linear], batch: Any) -> dict[str, float]:
        """|y - y of the float layer| over |y|, on the same inputs, of one calibration batch."""
        sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in forms}

        def take(name: str, x_ND: torch.Tensor) -> None:
            owner = name.rpartition(".")[0]
            y = nn.functional.linear(x_ND, module.get_submodule(owner).get_parameter("weight"))
            bias = forms[owner].bias
            ours = forms[owner](x_ND) - (0 if bias is None else bias)
            sums[owner][0] += float((ours - y).double().square().sum())
            sums[owner][1] += float(y.double().square().sum())

        with watched(module, [f"{name}.weight" for name in forms], take):
            run(module, [batch])
        return {name: (wrong / whole) ** 0.5 if whole else 0.0 for name, (wrong, whole) in sums.items()}


@certificate("(4) is the product of the rounded weights with the rounded inputs, for one scale and one a row, in 32-bit sums", tolerance=1e-5)
def equals_the_float_product_of_levels(trial: Trial) -> float:
    """Largest difference to double-precision products of dequantised weights and inputs, relative; clamped inputs among them."""
    torch.manual_seed(trial.seed)
    error = 0.0
    for per_channel, bias in itertools.product((True, False), (True, False)):
        linear = nn.Linear(trial.width, trial.vocabulary, bias=bias, device=trial.device)
        x = 3 * torch.randn(trial.batch, trial.length, trial.width, device=trial.device) + 1
        scale, zero = grid(x.amin() / 2, x.amax() / 2, ACTIVATIONS)
        form = StaticInt8Linear.of(linear, scale, zero, per_channel=per_channel)
        levels, scale_w = weight_levels(linear.weight, per_channel)
        rounded = scale.double() * ((torch.round(x * (1 / scale)) + zero).clamp(0, 255) - zero).double()
        y = rounded @ (levels.double() * scale_w).T + (0 if linear.bias is None else linear.bias)
        error = max(error, largest_difference(form(x), y) / float(y.detach().abs().max()))
    return error


@certificate("A row by itself gives what it gives among others", tolerance=0.0)
def rows_do_not_depend_on_one_another(trial: Trial) -> float:
    """Largest difference of a row by itself and among others."""
    torch.manual_seed(trial.seed)
    linear = nn.Linear(trial.width, trial.vocabulary, device=trial.device)
    x = torch.randn(trial.length, trial.width, device=trial.device)
    form = StaticInt8Linear.of(linear, *grid(x.amin(), x.amax(), ACTIVATIONS), per_channel=True)
    return largest_difference(torch.cat([form(row[None]) for row in x]), form(x))


@certificate("A model that is saved and restored computes bit-equally", tolerance=0.0)
def restores(trial: Trial) -> float:
    """Largest difference of hidden states, in float32."""
    single = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed)
    module: Any = specimen(single, tied=True).eval()
    fresh = copy.deepcopy(module)
    surroundings: Any = Surroundings(module)
    surroundings.calibration = lambda count: batches(single, count)
    finished: Any
    finished, record = StaticInt8(batches=2).finish(module, surroundings)
    restored: Any = StaticInt8().restore(fresh, record).eval()
    restored.to(trial.device).load_state_dict(finished.state_dict())
    ids_BT = batches(single, 1)[0].inputs_BT
    return largest_difference(restored.hidden(ids_BT)[0], finished.hidden(ids_BT)[0])
