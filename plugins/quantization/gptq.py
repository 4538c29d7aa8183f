"""Rounding one column at a time, the others making up for it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.calibration import Moments, output_error, run
from engines.toolbox.inputs import readers, watched
from engines.toolbox.packed import StoredMatrix
from engines.toolbox.packing import GridPacking, grid_matrices, once_each
from engines.toolbox.quantisers import Quantised, Scheme, grid, nearest, quantise, ranges, scales_of, spread, stored

BLOCK = 128
"""Columns whose errors reach the columns after them at once."""


class GPTQ(GridPacking):
    """GPTQ

    Frantar, Ashkboos, Hoefler and Alistarh (2023), GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers; from
    Optimal Brain Surgeon: Hassibi and Stork (1993).

    Equations, for each row w of W and the inputs x of its layer on calibration text:

        minimise E |W x - W^ x|^2 = sum over rows (w - w^) H (w - w^)^T / 2,   H = 2 E[x x^T] + damping                 (1)
        for columns i in order:   w^_i = round to the grid,   e = (w_i - w^_i) / U_ii                                   (2)
                                  w_R <- w_R - e U_iR   for the columns R still to come                                 (3)
        U^T U = H^-1, U upper triangular; damping = share of the mean of diag(H), added to the diagonal                 (4)

    (3) is the least-squares answer of the other weights to the error of column i. act_order: columns in falling order of H_ii, so that the
    inputs that matter most are rounded while all others can still make up for them. sequential: a layer's inputs are those that the layers
    before it give after they were rounded.
    Symbols: W (E, D), x (D), H (D, D); grids as in quantization/weight_only.
    Cost: calibration passes (where sequential one for all matrices that read the same tensor), D^3 for (4) and E D^2 for (3); stored and
    executed as weight_only.
    Does nothing when: no module matches. A matrix that calibration never reached (it then says so) is rounded to nearest.
    Parameters: those of weight_only, batches, damping, act_order, sequential.

    A group's grid comes from the weights as they then are, corrections of earlier columns included; with act_order, which scatters groups,
    from the weights as they were. A smaller error of layers on calibration text need not be a better model on other text.
    """

    paper: ClassVar[str] = "Frantar, Ashkboos, Hoefler and Alistarh (2023), https://arxiv.org/abs/2210.17323"

    batches: int = param(16, "Training batches that are read for calibration.", ge=1)
    damping: float = param(0.01, "Share of the mean of diag(H) that is added to it.", gt=0, le=1)
    act_order: bool = param(True, "Round columns in falling order of H_ii.")
    sequential: bool = param(True, "Calibrate each matrix on inputs that the rounded matrices before it give.")

    def compress(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> tuple[dict[str, StoredMatrix], str]:
        """(1) to (4), matrix by matrix in the order in which they are called."""
        first = once_each(weights)
        texts = ctx.calibration(self.batches)
        whole = Moments(products=not self.sequential)
        with watched(module, list(weights), whole.take):
            run(module, texts)
        order = [name for name in dict.fromkeys(whole.order) if first[name] == name or first[name] not in whole.rows]
        groups = readers(module, order, lambda: run(module, texts[:1])) if self.sequential else [order]
        made: dict[str, Quantised] = {}
        errors: dict[str, tuple[float, float]] = {}
        for group in groups:
            seen = whole
            if self.sequential:
                seen = Moments(products=True)
                with watched(module, group, seen.take):
                    run(module, texts)
            for name in group:
                weight, H, scheme = weights[name].detach().flatten(1).clone(), seen.hessian(name), self.scheme(first[name])
                made[first[name]] = found = gptq(weight, H, scheme, self.damping, self.act_order)
                plain = quantise(weight, scheme).dense()
                errors[name] = output_error(found.dense() - weight, weight, H), output_error(plain - weight, weight, H)
                with torch.no_grad():
                    weights[name].copy_(found.dense().view_as(weights[name]))
        for name in dict.fromkeys(first.values()):
            if name not in made:
                made[name] = quantise(weights[name], self.scheme(name))
        return grid_matrices({name: made[own] for name, own in first.items()}), self._said(errors, [n for n in made if n not in order], texts)

    def _said(self, errors: Mapping[str, tuple[float, float]], unseen: list[str], texts: list[Any]) -> str:
        parts = []
        if errors:
            ours, nearest_ = (sum(pair[i] for pair in errors.values()) / len(errors) for i in (0, 1))
            each = ", ".join(f"{name} {pair[0]:.2%} ({pair[1]:.2%})" for name, pair in errors.items())
            parts.append(
                f"Mean error of what {len(errors)} matrices give out on {len(texts)} calibration batches: {ours:.2%}; rounding to nearest: "
                f"{nearest_:.2%}. Each: {each}."
            )
        if unseen:
            parts.append(f"Rounded to nearest, since calibration shows none of their inputs: {', '.join(unseen)}.")
        return " ".join(parts)


def inverse_factor(H_DD: Tensor, damping: float) -> Tensor:
    """U of (4), upper triangular, double. Inputs that never were anything but zero get a curvature of one."""
    H = H_DD.double().clone()
    diagonal = H.diagonal()
    diagonal[diagonal == 0] = 1.0
    diagonal += damping * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(H))
    U: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return U


@torch.no_grad()
def gptq(weight_ED: Tensor, H_DD: Tensor, scheme: Scheme, damping: float = 0.01, act_order: bool = True) -> Quantised:
    """The matrix on its grid by (2) and (3). Errors reach the columns of their own block one by one, those after it in one product."""
    W, columns = weight_ED.detach().double().clone(), weight_ED.shape[1]
    order = torch.argsort(H_DD.diagonal(), descending=True, stable=True) if act_order else torch.arange(columns, device=W.device)
    scale_RG, zero_RG = scales_of(weight_ED, scheme)
    U = inverse_factor(H_DD[order][:, order], damping)
    W = W[:, order]
    codes = torch.zeros_like(W)
    moving = scheme.granularity == "group" and not act_order
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = torch.zeros(len(W), stop - start, dtype=W.dtype, device=W.device)
        for i in range(start, stop):
            g = int(order[i]) // scheme.group if scheme.granularity == "group" else 0
            if moving and i % scheme.group == 0:
                # What earlier blocks have left is in W already; of this block, its own errors are in the columns up to its end only.
                members = W[:, i : i + scheme.group].clone()
                if i + scheme.group > stop:
                    members[:, stop - i :] -= errors[:, : i - start] @ U[start:i, stop : i + scheme.group]
                scale_RG[:, g : g + 1], zero_RG[:, g : g + 1] = grid(*ranges(members[:, None].float(), scheme), scheme)
            s, z = scale_RG[:, g].double(), zero_RG[:, g].double()
            codes[:, i] = nearest(W[:, i], s, z, scheme.top)
            errors[:, i - start] = (W[:, i] - s * (codes[:, i] - z)) / U[i, i]  # (2)
            W[:, i:stop] -= errors[:, i - start, None] * U[i, i:stop]  # (3)
        W[:, stop:] -= errors @ U[start:stop, stop:]  # (3)
    back = torch.empty_like(codes)
    back[:, order] = codes
    return stored(back, scale_RG, zero_RG, scheme)


def correlated(trial: Trial, columns: int) -> tuple[Tensor, Tensor]:
    """A matrix and the H of inputs that depend on one another, float32 and double."""
    torch.manual_seed(trial.seed)
    x = torch.randn(8 * columns, columns, device=trial.device) @ torch.randn(columns, columns, device=trial.device)
    return torch.randn(trial.vocabulary, columns, device=trial.device), 2 * (x.T.double() @ x.double()) / len(x)


@certificate("Where inputs do not depend on one another, it is rounding to nearest", tolerance=0.0)
def diagonal_is_nearest(trial: Trial) -> float:
    """Codes that differ."""
    weight, H = correlated(trial, trial.width)
    wrong = 0
    for bits, symmetric, act_order in itertools.product((2, 4), (True, False), (True, False)):
        for scheme in (Scheme(bits, symmetric, "group", 5), Scheme(bits, symmetric, "channel"), Scheme(bits, symmetric, "tensor")):
            found = gptq(weight, H.diagonal().diag(), scheme, 0.01, act_order)
            wrong += int((found.codes_ED != quantise(weight, scheme).codes_ED).sum())
    return float(wrong)


@certificate("(3) in blocks leaves what the least-squares answer of all columns to come leaves, solved anew for each column", tolerance=0.0)
def equals_least_squares(trial: Trial) -> float:
    """Codes that differ from those of the definition: after column i, w_R += (w_i - w^_i) H_iR H_RR^-1."""
    columns = trial.width + 3
    weight, H = correlated(trial, columns)
    damped = H + 0.01 * H.diagonal().mean() * torch.eye(columns, device=H.device, dtype=H.dtype)
    wrong = 0
    for scheme in (Scheme(3, False, "channel"), Scheme(3, True, "group", 4)):
        W, codes = weight.double().clone(), torch.zeros_like(weight)
        scale, zero = scales_of(weight, scheme)
        for i in range(columns):
            if scheme.granularity == "group" and i % 4 == 0:
                scale[:, i // 4 : i // 4 + 1], zero[:, i // 4 : i // 4 + 1] = grid(*ranges(W[:, None, i : i + 4].float(), scheme), scheme)
            s, z = (spread(part, columns, scheme).expand(-1, columns)[:, i].double() for part in (scale, zero))
            codes[:, i] = nearest(W[:, i], s, z, scheme.top)
            rest = H.new_zeros(0) if i + 1 == columns else torch.linalg.solve(damped[i + 1 :, i + 1 :], damped[i + 1 :, i])
            W[:, i + 1 :] += (W[:, i] - s * (codes[:, i] - z))[:, None] * rest
        wrong += int((gptq(weight, H, scheme, act_order=False).codes_ED != codes).sum())
    return float(wrong)


@certificate("On its calibration inputs a layer errs less than rounded to nearest, with and without act_order, in rows and groups", tolerance=0.0)
def beats_nearest(trial: Trial) -> float:
    """By how much its error is the larger one; 0 where it never is."""
    weight, H = correlated(trial, 4 * trial.width)
    excess = 0.0
    for bits, granularity, act_order in itertools.product((2, 3, 4), ("channel", "group"), (True, False)):
        scheme = Scheme(bits, False, granularity, 16)  # type: ignore[arg-type]
        ours = output_error(gptq(weight, H, scheme, 0.01, act_order).dense() - weight, weight, H)
        excess = max(excess, ours - output_error(quantise(weight, scheme).dense() - weight, weight, H))
    return excess
