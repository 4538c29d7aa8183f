"""Parts of the model on devices of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import field_validator
from torch import nn

from engines.api import Context, Numerics, Technique, Trial, certificate, param
from engines.toolbox.optimization import largest_difference
from engines.toolbox.placement import Ledger, ledger_of, outermost, place, torn
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen

LOG_EVERY = 50
"""Updates between two logged counts."""


class DevicePlacement(Technique):
    """Placement of parts on devices

    Operation placement as in Mirhoseini et al. (2017), Device Placement Optimization with Reinforcement Learning; here the user places.

    Equations, for a part f whose weights lie on device d, called with x from device h:

        y = to_h(f(to_d(x)))                                            (1)
        bytes a step = sum over calls of |x| + |y| and of their gradients    (2)  only where d is not h

    Symbols: |x| bytes of a tensor; h is the run's device for parts of the model itself.
    Cost: (2), at the speed of the bus, and waiting on both sides; memory of d instead of h. Two neighbouring parts on d each go through h.
    Does nothing when: every part is where the run is anyway (it then says so), or no part matches.
    Parameters: parts, from patterns over module names to devices.

    A large embedding or head on the CPU frees the GPU's memory for the rest; a small one may be no slower there. Weights that are tied
    cannot be torn between two devices. The finished model is judged whole, on one device.
    """

    paper: ClassVar[str] = "Mirhoseini et al. (2017), https://arxiv.org/abs/1706.04972"
    numerics: ClassVar[Numerics] = "close"

    parts: dict[str, str] = param(
        {"embedding": "cpu"}, 'Pattern over module names (* matches anything) -> device: "cpu", "cuda", "cuda:1", "mps". A later match wins.'
    )

    @field_validator("parts")
    @classmethod
    def _devices_are_known(cls, parts: dict[str, str]) -> dict[str, str]:
        for pattern, device in parts.items():
            if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
                raise ValueError(f'"{pattern}" is placed on "{device}", which is no device: use "cpu", "cuda", "cuda:0", "cuda:1" ... or "mps".')
        return parts

    def model(self, module: nn.Module, ctx: Context) -> nn.Module:
        """The same module, its parts moved and their entrances guarded by (1)."""
        placed: dict[str, torch.device] = {}
        for pattern, device in self.parts.items():
            names = outermost(module, pattern)
            if not names:
                ctx.effect(f'Nothing was placed on {device}: no part of the model matches "{pattern}".')
            placed |= {name: _usable(pattern, device) for name in names}
        _refuse_nesting(placed)
        for one, other in torn(module, placed, ctx.device):
            raise ValueError(
                f"placement/device would tear {one} from {other}, which is the same tensor (tied): place both parts on one device or untie them."
            )
        ledger = Ledger()
        for name, there in placed.items():
            if _same(there, ctx.device):
                ctx.effect(f"{name} is on {ctx.device} already, where the run is: nothing was moved.")
                continue
            part = module.get_submodule(name)
            size = sum(p.numel() * p.element_size() for p in part.parameters())
            place(part.to(there), ledger)
            ctx.effect(f"{name} ({size / 2**20:.1f} MiB of weights) was moved to {there}; the run is on {ctx.device}.", weight_bytes=size)
        return module

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """The same update; what crossed in this step, equation (2), is read afterwards."""
        ledger = ledger_of(ctx.model)
        if ledger is None:
            return update
        stated = False

        def counted() -> None:
            nonlocal stated
            update()
            if not stated:
                stated = True
                ctx.effect(f"{ledger.transfers} tensors of {ledger.bytes / 2**20:.2f} MiB together cross between devices in a step.")
            if ctx.step % LOG_EVERY == 0:
                ctx.log("transfers", ledger.transfers, "a step")
                ctx.log("transferred", ledger.bytes / 2**20, "MiB a step")
            ledger.clear()

        return counted


def _usable(pattern: str, name: str) -> torch.device:
    """The device, or a sentence where this machine has none such."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'placement/device was asked to put "{pattern}" on {name}, but torch finds no CUDA GPU on this machine: place it on "cpu".')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f'placement/device was asked to put "{pattern}" on {name}, but this machine has {torch.cuda.device_count()} CUDA GPUs, '
            f"cuda:0 to cuda:{torch.cuda.device_count() - 1}."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f'placement/device was asked to put "{pattern}" on mps, but torch finds no Apple GPU on this machine: place it on "cpu".')
    return device


def _same(one: torch.device, other: torch.device) -> bool:
    """cuda is cuda:0 unless told otherwise."""
    return one.type == other.type and (one.index or 0) == (other.index or 0)


def _refuse_nesting(placed: dict[str, torch.device]) -> None:
    for outer in placed:
        for inner in placed:
            if inner.startswith(f"{outer}.") and placed[inner] != placed[outer]:
                raise ValueError(
                    f"placement/device would put {inner} on {placed[inner]} inside {outer}, which goes to {placed[outer]}: place one or the other."
                )


@certificate("A model with parts placed has the gradients of the same model in one place", tolerance=1e-5)
def same_gradients(trial: Trial) -> float:
    """Relative difference of loss and gradients, with the embedding and the head on the CPU (the same device, where the trial is there too)."""
    one, parted = specimen(trial), specimen(trial)
    DevicePlacement(parts={"embedding": "cpu", "head": "cpu"}).model(parted, Surroundings(parted))
    batch = batches(trial, 1)[0]
    results = []
    for module in (one, parted):
        loss, *_ = backward_of(module)(batch, None)
        everything = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten().cpu() for p in module.parameters()])
        results.append(torch.cat([loss.reshape(1).cpu() / batch.tokens, everything]))
    return largest_difference(*results)
