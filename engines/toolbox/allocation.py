"""One option for each of several things, at least cost within a budget: the exact answer by dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence

import torch

Option = tuple[int, float]
"""(size, cost)."""


def allocate(options: Sequence[Sequence[Option]], budget: int) -> list[int] | None:
    """The option of each thing (its place) with the least sum of costs among all whose sizes sum to at most `budget`; of equal costs the
    smaller. None where even the smallest do not fit.

    The multiple-choice knapsack problem: after each thing, of all sums of sizes only those are kept that no sum of smaller or equal size beats
    in cost. That loses no optimum, and there are at most as many as there are different sums of sizes.
    """
    rest = sum(min(size for size, _ in own) for own in options)
    sizes, costs = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    steps = []
    for own in options:
        rest -= min(size for size, _ in own)
        sizes = (sizes[:, None] + torch.tensor([size for size, _ in own])).flatten()
        costs = (costs[:, None] + torch.tensor([cost for _, cost in own], dtype=torch.float64)).flatten()
        places = (sizes + rest <= budget).nonzero().flatten()
        if not len(places):
            return None
        places = places[costs[places].argsort(stable=True)]
        places = places[sizes[places].argsort(stable=True)]
        best = costs[places].cummin(0).values
        better = torch.ones(len(places), dtype=torch.bool)
        better[1:] = best[1:] < best[:-1]
        places = places[better]
        sizes, costs = sizes[places], costs[places]
        steps.append(places)
    chosen, state = [], len(sizes) - 1  # costs fall as sizes grow: the last is the least
    for own, places in zip(reversed(options), reversed(steps), strict=True):
        state, option = divmod(int(places[state]), len(own))
        chosen.append(option)
    return chosen[::-1]
