"""Hashing by random hyperplanes."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from engines.api import Trial, certificate, param
from engines.toolbox.search.certified import difference_from_scan
from engines.toolbox.search.index import Index
from engines.toolbox.search.signs import WORD, SignHashing
from engines.toolbox.search.technique import Searching


class SignRandomProjections(Searching):
    """Sign random projections (LSH)

    Charikar (2002), Similarity estimation techniques from rounding algorithms; for inner products Neyshabur, Srebro (2015), On symmetric and
    asymmetric LSHs for inner product search.

        w' = [w, b, sqrt(M^2 - |w|^2 - b^2)],  h' = [h, 1, 0]:  w'.h' = w.h + b and all |w'| = M     (1)
        code(x) = signs of B random projections of x                        (2)
        P(two codes differ in a bit) = angle(w', h') / pi                   (3)
        candidates = the C rows whose codes differ in the fewest bits; exact scores of these         (4)

    M is the longest [w, b]. Codes are compared by exclusive or and counting ones in 64-bit words, on the device of the head.
    By (3) the deviation of the estimated angle falls as 1 / sqrt(B), and in a language model's head the best rows differ by little in angle:
    it needs many bits or many candidates.

    Cost: B / 64 words a row compared and 2 E C operations a token; V B / 8 bytes.
    Does nothing when: candidates >= V, where it equals the exact scan; or the head has no output matrix (it then says so).
    Parameters: bits B, candidates C, seed.
    """

    paper: ClassVar[str] = "Neyshabur and Srebro, On symmetric and asymmetric LSHs for inner product search, ICML 2015, https://arxiv.org/abs/1410.5518"

    bits: int = param(512, "Signs kept of each row, a multiple of 64.", unit="bits", symbol="B", ge=WORD, le=65_536)
    candidates: int = param(500, "Rows that are scored exactly.", unit="tokens", symbol="C", ge=1)
    seed: int = param(0, "Of the random projections.", ge=0)

    @model_validator(mode="after")
    def _whole_words(self) -> Self:
        if self.bits % WORD:
            raise ValueError(f"bits = {self.bits} is no multiple of {WORD}: codes are kept in words of {WORD} bits")
        return self

    def index(self) -> Index:
        return SignHashing(self.bits, self.candidates, self.seed)


@certificate("with every row a candidate it equals the exact scan", 1e-5)
def all_candidates_equal_scan(trial: Trial) -> float:
    return difference_from_scan(SignHashing(WORD, trial.vocabulary), trial)
