"""Weights that share a few values, found by k-means."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import field_validator
from torch import Tensor, nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.optimization import largest_difference
from engines.toolbox.packed import CodebookMatrix, StoredMatrix
from engines.toolbox.packing import Packing, bits_for, legal_bits, once_each
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen
from engines.toolbox.trees import huffman, mean_length

Initial = Literal["linear", "quantile"]


class KMeans(Packing):
    """Weight sharing by k-means

    Han, Mao and Dally (2016), Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and Huffman Coding,
    section 3.

    Equations, for the n weights w of each matrix and k = 2^b centroids v, after training:

        c_i = argmin_j |w_i - v_j|,   v_j = mean of the w_i with c_i = j          (1)  in turn, until no c changes
        w^_i = v_(c_i)                                                            (2)
        dL/dv_j = sum over c_i = j of dL/dw_i                                     (3)  fine-tuning moves v; c stays
        bits = n b + 32 k;   entropy-coded: n sum_j p_j l_j + 32 k                (4)  p_j share of code j, l_j its Huffman length

    Weights that are zero already (pruned) keep a value of their own, 0, which fine-tuning leaves.
    Symbols: W (E, D), c codes of b bits, packed; v float32, one list a matrix.
    Cost: one sort of each matrix; a round of (1) then costs k searches, whatever n. A call looks its weights up first, which saves no time.
    Does nothing when: no module matches (it then says so).
    Parameters: bits b, layer_bits, initial, fine_tune_tokens, fine_tune_lr, centroid_gradient, types, include, exclude, keep_unpacked.

    (3) adds up thousands of gradients, a step that the learning rate of single weights does not fit: "mean" divides by their number. The
    file holds codes of fixed length; the entropy-coded size is what a Huffman code would take, and is only stated.
    """

    paper: ClassVar[str] = "Han, Mao and Dally (2016), https://arxiv.org/abs/1510.00149"

    bits: int = param(4, "Bits of a code: 2^b values a matrix.", unit="bits", symbol="b", ge=1, le=8)
    layer_bits: dict[str, int] = param({}, "Pattern over full parameter names -> bits of what matches, in place of `bits`. A later match wins.")
    initial: Initial = param("linear", "First centroids: even over the range (keeps rare large weights), or even over the sorted weights.")
    fine_tune_tokens: int = param(0, "Tokens trained on with codes fixed, so that only the shared values move.", unit="tokens", ge=0)
    fine_tune_lr: float = param(0.1, "Learning rate of the fine-tuning, as a share of the optimizer's.", unit="share", gt=0)
    centroid_gradient: Literal["mean", "sum"] = param("mean", "What a value descends on: (3), or (3) over the number of weights that share it.")

    @field_validator("layer_bits")
    @classmethod
    def _bits_that_there_are(cls, layer_bits: dict[str, int]) -> dict[str, int]:
        return legal_bits(layer_bits, 1)

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """The update; in fine-tuning, weights of one code move together."""

        def shared_update() -> None:
            codes: Mapping[str, Tensor] = ctx.state.get("codes", {})
            for name, code in codes.items():
                weight = ctx.model.get_parameter(name)
                if weight.grad is not None:
                    weight.grad = pooled(weight.grad, code, mean=self.centroid_gradient == "mean")  # (3)
            update()
            for name, code in codes.items():
                # Optimisers with a memory of each weight would pull members apart.
                with torch.no_grad():
                    weight = ctx.model.get_parameter(name)
                    weight.copy_(pooled(weight, code, mean=True))

        return shared_update

    def compress(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> tuple[dict[str, StoredMatrix], str]:
        """(1) and (2) for each weight once, then fine-tuning under (3)."""
        first = once_each(weights)
        codes, sizes = {}, {}
        for name in dict.fromkeys(first.values()):
            weight = weights[name]
            values, code = cluster(weight.detach(), 2 ** bits_for(name, self.layer_bits, self.bits), self.initial)
            codes[name], sizes[name] = code, len(values)
            with torch.no_grad():
                weight.copy_(values[code])  # (2)
        if self.fine_tune_tokens:
            # A value that is zero stands for pruned weights: code -1 is left out of (3), and its weights stay zero.
            ctx.state["codes"] = {name: torch.where(weights[name] == 0, -1, code) for name, code in codes.items()}
            ctx.train(tokens=self.fine_tune_tokens, lr_scale=self.fine_tune_lr)
            del ctx.state["codes"]
            module.eval()
        made: dict[str, StoredMatrix] = {}
        coded = everything = 0.0
        for name, code in codes.items():
            flat = code.flatten()
            values = torch.zeros(sizes[name], device=code.device).scatter_(0, flat, weights[name].detach().float().flatten())
            made[name] = CodebookMatrix.of(code.flatten(1), values, bits_for(name, self.layer_bits, self.bits))
            counts = torch.bincount(flat, minlength=sizes[name]).cpu().numpy()
            length = mean_length(huffman(counts), counts) if len(counts) > 1 else 0.0
            coded += code.numel() * length + 32 * sizes[name]  # (4)
            everything += code.numel()
        said = f"A Huffman code of them would take {coded / everything:.2f} bits each (stated, not stored)."
        if self.fine_tune_tokens:
            said += f" The shared values were trained on for {self.fine_tune_tokens:,} tokens."
        ctx.log("entropy_coded_bits", coded / everything, "bits per weight")
        return {name: made[own] for name, own in first.items()}, said


def pooled(x: Tensor, code: Tensor, *, mean: bool) -> Tensor:
    """Each number becomes the sum (or mean) of those with its code; 0 where the code is -1."""
    kept = (code >= 0).flatten()
    place = code.flatten().clamp(min=0)
    # In double: thousands of members are added up, and a value that no step moves must stay what it was.
    sums = torch.zeros(int(place.max()) + 1, dtype=torch.float64, device=x.device)
    sums.index_add_(0, place[kept], x.detach().double().flatten()[kept])
    if mean:
        sums /= torch.bincount(place[kept], minlength=len(sums)).clamp(min=1)
    return torch.where(kept, sums[place], 0.0).view_as(x).to(x.dtype)


@torch.no_grad()
def cluster(weight: Tensor, k: int, initial: Initial, rounds: int = 300) -> tuple[Tensor, Tensor]:
    """(values, codes) of (1): at most k values, sorted, float32, and the place of each weight's value. Zeros are a cluster of their own.

    In one dimension clusters are runs of the sorted weights: borders lie halfway between centroids, and prefix sums give the means.
    """
    x = weight.float().flatten()
    pruned = bool((x == 0).any()) and k > 1
    ordered = (x[x != 0] if pruned else x).double().sort().values
    k_free = min(k - pruned, len(ordered))
    if not k_free:
        return torch.zeros(1, device=x.device), torch.zeros_like(weight, dtype=torch.int64)
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    distinct = ordered.unique_consecutive()
    if len(distinct) <= k_free:
        v = distinct
    elif initial == "linear":
        v = torch.linspace(float(ordered[0]), float(ordered[-1]), k_free, dtype=torch.float64, device=x.device)
    else:
        v = ordered[((torch.arange(k_free, device=x.device) + 0.5) / k_free * len(ordered)).long()]
    edges = None
    for _ in range(rounds):
        inner = torch.searchsorted(ordered, (v[1:] + v[:-1]) / 2)
        fresh = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(ordered))])
        if edges is not None and torch.equal(edges, fresh):
            break
        edges = fresh
        size = edges.diff()
        v = torch.where(size > 0, sums[edges].diff() / size.clamp(min=1), v).sort().values  # an empty cluster waits where it is
    values = v.float()
    code = torch.searchsorted(((v[1:] + v[:-1]) / 2), x.double())
    if pruned:
        values = torch.cat([values, values.new_zeros(1)])
        code = torch.where(x == 0, k_free, code)
    used, code = code.unique(return_inverse=True)
    return values[used], code.view_as(weight)


@certificate("k-means ended where neither step of (1) changes anything, and with as many values as there are weights nothing is lost", tolerance=1e-6)
def is_a_fixed_point(trial: Trial) -> float:
    """Largest distance beyond the nearest value, and of a value from the mean of its members."""
    torch.manual_seed(trial.seed)
    weight = torch.randn(trial.vocabulary, trial.width, device=trial.device)
    error = 0.0
    for bits, initial in itertools.product((1, 2, 4), ("linear", "quantile")):
        values, code = cluster(weight, 2**bits, initial)  # type: ignore[arg-type]
        distance = (weight[..., None] - values).abs()
        error = max(error, float((distance.gather(-1, code[..., None])[..., 0] - distance.amin(-1)).max()))
        error = max(error, largest_difference(pooled(weight, code, mean=True), values[code]))
    few = torch.arange(16.0, device=trial.device).view(4, 4) - 3
    values, code = cluster(few, 16, "linear")
    return max(error, largest_difference(values[code], few))


@certificate("(3) is the gradient of the loss with respect to the shared values", tolerance=1e-6)
def gradient_of_the_shared_values(trial: Trial) -> float:
    """Largest difference, relative, to autograd through the look-up."""
    plain, shared = specimen(trial, layers=1), specimen(trial, layers=1)
    name = "layers.0.feedforward.linear.weight"
    weight, batch = plain.get_parameter(name), batches(trial, 1)[0]
    values, code = cluster(weight, 8, "linear")
    with torch.no_grad():
        weight.copy_(values[code])
    values = values.to(weight.dtype).requires_grad_()
    linear: Any = shared.get_submodule(name.rpartition(".")[0])
    del linear.weight
    linear.weight = values[code]
    backward_of(plain)(batch, None)
    backward_of(shared)(batch, None)
    assert weight.grad is not None
    assert values.grad is not None
    return largest_difference(pooled(weight.grad, code, mean=False), values.grad[code]) / max(float(values.grad.abs().max()), math.ulp(1.0))


@certificate("A model whose weights share values is saved and restored bit-equally", tolerance=0.0)
def restores(trial: Trial) -> float:
    """Largest difference of hidden states; in float32."""
    single = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed)
    technique = KMeans(bits=3, types=("Linear", "LSTM", "Embedding"))
    module: Any = specimen(single, tied=True)
    fresh = copy.deepcopy(module)
    finished: Any
    finished, record = technique.finish(module, Surroundings(module))
    restored: Any = technique.restore(fresh, record).eval()
    restored.to(trial.device).load_state_dict(finished.state_dict())
    ids_BT = batches(single, 1)[0].inputs_BT
    return largest_difference(restored.hidden(ids_BT)[0], finished.hidden(ids_BT)[0])
