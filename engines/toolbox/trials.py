"""What certificates and tests need: seeded modules on a trial's shapes, and errors that take gradients into account."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from engines.api import Site, Trial, Vocabulary


@contextmanager
def seeded(trial: Trial) -> Iterator[None]:
    """Draw everything inside from the trial's seed, create tensors in its type and on its device, and leave no trace outside."""
    dtype = torch.get_default_dtype()
    device = torch.device(trial.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(trial.seed)
        torch.set_default_dtype(getattr(torch, trial.dtype))
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def zipf_vocabulary(size: int) -> Vocabulary:
    """A stand-in vocabulary whose counts fall as 1 / rank, as those of words roughly do."""
    counts = np.maximum(1, 1000 * size // np.arange(1, size + 1)).astype(np.int64)
    return Vocabulary(tokens=tuple(f"w{i}" for i in range(size)), counts=counts)


def site(trial: Trial, *, width: int | None = None, embedding: nn.Module | None = None) -> Site:
    """Where a block of this trial is built."""
    return Site(width=width or trial.width, vocabulary=zipf_vocabulary(trial.vocabulary), length=trial.length, embedding=embedding)


def hidden(trial: Trial, *, length: int | None = None) -> Tensor:
    """Random hidden states of shape (B, T, D) that ask for gradients. Call inside `seeded`."""
    return torch.randn(trial.batch, length or trial.length, trial.width).requires_grad_()


def relative_error(value: Tensor, reference: Tensor) -> float:
    """Largest absolute difference over the largest absolute value of the reference (over 1 where the reference is all zero)."""
    scale = float(reference.detach().abs().max())
    return float((value.detach() - reference.detach()).abs().max()) / (scale or 1.0)


def difference(value: Tensor, reference: Tensor, wanted: Sequence[Tensor]) -> float:
    """The larger relative error of two results that should be equal, and of their gradients with respect to `wanted`.

    Both results are pulled back with the same random cotangent, so that no direction of the gradient hides.
    """
    cotangent = torch.randn_like(reference)
    ours = torch.autograd.grad(value, wanted, cotangent, retain_graph=True)
    theirs = torch.autograd.grad(reference, wanted, cotangent, retain_graph=True)
    errors = [relative_error(value, reference)]
    errors += [relative_error(ours_, theirs_) for ours_, theirs_ in zip(ours, theirs, strict=True)]
    return max(errors)


def in_pieces(mixer: Callable[[Tensor, object], tuple[Tensor, object]], x_BTD: Tensor, lengths: Sequence[int]) -> Tensor:
    """Feed a sequence in pieces of the given lengths, the state handed from each to the next; returns the outputs in one."""
    state: object = None
    outputs = []
    for piece in torch.split(x_BTD, list(lengths), dim=1):
        y, state = mixer(piece, state)
        outputs.append(y)
    return torch.cat(outputs, dim=1)


def cut(length: int) -> list[int]:
    """Uneven pieces that make up `length`, single tokens among them."""
    pieces, size = [], 1
    while length > 0:
        pieces.append(min(size, length))
        length -= pieces[-1]
        size = size * 3 % 11
    return pieces
