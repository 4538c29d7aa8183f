"""How far the figures of studies can be believed: equal alternatives called different, a known ratio covered, and what the lecture's example gains.

Run it on a machine that is idle, and once more on one that is not: the first two figures should hold on both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import torch

from engines.api import Cell, Group
from engines.runtime.outcome import Figures
from engines.runtime.rounds import Rounds
from engines.runtime.study import measure, study_of
from engines.toolbox.studies import faster, slower

COMPARISONS = 100
SECONDS = 0.25
RATIO = 22 / 20


def main() -> None:
    matrix_NN = torch.randn(64, 64)
    one, other = _products(matrix_NN, 22), _products(matrix_NN, 20)
    equal = [_pair(float(n), one, one) for n in range(COMPARISONS)]
    unequal = [_pair(float(n), one, other) for n in range(COMPARISONS)]
    psutil.cpu_percent()
    for name, groups, truth in (("equal alternatives", equal, 1.0), (f"a known ratio of {RATIO:.2f}", unequal, RATIO)):
        figures = Figures(list(Rounds(SECONDS).run(groups)))
        found = [figures.speedup("second", "first", group.x) for group in groups]
        known = [each for each in found if each is not None and each.low is not None and each.high is not None]
        covered = sum(each.low <= truth <= each.high for each in known)  # type: ignore[operator]  # both are known
        width = sorted(each.high / each.low - 1 for each in known)[len(known) // 2]  # type: ignore[operator]
        called = sum(faster(each) or slower(each) for each in known)
        print(f"{name}: {covered} of {len(known)} intervals hold it, median width {width:.1%}; {called} called faster or slower")
    print(f"the machine was used to {psutil.cpu_percent():.0f}%")
    for threads in (1, 2):
        found = measure(study_of("studies/repeated_operations", {"words": [2], "threads": threads, "seconds": 3.0}), "")
        for sentence in (sentence for sentence in found["findings"] if sentence.startswith("Slow example")):
            print(f"{threads} thread{'s' if threads > 1 else ''}: {sentence}")


def _products(matrix_NN: torch.Tensor, count: int) -> Callable[[Any], Callable[[], torch.Tensor]]:
    def call() -> torch.Tensor:
        for _ in range(count - 1):
            matrix_NN @ matrix_NN
        return matrix_NN @ matrix_NN

    return lambda shared: call


def _pair(x: float, first: Any, second: Any) -> Group:
    return Group(x, (Cell("first", first, threads=1), Cell("second", second, threads=1)))


if __name__ == "__main__":
    main()
