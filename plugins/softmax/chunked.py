"""The full softmax, computed a few rows at a time: same loss, same gradients, no N x V scores."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.chunked_loss import chunked_cross_entropy, products_type
from engines.toolbox.heads import IGNORED, LinearSoftmax

Kernel = Literal["own", "torch"]


class Chunked(Block):
    """Chunked softmax loss

    Exact cross entropy fused with the output layer, as in Hsu et al. (2024), Liger Kernel, and torch.nn.functional.linear_cross_entropy.

        for each chunk of C rows:  s = W h + b,  p = softmax(s)                     (1)
                                   loss += -log p_y                                 (2)
                                   g = p - onehot(y),  dh = W^T g,  dW += g h^T,  db += g         (3)
        backward: the upstream gradient (one number) times dh, dW, db               (4)

    h (N, D), W (V, D), b (V), y (N). The gradients are made in the forward pass, while the scores of the chunk are there, and these are then
    overwritten by the next chunk's; sums over chunks are kept in float32 or wider, whatever the products are made in. The distribution, nll
    and topk are those of the full softmax.

    Cost: the operations of the full softmax, 6 D V a token, none twice; C V numbers instead of several times N V, plus the gradients, which
    wait for the backward pass (V D numbers, which the full softmax needs only then). A second backward pass over a retained graph computes
    everything again; gradients of gradients are refused. In half precision torch's kernel rounds its sums over chunks to the inputs' type, so
    many small chunks blur its weight gradient; the own kernel's sums are not rounded.
    Does nothing when: N <= chunk; then there is one chunk. With small V there is little to save.
    Parameters: chunk C, kernel (own, or torch's from version 2.13 on), tied, bias.
    """

    paper: ClassVar[str] = "Hsu et al., Liger Kernel: Efficient Triton Kernels for LLM Training, 2024, https://arxiv.org/abs/2410.10989"
    slot: ClassVar[Slot] = "head"

    chunk: int = param(256, "Rows whose scores are held at once.", unit="rows", symbol="C", ge=1, le=1_000_000)
    kernel: Kernel = param("own", "own: the loop of this file; torch: linear_cross_entropy with this chunk (torch 2.13 or newer).")
    tied: bool = param(False, "Use the embedding's matrix as the output matrix.")
    bias: bool = param(True, "Add one number a token, which starts at its log frequency.", symbol="b")

    def build(self, site: Site) -> ChunkedSoftmax:
        if self.kernel == "torch" and not hasattr(F, "linear_cross_entropy"):
            raise ValueError(
                f'kernel = "torch" needs torch 2.13 or newer, and this is {torch.__version__}: use kernel = "own", which computes the same.'
            )
        return ChunkedSoftmax(site, tied=self.tied, bias=self.bias, chunk=self.chunk, kernel=self.kernel)


class ChunkedSoftmax(LinearSoftmax):
    """The full softmax with another `loss`."""

    def __init__(self, site: Site, *, tied: bool, bias: bool, chunk: int, kernel: Kernel) -> None:
        super().__init__(site, tied=tied, bias=bias)
        self.chunk, self.kernel = chunk, kernel

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        h_NE, weight_VE, bias_V = self.project(hidden_ND), self.output.weight, self.output.bias
        if self.kernel == "own":
            return chunked_cross_entropy(h_NE, weight_VE, bias_V, target_N, self.chunk)
        # torch's function is unknown to autocast, so its inputs are given the type that a linear layer's would get
        factors = products_type(h_NE, weight_VE)
        half = factors in (torch.float16, torch.bfloat16)
        options = torch.nn.LinearCrossEntropyOptions(
            batch_chunk_size=self.chunk,
            chunking_method=None,
            acc_policy="compact" if h_NE.is_cuda else "accurate",
            acc_dtype=torch.float32 if half else factors,
        )
        loss = F.linear_cross_entropy(
            h_NE.to(factors),
            weight_VE.to(factors),
            target_N,
            linear_bias=None if bias_V is None else bias_V.to(factors),
            reduction="sum",
            ignore_index=IGNORED,
            options=options,
        )
        return loss.float() if half else loss


@certificate("loss and gradients equal the full softmax's: with padding, in chunks that do not divide the rows, on a second backward pass", 1e-5)
def equals_full(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        y_N[::5] = IGNORED
        for chunk in (1, 7, len(h_ND), 10 * len(h_ND)):
            head = Chunked(chunk=chunk).build(trials.site(trial))
            full = F.cross_entropy(h_ND @ head.output.weight.T + head.output.bias, y_N, reduction="sum", ignore_index=IGNORED)
            loss, wanted = head.loss(h_ND, y_N), [h_ND, *head.parameters()]
            for _ in range(2):
                worst = max(worst, trials.difference(loss, full, wanted))
        return worst


@certificate("torch's linear_cross_entropy, where this torch has it, gives the same loss and gradients", 1e-5)
def kernels_agree(trial: Trial) -> float:
    with trials.seeded(trial):
        own = Chunked(chunk=5).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        y_N[::5] = IGNORED
        if not hasattr(F, "linear_cross_entropy"):
            return 0.0
        theirs = Chunked(chunk=5, kernel="torch").build(trials.site(trial))
        theirs.load_state_dict(own.state_dict())
        ours = torch.autograd.grad(own.loss(h_ND, y_N), [h_ND, *own.parameters()])
        other = torch.autograd.grad(theirs.loss(h_ND, y_N), [h_ND, *theirs.parameters()])
        errors = [trials.relative_error(a, b) for a, b in zip(ours, other, strict=True)]
        return max(trials.relative_error(own.loss(h_ND, y_N), theirs.loss(h_ND, y_N)), *errors)
