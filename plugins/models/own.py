"""The user's own module."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from pydantic import model_validator
from torch import nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.batches import Batch
from engines.toolbox.factories import load_weights, make_module
from engines.toolbox.optimization import largest_difference
from engines.toolbox.whole import ScoresModel


class OwnModel(Block):
    """Own model

    Any nn.Module, as in PyTorch (Paszke et al., 2019): a function of yours makes it, the workbench trains, changes, judges and times it.

    Equations, for ids w (B, T) and the scores s (B, T, V) that the module gives:
        s = module(w), or s, state = module(w, state)                   (1)  the second where `forward` has an argument `state`
        p(w_(t+1) | w_1 .. w_t) = softmax(s_t)                          (2)

    Symbols: B rows, T tokens, V vocabulary size.

    Cost: that of the module. Scores are made for every token at once, B T V numbers.
    Does nothing when: never; it is the model.
    Parameters: factory, arguments, weights, folder.

    Write `[model] factory = "net:make"`, where net.py lies beside the experiment file (or is installed) and holds

        def make(vocabulary_size, width=128): ...          # returns an nn.Module

    The function is given `arguments`, and `vocabulary_size`, `length` (of training segments) and `classes` (how many, of a corpus with labels)
    where it takes arguments of these names. A task on whole texts wants scores s (B, classes) of module(w, mask), mask (B, T) True where there
    is a token, and tries that padding changes nothing.
    Names of weights, which patterns of techniques match, are those of the module behind `body.`: `body.encoder.layers.0.linear1.weight`.
    weights: a safetensors file with the names of the module itself (without `body.`); it must fit exactly.
    A module without state sees segments of at most the training length; one with state may carry whatever is made of tensors, with rows first.
    Before it is used, the module is tried on a few tokens: shapes, and that no token sees those after it.
    Weights begin as the factory makes them, under the seed of the run. Your code runs in workers and in the inspector, never in the window.
    """

    slot: ClassVar[Slot] = "model"
    paper: ClassVar[str] = "Paszke et al. (2019), PyTorch: An Imperative Style, High-Performance Deep Learning Library, https://arxiv.org/abs/1912.01703"

    factory: str = param(help='Where the model comes from: "package.module:function".')
    arguments: dict[str, Any] = param({}, "What the function is called with.")
    weights: str = param("", "A safetensors file with its first weights; none: as the function makes them.", path=True)
    folder: str = param(".", "Where the module lies, if it is not installed: by default beside the experiment file.", path=True)

    @model_validator(mode="after")
    def _names_a_function(self) -> Self:
        module, colon, function = self.factory.partition(":")
        if not (colon and all(part.isidentifier() for part in (*module.split("."), *function.split(".")))):
            raise ValueError(f'factory = "{self.factory}" must be written as "package.module:function".')
        return self

    def build(self, site: Site) -> nn.Module:
        offered = {"vocabulary_size": site.vocabulary.size, "length": site.length, "classes": len(site.classes)}
        module = make_module(self.factory, self.folder, self.arguments, offered)
        if self.weights:
            load_weights(module, self.weights, self.factory)
        return module


class _Prefix(nn.Module):
    """Scores from the mean of all embeddings so far; a causal module without state."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(size, width), nn.Linear(width, size)

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        x_BTD = self.embedding(ids_BT).cumsum(dim=1)
        scores_BTV: torch.Tensor = self.output(x_BTD.tanh())
        return scores_BTV


@certificate("Loss and gradients are those of cross entropy on the module's own scores; a text in pieces gives what it gives at once", tolerance=1e-6)
def is_the_module_itself(trial: Trial) -> float:
    """Largest difference."""
    with trials.seeded(trial):
        body = _Prefix(trial.vocabulary, trial.width)
    model = ScoresModel(body, trial.vocabulary, trial.length)
    draw = torch.Generator().manual_seed(trial.seed)
    ids_BT = torch.randint(trial.vocabulary, (trial.batch, trial.length + 1), generator=draw).to(trial.device)
    batch = Batch(ids_BT[:, :-1], ids_BT[:, 1:])
    weights = list(body.parameters())
    loss, *_ = model(batch)
    ours = torch.autograd.grad(loss, weights)
    plain = nn.functional.cross_entropy(body(batch.inputs_BT).flatten(0, 1), batch.targets_BT.flatten(), reduction="sum")
    theirs = torch.autograd.grad(plain, weights)
    error = max(largest_difference(one, other) for one, other in zip((loss, *ours), (plain, *theirs), strict=True))
    model.eval()
    with torch.no_grad():
        whole, state, pieces = model.hidden(batch.inputs_BT)[0], None, []
        for column in batch.inputs_BT.split(max(1, trial.length // 3), dim=1):
            piece, state, _ = model.hidden(column, state)
            pieces.append(piece)
    return max(error, largest_difference(torch.cat(pieces, dim=1), whole))
