"""Modules as users write them, for tests: good ones, and one for each thing that can be wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """Carries a state from call to call."""

    def __init__(self, vocabulary_size: int, width: int = 24, layers: int = 1) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)
        self.scores = nn.Linear(width, vocabulary_size)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        # The engine cuts states by rows, which torch's own LSTM keeps second.
        carried = None if state is None else tuple(part.transpose(0, 1).contiguous() for part in state)
        y, after = self.lstm(self.table(ids), carried)
        return self.scores(y), tuple(part.transpose(0, 1) for part in after)


class Transformer(nn.Module):
    """torch's own encoder layers behind a causal mask."""

    def __init__(self, vocabulary_size: int, length: int, width: int = 24, layers: int = 2, causal: bool = True) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True) for _ in range(layers)
        )
        self.scores = nn.Linear(width, vocabulary_size)
        self.causal = causal

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        x = self.table(ids) + self.places(torch.arange(length, device=ids.device))
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=ids.device) if self.causal else None
        for block in self.blocks:
            x = block(x, mask)
        scores: Tensor = self.scores(x)
        return scores


class Averaged(nn.Module):
    """A vector for a text: a layer on the mean of its tokens."""

    def __init__(self, vocabulary_size: int, width: int = 24, reads_padding: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.out = nn.Linear(width, width)
        self.reads_padding = reads_padding

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        here = torch.ones_like(mask) if self.reads_padding else mask
        x = (self.table(ids) * here.unsqueeze(-1)).sum(dim=1) / here.sum(dim=1, keepdim=True).clamp(min=1)
        made: Tensor = self.out(x)
        return made


class Reader(nn.Module):
    """Scores of the classes from torch's own encoder layers, which see no padding, and the mean of the tokens."""

    def __init__(self, vocabulary_size: int, classes: int, width: int = 24, layers: int = 2) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True) for _ in range(layers)
        )
        self.scores = nn.Linear(width, classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.table(ids)
        for block in self.blocks:
            x = block(x, src_key_padding_mask=~mask)
        mean = (x * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        scores: Tensor = self.scores(mean)
        return scores


class Windows(nn.Module):
    """Scores of the classes from convolutions: one of each dimension, a batch norm in a chain, and layers that are called by keyword."""

    def __init__(self, vocabulary_size: int, classes: int, width: int = 16, channels: int = 32) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.wide = nn.Conv2d(1, 8, (3, width), padding=(1, 0))
        self.chain = nn.Sequential(nn.Conv1d(8, channels, 1), nn.BatchNorm1d(channels), nn.ReLU(), nn.Conv1d(channels, width, 1))
        self.scores = nn.Linear(width, classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.table(input=ids) * mask.unsqueeze(-1)
        y = self.chain(self.wide(x.unsqueeze(1)).squeeze(3))
        scores: Tensor = self.scores(input=y.masked_fill(~mask.unsqueeze(1), -1e4).amax(-1))
        return scores


class Gated(nn.Module):
    """A GRU whose state has rows first, under a table that is tied to the scores."""

    def __init__(self, vocabulary_size: int, width: int = 24) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.scores = nn.Linear(width, vocabulary_size, bias=False)
        self.scores.weight = self.table.weight

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, after = self.gru(input=self.table(ids), hx=None if state is None else state.transpose(0, 1).contiguous())
        return self.scores(y), after.transpose(0, 1)


averaged = Averaged
recurrent = Recurrent
transformer = Transformer


def seeing(vocabulary_size: int, length: int) -> nn.Module:
    return Transformer(vocabulary_size, length, causal=False)


def narrow(vocabulary_size: int) -> nn.Module:
    return nn.Embedding(vocabulary_size, 7)


def tied(vocabulary_size: int, width: int = 8) -> nn.Module:
    net = nn.Sequential(nn.Embedding(vocabulary_size, width), nn.Linear(width, vocabulary_size, bias=False))
    net[1].weight = net[0].weight
    return net


def no_module(vocabulary_size: int) -> list[int]:
    return [vocabulary_size]


def breaks(vocabulary_size: int) -> nn.Module:
    raise KeyError("width")


def fails_when_run(vocabulary_size: int) -> nn.Module:
    return nn.Linear(vocabulary_size, vocabulary_size)


NUMBER = 3
