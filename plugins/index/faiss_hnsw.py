"""Navigable small-world graphs of faiss."""

from __future__ import annotations

from typing import ClassVar

from engines.api import Trial, certificate, param
from engines.toolbox.search.certified import difference_from_scan
from engines.toolbox.search.index import Index
from engines.toolbox.search.libraries import FAISS, FaissIndex, unavailable
from engines.toolbox.search.technique import Searching


class NavigableGraph(Searching):
    """Navigable small-world graph (faiss HNSW)

    Malkov, Yashunin (2018), Efficient and robust approximate nearest neighbor search using hierarchical navigable small world graphs; the
    reduction of inner products to distances: Bachrach et al. (2014), Speeding up the Xbox recommender system.

        every row keeps links to about m near rows, on levels of falling density                  (1)
        search: from the top level down, always on to the nearest linked rows, a beam of e rows    (2)
        augmented: w' = [w, b, sqrt(M^2 - |w|^2 - b^2)], h' = [h, 1, 0]; the nearest w' is the best row     (3)

    Nearness is that of (3) in Euclidean distance, or the inner product itself where augmented is off; a graph over inner products is hard to
    walk where rows differ much in length, since few rows are near to many. It runs on the CPU, with as many threads as torch.

    Cost: some e m inner products a token, in random places of memory; a copy of the matrix and 2 m links a row. Building is slow.
    Does nothing when: the head has no output matrix (it then says so). No setting makes it exact for certain.
    Parameters: links m, beam e, build_beam, augmented.
    """

    paper: ClassVar[str] = "Malkov and Yashunin, Efficient and robust approximate nearest neighbor search, 2018, https://arxiv.org/abs/1603.09320"

    links: int = param(32, "Links of a row, twice as many on the lowest level.", symbol="m", ge=2, le=512)
    beam: int = param(64, "Rows that the search keeps in view (efSearch).", symbol="e", ge=1)
    build_beam: int = param(80, "The same while the graph is built (efConstruction).", ge=1)
    augmented: bool = param(True, "Make all rows equally long by one more number, and search for the nearest; otherwise by inner products.")

    @classmethod
    def unavailable(cls) -> str:
        return unavailable(FAISS)

    def index(self) -> Index:
        return FaissIndex("graph", size=self.links, probed=self.beam, breadth=self.build_beam, augmented=self.augmented)

    def told(self) -> str:
        return " Rows are made equally long and searched by distance." if self.augmented else " Rows are searched by inner products as they are."


@certificate("on a graph that links all rows, with a beam over all of them, it equals the exact scan", 1e-5)
def whole_graph_equals_scan(trial: Trial) -> float:
    beam = 2 * trial.vocabulary
    made = [FaissIndex("graph", size=trial.vocabulary, probed=beam, breadth=beam, augmented=each) for each in (True, False)]
    return max(difference_from_scan(index, trial) for index in made)
