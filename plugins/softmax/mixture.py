"""Mixture of softmaxes: several softmaxes over one matrix, mixed as probabilities."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED, LinearSoftmax, NormalisedHead, log_unigram, target_counts, tied_weight
from engines.toolbox.precise import at_least_float32


class Mixture(Block):
    """Mixture of softmaxes

    Yang, Dai, Salakhutdinov, Cohen (2018), Breaking the softmax bottleneck.

        g_k = tanh(U_k h + c_k),  k = 1 ... K                               (1)
        pi = softmax(R h)                                                   (2)
        p(y | h) = sum_k pi_k softmax(W g_k + b)[y]                         (3)

    h (D), U_k (E, D), g_k (E), R (K, D), W (V, E) one matrix for all K, b (V) starts at the log share of each token in the training text.
    The log probabilities of a softmax over many contexts form a matrix of rank E + 1 at most; the logarithm of the sum in (3) has no such
    bound. Mixing scores instead of probabilities would be one softmax again. tied: W is the embedding's matrix.

    Cost: K times a full softmax in time and in scores held for the backward pass, K E D more parameters. Held-out text and log_prob are
    judged in chunks of rows.
    Does nothing when: components = 1; then it is the full softmax of g_1.
    Parameters: components K, width E (default: the embedding's where tied, else D), tied, bias.
    """

    paper: ClassVar[str] = "Yang et al., Breaking the softmax bottleneck, ICLR 2018, https://arxiv.org/abs/1711.03953"
    slot: ClassVar[Slot] = "head"

    components: int = param(5, "Softmaxes that are mixed.", symbol="K", ge=1, le=100)
    width: int | None = param(None, "Width of each softmax's input; default: the embedding's where tied, else the hidden width.", symbol="E", ge=1)
    tied: bool = param(False, "Use the embedding's matrix as the output matrix.")
    bias: bool = param(True, "Add one number a token, which starts at its log frequency.", symbol="b")

    def build(self, site: Site) -> MixtureOfSoftmaxes:
        shared = tied_weight(site) if self.tied else None
        width = self.width or (site.width if shared is None else shared.shape[1])
        if shared is not None and shared.shape[1] != width:
            raise ValueError(f"width = {width} does not fit the embedding's matrix, whose rows have {shared.shape[1]} numbers; leave width out.")
        return MixtureOfSoftmaxes(site, self.components, width, shared, bias=self.bias)


class MixtureOfSoftmaxes(NormalisedHead):
    """latent: all U_k and c_k, one below the other. prior: R. output: W and b."""

    def __init__(self, site: Site, components: int, width: int, shared: nn.Parameter | None, *, bias: bool) -> None:
        size = site.vocabulary.size
        super().__init__(size)
        self.components, self.width = components, width
        self.latent = nn.Linear(site.width, components * width)
        self.prior = nn.Linear(site.width, components, bias=False) if components > 1 else None
        self.output = nn.Linear(width, size, bias=bias)
        if shared is not None:
            self.output.weight = shared
        if bias:
            with torch.no_grad():
                self.output.bias.copy_(log_unigram(target_counts(site)))

    @property
    def numbers_a_row(self) -> int:
        return self.components * self.vocabulary_size

    def mixed(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor]:
        """log pi, (N, K), and the scores of every component, (N, K, V)."""
        g_NKE = self.latent(hidden_ND).tanh().unflatten(1, (self.components, self.width))  # (1)
        log_pi_NK = hidden_ND.new_zeros(len(hidden_ND), 1) if self.prior is None else self.prior(hidden_ND)
        return at_least_float32(log_pi_NK).log_softmax(dim=1), at_least_float32(self.output(g_NKE))  # (2)

    def nll_rows(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """(N,), from each component's own nll: no mixture of all V is made."""
        log_pi_NK, s_NKV = self.mixed(hidden_ND)
        target_NK = target_N.unsqueeze(1).expand(-1, self.components)
        nll_NK = F.cross_entropy(s_NKV.flatten(0, 1), target_NK.flatten(), reduction="none", ignore_index=IGNORED).view_as(target_NK)
        return -(log_pi_NK - nll_NK).logsumexp(dim=1).masked_fill(target_N == IGNORED, 0.0)  # (3)

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.nll_rows(hidden_ND, target_N).sum()

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return torch.cat([self.nll_rows(hidden, target) for hidden, target in self.chunks(hidden_ND, target_N)])

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        log_pi_NK, s_NKV = self.mixed(hidden_ND)
        return (log_pi_NK.unsqueeze(2) + s_NKV.log_softmax(dim=2)).logsumexp(dim=1)  # (3)


@certificate("nll equals the negative log of the explicit mixture of probabilities, gradients included", 1e-5)
def equals_definition(trial: Trial) -> float:
    with trials.seeded(trial):
        head: Any = Mixture(components=3).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        pi_NK = (h_ND @ head.prior.weight.T).softmax(dim=1)
        p_N = torch.zeros(len(h_ND))
        for k, (u_ED, c_E) in enumerate(zip(head.latent.weight.chunk(3), head.latent.bias.chunk(3), strict=True)):
            e_NV = ((h_ND @ u_ED.T + c_E).tanh() @ head.output.weight.T + head.output.bias).exp()
            p_N = p_N + pi_NK[:, k] * e_NV[torch.arange(len(y_N)), y_N] / e_NV.sum(dim=1)
        wanted = [h_ND, *head.parameters()]
        by_loss = trials.difference(head.loss(h_ND, y_N), -p_N.log().sum(), wanted)
        return max(by_loss, trials.difference(head.nll(h_ND, y_N), -p_N.log(), wanted))


@certificate("with one component it is the full softmax of tanh(U h + c), gradients included", 1e-5)
def one_component_is_full(trial: Trial) -> float:
    with trials.seeded(trial):
        site = trials.site(trial)
        head, full = Mixture(components=1).build(site), LinearSoftmax(site, tied=False, bias=True)
        full.output = head.output
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        g_ND = head.latent(h_ND).tanh()
        wanted = [h_ND, *head.parameters()]
        by_loss = trials.difference(head.loss(h_ND, y_N), full.loss(g_ND, y_N), wanted)
        return max(by_loss, trials.difference(head.log_prob(h_ND), full.log_prob(g_ND), wanted))


@certificate("probabilities sum to 1", 1e-5)
def sums_to_one(trial: Trial) -> float:
    with trials.seeded(trial):
        head: Any = Mixture(components=4).build(trials.site(trial))
        total_N = head.log_prob(trials.hidden(trial).flatten(0, 1)).exp().sum(dim=1)
        return trials.relative_error(total_N, torch.ones_like(total_N))
