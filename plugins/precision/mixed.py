"""Training in 16-bit arithmetic with 32-bit weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.optimization import gradient_values, largest_difference, trainable
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen

FIRST_SCALE = 2.0**16
SMALLEST_SCALE = 2.0**-14
"""The smallest normal number of fp16. A gradient that overflows even so is past 10^9 or not finite at all: no scale mends that."""
GROWTH_INTERVAL = 2000
"""Updates in a row without overflow after which the scale is doubled; both as in torch.amp.GradScaler."""


class Mixed(Technique):
    """Mixed precision

    Micikevicius et al. (2018), Mixed Precision Training; bf16: Kalamkar et al. (2019), A Study of BFLOAT16 for Deep Learning Training.

    Equations: matrix products read and write 16-bit numbers, weights w, their gradients and sums stay in 32 bits (torch.autocast). fp16 has
    5 bits of exponent: small gradients vanish unless the loss is scaled by s,

        g = grad(s l) / s                                              (1)
        where g is finite:  w <- update(w, g); after k such updates in a row  s <- 2 s     (2)
        where g overflowed: w stays; s <- max(s / 2, s_0)                                  (3)

    bf16 has the exponent of float32 and needs no scale: (1) to (3) are skipped.
    Symbols: l loss, s scale (2^16 at first, powers of two, so that dividing is exact), k = 2000, s_0 = 2^-14. Training ends where g overflows
    at s_0.
    Cost: a cast a weight and step; half the memory of most activations. With fp16 one read of a number from the device a step, for (3).
    Does nothing when: the model has no matrix products, or the device has no 16-bit arithmetic; there it is slower than float32.
    Parameters: dtype, bf16 or fp16.

    Gradients are divided by s as they arrive at each weight, so that clipping, accumulation and pruning see true gradients in any order.
    The finished model has 32-bit weights and is judged in 32 bits.
    """

    paper: ClassVar[str] = (
        "Micikevicius et al. (2018), Mixed Precision Training, https://arxiv.org/abs/1710.03740; "
        "Kalamkar et al. (2019), A Study of BFLOAT16 for Deep Learning Training, https://arxiv.org/abs/1905.12322"
    )

    dtype: Literal["bf16", "fp16"] = param("bf16", "Number format of matrix products; fp16 only on CUDA.")

    def loss(self, loss_of: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """The forward pass under autocast. The backward pass follows the formats of the forward pass by itself."""
        device = ctx.device.type
        if self.dtype == "fp16" and device != "cuda":
            raise ValueError(
                f'precision/mixed was asked for fp16 on {device}, where recurrent and other kernels exist only in bf16: set dtype = "bf16".'
            )
        ctx.effect(f"Matrix products in {self.dtype}; weights, their gradients and the optimizer in {_held(ctx.model)}.{_warning(ctx.device)}")
        half = torch.bfloat16 if self.dtype == "bf16" else torch.float16

        def in_half(batch: Any, state: Any) -> tuple[torch.Tensor, int, Any, dict[str, Any]]:
            with torch.autocast(device, dtype=half):
                loss_sum, count, state, extras = loss_of(batch, state)
            return loss_sum.float(), count, state, extras

        return in_half

    def gradient(self, forward_backward: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """Equation (1), for fp16."""
        if self.dtype == "bf16":
            return forward_backward
        state = ctx.state
        state.setdefault("scale", FIRST_SCALE)
        state.setdefault("clean", 0)
        for parameter in trainable(ctx.model):
            parameter.register_hook(lambda g: g / state["scale"])

        def scaled(batch: Any, carried: Any, count: int | None = None, scale: float | torch.Tensor = 1.0) -> Any:
            return forward_backward(batch, carried, count=count, scale=scale * state["scale"])

        return scaled

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """Equations (2) and (3), for fp16."""
        if self.dtype == "bf16":
            return update
        parameters, state = trainable(ctx.model), ctx.state

        def update_where_finite() -> None:
            norm = torch.nn.utils.get_total_norm(gradient_values(parameters))
            before = state["scale"]
            if bool(norm.isfinite()):
                update()
                state["clean"] += 1  # (2)
                if state["clean"] == GROWTH_INTERVAL:
                    state["scale"], state["clean"] = before * 2, 0
            else:
                ctx.optimizer.zero_grad(set_to_none=True)
                state["scale"], state["clean"] = max(before / 2, SMALLEST_SCALE), 0  # (3)
                if before <= SMALLEST_SCALE:
                    ctx.stop(
                        f"gradients are not finite even with the loss scaled by {before:g}, so every update would be skipped: training has diverged. "
                        'Use dtype = "bf16", a smaller learning rate, or optimization/clip_norm.'
                    )
            if state["scale"] != before:
                ctx.log("loss_scale", state["scale"])

        return update_where_finite


def _held(module: nn.Module) -> str:
    """The number formats of a module's parameters."""
    return ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in module.parameters()}))


def _warning(device: torch.device) -> str:
    """What stands against a gain on this device, as far as it can be known."""
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        if not any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16")):
            return " This processor has no bf16 instructions: expect it to be slower than float32."
    elif device.type == "cuda" and torch.cuda.get_device_capability(device) < (7, 0):
        return " This GPU has no 16-bit matrix units."
    return ""


@certificate("Scaling the loss by s and dividing the gradients by s is exact, for any number of passes before an update", tolerance=0.0)
def scaling_is_exact(trial: Trial) -> float:
    """Largest difference of gradients with and without the scale, over two accumulated passes (in the trial's own number format,
    float16 excepted)."""
    if trial.dtype == "float16":
        # The technique keeps weights and their gradients in 32 bits; in 16 the scale alone would be past the largest number.
        trial = Trial(**{**vars(trial), "dtype": "float32"})
    module, scaled_module = specimen(trial), specimen(trial)
    technique = Mixed(dtype="fp16")
    plain, scaled = backward_of(module), technique.gradient(backward_of(scaled_module), Surroundings(scaled_module))
    for batch in batches(trial, 2):
        plain(batch, None)
        scaled(batch, None)
    return largest_difference(gradients(module), gradients(scaled_module))


@certificate("bf16 changes the loss by less than 2% and keeps gradients in 32 bits", tolerance=0.02)
def loss_is_close(trial: Trial) -> float:
    """Relative difference of the loss; infinite where gradients lost their format."""
    module = specimen(Trial(**{**vars(trial), "dtype": "float32"}))
    batch = batches(trial, 1)[0]
    expected, *_ = module(batch, None)
    ours, *_ = Mixed().loss(module, Surroundings(module))(batch, None)
    ours.backward()
    return abs(float(ours.detach() / expected.detach()) - 1) if gradients(module).dtype == torch.float32 else float("inf")
