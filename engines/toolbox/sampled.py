"""What heads that are trained on a sample of tokens share: who draws, the scores of targets and sampled tokens alone, expectations over samples.

Shapes: N rows, D hidden width, E width of an output row, V vocabulary size, S tokens of a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.toolbox.heads import IGNORED, LinearHead
from engines.toolbox.precise import at_least_float32
from engines.toolbox.proposals import Independent, Poisson, ProposalKind, proposal
from engines.toolbox.row_products import row_products

ONE_SAMPLE_EACH = (
    "shared = false draws a sample for every token, independently and with repetition, as a coin for each token of the vocabulary would cost "
    "more than the full softmax: set unique = false, or shared = true."
)
"""What a head says where it is asked for samples of its own and without repetition for every token."""


def sampler_of(kind: ProposalKind, counts: np.ndarray, power: float, samples: int, *, unique: bool) -> Poisson | Independent:
    """Who draws `samples` tokens: each once at most and as many on average (no more than there are), or independently."""
    q = proposal(kind, counts, power)
    return Poisson(q, min(samples, len(q))) if unique else Independent(q, samples)


def draw(sampler: Poisson | Independent, rows: int, *, shared: bool) -> Tensor:
    """One sample for all rows, (S,), or one for each, (N, S)."""
    if shared:
        return sampler.draw()
    assert isinstance(sampler, Independent), ONE_SAMPLE_EACH
    return sampler.draw(rows)


def scores_of(head: LinearHead, hidden_ND: Tensor, target_N: Tensor, sample: Tensor, *, sparse: bool) -> tuple[Tensor, Tensor]:
    """s = w h + b of each row's target, (N,), and of the sampled tokens, (N, S), at least in float32; the sample is (S,) or (N, S).

    An ignored target is scored as token 0: who calls leaves such rows out. sparse: the gradient of the output matrix has the touched rows only.
    """
    y_N = target_N.masked_fill(target_N == IGNORED, 0)
    h_NE = head.project(hidden_ND)
    # one gather for targets and sample: its backward writes the V x E gradient once
    ids = torch.cat((y_N, sample.flatten()))
    w_NE, w_SE = F.embedding(ids, head.output.weight, sparse=sparse).tensor_split((len(y_N),))
    s_N = row_products(h_NE, w_NE)
    if sample.dim() == 1:
        s_NS = h_NE @ w_SE.T
    else:
        s_NS = (w_SE.view(*sample.shape, w_SE.shape[1]) @ h_NE.unsqueeze(2)).squeeze(2)
    if head.output.bias is not None:
        b_N, b_S = head.output.bias[ids].tensor_split((len(y_N),))
        s_N, s_NS = s_N + b_N, s_NS + b_S.view(sample.shape)
    return at_least_float32(s_N), at_least_float32(s_NS)


def contrast(real_N: Tensor, noise_NS: Tensor, target_N: Tensor, weight: float = 1.0) -> Tensor:
    """-log sigma(real) - weight sum_S log sigma(-noise), summed over the rows whose target is not ignored: telling data from noise."""
    loss_N = F.softplus(-real_N) + weight * F.softplus(noise_NS).sum(dim=1)
    return loss_N.masked_fill(target_N == IGNORED, 0.0).sum()


def every_sample(sampler: Poisson | Independent) -> Iterator[tuple[Tensor, Tensor]]:
    """Each sample that can be drawn, (S,), with its probability. There are 2^V where coins are thrown, else V^k: for tiny vocabularies."""
    c_V = sampler.log_expected_V.exp()
    tokens = range(len(c_V))
    if isinstance(sampler, Independent):
        for drawn in product(tokens, repeat=sampler.k):
            yield torch.tensor(drawn), (c_V[list(drawn)] / sampler.k).prod()
        return
    for count in range(len(c_V) + 1):
        for drawn in combinations(tokens, count):
            inside_V = torch.tensor([token in drawn for token in tokens])
            yield torch.tensor(drawn, dtype=torch.int64), torch.where(inside_V, c_V, 1 - c_V).prod()


def expected_gradient(loss: Callable[[Tensor, Tensor], Tensor], bias_V: Tensor, p_V: Tensor, sampler: Poisson | Independent) -> tuple[Tensor, float]:
    """The gradient in the bias, (V,), averaged over every sample and every target by their probabilities, and the average of its largest entry.

    loss: of a target, (1,), and a sample, (S,); p_V: of the targets. The second figure is the scale of what cancels in the first. It is what a
    certificate compares with an equation: an expectation without an error of drawing.
    """
    expected_V, largest = torch.zeros_like(p_V), 0.0
    for sample, chance in every_sample(sampler):
        for target, p in enumerate(p_V):
            (gradient_V,) = torch.autograd.grad(loss(torch.tensor([target]), sample), bias_V)
            expected_V += chance * p * gradient_V
            largest += float(chance * p * gradient_V.abs().max())
    return expected_V, largest
