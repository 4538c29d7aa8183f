"""From a file to figures with the real worker: `workbench run`, its death, its interruption, its resumption, and the notebook door."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines import cli, launching, probes
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import RunRow
from tests.engines.processes import loss_points, nothing_left, under_way, until

pytestmark = pytest.mark.slow

EXPERIMENT = """
[experiment]
name = "Tiny"
task = "language_model"
corpus = { id = "corpora/text_files", train = "train.txt", valid = "valid.txt", test = "test.txt", level = "char" }
budget = { steps = %d }
seeds = [0]
device = "cpu"
threads = 1
baseline = "full"

[model]
embedding = { id = "embeddings/lookup", width = 16 }
layers = [{ mixer = { id = "recurrent/lstm", width = 16 } }]
head = { id = "softmax/full" }

[training]
batch = 4
sequence = 16
techniques = [{ id = "optimization/adam", lr = 1e-3 }]

[measure]
evaluations = 2
rounds = 0
held_out_tokens = 500

[[variant]]
name = "full"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A tiny experiment of 40 steps on the text of our own files."""
    texts = sorted((Path(cli.__file__).parent).glob("*.py"))
    for name, some in (("train", texts[2:]), ("valid", texts[:1]), ("test", texts[1:2])):
        (tmp_path / f"{name}.txt").write_text("\n".join(path.read_text() for path in some))
    path = tmp_path / "tiny.toml"
    path.write_text(EXPERIMENT % 40)
    return path


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with nothing_left(store_url):
        opened = Store.open(store_url)
        yield opened
        opened.close()


def workbench(*words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"WORKBENCH_LINGER": "0.5"}
    command = [sys.executable, "-m", "workbench", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)


def points(store: Store, run: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, unix seconds and values of the losses of a run."""
    (series,) = [row for row in queries.series(store, run) if row.key == "train/loss"]
    return queries.points(store, series.id)


def losses(store: Store, run: int) -> tuple[np.ndarray, np.ndarray]:
    steps, _, values = points(store, run)
    return steps, values


def test_a_file_becomes_the_comparison(store: Store, file: Path) -> None:
    file.write_text(EXPERIMENT.replace("rounds = 0", "rounds = 2\nlaunches = 1\nseconds = 0.1") % 40)
    asked = workbench("run", str(file), "--store", store.url, "--json", "-")
    answer, told = asked.communicate(timeout=120)
    assert asked.returncode == 0, told
    found = json.loads(answer)
    assert found["baseline"] == "full"
    results = found["variants"]["full"]["results"]
    assert {"quality/test_perplexity", "size/parameters", "cost/train_tokens", "memory/train_peak_host_mib"} <= set(results)
    assert results["cost/train_tokens"]["value"] == 40 * 4 * 16
    (run,) = found["variants"]["full"]["runs"]
    assert len(losses(store, run)[0]) == 40
    again = workbench("run", str(file), "--store", store.url, "--quiet", "--smoke", "--set", "training.batch=2")
    answer, told = again.communicate(timeout=120)
    assert again.returncode == 0, told
    assert told == ""
    assert "full" in answer


def test_a_function_of_the_users_own_judges_and_is_tried_before_training(store: Store, file: Path) -> None:
    judged = EXPERIMENT.replace('task = "language_model"', 'task = { id = "language_model", evaluate = "mine:lines" }')
    mine = file.with_name("mine.py")
    mine.write_text(
        "from engines.api import Figure\n\n"
        "def lines(model, held_out, task):\n"
        "    n = sum(targets.numel() for _, targets in held_out.batches())\n"
        "    return Figure('targets', n, 'tokens', 'higher', detail={'split': held_out.split})\n"
    )
    file.write_text(judged % 40)
    asked = workbench("run", str(file), "--store", store.url, "--json", "-")
    answer, told = asked.communicate(timeout=120)
    assert asked.returncode == 0, told
    found = json.loads(answer)
    assert found["variants"]["full"]["results"]["quality/test_targets"]["value"] == 500
    assert "quality/test_targets" in found["metrics"]
    shown = workbench("show", f"r{found['variants']['full']['runs'][0]}", "--store", store.url)
    assert "quality/test_targets" in shown.communicate(timeout=60)[0]
    mine.write_text(mine.read_text().replace("    return", "    raise KeyError('nothing here')\n    return"))
    asked = workbench("run", str(file), "--store", store.url)
    answer, told = asked.communicate(timeout=120)
    assert asked.returncode == 1
    assert "mine:lines failed on the valid split: KeyError: 'nothing here' (mine.py, line 5)" in answer + told
    failed = queries.runs(store, queries.experiments(store)[-1].id)[0]
    assert [row for row in queries.series(store, failed.id) if row.key == "train/loss"] == [], "it failed before the work"
    mine.unlink()
    asked = workbench("run", str(file), "--store", store.url)
    _, told = asked.communicate(timeout=120)
    assert asked.returncode == 2
    assert "task.evaluate" in told
    assert "There is no module mine" in told


