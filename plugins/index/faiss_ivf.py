"""Inverted lists of faiss."""

from __future__ import annotations

from typing import ClassVar

from engines.api import Trial, certificate, param
from engines.toolbox.search.certified import difference_from_scan
from engines.toolbox.search.index import Index
from engines.toolbox.search.libraries import FAISS, FaissIndex, unavailable
from engines.toolbox.search.technique import Searching


class InvertedLists(Searching):
    """Inverted lists (faiss IVF)

    Jegou, Douze, Schmid (2011), Product quantization for nearest neighbor search, the coarse part of it; Johnson, Douze, Jegou (2017),
    Billion-scale similarity search with GPUs (faiss).

        rows [w, b] are clustered into L lists with centres c_l (k-means)   (1)
        probed = the P lists with the largest c_l . [h, 1]                  (2)
        prediction = the best rows of the probed lists, by exact scores     (3)

    The vectors are kept as they are, in float32, for inner products. It runs on the CPU, with as many threads as torch.

    Cost: 2 E (L + V P / L) operations a token on average; a copy of the matrix. Building is k-means over V rows.
    Does nothing when: probed = lists, where it equals the exact scan; or the head has no output matrix (it then says so).
    Parameters: lists L, probed P, seed.
    """

    paper: ClassVar[str] = "Johnson, Douze and Jegou, Billion-scale similarity search with GPUs, 2017, https://arxiv.org/abs/1702.08734"

    lists: int = param(256, "Clusters of rows; at most as many as there are tokens.", symbol="L", ge=1, le=65_536)
    probed: int = param(16, "Clusters that are searched (nprobe).", symbol="P", ge=1)
    seed: int = param(0, "Of the clustering.", ge=0)

    @classmethod
    def unavailable(cls) -> str:
        return unavailable(FAISS)

    def index(self) -> Index:
        return FaissIndex("lists", size=self.lists, probed=self.probed, seed=self.seed)


@certificate("with every list probed it equals the exact scan", 1e-5)
def all_lists_equal_scan(trial: Trial) -> float:
    return difference_from_scan(FaissIndex("lists", size=7, probed=7), trial)
