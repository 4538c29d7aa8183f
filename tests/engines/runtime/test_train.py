"""The loop against a bare loop, resuming against not stopping, and every way in which training ends."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engines import probes
from engines.runtime import checkpoint
from engines.runtime.finished import FinishedError, load_finished, save_finished
from engines.runtime.losses import Diverged
from engines.runtime.pipeline import RecipeError
from engines.runtime.plan import block
from engines.runtime.train import Cancelled
from engines.toolbox.batches import detach
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam", "lr": 0.01}


def test_the_loop_trains_exactly_as_a_bare_torch_loop(tmp_path: Path) -> None:
    made = small.trainer(tmp_path, small.plan([{"id": "optimization/sgd", "lr": 0.5}]))
    made.train()

    plan, text = small.plan([]), small.text()
    torch.manual_seed(0)
    model = made.session.task.assemble(plan["model"], block, text, 12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    stream, state, bare = made.session.task.batches(text, 8, 12, 0), None, []
    for _, batch in zip(range(40), stream, strict=False):
        loss, count, state, _ = model(batch, state)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
        state = detach(state)
        bare.append(float(loss.detach()) / count)
    assert small.losses(made) == pytest.approx(bare, rel=1e-6)
    # Five at a time: the text is the interpreter's own, and its first batch is an easy one in some versions.
    assert sum(bare[-5:]) / 5 < sum(bare[:5]) / 5 - 0.3


def test_resuming_gives_the_same_losses_as_not_stopping(tmp_path: Path) -> None:
    recipe = [ADAM, {"id": "regularization/weight_drop", "p": 0.3}, {"id": "batching/random_bptt"}, {"id": "optimization/cosine"}]
    whole = small.trainer(tmp_path / "whole", small.plan(recipe))
    whole.train()

    first = small.trainer(tmp_path / "parts", small.plan(recipe))
    update = first.pipeline.update

    def update_and_ask() -> None:
        update()
        first.control.stop = first.session.step == 16

    first.pipeline.update = update_and_ask
    with pytest.raises(Cancelled):
        first.train()
    assert first.session.step == 17
    found = checkpoint.find(tmp_path / "parts" / "checkpoint")
    assert found is not None
    second = small.trainer(tmp_path / "parts", small.plan(recipe), earlier=checkpoint.load(found))
    second.train()
    assert small.losses(first) + small.losses(second) == small.losses(whole)
    assert second.losses.digest == whole.losses.digest


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(tmp_path: Path) -> None:
    made = small.trainer(tmp_path, small.plan([{"id": "optimization/sgd", "lr": 1e38}]))
    with pytest.raises(Diverged, match=r"The loss became (nan|inf) at step \d+"):
        made.train()
    stored = small.losses(made)
    assert not math.isfinite(stored[-1])
    assert math.isfinite(stored[0])


@pytest.mark.parametrize(("budget", "steps"), [({"steps": 7}, 7), ({"tokens": 960}, 10), ({"epochs": 0.1}, 15)])
def test_budgets_end_where_they_say(tmp_path: Path, budget: dict[str, float], steps: int) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM], budget=budget))
    made.train()
    assert made.session.step == steps
    assert made.session.progress == 1


def test_a_budget_of_seconds_counts_training_alone(tmp_path: Path) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM], budget={"seconds": 0.3}))
    made.train()
    assert 0.3 <= made.session.seconds < 3


def test_validation_is_even_and_leaves_training_alone(tmp_path: Path) -> None:
    drop = {"id": "regularization/weight_drop", "p": 0.5}
    measure = {"evaluations": 4, "held_out_tokens": 300, "margin": 0.02}
    often = small.trainer(tmp_path / "a", small.plan([ADAM, drop], measure=measure))
    often.train()
    never = small.trainer(tmp_path / "b", small.plan([ADAM, drop], measure=measure | {"evaluations": 0}))
    never.train()
    assert [step for step, _ in often.recorder.points["quality/valid_perplexity"]] == [10, 20, 30, 40]  # type: ignore[attr-defined]
    assert small.losses(often) == small.losses(never)


def test_operations_of_a_step_are_counted(tmp_path: Path) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM]))
    made.train()
    assert made.work is not None
    lstm, head = 2 * 4 * 24 * (24 + 24), 2 * 24 * small.SIZE
    # Forward, and two products backward for each forward one.
    assert made.work.flops / made.work_tokens == pytest.approx(3 * (lstm + head), rel=0.05)
    assert made.work.uncounted == {}


def test_a_checkpoint_of_an_earlier_version_leaves_the_work_unknown(tmp_path: Path) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM]))
    made.train()
    found = checkpoint.find(tmp_path / "checkpoint")
    assert found is not None
    state = checkpoint.load(found)
    later = small.trainer(tmp_path, small.plan([ADAM]), earlier=state)
    assert later.work == made.work
    # Operations, those that were not counted, tokens.
    state["work"] = [1e6, {}, 96]
    later = small.trainer(tmp_path, small.plan([ADAM]), earlier=state)
    assert later.work is None
    assert later.session.step == 40


def test_a_watched_step_neither_takes_nor_leaves_work_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM], budget={"steps": 6}))
    seen: list[tuple[int, float]] = []

    def wait(device: torch.device) -> None:
        seen.append((made.session.step, made.session.seconds))
        time.sleep(0.1)

    monkeypatch.setattr("engines.runtime.train.wait_for", wait)
    turns = made.steps(lambda batch: 1.0)
    for _ in range(6):
        next(turns)
    # Before and after the fourth step.
    (first, before), (last, after) = seen
    assert (first, last) == (3, 4)
    assert after - before >= 0.1, "what was under way is training"
    assert 0.1 <= made.bookkeeping.watched <= made.session.seconds - after
    assert made.memory.steps == 1


def test_a_recipe_without_an_optimizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="has no optimizer: add one"):
        small.trainer(tmp_path, small.plan([]))


def test_a_checkpoint_holds_no_step_whose_loss_is_not_stored(tmp_path: Path) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM]))
    turns = made.steps(lambda batch: 1.0)
    for _ in range(3):
        next(turns)
    made.save()
    assert len(small.losses(made)) == 3
    found = checkpoint.find(tmp_path / "checkpoint")
    assert found is not None
    assert checkpoint.load(found)["digest"] == made.losses.digest != 0


def test_peaks_are_those_of_training_steps_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM]))
    evaluate = type(made.session.task).evaluate
    hog = []

    def evaluate_and_waste(*arguments: object) -> object:
        hog.append(torch.ones(50_000_000))
        hog.clear()
        return evaluate(*arguments)  # type: ignore[arg-type]

    made.peaks.forget()
    before = probes.resident_mib()
    monkeypatch.setattr(type(made.session.task), "evaluate", evaluate_and_waste)
    made.train()
    assert made.peaks.host_mib is None or made.peaks.host_mib < before + 100


def test_resuming_on_another_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM]))
    made.train()
    found = checkpoint.find(tmp_path / "checkpoint")
    assert found is not None
    other = replace(small.text(), fingerprint="another")
    monkeypatch.setattr(small, "text", lambda: other)
    with pytest.raises(checkpoint.CheckpointError, match="corpus has changed"):
        small.trainer(tmp_path, small.plan([ADAM]), earlier=checkpoint.load(found))
    save_finished(made.session.model, made.session.plan, [], tmp_path / "model", made.session.text.fingerprint)
    with pytest.raises(FinishedError, match="trained on another text"):
        load_finished(tmp_path / "model", "cpu", other)


class _Tally:
    """What a tally of energy is told: (word, tokens so far)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def start(self, tokens: int) -> None:
        self.told.append(("start", tokens))

    def stop(self, tokens: int) -> None:
        self.told.append(("stop", tokens))

    def note(self) -> None:
        pass


def test_energy_is_counted_while_training_and_not_while_validating_or_saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small.trainer(tmp_path, small.plan([{"id": "optimization/sgd", "lr": 0.1}], budget={"steps": 6}))
    made.energy = tally = _Tally()  # type: ignore[assignment]
    held_out, closed = made.held_out, []
    monkeypatch.setattr(made, "held_out", lambda: closed.append(tally.told[-1][0]) or held_out())
    made.train()
    assert closed == ["stop", "stop"]  # two validations
    words = [word for word, _ in tally.told]
    assert words == ["start", "stop"] * 3 + ["start"]  # two validations and the checkpoint at the end; what it opened is never closed
    counted = sum(end - begin for (_, begin), (_, end) in zip(tally.told[:-1:2], tally.told[1::2], strict=True))
    assert counted == made.session.tokens == 6 * 8 * 12
