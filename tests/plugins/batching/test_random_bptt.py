"""batching/random_bptt on real streams."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from engines.toolbox.batches import Stream
from engines.toolbox.specimen import Surroundings
from plugins.batching.random_bptt import RandomBptt


def context() -> Surroundings:
    return Surroundings(torch.nn.Linear(1, 1))


def test_lengths_follow_the_paper_and_rates_follow_lengths() -> None:
    draw = RandomBptt(p=0.9, spread=2.0, shortest=4).sampler(70)
    drawn = [draw(random.Random(i)) for i in range(4000)]
    lengths = np.array([length for length, _ in drawn])
    assert lengths.min() >= 4
    assert lengths.max() <= 74
    assert (lengths < 52).mean() == pytest.approx(0.1, abs=0.02)
    assert lengths[lengths > 52].mean() == pytest.approx(70, abs=0.3)
    assert all(scale == pytest.approx(length / 70) for length, scale in drawn)


def test_a_resumed_stream_is_cut_at_the_same_places() -> None:
    ids = np.arange(5000)

    def stream() -> Stream:
        return RandomBptt(p=0.5).data(Stream(ids, 3, 20, seed=1), context())

    first = stream()
    for _ in range(7):
        next(first)
    resumed = stream()
    resumed.load_state_dict(first.state_dict())
    for _ in range(5):
        a, b = next(first), next(resumed)
        assert torch.equal(a.inputs_BT, b.inputs_BT)
        assert a.lr_scale == b.lr_scale


def test_learning_rate_is_left_alone_where_asked() -> None:
    draw = RandomBptt(rescale=False).sampler(35)
    assert {draw(random.Random(i))[1] for i in range(50)} == {1.0}


def test_says_what_lengths_it_made_and_refuses_batches_it_cannot_cut() -> None:
    surroundings = context()
    RandomBptt(p=1.0, spread=0.0).data(Stream(np.arange(5000), 2, 20, seed=0), surroundings)
    assert surroundings.effects[0][1]["mean_length"] == 20
    with pytest.raises(ValueError, match="trains on list"):
        RandomBptt().data([], context())
