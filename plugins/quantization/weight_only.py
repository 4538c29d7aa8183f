"""Weights in 2 to 8 bits, products in float."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import torch
from torch import nn

from engines.api import Context, Trial, certificate
from engines.toolbox.optimization import largest_difference
from engines.toolbox.packed import StoredMatrix
from engines.toolbox.packing import GridPacking, grid_matrices, once_each
from engines.toolbox.quantisers import Granularity, Scheme, pack, quantise, spread, unpack
from engines.toolbox.specimen import Surroundings, batches, specimen


class WeightOnly(GridPacking):
    """Weight-only quantisation

    Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, section 2.1; groups:
    Shen et al. (2020), Q-BERT. Also called round to nearest.

    Equations, for the weights w that share a scale (a matrix, a row, or g neighbours in a row), once, after training:

        affine:     s = (max(w, 0) - min(w, 0)) / (2^b - 1),   z = round(-min(w, 0) / s)     (1)
        symmetric:  s = max|w| / (2^(b-1) - 1),                z = 2^(b-1) - 1               (2)
        c = clamp(round(w / s) + z, 0, 2^b - 1)                                              (3)  halves to even
        w^ = s (c - z),   |w^ - w| <= s / 2;   y = W^ x + b                                  (4)  in float, at each call

    Symbols: W (E, D), c codes of b bits, packed without gaps (8 codes in b bytes), s float32 or float16, z one byte (affine alone).
    Cost: none in training. Stored b + 32 / g bits a weight (b + 40 / g affine; 16 less with half_scales). A call unpacks W first, which costs
    more than it saves unless reading W from memory is what takes time.
    Does nothing when: no module matches (it then says so).
    Parameters: bits b, symmetric, granularity, group_size g, layer_bits, range, half_scales, types, include, exclude, keep_unpacked.

    No kernel of torch that multiplies packed weights in float32 was faster on the processors this was tried on, so none is used. Embeddings
    are packed where `types` names them: rows are unpacked as they are read. A head tied to one then shares its codes; else it gets its own.
    """

    paper: ClassVar[str] = "Jacob et al. (2018), https://arxiv.org/abs/1712.05877; Shen et al. (2020), https://arxiv.org/abs/1909.05840"

    def compress(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> tuple[dict[str, StoredMatrix], str]:
        """(1) to (3), each weight once."""
        made = {name: quantise(weights[name], self.scheme(name)) for name in dict.fromkeys(once_each(weights).values())}
        return grid_matrices({name: made[first] for name, first in once_each(weights).items()}), ""


def schemes(bits: int) -> list[Scheme]:
    """Every kind of grid of b bits, with a group that divides no row of a trial."""
    return [Scheme(bits, symmetric, granularity, 5) for symmetric in (True, False) for granularity in get_args(Granularity)]


@certificate("A weight is at most half a step from its level, and zero is a level, on every kind of grid and in every width", tolerance=1e-3)
def half_a_step(trial: Trial) -> float:
    """By how much the largest error exceeds half a step, in steps; infinite where a zero became something else."""
    torch.manual_seed(trial.seed)
    weight_ED = torch.randn(trial.vocabulary, trial.width, device=trial.device)
    weight_ED[:, ::3] = 0
    excess = 0.0
    for scheme in (each for bits in range(2, 9) for each in schemes(bits)):
        found = quantise(weight_ED, scheme)
        steps = (found.dense() - weight_ED).abs() / spread(found.scale_RG, trial.width, scheme)
        excess = max(excess, float(steps.max()) - 0.5)
        if bool((found.dense()[:, ::3] != 0).any()):
            return float("inf")
    return excess


@certificate("Codes of every width come back from their bytes as they were, and take b bits each", tolerance=0.0)
def packs_without_gaps(trial: Trial) -> float:
    """Number of codes that changed, and of bytes that are not needed."""
    generator = torch.Generator().manual_seed(trial.seed)
    wrong = 0
    for bits in range(1, 9):
        for columns in (trial.width, trial.width + 3):
            codes = torch.randint(2**bits, (trial.vocabulary, columns), generator=generator).to(torch.uint8).to(trial.device)
            packed = pack(codes, bits)
            wrong += int((unpack(packed, bits, columns) != codes).sum())
            wrong += abs(packed.numel() - trial.vocabulary * -(-columns // 8) * bits)
    return float(wrong)


@certificate("The packed model computes what the float model computes with the rounded weights, and survives state_dict and restore", tolerance=1e-6)
def computes_and_restores(trial: Trial) -> float:
    """Largest difference of hidden states, in float32; a tied head shares the codes of its embedding."""
    single = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed)
    technique = WeightOnly(bits=3, group_size=5, symmetric=False, types=("Linear", "LSTM", "Embedding"))
    module: Any = specimen(single, tied=True).eval()
    rounded, fresh = copy.deepcopy(module), copy.deepcopy(module)
    with torch.no_grad():
        for weight in {id(p): p for p in rounded.parameters() if p.ndim > 1}.values():
            weight.copy_(quantise(weight, technique.scheme("")).dense())
    finished: Any
    finished, record = technique.finish(module, Surroundings(module))
    restored: Any = technique.restore(fresh, record).eval()
    restored.to(trial.device).load_state_dict(finished.state_dict())
    if restored.head.output.matrix is not restored.embedding.matrix:
        return float("inf")
    error = 0.0
    for batch in batches(single, 1):
        hidden = [model.hidden(batch.inputs_BT)[0].flatten(0, 1) for model in (rounded, finished, restored)]
        error = max(error, largest_difference(hidden[0], hidden[1]), largest_difference(hidden[1], hidden[2]) * 1e9)
        error = max(error, largest_difference(rounded.head.log_prob(hidden[0]), finished.head.log_prob(hidden[0])))
    return error