def test_a_finished_run_and_its_exported_file_teach_and_are_paid_for(store: Store, file: Path) -> None:
    assert workbench("run", str(file), "--store", store.url, "--quiet").wait(120) == 0
    exported = file.with_name("big.safetensors")
    asked = workbench("export", "r1", "--format", "safetensors", str(exported), "--store", store.url)
    assert asked.wait(120) == 0, asked.communicate()
    spent = next(row.value for row in queries.results(store, 1) if row.key == "cost/train_s")
    students = "".join(
        f'\n[[variant]]\nname = "{name}"\ntechniques = [{{ id = "distillation/soft_labels", teacher = "{teacher}" }}]\n'
        for name, teacher in (("of a run", "run:1"), ("of a file", "./big.safetensors"))
    )
    file.write_text((EXPERIMENT + students) % 40)
    asked = workbench("run", str(file), "--store", store.url, "--quiet", "--json", "-")
    answer, told = asked.communicate(timeout=200)
    assert asked.returncode == 0, told
    variants = json.loads(answer)["variants"]
    alike = [variants[name]["results"]["quality/test_perplexity"]["value"] for name in ("of a run", "of a file", "full")]
    assert alike[0] == alike[1] != alike[2], "the same teacher, whichever way it is named"
    for name in ("of a run", "of a file"):
        (run,) = variants[name]["runs"]
        cost = next(row for row in queries.results(store, run) if row.key == "cost/train_s")
        assert cost.value == pytest.approx(cost.detail["own"] + spent)
        (read,) = [row for row in queries.effects(store, [run]) if row.hook == "teachers"]
        assert read.facts["teachers"][0]["sha256"][:12] in read.sentence
    file.write_text((EXPERIMENT + students.replace("run:1", "run:99").replace("./big", "./gone")) % 40)
    asked = workbench("run", str(file), "--store", store.url)
    _, told = asked.communicate(timeout=120)
    assert asked.returncode == 2
    assert "There is no finished model of run 99 in this store" in told
    assert "There is no file or folder" in told


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "is empty"), (b"\x00\x01\x02" * 900, "binary"), (None, "does not exist")], ids=["empty", "binary", "missing"]
)
def test_a_corpus_that_is_no_text_is_refused_before_anything_starts(store: Store, file: Path, content: bytes | None, sentence: str) -> None:
    text = file.with_name("train.txt")
    text.unlink() if content is None else text.write_bytes(content)
    asked = workbench("run", str(file), "--store", store.url)
    _, told = asked.communicate(timeout=120)
    assert asked.returncode == 2
    assert sentence in told
    assert "Traceback" not in told
    assert queries.runs(store) == []


def test_everything_that_is_wrong_is_told_at_once(store: Store, file: Path) -> None:
    file.write_text(EXPERIMENT.replace("seeds", "seds").replace("softmax/full", "softmax/ful") % 40)
    asked = workbench("run", str(file), "--store", store.url)
    _, told = asked.communicate(timeout=120)
    assert asked.returncode == 2
    assert "experiment.seds" in told
    assert 'did you mean "seeds"?' in told
    assert "model.head" in told
    assert '"softmax/full"' in told


def test_a_killed_worker_fails_with_its_signal_loses_a_second_at_most_and_can_be_resumed(store: Store, file: Path) -> None:
    file.write_text(EXPERIMENT % 1500)
    broken = workbench("run", str(file), "--store", store.url)
    row = under_way(store, 1, points=50)

    def last_point() -> float:
        return max(each.last_time or 0.0 for each in queries.series(store, 1) if each.key == "train/loss")

    # The worst moment: the next points are about to be stored.
    until(lambda: time.time() - last_point() > 0.4, "points that have been stored for a while")
    killed = time.time()
    os.kill(row.pid or 0, signal.SIGKILL)
    _, told = broken.communicate(timeout=60)
    assert broken.returncode == 1
    assert "signal 9 (SIGKILL)" in told
    steps, times, _ = points(store, 1)
    np.testing.assert_array_equal(steps, np.arange(1, len(steps) + 1))
    assert killed - times[-1] <= 1.0
    resumed = workbench("resume", "r1", "--store", store.url)
    _, told = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, told
    np.testing.assert_array_equal(losses(store, 1)[0], np.arange(1, 1501))


