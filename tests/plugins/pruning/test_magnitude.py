"""pruning/magnitude: which weights go, that they stay away, and what is said about it."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from engines.api import Trial
from engines.toolbox.pruning import cubic, weights_of
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen
from plugins.pruning.magnitude import Magnitude

TRIAL = Trial(length=5, width=8, vocabulary=13)


class Training(Surroundings):
    """A context whose `train` really runs updates through the technique's own step."""

    def __init__(self, module, technique: Magnitude, state: dict | None = None) -> None:
        super().__init__(module, torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01))
        self.state = state if state is not None else {}
        self.trained: list[tuple[int, float]] = []
        self._update = technique.step(self._optimizer_step, self)

    def _optimizer_step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def updates(self, n: int) -> None:
        for batch in batches(TRIAL, n):
            backward_of(self.model)(batch, None)
            self._update()
            self.step += 1
            self.tokens += batch.tokens

    def train(self, *, tokens: int, lr_scale: float = 1.0) -> None:
        self.trained.append((tokens, lr_scale))
        self.updates(3)


def zeros(module, technique: Magnitude) -> float:
    weights = weights_of(module, technique.types, technique.include, technique.exclude).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def test_embeddings_heads_and_vectors_are_spared_unless_named() -> None:
    module = specimen(TRIAL, tied=True)
    technique = Magnitude()
    spared = set(dict(module.named_parameters())) - set(weights_of(module, technique.types, technique.include, technique.exclude))
    assert {name for name in spared if "bias" not in name} == {"embedding.weight", "final_norm.weight"}
    assert list(weights_of(module, ["Embedding", "Linear"], ["*"], ["layers*"])) == ["embedding.weight"], "a tied weight once"


def test_one_shot_cuts_after_training_and_zeros_survive_fine_tuning_with_momentum_and_decay() -> None:
    module, technique = specimen(TRIAL), Magnitude(sparsity=0.6, scope="global", fine_tune_tokens=77, fine_tune_lr=0.5)
    context = Training(module, technique)
    context.updates(2)
    assert zeros(module, technique) == 0.0
    _, record = technique.finish(module, context)
    assert context.trained == [(77, 0.5)]
    assert zeros(module, technique) == pytest.approx(0.6, abs=1e-3)
    assert record["zero_weights"] == round(0.6 * record["prunable_weights"])
    assert context.effects[-1][0].startswith("60.0% of 1,152 weights in 4 modules are zero")


def test_two_of_four_stay_so_through_fine_tuning_and_are_said_to_be_simulated() -> None:
    """Rows of 16 numbers lose two of each four; of rows of 13 the last one stays."""
    module = torch.nn.Sequential(torch.nn.Linear(16, 6), torch.nn.Linear(13, 4))
    technique = Magnitude(sparsity=0.5, granularity="2:4", exclude=(), fine_tune_tokens=0)
    context = Surroundings(module)
    update = technique.step(lambda: [torch.nn.init.uniform_(each.weight, 0.5, 1.0) for each in module], context)
    technique.finish(module, context)
    update()
    assert ((module[0].weight.view(-1, 4) == 0).sum(1) == 2).all()
    assert ((module[1].weight[:, :12].reshape(-1, 4) == 0).sum(1) == 2).all()
    assert (module[1].weight[:, 12] != 0).all()
    assert "here they are multiplied as dense. Rows of 1.weight are no multiple of four" in context.effects[-1][0]


def test_default_fine_tuning_is_a_tenth_of_the_training() -> None:
    module, technique = specimen(TRIAL), Magnitude()
    context = Training(module, technique)
    context.tokens = 5000
    technique.finish(module, context)
    assert context.trained == [(500, 0.1)]
    untouched = Training(specimen(TRIAL), nothing := Magnitude(sparsity=0.0))
    untouched.tokens = 5000
    nothing.finish(untouched.model, untouched)
    assert untouched.trained == []


def test_gradual_follows_the_cube_and_never_lets_a_weight_return() -> None:
    module, technique = specimen(TRIAL), Magnitude(mode="gradual", sparsity=0.8, begin=0.25, end=0.75, rounds=4)
    context = Training(module, technique)
    seen, gone = [], None
    for i in range(20):
        context.progress = i / 20
        context.updates(1)
        seen.append(zeros(module, technique))
        if context.state.get("removed"):
            now = torch.cat([mask.flatten() for mask in context.state["removed"].values()])
            assert gone is None or bool((now | ~gone).all())
            gone = now
    assert seen[7] == 0.0
    expected = [cubic(k / 4, 0.8) for k in (1, 2, 3, 4)]
    assert sorted({round(s, 2) for s in seen} - {0.0}) == [round(s, 2) for s in expected]
    assert [value for _, value, _ in context.logged] == pytest.approx(expected)
    technique.finish(module, context)
    assert context.trained == []
    assert zeros(module, technique) == pytest.approx(0.8, abs=0.01)


def test_gradual_reaches_its_sparsity_even_where_training_stopped_early() -> None:
    module, technique = specimen(TRIAL), Magnitude(mode="gradual", sparsity=0.5)
    context = Training(module, technique)
    context.updates(1)
    technique.finish(module, context)
    assert zeros(module, technique) == pytest.approx(0.5, abs=0.01)


def test_a_resumed_run_keeps_its_zeros() -> None:
    module, technique = specimen(TRIAL), Magnitude(mode="gradual", sparsity=0.5)
    context = Training(module, technique)
    context.progress = 0.6
    context.updates(1)
    before = zeros(module, technique)
    assert before > 0
    resumed = specimen(TRIAL)
    resumed.load_state_dict(module.state_dict())
    again = Training(resumed, technique, state=context.state)
    again.progress = 0.6
    again.updates(2)
    assert zeros(resumed, technique) == before
    assert again.logged == []


def test_no_match_is_said_loudly_and_changes_nothing() -> None:
    module, technique = specimen(TRIAL), Magnitude(include=("encoder.*",))
    context = Training(module, technique)
    expected = {name: value.clone() for name, value in module.state_dict().items()}
    _, record = technique.finish(module, context)
    assert "Nothing was pruned: 0 weights of type Linear, LSTM, GRU, Conv1d, Conv2d match include = ['encoder.*']" in context.effects[0][0]
    assert record == {"modules": 0}
    assert all(torch.equal(value, expected[name]) for name, value in module.state_dict().items())


def test_begin_after_end_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"begin \(0.9\) must lie before end \(0.8\)"):
        Magnitude(begin=0.9)
