"""Prediction of the target's embedding: a direction instead of V scores, under the von Mises-Fisher density."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED, ScoringHead, exact_products
from engines.toolbox.precise import at_least_float32
from engines.toolbox.von_mises_fisher import log_normaliser
from engines.toolbox.word_vectors import VectorsError, read_vectors

Regulariser = Literal["none", "norm", "dot", "cosine"]


class EmbeddingVmf(Block):
    """Embedding prediction with von Mises-Fisher loss

    Kumar, Tsvetkov (2019), Von Mises-Fisher loss for training sequence to sequence models with continuous outputs.

        x = W h + b,  kappa = |x|;   e_v: the vector of token v, of length 1, frozen                      (1)
        density of e: C_m(kappa) exp(x e),  C_m(kappa) = kappa^(m/2 - 1) / ((2 pi)^(m/2) I_(m/2 - 1)(kappa))       (2)
        none:   loss = -log C_m(kappa) - x e_y                                                          (3)
        norm:   (3) + l1 kappa;      dot:  -log C_m(kappa) - l2 x e_y
        cosine: -log C_m(kappa) + log(1 + kappa) (0.2 - cos(x, e_y)), as the authors' program has it
        prediction: tokens by falling cos(x, e_v)                                                       (4)

    h (D), W (m, D), e (V, m), y the target. (3) rewards a long x wherever the direction is nearly right, which norm and dot hold back.
    Vectors come from a file: word2vec's text format, safetensors, or the folder of a finished model of the same corpus, whose embedding is
    taken. Without a file they are random directions: every word equally far from every other, a control without meaning in its neighbours.
    Tokens without a vector are not trained on and come last in (4); how many, and how much of the training text, is in the printed model.
    There is no distribution over tokens, hence no perplexity: judged by rank and accuracy.

    Cost: 2 D m floating point operations a token forward instead of 2 D V, and about 600 for (2), in float64; prediction is a search among
    V vectors, 2 m V operations by the exact scan here. The vectors are kept in the model: m V numbers that are not trained.
    Does nothing when: never. A weight of a regulariser that is not chosen does nothing.
    Parameters: vectors, width m of random ones, regulariser, norm_weight l1, dot_weight l2.
    """

    paper: ClassVar[str] = "Kumar and Tsvetkov, Von Mises-Fisher loss, ICLR 2019, https://arxiv.org/abs/1812.04616"
    slot: ClassVar[Slot] = "head"

    vectors: str = param("", "File of word vectors, or folder of a finished model; empty: random directions.", path=True)
    width: int = param(128, "Numbers of a random vector; a file brings its own.", symbol="m", ge=2, le=4096)
    regulariser: Regulariser = param("norm", "What keeps x from growing: none, norm, dot, or cosine.")
    norm_weight: float = param(0.02, "Price of a long x under norm.", symbol="l1", ge=0.0, le=10.0)
    dot_weight: float = param(0.1, "Weight of the dot product under dot.", symbol="l2", gt=0.0, le=1.0)

    def build(self, site: Site) -> VmfHead:
        size = site.vocabulary.size
        if self.vectors:
            try:
                table_VM, known_V = read_vectors(Path(self.vectors), site.vocabulary)
            except VectorsError as error:
                raise ValueError(str(error)) from error
        else:
            table_VM, known_V = torch.randn(size, self.width), torch.ones(size, dtype=torch.bool, device="cpu")
        if table_VM.shape[1] < 2:
            raise ValueError(f"Vectors of one number have no direction to speak of: {self.vectors} must hold vectors of 2 numbers or more.")
        return VmfHead(site, self, table_VM, known_V)


class VmfHead(ScoringHead):
    """One nn.Linear gives the predicted vector; the table of targets is a buffer."""

    no_distribution = "the head predicts a vector, and its density over directions is no probability of a token"
    table_VM: Tensor
    known_V: Tensor

    def __init__(self, site: Site, chosen: EmbeddingVmf, table_VM: Tensor, known_V: Tensor) -> None:
        super().__init__(site.vocabulary.size)
        self.chosen = chosen
        self.output = nn.Linear(site.width, table_VM.shape[1])
        device, dtype = self.output.weight.device, self.output.weight.dtype
        self.register_buffer("table_VM", F.normalize(table_VM.to(device, dtype), dim=1))
        self.register_buffer("known_V", known_V.to(device))
        counts, missing = site.vocabulary.counts, ~known_V.numpy()
        self.missing, self.missing_share = int(missing.sum()), float(counts[missing].sum() / max(1, counts.sum()))

    def extra_repr(self) -> str:
        return f"{self.missing} of {self.vocabulary_size} tokens without a vector, {self.missing_share:.2%} of the training text"

    def predicted(self, hidden_ND: Tensor) -> Tensor:
        """x, (N, M)."""
        return at_least_float32(self.output(hidden_ND))  # (1)

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        if self.missing == self.vocabulary_size:
            raise ValueError(
                f"{self.chosen.vectors} has a vector for none of the vocabulary's {self.missing} tokens: were its words cut or cased in another way?"
            )
        y_N = target_N.masked_fill(target_N == IGNORED, 0)
        left_out_N = (target_N == IGNORED) | ~self.known_V[y_N]
        return self.each(self.predicted(hidden_ND), self.table_VM[y_N]).masked_fill(left_out_N, 0.0).sum()

    def each(self, x_NM: Tensor, e_NM: Tensor) -> Tensor:
        """The loss of each predicted vector and its target's, (N,)."""
        kappa_N, dot_N = torch.linalg.vector_norm(x_NM, dim=1), (x_NM * e_NM).sum(dim=1)
        density_N = log_normaliser(kappa_N, x_NM.shape[1])
        if self.chosen.regulariser == "cosine":
            return (1 + kappa_N).log() * (0.2 - F.cosine_similarity(x_NM, e_NM, dim=1)) - density_N
        if self.chosen.regulariser == "dot":
            return -density_N - self.chosen.dot_weight * dot_N
        loss_N = -density_N - dot_N  # (3)
        return loss_N + self.chosen.norm_weight * kappa_N if self.chosen.regulariser == "norm" else loss_N

    def score_rows(self, hidden_ND: Tensor) -> Tensor:
        x_NM = F.normalize(self.predicted(hidden_ND), dim=1)
        with exact_products(x_NM.device):
            cosine_NV = x_NM @ self.table_VM.to(x_NM.dtype).T  # (4)
        return cosine_NV.masked_fill(~self.known_V, float("-inf"))