def test_a_run_that_was_cancelled_failed_and_was_lost_goes_on_with_the_losses_of_an_uninterrupted_one(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl+C, then its worker is killed, then its supervisor; each time it goes on from a checkpoint, of its last step or of an earlier one."""
    monkeypatch.setenv("WORKBENCH_CHECKPOINT_SECONDS", "0.8")  # Losses are read and stored in between.
    file.write_text(EXPERIMENT % 4000)
    whole = workbench("run", str(file), "--store", store.url, "--quiet")
    whole.communicate(timeout=200)
    interrupted = workbench("run", str(file), "--store", store.url)
    under_way(store, 2, points=100)
    interrupted.send_signal(signal.SIGINT)
    _, told = interrupted.communicate(timeout=30)
    assert interrupted.returncode == 130, told
    assert queries.run(store, 2).status == "cancelled"
    broken = workbench("resume", "r2", "--store", store.url)
    row = behind_a_checkpoint(store, 2, after=resumption(store, 2, 1))
    os.kill(row.pid or 0, signal.SIGKILL)
    broken.communicate(timeout=60)
    assert queries.run(store, 2).status == "failed"
    orphaned = workbench("resume", "r2", "--store", store.url)
    row = behind_a_checkpoint(store, 2, after=resumption(store, 2, 2))
    supervisor = launching.holder(store.url)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: not probes.is_alive(row.pid or 0, row.pid_started or 0.0), "the end of the worker with its pipe", 10)
    orphaned.communicate(timeout=60)
    assert orphaned.returncode == 1
    assert queries.run(store, 2).status == "lost"  # By the supervisor that the waiting client started.
    last = workbench("resume", "r2", "--store", store.url)
    _, told = last.communicate(timeout=200)
    assert last.returncode == 0, told
    assert 0 < resumption(store, 2, 1) < resumption(store, 2, 2) < resumption(store, 2, 3) < 4000
    for expected, found in zip(losses(store, 1), losses(store, 2), strict=True):
        np.testing.assert_array_equal(expected, found)
    quality = [next(each.value for each in queries.results(store, run) if each.key == "quality/test_perplexity") for run in (1, 2)]
    assert quality[0] == quality[1]


def behind_a_checkpoint(store: Store, run: int, after: int) -> RunRow:
    """The row of a run that has stored losses behind a checkpoint which it wrote after a step."""

    def found() -> RunRow | None:
        try:
            kept = json.loads((store.run_folder(run) / "checkpoint" / "state.json").read_text())
        except FileNotFoundError:  # None yet, or between the two renames that put a new one in place of the old.
            return None
        step = dict(kept["__map__"])["step"]
        row = queries.run(store, run)
        return row if row.status == "running" and step > after and loss_points(store, run) > step else None

    row = until(found, f"points behind a checkpoint of run {run}", 60)
    assert row is not None
    return row


def resumption(store: Store, run: int, number: int) -> int:
    """The step that a run went on from when it was resumed for this time, as it says itself."""

    def found() -> list[str]:
        texts = [event.text for event in queries.events(store, run) if event.kind == "resume"]
        return texts if len(texts) >= number else []

    return int(until(found, f"resumption {number} of run {run}", 60)[number - 1].split(" from ")[0].rpartition(" ")[2].replace(",", ""))


def test_the_notebook_door(store: Store, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from engines import notebook
    from engines.problems import ExperimentError

    monkeypatch.setenv("WORKBENCH_LINGER", "0.5")
    with pytest.raises(ExperimentError, match="budgt"):
        notebook.run(file, store=store.url, changes=["experiment.budgt.steps=3"])
    handle = notebook.run(file, store=store.url, changes=["experiment.budget.steps=20"])
    assert set(handle.status().values()) == {"done"}
    table = handle.results()
    row = table[(table.variant == "full") & (table.quantity == "quality/test_perplexity")].iloc[0]
    assert row.value > 1
    points = notebook.points(handle.runs[0], "train/loss", store=store.url)
    assert list(points.columns) == ["key", "unit", "step", "time", "value"]
    assert len(points) == 20
    with pytest.raises(ValueError, match="no series"):
        notebook.points(handle.runs[0], "train/los", store=store.url)
    assert len(notebook.results(handle.id, store=store.url)) == len(table)
