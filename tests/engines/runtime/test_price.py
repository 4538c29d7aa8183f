"""Everything that a finished model needed is in its price, and nothing twice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engines.api import Technique
from engines.runtime.price import Trained, own_price, price_of_needed
from engines.store import commands
from engines.store.commands import ResultRow
from engines.store.database import Store
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam", "lr": 0.01}
PAUSE = 0.2


class Slow(Technique):
    """Trains on, looks at held-out and training text, and sleeps, all in `finish`."""

    def finish(self, module: Any, ctx: Any) -> Any:
        ctx.train(tokens=10 * 8 * 12, lr_scale=0.1)
        ctx.validate()
        ctx.calibration(2)
        time.sleep(PAUSE)
        return module, {}


def test_what_finish_trains_and_does_besides_is_counted_once(tmp_path: Path) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM]))
    made.pipeline.techniques.append(("tests/slow", Slow()))
    made.pipeline.contexts["tests/slow"] = type(made.pipeline.contexts["optimization/adam"])(made.session, "tests/slow")
    made.train()
    trained = Trained.of(made.session)
    start = time.perf_counter()
    made.pipeline.finish()
    wall = time.perf_counter() - start
    price = {figure.key: (figure.value, detail) for figure, detail in own_price(made.session, trained, made.work, made.work_tokens)}
    seconds, parts = price["cost/train_s"]
    assert 0 < parts["fine_tuning_s"] < parts["finishing_s"] - PAUSE
    assert parts["finishing_s"] <= wall
    assert parts["finishing_s"] == pytest.approx(wall, rel=0.1)
    assert seconds == pytest.approx(trained.seconds + parts["finishing_s"])
    tokens, parts = price["cost/train_tokens"]
    assert tokens == (40 + 10) * 8 * 12
    assert parts["fine_tuning_tokens"] == 10 * 8 * 12
    operations, _ = price["cost/train_flops"]
    assert made.work is not None
    assert operations == pytest.approx(made.work.flops * 50)  # every step sees as many tokens as the counted one


def test_the_looks_of_training_stand_beside_its_clock_and_not_on_it(tmp_path: Path) -> None:
    made = small.trainer(tmp_path, small.plan([ADAM], measure={"evaluations": 4, "held_out_tokens": 400}))
    made.train()
    points = made.recorder.points  # type: ignore[attr-defined]
    steps, seconds = zip(*points["progress/seconds"], strict=True)
    assert steps == tuple(step for step, _ in points["quality/valid_perplexity"]) == (10, 20, 30, 40)
    assert list(seconds) == sorted(seconds)
    assert 0 < seconds[-1] <= made.session.seconds
    assert made.session.finishing == 0


def test_a_run_that_two_needed_runs_share_is_paid_once(store_url: str) -> None:
    """grand <- left, right <- top: as a teacher of two teachers."""
    needs = {"grand": [], "left": ["grand"], "right": ["grand"], "top": ["left", "right"]}
    with Store.open(store_url) as store:
        rows = [{"name": name, "plan": {}, "baseline": name == "grand", "needs": each} for name, each in needs.items()]
        commands.submit(store, name="E", digest="", text="", document={}, folder="", variants=rows, seeds=[0])
        supervisor = commands.register_supervisor(store, "host", 1, 1.0)
        own, paid = {"grand": 1.0, "left": 10.0, "right": 100.0, "top": 1000.0}, {}
        while (run := commands.claim_run(store, supervisor)) is not None:
            others = price_of_needed(store, run.needs)
            paid[run.variant] = others["cost/train_s"]
            assert (others["cost/train_flops"] is None) == bool(run.needs)  # no needed run counted operations, so the sum is not known
            total = own[run.variant] + (others["cost/train_s"] or 0.0)
            commands.put_results(store, run.id, run.claim, [ResultRow("cost/train_s", total, "s", "lower", detail={"own": own[run.variant]})])
            commands.finish_run(store, run.id, run.claim, "done")
    assert paid == {"grand": 0.0, "left": 1.0, "right": 1.0, "top": 111.0}
