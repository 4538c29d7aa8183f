"""Exact statements about a plugin's code, and what they are checked on. Part of `engines.api`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """On what a certificate is checked (the user's own, or these): rows, tokens a row, width of the hidden states, token types; device and type."""

    batch: int = 2
    length: int = 32
    width: int = 16
    vocabulary: int = 50
    device: str = "cpu"
    dtype: str = "float64"
    seed: int = 0


def certificate(statement: str, tolerance: float = 1e-6) -> Callable[[Callable[[Trial], float]], Callable[[Trial], float]]:
    """Mark a function of a plugin file as a certificate: it measures the error of an exact statement ("window >= length equals full
    attention") on a Trial; the statement holds where the returned error is at most `tolerance`."""

    def mark(function: Callable[[Trial], float]) -> Callable[[Trial], float]:
        function.certificate = (statement, tolerance)  # type: ignore[attr-defined]
        return function

    return mark
