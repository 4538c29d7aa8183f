"""Mining of hard negatives while a head trains: an index over the moving rows, built anew every so many minibatches.

Between two builds the index is stale: it looks for rows as they were, and scores what it finds as they are.
Shapes: N rows of a minibatch, E width, V tokens, n negatives.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from engines.toolbox.heads import exact_products
from engines.toolbox.search.index import Index
from engines.toolbox.search.libraries import FAISS, SCANN, FaissIndex, ScannIndex, unavailable
from engines.toolbox.search.preview import Preview, second_moment
from engines.toolbox.search.signs import SignHashing

Search = Literal["exact", "lsh", "svd_preview", "faiss_ivf", "faiss_hnsw", "scann"]
PACKAGES = {"faiss_ivf": FAISS, "faiss_hnsw": FAISS, "scann": SCANN}
MEMORY = 0.9
"""Weight of earlier minibatches in the second moment of the queries."""


def miner(search: Search, *, negatives: int, refresh: int) -> Miner | None:
    """What mines by an index; None: by the exact scan.

    Signs, preview and codes look exactly at ten rows a negative, at least 200; lists at an eighth of 256, a graph with a beam of so many rows.
    Raises ValueError with a sentence where a package is missing.
    """
    if reason := unavailable(PACKAGES.get(search, ())):
        raise ValueError(f'search = "{search}": {reason[0].lower()}{reason[1:]}')
    candidates = max(200, 10 * negatives)
    match search:
        case "faiss_ivf":
            return Miner(FaissIndex("lists", size=256, probed=32), refresh)
        case "faiss_hnsw":
            return Miner(FaissIndex("graph", size=32, probed=candidates), refresh)
        case "scann":
            return Miner(ScannIndex(256, 32, candidates), refresh)
        case "lsh":
            return Miner(SignHashing(512, candidates), refresh)
        case "svd_preview":
            return Miner(Preview(32, candidates), refresh)
    return None


class Miner(nn.Module):
    """`search(h_NE, k, W_VE, b_V)` -> ids of the k best rows that the index finds, (N, k), best first, -1 where it finds no more; it counts its
    calls and builds by them.

    Index, counter and second moment of the queries are in the state_dict, so that training that goes on mines what it would have mined.
    """

    moment_EE: Tensor

    def __init__(self, index: Index, refresh: int) -> None:
        super().__init__()
        self.index, self.refresh, self.calls = index, refresh, 0
        self.register_buffer("moment_EE", torch.empty(0, dtype=torch.float64))

    def allocate(self, W_VE: Tensor) -> None:
        """Make room for the state: of an index over a matrix of this shape."""
        self.index.allocate(W_VE)
        width = W_VE.shape[1]
        self.moment_EE = torch.zeros(width, width, dtype=torch.float64, device=W_VE.device)

    @torch.no_grad()
    def search(self, h_NE: Tensor, k: int, W_VE: Tensor, b_V: Tensor | None = None) -> Tensor:
        seen_EE = second_moment(h_NE)
        self.moment_EE = seen_EE if self.calls == 0 else MEMORY * self.moment_EE + (1 - MEMORY) * seen_EE
        with exact_products(h_NE.device):  # sums over the bits of a code need more than half precision
            if self.calls % self.refresh == 0:
                self.index.refresh(W_VE, b_V, self.moment_EE)
            found = self.index.search(h_NE, min(k, len(W_VE)), W_VE, b_V)
        self.calls += 1
        return found.ids_NK.masked_fill(found.scores_NK.isneginf(), -1)

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        self.calls = int(state)
