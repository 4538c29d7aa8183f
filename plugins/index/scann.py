"""ScaNN: clusters and codes that keep inner products."""

from __future__ import annotations

from typing import ClassVar

from engines.api import Trial, certificate, param
from engines.toolbox.search.certified import difference_from_scan
from engines.toolbox.search.index import Index
from engines.toolbox.search.libraries import SCANN, ScannIndex, unavailable
from engines.toolbox.search.technique import Searching


class AnisotropicQuantisation(Searching):
    """Anisotropic quantisation (ScaNN)

    Guo et al. (2020), Accelerating large-scale inference with anisotropic vector quantization.

        rows [w, b] are clustered into L leaves; the P leaves nearest to [h, 1] are searched        (1)
        in a leaf a row is its code, two dimensions to 4 bits, made for a small error of w . h where it is large      (2)
        the C best by codes are scored exactly                              (3)

    It runs on the CPU with one thread. The package exists for Linux alone.

    Cost: about E V P / L byte operations of (2) and 2 E C of (3) a token; a copy of the matrix and E / 4 bytes a row. Building is k-means.
    Does nothing when: leaves are all probed and candidates >= V, where it equals the exact scan; or there is no output matrix (it says so).
    Parameters: leaves L, probed P, candidates C.
    """

    paper: ClassVar[str] = (
        "Guo et al., Accelerating large-scale inference with anisotropic vector quantization, ICML 2020, https://arxiv.org/abs/1908.10396"
    )

    leaves: int = param(256, "Clusters of rows; at most as many as there are tokens.", symbol="L", ge=1, le=65_536)
    probed: int = param(32, "Clusters that are searched.", symbol="P", ge=1)
    candidates: int = param(200, "Rows that are scored exactly.", unit="tokens", symbol="C", ge=1)

    @classmethod
    def unavailable(cls) -> str:
        return unavailable(SCANN, " (it is made for Linux alone)")

    def index(self) -> Index:
        return ScannIndex(self.leaves, self.probed, self.candidates)


@certificate("with every leaf probed and every row a candidate it equals the exact scan", 1e-5)
def all_candidates_equal_scan(trial: Trial) -> float:
    return difference_from_scan(ScannIndex(5, 5, trial.vocabulary), trial)
