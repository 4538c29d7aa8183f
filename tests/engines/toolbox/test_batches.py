"""Batches of contiguous text: every target once an epoch, rows carried on, position restored exactly, states cut where batches are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.toolbox.batches import Batch, Stream, detach, merge_states, split_state

IDS = np.arange(1003, dtype=np.uint16)
"""Ids that tell their own place."""


def take(stream: Stream, n: int) -> list[Batch]:
    return [next(stream) for _ in range(n)]


def test_targets_follow_inputs_and_rows_go_on_where_they_stopped() -> None:
    first, second = take(Stream(IDS, 4, 7, seed=0), 2)
    assert first.fresh
    assert not second.fresh
    assert first.inputs_BT.dtype == torch.int64
    assert torch.equal((first.inputs_BT + 1) % len(IDS), first.targets_BT)
    assert torch.equal(second.inputs_BT[:, 0], first.targets_BT[:, -1])


def test_an_epoch_sees_every_target_once_but_for_the_dropped_ends() -> None:
    stream = Stream(IDS, 4, 7, seed=3)
    epoch = take(stream, stream.tokens_per_epoch // 28)
    targets = torch.cat([batch.targets_BT.flatten() for batch in epoch])
    assert len(targets.unique()) == len(targets) == stream.tokens_per_epoch
    assert len(IDS) - len(targets) < 4 * 7 + 4
    assert next(stream).fresh
    assert stream.epoch == 1


def test_seed_decides_the_order_alone() -> None:
    same = zip(take(Stream(IDS, 4, 7, seed=5), 80), take(Stream(IDS, 4, 7, seed=5), 80), strict=True)
    assert all(torch.equal(a.inputs_BT, b.inputs_BT) for a, b in same)
    assert not torch.equal(next(Stream(IDS, 4, 7, seed=5)).inputs_BT, next(Stream(IDS, 4, 7, seed=6)).inputs_BT)


@pytest.mark.parametrize("random_lengths", [False, True])
def test_a_restored_stream_goes_on_with_the_same_batches(random_lengths: bool) -> None:
    def stream() -> Stream:
        made = Stream(IDS, 4, 7, seed=1)
        if random_lengths:
            made.segment_length = lambda draw: (draw.randint(3, 12), 0.5)
        return made

    whole, restored = stream(), stream()
    take(whole, 61)
    restored.load_state_dict(whole.state_dict())
    for expected, found in zip(take(whole, 60), take(restored, 60), strict=True):
        assert torch.equal(expected.inputs_BT, found.inputs_BT)
        assert (expected.fresh, expected.lr_scale) == (found.fresh, found.lr_scale)


def test_random_lengths_cover_the_rows_whole_and_scale_the_rate_of_a_cut_segment() -> None:
    stream = Stream(IDS, 4, 7, seed=1)
    stream.segment_length = lambda draw: (100, 2.0)
    batches = take(stream, 3)
    assert [batch.inputs_BT.shape[1] for batch in batches] == [100, 100, 50]
    assert batches[2].lr_scale == pytest.approx(1.0)


def test_too_short_a_text_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"has 5 tokens, too few for 8 rows.*smaller training\.batch"):
        Stream(IDS[:5], 8, 7, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        Stream(IDS, 0, 7, seed=0)


def test_a_text_shorter_than_a_segment_gives_shorter_segments() -> None:
    stream = Stream(IDS[:21], 4, 35, seed=0)
    assert [batch.inputs_BT.shape for batch in take(stream, 2)] == [(4, 5), (4, 5)]


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_batches_and_states_are_cut_in_the_same_places(parts: int) -> None:
    batch = next(Stream(IDS, 5, 7, seed=0))
    state = (torch.arange(5.0)[:, None], {"cache": [torch.arange(10).view(5, 2)], "offset": 3, "scalar": torch.tensor(2.0)}, None)
    states = split_state(state, parts)
    pieces = batch.split(parts)
    assert [len(piece.inputs_BT) for piece in pieces] == [len(piece[0]) for piece in states]
    assert torch.equal(torch.cat([piece.targets_BT for piece in pieces]), batch.targets_BT)
    merged = merge_states(states)
    assert torch.equal(merged[0], state[0])
    assert torch.equal(merged[1]["cache"][0], state[1]["cache"][0])
    assert (merged[1]["offset"], float(merged[1]["scalar"]), merged[2]) == (3, 2.0, None)


def test_more_parts_than_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="5 rows cannot be split into 6"):
        next(Stream(IDS, 5, 7, seed=0)).split(6)


def test_detaching_keeps_the_nesting() -> None:
    grown = torch.ones(2, 3, requires_grad=True) * 2
    carried = detach(((grown, None), {"a": grown}))
    assert not carried[0][0].requires_grad
    assert not carried[1]["a"].requires_grad
    assert carried[0][1] is None
