"""The embedding table."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials


class Lookup(Block):
    """Embedding table

    Bengio, Ducharme, Vincent, Jauvin (2003), A neural probabilistic language model.

        x_t = E[w_t]                                                        (1)
        E_ij ~ Normal(0, s^2) at the start, s = 1 / sqrt(D) unless `std` says otherwise

    E (V, D) one row a token type, w_t a token id, x_t (D). With rows of length about 1 a tied softmax/full starts with scores of order 1.

    Cost: V D parameters, no multiplications; the gradient of a dense table is V D numbers however few rows were read, and so is
    the work of the optimiser. sparse = true hands out the rows that were read: optimization/sparse_adam and plain optimization/sgd take them.
    A head that is tied to the table and reads all of it makes the gradient dense again, whatever sparse says; one that reads rows does not.
    Does nothing when: never; every language model needs one.
    Parameters: width D, std s, sparse.
    """

    paper: ClassVar[str] = "Bengio et al., A neural probabilistic language model, JMLR 2003, https://www.jmlr.org/papers/v3/bengio03a.html"
    slot: ClassVar[Slot] = "embedding"

    width: int = param(200, "Numbers a token is described by.", symbol="D", ge=1, le=16384)
    std: float | None = param(None, "Standard deviation of the first numbers; none: 1 / sqrt(D).", symbol="s", gt=0)
    sparse: bool = param(False, "Hand out sparse row gradients, for optimisers that take them (optimization/sparse_adam, plain optimization/sgd).")

    def build(self, site: Site) -> LookupTable:
        return LookupTable(site.vocabulary.size, self.width, std=self.std, sparse=self.sparse)


class LookupTable(nn.Embedding):
    """(ids_BT) -> x_BTD."""

    def __init__(self, size: int, width: int, *, std: float | None = None, sparse: bool = False) -> None:
        self.std = std or width**-0.5
        super().__init__(size, width, sparse=sparse)
        self.width = width

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.std)


@certificate("the table equals a one-hot vector times its weight, gradients included")
def equals_one_hot_product(trial: Trial) -> float:
    with trials.seeded(trial):
        table = Lookup(width=trial.width).build(trials.site(trial))
        ids_BT = torch.randint(trial.vocabulary, (trial.batch, trial.length))
        one_hot_BTV = torch.nn.functional.one_hot(ids_BT, trial.vocabulary).to(table.weight.dtype)
        return trials.difference(table(ids_BT), one_hot_BTV @ table.weight, [table.weight])


@certificate("sparse row gradients, summed over equal rows, are the dense gradient")
def sparse_rows_are_the_dense_gradient(trial: Trial) -> float:
    with trials.seeded(trial):
        found = []
        ids_BT = torch.randint(trial.vocabulary, (trial.batch, trial.length))
        cotangent_BTD = torch.randn(trial.batch, trial.length, trial.width)
        for sparse in (False, True):
            torch.manual_seed(trial.seed)
            table = Lookup(width=trial.width, sparse=sparse).build(trials.site(trial))
            (gradient_VD,) = torch.autograd.grad(table(ids_BT), [table.weight], cotangent_BTD)
            found.append(gradient_VD.to_dense())
        return trials.relative_error(found[1], found[0])
