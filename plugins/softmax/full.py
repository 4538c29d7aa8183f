"""The full softmax: the exact head that the others are compared with."""

from __future__ import annotations

from typing import ClassVar

import torch

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import LinearSoftmax


class Full(Block):
    """Full softmax

    Bengio et al. (2003), A neural probabilistic language model; tied: Press, Wolf (2017), Inan, Khosravi, Socher (2017).

        s = W h + b                                                         (1)
        -log p(y | h) = -s_y + log sum_j exp(s_j)                           (2)
        tied: W is the embedding's own matrix E; where h and E differ in width, s = E P h + b

    h (D) hidden state, W (V, D), b (V) starts at the log of each token's share of the training text, P (E, D) a projection.

    Cost: 2 D V floating point operations a token forward, 4 D V backward, and V scores a token held for the backward pass.
    Does nothing when: never; it is the baseline. Tying saves V D parameters and no time.
    Parameters: tied, bias.
    """

    paper: ClassVar[str] = "Press and Wolf, Using the output embedding to improve language models, EACL 2017, https://arxiv.org/abs/1608.05859"
    slot: ClassVar[Slot] = "head"

    tied: bool = param(False, "Use the embedding's matrix as the output matrix.")
    bias: bool = param(True, "Add one number a token, which starts at its log frequency.", symbol="b")

    def build(self, site: Site) -> LinearSoftmax:
        return LinearSoftmax(site, tied=self.tied, bias=self.bias)


@certificate("loss and nll equal the negative log of the explicitly normalised exponentials, gradients included", 1e-5)
def equals_definition(trial: Trial) -> float:
    with trials.seeded(trial):
        head = Full().build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        s_NV = h_ND @ head.output.weight.T + head.output.bias  # (1)
        p_NV = s_NV.exp() / s_NV.exp().sum(dim=1, keepdim=True)
        nll_N = -p_NV[torch.arange(len(y_N)), y_N].log()  # (2)
        wanted = [h_ND, *head.parameters()]
        by_loss = trials.difference(head.loss(h_ND, y_N), nll_N.sum(), wanted)
        return max(by_loss, trials.difference(head.nll(h_ND, y_N), nll_N, wanted))


@certificate("probabilities sum to 1", 1e-5)
def sums_to_one(trial: Trial) -> float:
    with trials.seeded(trial):
        head = Full().build(trials.site(trial))
        total_N = head.log_prob(trials.hidden(trial).flatten(0, 1)).exp().sum(dim=1)
        return trials.relative_error(total_N, torch.ones_like(total_N))
