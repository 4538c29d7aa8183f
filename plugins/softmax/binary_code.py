"""Binary codes: a token is named by a few bits, with a softmax for frequent tokens and error correction as options."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import field_validator
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.codes import Code, ConvolutionalCode, PlainCode
from engines.toolbox.heads import IGNORED, NormalisedHead, log_unigram, target_counts
from engines.toolbox.precise import at_least_float32

Objective = Literal["cross_entropy", "squared_error", "exact"]


class BinaryCode(Block):
    """Binary code prediction

    Oda, Arthur, Neubig, Yoshino, Nakamura (2017); codes that correct errors: Dietterich, Bakiri (1995).

        c_v in {0, 1}^M: code of token v by its frequency rank, s = W h + b, q = sigmoid(s)                      (1)
        p(v | h) = exp(c_v s) / Z,  Z = sum over v < V of exp(c_v s)                                           (2)
        trained by    cross_entropy: -sum_m [c_m log q_m + (1 - c_m) log(1 - q_m)],  c = c_y                    (3)
                      squared_error: sum_m (q_m - c_m)^2;    exact: -log p(y | h)                              (4)
        hybrid:       softmax over the n - 1 most frequent tokens and OTHER; codes for the rest:
                      p(v) = p(OTHER) p_code(v - n + 1),  loss = loss_softmax + [y is rare] loss_code           (5)

    plain: M = B = ceil(log2 V) bits of the rank.
    error_correcting: these bits through a convolutional code of rate 1/2 and constraint length 7, M = 2 (B + 6); code words differ in 10 places
    or more, so that Viterbi's algorithm finds the token though any 4 bits are wrong.

    h (D), W (n + M, D), y the target. Where V < 2^B the product of bit probabilities leaves some to numbers that are no token; (2) divides by
    exactly what remains, in O(B) steps (plain) or 64 (B + 6) (error correcting) by a recursion over the bits of V, not over V words, so nll is
    exact and the perplexity comparable. The best token (topk with k = 1) comes from the same recursion with max for the sum; for k > 1 all
    V scores are listed.

    Cost: 2 D (n + M) floating point operations a token forward instead of 2 D V, about as many parameters less, and 128 (B + 6) operations a
    token for the recursion where it is used: exact loss, nll, best token.
    Does nothing when: hybrid = V, which is the full softmax. The log odds of all tokens have rank M at most (B for plain codes), and
    neighbours in frequency share bits without being alike. Redundant places are for finding the token: trained place by place they count the
    same evidence several times in (2), so that their probabilities are too sure of themselves; the exact objective does not suffer from that.
    Parameters: hybrid n, error_correcting, objective.
    """

    paper: ClassVar[str] = "Oda et al., Neural machine translation via binary code prediction, ACL 2017, https://arxiv.org/abs/1704.06918"
    slot: ClassVar[Slot] = "head"

    hybrid: int = param(
        0, "Outputs of a softmax over the n - 1 most frequent tokens and one for all others; 0: codes for all.", unit="outputs", symbol="n", ge=0
    )
    error_correcting: bool = param(False, "Send the bits through a convolutional code: about three times the outputs, four wrong ones forgiven.")
    objective: Objective = param("cross_entropy", "Loss of the bits: cross_entropy, squared_error, or exact (of the token, normalised).")

    @field_validator("hybrid")
    @classmethod
    def _two_or_none(cls, hybrid: int) -> int:
        if hybrid == 1:
            raise ValueError("hybrid = 1 would be a softmax over OTHER alone: use 0 for codes only, or 2 and more.")
        return hybrid

    def build(self, site: Site) -> CodedHead:
        size = site.vocabulary.size
        if self.hybrid > size:
            raise ValueError(f"hybrid {self.hybrid} is more than the vocabulary has tokens ({size}); {size} already is the full softmax.")
        return CodedHead(site, self.hybrid, error_correcting=self.error_correcting, objective=self.objective)


class CodedHead(NormalisedHead):
    """One nn.Linear gives the softmax part's n scores, then the M scores of the bits."""

    def __init__(self, site: Site, hybrid: int, *, error_correcting: bool, objective: Objective) -> None:
        size = site.vocabulary.size
        super().__init__(size)
        self.objective, self.listed = objective, hybrid
        self.frequent = max(0, hybrid - 1)
        rare = size - self.frequent
        self.code: Code = ConvolutionalCode(rare) if error_correcting else PlainCode(rare)
        self.output = nn.Linear(site.width, hybrid + self.code.places)
        share_V = log_unigram(target_counts(site))
        other = share_V[self.frequent :].logsumexp(0, keepdim=True)
        ones_M = (share_V[self.frequent :] - other).exp() @ self.code.words_VM.to(share_V.dtype)
        with torch.no_grad():
            self.output.bias[hybrid:] = ones_M.logit(eps=1e-6)  # as often as the bit is 1 in the training text
            if hybrid:
                self.output.bias[:hybrid] = torch.cat((share_V[: self.frequent], other))

    def parts(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the softmax part, (N, n), and of the bits, (N, M)."""
        both = at_least_float32(self.output(hidden_ND))  # (1)
        return both[:, : self.listed], both[:, self.listed :]

    def split(self, target_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which rows' targets have a code, the place of their code, and the target within the softmax part; padding stays padding there."""
        rare_N = target_N >= self.frequent
        return rare_N, (target_N - self.frequent).clamp(min=0), target_N.clamp(max=self.frequent)

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        if self.objective == "exact":
            return self._nll_rows(hidden_ND, target_N).sum()
        a_NH, s_NM = self.parts(hidden_ND)
        rare_N, word_N, listed_N = self.split(target_N)
        c_NM = self.code.words_VM[word_N].to(s_NM.dtype)
        if self.objective == "cross_entropy":
            each_NM = F.binary_cross_entropy_with_logits(s_NM, c_NM, reduction="none")  # (3)
        else:
            each_NM = (s_NM.sigmoid() - c_NM).square()  # (4)
        of_bits = each_NM.sum(dim=1).masked_fill(~rare_N, 0.0).sum()
        return F.cross_entropy(a_NH, listed_N, reduction="sum", ignore_index=IGNORED) + of_bits if self.listed else of_bits  # (5)

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        columns = max(1, self.listed + 256 * self.code.places)  # the states that the recursion keeps for a row
        return torch.cat([self._nll_rows(hidden, target) for hidden, target in self.chunks(hidden_ND, target_N, columns=columns)])

    def _nll_rows(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        a_NH, s_NM = self.parts(hidden_ND)
        rare_N, word_N, listed_N = self.split(target_N)
        own_N = (self.code.words_VM[word_N].to(s_NM.dtype) * s_NM).sum(dim=1)
        nll_N = (self.code.log_total(s_NM) - own_N).masked_fill(~rare_N, 0.0)  # (2)
        return nll_N + F.cross_entropy(a_NH, listed_N, reduction="none", ignore_index=IGNORED) if self.listed else nll_N

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        a_NH, s_NM = self.parts(hidden_ND)
        coded_NV = self.code.scores(s_NM) - self.code.log_total(s_NM).unsqueeze(1)
        if not self.listed:
            return coded_NV
        listed_NH = a_NH.log_softmax(dim=-1)
        return torch.cat((listed_NH[:, :-1], listed_NH[:, -1:] + coded_NV), dim=1)

    def topk(self, hidden_ND: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if k > 1:
            return super().topk(hidden_ND, k)
        ids = [self._best_rows(hidden) for (hidden,) in self.chunks(hidden_ND, columns=max(1, self.listed + 256 * self.code.places))]
        id_N = torch.cat(ids)
        return -self.nll(hidden_ND, id_N).unsqueeze(1), id_N.unsqueeze(1)

    def _best_rows(self, hidden_ND: Tensor) -> Tensor:
        """The most probable token of each row, without listing the coded ones."""
        a_NH, s_NM = self.parts(hidden_ND)
        word_N = self.code.best(s_NM)
        if not self.frequent:
            return word_N
        own_N = (self.code.words_VM[word_N].to(s_NM.dtype) * s_NM).sum(dim=1) - self.code.log_total(s_NM)
        value_N, id_N = a_NH[:, :-1].max(dim=1)
        return torch.where(value_N >= a_NH[:, -1] + own_N, id_N, word_N + self.frequent)


def every_kind(trial: Trial, **parameters: Objective) -> list[CodedHead]:
    """Plain, hybrid, error-correcting, and both. Call inside `seeded`."""
    site, n = trials.site(trial), max(2, trial.vocabulary // 5)
    kinds = [(0, False), (n, False), (0, True), (n, True)]
    return [BinaryCode(hybrid=hybrid, error_correcting=ecc, **parameters).build(site) for hybrid, ecc in kinds]


@certificate("nll equals the product of bit probabilities over its sum on all V code words, gradients included, in all four kinds", 1e-5)
def renormalised_by_brute_force(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        for head in every_kind(trial):
            h_ND = trials.hidden(trial).flatten(0, 1)
            y_N = torch.randint(trial.vocabulary, (len(h_ND),))
            a_NH, s_NM = head.parts(h_ND)
            c_VM = head.code.words_VM.to(s_NM.dtype)
            q_N1M = s_NM.sigmoid().unsqueeze(1)
            product_NV = (c_VM * q_N1M + (1 - c_VM) * (1 - q_N1M)).prod(dim=-1)
            p_NV = product_NV / product_NV.sum(dim=1, keepdim=True)
            if head.listed:
                listed_NH = a_NH.softmax(dim=-1)
                p_NV = torch.cat((listed_NH[:, :-1], listed_NH[:, -1:] * p_NV), dim=1)
            wanted = [h_ND, *head.parameters()]
            worst = max(worst, trials.difference(head.nll(h_ND, y_N), -p_NV.gather(1, y_N[:, None])[:, 0].log(), wanted))
            worst = max(worst, trials.difference(head.log_prob(h_ND), p_NV.log(), wanted))
        return worst


@certificate("where V = 2^B the bare product of bit probabilities already sums to 1", 1e-5)
def nothing_leaks_from_a_full_code(trial: Trial) -> float:
    with trials.seeded(trial):
        size = 1 << (trial.vocabulary - 1).bit_length()
        head = BinaryCode().build(trials.site(Trial(width=trial.width, vocabulary=size)))
        h_ND, y_N = trials.hidden(trial).flatten(0, 1), torch.randint(size, (trial.batch * trial.length,))
        return trials.difference(head.loss(h_ND, y_N), head.nll(h_ND, y_N).sum(), [h_ND, *head.parameters()])  # (3) is (2) then


@certificate("hybrid = V is the full softmax, gradients included, with and without error correction", 1e-5)
def hybrid_of_all_is_the_softmax(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        for ecc in (False, True):
            head = BinaryCode(hybrid=trial.vocabulary, error_correcting=ecc).build(trials.site(trial))
            h_ND = trials.hidden(trial).flatten(0, 1)
            y_N = torch.randint(trial.vocabulary, (len(h_ND),))
            full_NV = F.linear(h_ND, head.output.weight[: trial.vocabulary], head.output.bias[: trial.vocabulary]).log_softmax(dim=-1)
            wanted = [h_ND, *head.parameters()]
            worst = max(worst, trials.difference(head.log_prob(h_ND), full_NV, wanted))
            worst = max(worst, trials.difference(head.nll(h_ND, y_N), -full_NV.gather(1, y_N[:, None])[:, 0], wanted))
        return worst


@certificate("a convolutional code without memory (error correction off) is the plain code: words, sums with gradients, best words", 1e-5)
def no_memory_is_plain(trial: Trial) -> float:
    with trials.seeded(trial):
        off, plain = ConvolutionalCode(trial.vocabulary, taps=(1,)), PlainCode(trial.vocabulary)
        if not torch.equal(off.words_VM, plain.words_VM):
            return float("inf")
        s_NM = (3 * torch.randn(64, plain.places)).requires_grad_()
        apart = float((off.best(s_NM) != plain.best(s_NM)).sum())
        return apart + trials.difference(off.log_total(s_NM), plain.log_total(s_NM), [s_NM])


@certificate("the log odds of all V tokens have rank M at most", 1e-5)
def rank_is_at_most_the_places(trial: Trial) -> float:
    """The largest singular value that should be zero over the largest of all."""
    with trials.seeded(trial), torch.no_grad():
        head = BinaryCode().build(trials.site(trial, width=64))
        odds_NV = head.log_prob(torch.randn(200, 64))
        values = torch.linalg.svdvals(odds_NV - odds_NV[:, :1])
        return float(values[head.code.places] / values[0]) if len(values) > head.code.places else 0.0


@certificate("the best token without listing is the best of all listed, in all four kinds", 0.0)
def best_is_the_best_listed(trial: Trial) -> float:
    with trials.seeded(trial), torch.no_grad():
        h_ND = trials.hidden(trial).flatten(0, 1) * 5
        return float(sum((head.topk(h_ND, 1)[1][:, 0] != head.log_prob(h_ND).argmax(dim=1)).sum() for head in every_kind(trial)))