@certificate("in three dimensions the density has its closed form kappa / (4 pi sinh kappa), gradients included", 1e-5)
def closed_form_in_three_dimensions(trial: Trial) -> float:
    with trials.seeded(trial):
        kappa_N = torch.logspace(-1, 1.2, 40).requires_grad_()
        return trials.difference(log_normaliser(kappa_N, 3), (kappa_N / (4 * torch.pi * kappa_N.sinh())).log(), [kappa_N])


@certificate("without concentration the density is one over the surface of the sphere, in 2 to 1000 dimensions", 1e-5)
def uniform_at_zero(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        for m in (2, 3, 4, 10, 33, 128, 300, 768, 1000):
            half = torch.tensor(m / 2, dtype=torch.float64)
            exact = torch.lgamma(half) - half * torch.log(torch.tensor(torch.pi, dtype=torch.float64)) - torch.log(torch.tensor(2.0))
            worst = max(worst, trials.relative_error(log_normaliser(torch.zeros(1), m).double(), exact.unsqueeze(0)))
        return worst


@certificate("the density agrees with its own recurrence over dimensions: C_(m+2) = C_m A_m / (2 pi kappa) turned around, gradients included", 1e-5)
def recurrence_over_dimensions(trial: Trial) -> float:
    """I_(v+1) = I_v A gives log C_(m+2) = log C_m + log(kappa / (2 pi)) - log A_m, with A_m the slope that autograd sees."""
    with trials.seeded(trial):
        worst = 0.0
        for m in (2, 16, 100, 300, 766):
            kappa_N = torch.logspace(-1, 3, 30).requires_grad_()
            value_N = log_normaliser(kappa_N, m)
            (slope_N,) = torch.autograd.grad(value_N.sum(), kappa_N)
            led_N = value_N.detach() + (kappa_N.detach() / (2 * torch.pi)).log() - (-slope_N).log()
            worst = max(worst, trials.relative_error(led_N, log_normaliser(kappa_N, m + 2)))
        return worst


@certificate("topk lists tokens by the cosine of their vectors with the predicted one", 1e-5)
def nearest_first(trial: Trial) -> float:
    with trials.seeded(trial), torch.no_grad():
        head = EmbeddingVmf(width=12).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        x_NM = head.output(h_ND)
        cosine_NV = torch.stack([F.cosine_similarity(x_NM, e_M.unsqueeze(0), dim=1) for e_M in head.table_VM], dim=1)
        values_NK, ids_NK = head.topk(h_ND, 5)
        return max(trials.relative_error(values_NK, cosine_NV.topk(5, dim=1).values), trials.relative_error(cosine_NV.gather(1, ids_NK), values_NK))
