"""What followed a token of late, against a list kept by hand, and draws against what is expected of them."""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np
import torch

from engines.toolbox.heads import IGNORED
from engines.toolbox.proposals import Independent, proposal
from engines.toolbox.successors import Successors

V, R, K = 7, 3, 40


def filled(batches: int) -> tuple[Successors, dict[int, deque[int]]]:
    made = Successors(Independent(proposal("unigram", np.arange(V, 0, -1)), K), R, 0.6)
    kept: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=R))
    draw = torch.Generator().manual_seed(0)
    for _ in range(batches):
        before_N, target_N = torch.randint(4, (23,), generator=draw), torch.randint(V, (23,), generator=draw)
        target_N[::5] = IGNORED
        made.learn(before_N, target_N)
        for before, target in zip(before_N.tolist(), target_N.tolist(), strict=True):
            if target != IGNORED:
                kept[before].append(target)
    return made, kept


def expected(made: Successors, kept: dict[int, deque[int]], before: int) -> np.ndarray:
    q = proposal("unigram", np.arange(V, 0, -1))
    if not kept[before]:
        return q
    return 0.6 * np.bincount(list(kept[before]), minlength=V) / len(kept[before]) + 0.4 * q


def test_the_last_few_are_remembered_in_order_whatever_the_batches() -> None:
    for batches in (1, 2, 5):
        made, kept = filled(batches)
        for before in range(V):
            held = min(int(made.seen_V[before]), R)
            assert sorted(made.last_VR[before, :held].tolist()) == sorted(kept[before])


def test_a_row_that_is_not_full_yet_counts_what_is_there() -> None:
    made, _ = filled(0)
    made.learn(torch.tensor([2, 2]), torch.tensor([0, 5]))
    log_c_NS = made.log_expected(torch.tensor([2]), torch.arange(V)[None])
    np.testing.assert_allclose(log_c_NS[0].exp() / K, expected(made, defaultdict(deque, {2: deque([0, 5])}), 2), rtol=1e-5)


def test_expected_numbers_are_those_of_the_definition_and_draws_follow_them() -> None:
    made, kept = filled(2)
    torch.manual_seed(1)
    for before in (0, 3, 6):
        wanted = expected(made, kept, before)
        before_N = torch.full((2000,), before)
        np.testing.assert_allclose(made.log_expected(before_N[:1], torch.arange(V)[None])[0].exp() / K, wanted, rtol=1e-5)
        drawn = np.bincount(made.draw(before_N).flatten(), minlength=V) / (2000 * K)
        assert np.abs(drawn - wanted).max() < 5 * 0.5 / np.sqrt(2000 * K)


def test_a_copy_of_the_state_draws_the_same() -> None:
    made, _ = filled(2)
    other, _ = filled(0)
    other.load_state_dict(made.state_dict())
    found = []
    for each in (made, other):
        torch.manual_seed(3)
        found.append(each.draw(torch.arange(V)))
    assert torch.equal(*found)
