"""A model of your own: any function that returns an nn.Module. Copy this file beside your experiment and change it.

The workbench calls `make` with the `arguments` of the file, and with `vocabulary_size` and `length` (tokens in a training segment) where it
takes them. The module is given ids, (rows, tokens), and returns scores, (rows, tokens, vocabulary_size); no token may see those after it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvolutionalModel(nn.Module):
    """A table, causal convolutions with gates and residuals, and one score for each word."""

    def __init__(self, vocabulary_size: int, width: int, layers: int, reach: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.layers = nn.ModuleList(nn.Conv1d(width, 2 * width, reach) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.scores = nn.Linear(width, vocabulary_size)
        self.reach = reach

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids).transpose(1, 2)
        for layer in self.layers:
            # Zeros on the left alone: a word sees itself and reach - 1 words before it.
            value, gate = layer(nn.functional.pad(x, (self.reach - 1, 0))).chunk(2, dim=1)
            x = x + value * torch.sigmoid(gate)
        scores: Tensor = self.scores(self.norm(x.transpose(1, 2)))
        return scores


def make(vocabulary_size: int, width: int = 96, layers: int = 3, reach: int = 3) -> nn.Module:
    return ConvolutionalModel(vocabulary_size, width, layers, reach)
