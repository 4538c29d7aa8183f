"""Windows, subsampling and batches of words against loops that do the same one word at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engines.toolbox.heads import IGNORED
from engines.toolbox.words import Windows, WordBatch, WordModel, WordStream, batch_of, keep_share, line_end, not_words
from tests.engines.runtime import session as small


def windows(length: int = 60, *, lines: bool = False) -> Windows:
    draw = np.random.default_rng(0)
    numbers = np.sort(draw.integers(0, 8, length)) if lines else None
    return Windows(draw.integers(0, 9, length), draw.integers(1, 5, length), numbers, 4)


def pairs_one_by_one(text: Windows) -> list[tuple[int, int]]:
    found = []
    for i, word in enumerate(text.words):
        for j in range(max(0, i - text.reach[i]), min(len(text.words), i + text.reach[i] + 1)):
            if j != i and (text.lines is None or text.lines[i] == text.lines[j]):
                found.append((int(word), int(text.words[j])))
    return found


def test_words_that_stay_follow_the_formula_of_word2vec() -> None:
    vocabulary = small.text().vocabulary
    counts = np.array(vocabulary.counts)
    counts[not_words(vocabulary)] = 0
    threshold = 1e-3 * counts.sum()
    keep_V = keep_share(vocabulary, 1e-3)
    for i in (1, 5, 60, 499):
        expected = 0.0 if i in not_words(vocabulary) else min(1.0, (np.sqrt(counts[i] / threshold) + 1) * threshold / counts[i])
        assert keep_V[i] == pytest.approx(expected)
    assert 0 < keep_V[keep_V > 0].min() < 0.5
    assert keep_share(vocabulary, 0.0)[[i for i in range(500) if i not in not_words(vocabulary)]].min() == 1


def test_neither_unknown_words_nor_line_ends_are_words() -> None:
    text = small.text()
    end = line_end(text.vocabulary)
    assert end is not None
    assert set(not_words(text.vocabulary)) == {0, end}
    stream = WordStream(text, 4, 10, 0, window=2, threshold=0.0, from_context=False, over_lines=True)
    for _ in range(50):
        batch = next(stream)
        assert not (batch.inputs_BT == 0).any()
        assert not (batch.inputs_BT == end).any()
        assert not (batch.targets_BT == end).any()


@pytest.mark.parametrize("lines", [False, True])
def test_windows_are_those_of_a_loop(lines: bool) -> None:
    text = windows(lines=lines)
    batch = batch_of(text, np.arange(60)[None], from_context=False)
    targets = batch.targets_BT[0]
    found = [(int(word), int(other)) for word, row in zip(batch.inputs_BT[0], targets, strict=True) for other in row if other != IGNORED]
    assert found == pairs_one_by_one(text)
    assert batch.tokens == len(found) == text.predictions == int((targets != IGNORED).sum())


def test_from_context_turns_the_windows_round() -> None:
    text = windows()
    forth, back = (batch_of(text, np.arange(60).reshape(4, 15), from_context=turned) for turned in (False, True))
    assert torch.equal(forth.targets_BT, back.inputs_BT)
    assert torch.equal(forth.inputs_BT, back.targets_BT)
    assert back.tokens == 60


def test_a_word_alone_in_its_line_predicts_nothing() -> None:
    text = Windows(np.array([3, 4, 5]), np.array([2, 2, 2]), np.array([0, 1, 1]), 2)
    assert batch_of(text, np.arange(3)[None], from_context=True).targets_BT.tolist() == [[IGNORED, 4, 5]]
    assert batch_of(text, np.arange(3)[None], from_context=True).tokens == 2
    assert batch_of(text, np.arange(3)[None], from_context=False).tokens == text.predictions == 2


def stream(seed: int = 0, **changes: object) -> WordStream:
    chosen: dict[str, object] = {"window": 3, "threshold": 1e-2, "from_context": False, "over_lines": False} | changes
    return WordStream(small.text(), 4, 10, seed, **chosen)  # type: ignore[arg-type]


def test_an_epoch_reads_every_word_that_stays_once() -> None:
    read = WordStream(small.text(), 4, 10, 0, window=3, threshold=0.0, from_context=False, over_lines=False)
    counted: Counter[int] = Counter()
    while read.epoch == 0:
        batch = next(read)
        if read.epoch == 0:
            counted.update(batch.inputs_BT.flatten().tolist())
    text = small.text()
    wanted = Counter(text.splits["train"].tolist())
    for word in not_words(text.vocabulary):
        del wanted[word]
    assert sum((counted - wanted).values()) == 0
    # The rest of the division into rows, and less than a segment at the end of each.
    assert sum((wanted - counted).values()) < 4 + 4 * 10


def test_a_resumed_stream_goes_on_as_if_it_had_not_stopped() -> None:
    whole, first, second = stream(), stream(), stream()
    wanted = [next(whole) for _ in range(600)]
    for _ in range(430):
        next(first)
    second.load_state_dict(first.state_dict())
    assert second.epoch > 0
    for batch in wanted[430:]:
        assert torch.equal(next(second).targets_BT, batch.targets_BT)


def test_another_seed_and_another_epoch_draw_other_windows() -> None:
    one, other = stream(0), stream(1)
    assert not torch.equal(next(one).targets_BT, next(other).targets_BT)
    first = next(stream()).inputs_BT
    while one.epoch == 0:
        latest = next(one)
    assert not torch.equal(latest.inputs_BT, first)


def test_the_epoch_is_as_long_as_its_predictions() -> None:
    read = stream()
    total = 0
    while read.epoch == 0:
        batch = next(read)
        total += batch.tokens if read.epoch == 0 else 0
    assert total == pytest.approx(read.tokens_per_epoch, rel=0.05)


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"too few for 100000 rows: use a smaller training\.batch"):
        WordStream(small.text(), 100_000, 10, 0, window=3, threshold=0.0, from_context=False, over_lines=True)


def test_parts_of_a_batch_count_their_own_predictions() -> None:
    batch = batch_of(windows(), np.arange(60).reshape(6, 10), from_context=False)
    parts = batch.split(4)
    assert sum(part.tokens for part in parts) == batch.tokens
    assert all(isinstance(part, WordBatch) for part in parts)


# --- The model ------------------------------------------------------------------------------------------------------------------------------


class SquaredScores(nn.Module):
    """Any function of (hidden, target) serves: its sum over the pairs is what matters."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(5, 9)

    def loss(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        return self.output(hidden_ND).gather(1, target_N[:, None]).square().sum()


def model() -> WordModel:
    torch.manual_seed(0)
    return WordModel(nn.Embedding(9, 5), SquaredScores(), length=10)


def test_skip_gram_sums_over_all_pairs() -> None:
    text, made = windows(), model()
    batch = batch_of(text, np.arange(60).reshape(4, 15), from_context=False)
    loss, count, _, extras = made(batch)
    pairs = torch.tensor(pairs_one_by_one(text))
    torch.testing.assert_close(loss, made.head.loss(made.embedding(pairs[:, 0]), pairs[:, 1]))
    assert count == len(pairs)
    assert extras["hidden_ND"].shape == (60, 5)
    assert all(target in row for target, row in zip(extras["target_N"], batch.targets_BT.flatten(0, 1), strict=True))


def test_a_head_that_takes_all_targets_at_once_is_given_them() -> None:
    class Many(SquaredScores):
        def loss_many(self, hidden_ND: torch.Tensor, targets_NC: torch.Tensor) -> torch.Tensor:
            scores_NC = self.output(hidden_ND).gather(1, targets_NC.clamp(min=0))
            return scores_NC.square().masked_fill(targets_NC == IGNORED, 0.0).sum()

    batch, plain, many = batch_of(windows(), np.arange(60).reshape(4, 15), from_context=False), model(), model()
    many.head = Many()
    many.head.load_state_dict(plain.head.state_dict())
    torch.testing.assert_close(many(batch)[0], plain(batch)[0])


def test_cbow_reads_the_mean_of_the_words_that_are_there() -> None:
    made = model()
    ids = torch.tensor([[[1, 2, IGNORED, IGNORED], [3, IGNORED, IGNORED, IGNORED], [IGNORED] * 4]])
    x_1TD, state, _ = made.hidden(ids)
    e = made.embedding.weight
    torch.testing.assert_close(x_1TD[0], torch.stack([(e[1] + e[2]) / 2, e[3], torch.zeros(5)]))
    assert state == ()


def test_a_stream_needs_no_line_ends() -> None:
    text = small.text()
    end = line_end(text.vocabulary)
    tokens = tuple("(end)" if i == end else token for i, token in enumerate(text.vocabulary.tokens))
    bare = replace(text, vocabulary=replace(text.vocabulary, tokens=tokens))
    assert line_end(bare.vocabulary) is None
    assert next(WordStream(bare, 4, 10, 0, window=2, threshold=0.0, from_context=True, over_lines=False)).tokens == 40
