"""The command line: its grammar, its sentences and its exit codes, in process and as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import cli, grammar
from engines.console.output import columns, span, split_id
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import SeriesBatch
from tests.engines.processes import SCRIPTED, ended, nothing_left, queue, under_way, until


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with nothing_left(store_url):
        opened = Store.open(store_url)
        yield opened
        opened.close()


def workbench(*words: str) -> subprocess.Popen[str]:
    environment = os.environ | SCRIPTED
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


# --- Grammar --------------------------------------------------------------------------------------------------------------------------------


def test_an_unknown_verb_is_answered_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compre", "3"]) == 2
    assert 'did you mean "compare"' in capsys.readouterr().err


def test_an_unknown_option_is_answered_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "x.toml", "--qiet"]) == 2
    assert '"--quiet"' in capsys.readouterr().err


def test_missing_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run"]) == 2
    assert "FILE" in capsys.readouterr().err


def test_help_of_every_verb_names_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in grammar.verbs(grammar.build_parser()):
        assert cli.main([verb, "--help"]) == 0
        assert verb in capsys.readouterr().out


def test_no_verb_imports_torch_or_qt_to_say_what_it_can() -> None:
    code = (
        "import sys; from workbench.__main__ import main; main(['list', '--help']);"
        "print([name for name in ('torch', 'PySide6', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize(("text", "found"), [("3", ("experiment", 3)), ("r12", ("run", 12)), ("R7", ("run", 7))])
def test_ids(text: str, found: tuple[str, int]) -> None:
    assert split_id(text) == found


@pytest.mark.parametrize("id", ["three", "r", "-1", "3.5", "run12"])
def test_what_is_no_id_is_refused(id: str, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "--store", store.url, "--", id]) == 2
    assert "is no id" in capsys.readouterr().err


def test_columns_are_never_cut() -> None:
    path = "/a/very/long/path/" + "x" * 300
    text = columns(["id", "path"], [[3, path], [12, "b"]])
    assert path in text
    assert text.splitlines()[1].startswith(" 3  /a")


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (None, ""), (59.7, "1 min 0 s")])
def test_spans(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


# --- Looking ----------------------------------------------------------------------------------------------------------------------------------


def test_an_empty_store_says_how_to_begin(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--store", store.url]) == 0
    assert "workbench run" in capsys.readouterr().out


def test_listing_and_showing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = queue(store, [{"train": 1}])
    assert cli.main(["list", "--store", store.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["runs"] == {"queued": 1}
    assert cli.main(["show", "1", "--store", store.url]) == 0
    assert f"r{run}" in capsys.readouterr().out
    assert cli.main(["show", f"r{run}", "--store", store.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "queued"


def test_unknown_ids_are_refused(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["show", "9"],
        ["show", "r9"],
        ["cancel", "9"],
        ["resume", "r9"],
        ["compare", "9"],
        ["compare", "r9"],
        ["export", "9", "--format", "csv", "-"],
    ):
        assert cli.main([*words, "--store", store.url]) == 2, words
        assert capsys.readouterr().err.strip()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write")
@pytest.mark.parametrize("words", [["list"], ["doctor"]])
def test_a_store_that_cannot_be_written_is_one_sentence(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = cli.main([*words, "--store", "/proc/self/store.sqlite"])
    told = capsys.readouterr()
    assert code == (1 if words == ["doctor"] else 2)
    assert "/proc/self" in told.err + told.out
    assert "Traceback" not in told.err


def test_looking_at_a_store_that_is_not_there_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "typo.sqlite"
    for words in (["list"], ["show", "1"], ["compare", "1"], ["export", "r1", "--format", "csv", "-"]):
        assert cli.main([*words, "--store", str(missing)]) == 2
        assert "There is no store" in capsys.readouterr().err
    assert not missing.exists()


def test_a_file_in_the_place_of_a_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    file.touch()
    assert cli.main([str(file)]) == 2
    assert f"workbench run {file}" in capsys.readouterr().err


def test_points_are_exported(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from engines.store import commands

    (run,) = queue(store, [{"train": 1}])
    claimed = commands.claim_run(store, commands.register_supervisor(store, "here", 1, 1.0))
    assert claimed is not None
    commands.append_points(store, run, claimed.claim, [SeriesBatch("train/loss", "nats/token", "lower", [1, 2], [5.0, 6.0], [2.5, float("nan")])])
    assert cli.main(["export", f"r{run}", "--format", "csv", "-", "--store", store.url]) == 0
    assert capsys.readouterr().out == "key,unit,step,time,value\ntrain/loss,nats/token,1,5.0,2.5\ntrain/loss,nats/token,2,6.0,\n"
    out = tmp_path / "points.json"
    assert cli.main(["export", f"r{run}", "--format", "json", str(out), "--store", store.url]) == 0
    assert json.loads(out.read_text())[0]["values"] == [2.5, None]
    for form in ("safetensors", "onnx"):
        assert cli.main(["export", f"r{run}", "--format", form, str(tmp_path / "m"), "--store", store.url]) == 2
    assert "no finished model" in capsys.readouterr().err


# --- Acting -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_resuming_watches_and_reports(store: Store) -> None:
    run, other = queue(store, [{"train": 2}], [{"raise": "the disk is made of cheese"}])
    from engines.store import commands

    commands.request_cancel(store, [run, other])
    asked = workbench("resume", f"r{run}", "--json", "--store", store.url)
    answer, told = asked.communicate(timeout=60)
    assert asked.returncode == 0, told
    assert [(row["id"], row["status"]) for row in json.loads(answer)] == [(run, "done")]
    assert queries.run(store, run).status == "done"
    asked = workbench("resume", "1", "--store", store.url)
    _, told = asked.communicate(timeout=60)
    assert asked.returncode == 1
    assert "made of cheese" in told


@pytest.mark.slow
def test_ctrl_c_cancels_cleanly_with_130(store: Store) -> None:
    from engines.store import commands

    run, waiting = queue(store, [{"train": -1}], [{"train": 1}])
    commands.request_cancel(store, [run, waiting])
    asked = workbench("resume", "1", "--store", store.url)
    under_way(store, run)
    asked.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, told = asked.communicate(timeout=30)
    assert asked.returncode == 130, told
    assert time.monotonic() - began < 5
    assert {queries.run(store, each).status for each in (run, waiting)} == {"cancelled"}


@pytest.mark.slow
def test_a_run_cancelled_from_elsewhere_is_exit_code_1(store: Store) -> None:
    from engines.store import commands

    (run,) = queue(store, [{"train": -1}])
    commands.request_cancel(store, [run])
    asked = workbench("resume", f"r{run}", "--store", store.url)
    under_way(store, run)
    assert cli.main(["cancel", f"r{run}", "--store", store.url]) == 0
    asked.communicate(timeout=30)
    assert asked.returncode == 1


@pytest.mark.slow
def test_serving_in_the_foreground_until_interrupted(store: Store) -> None:
    (run,) = queue(store, [{"train": 2}])
    served = workbench("serve", "--store", store.url)
    assert ended(store, run).status == "done"
    second = workbench("serve", "--store", store.url)
    _, told = second.communicate(timeout=40)
    assert second.returncode == 2
    assert "Another supervisor" in told
    served.send_signal(signal.SIGINT)
    served.communicate(timeout=20)
    assert served.returncode == 0


@pytest.mark.slow
def test_a_supervisor_that_dies_under_a_watching_client_is_replaced(store: Store) -> None:
    from engines import launching
    from engines.store import commands

    (run, following) = queue(store, [{"train": -1}], [{"train": 2}])
    commands.request_cancel(store, [run, following])
    asked = workbench("resume", "1", "--store", store.url)
    under_way(store, run)
    found = launching.holder(store.url)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    until(lambda: queries.run(store, run).status == "lost", "the truth about the run")
    _, told = asked.communicate(timeout=60)
    assert asked.returncode == 1
    assert "lost" in told
    assert queries.run(store, following).status == "done"


@pytest.mark.slow
def test_certificates_on_a_device_that_is_not_here_are_one_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--device", "cuda:99"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert 'device = "cuda:99"' in said.err
    assert said.err.count("\n") == 1


def test_the_queue_is_shown_paused_ordered_and_goes_on(store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = queue(store, [{"train": 3}], [{"train": 3}])
    asked: list[str] = []
    monkeypatch.setattr("engines.console.queue.ensure_supervisor", asked.append)
    assert cli.main(["queue", "pause", "--store", store.url]) == 0
    assert "paused since" in capsys.readouterr().out
    assert cli.main(["queue", "first", f"r{second}", "--store", store.url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["id"] for run in found["runs"]] == [second, first]
    assert found["unmeasured"] == 2
    assert "low_s" not in found
    assert cli.main(["list", "--store", store.url]) == 0
    assert "time left unknown until a run has been under way for a while" in capsys.readouterr().out
    assert asked == []
    assert cli.main(["queue", "resume", "--store", store.url]) == 0
    assert asked == [store.url]
    assert cli.main(["queue", "down", "--store", store.url]) == 2
    assert "Name the runs to move" in capsys.readouterr().err
    commands.request_cancel(store, [first, second])
    assert cli.main(["queue", "up", f"r{first}", "--store", store.url]) == 2
    assert "none of these runs is queued" in capsys.readouterr().err


def test_only_failed_runs_are_retried_where_that_is_asked(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = queue(store, [{"train": 3}])
    commands.request_cancel(store, [run])
    assert cli.main(["resume", f"r{run}", "--failed", "--store", store.url]) == 2
    assert "none of these runs is failed or lost" in capsys.readouterr().err


@pytest.mark.slow
def test_what_was_done_is_said_for_machines(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = queue(store, [{"train": 1}], [{"train": 1}])
    number = queries.run(store, first).experiment_id

    def said(*words: str) -> dict[str, Any]:
        assert cli.main([*words, "--json", "--store", store.url]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        found: dict[str, Any] = json.loads(printed.out)
        return found

    assert said("cancel", f"r{first}") == {"cancelling": [first]}
    assert said("cancel", str(number)) == {"cancelling": [second]}
    assert said("cancel", str(number)) == {"cancelling": []}
    points = tmp_path / "points.csv"
    assert said("export", f"r{first}", str(points), "--format", "csv") == {"run": first, "format": "csv", "written": [str(points)], "told": []}
    assert points.read_text().startswith("key,unit,")
    page = tmp_path / "page.md"
    assert said("report", str(number), "--format", "markdown", "--out", str(page)) == {
        "experiments": [number], "format": "markdown", "path": str(page.resolve()), "kept": None,
    }  # fmt: skip
    assert page.stat().st_size > 0
    packed = said("bundle", str(number), "--out", str(tmp_path / "one.workbench"))
    assert packed["path"] == str(tmp_path / "one.workbench")
    assert (packed["experiment"], packed["bytes"], packed["weights_bytes"]) == (number, Path(packed["path"]).stat().st_size, 0)
    commands.delete_experiment(store, number)
    freed = said("gc")
    assert {key: freed[key] for key in ("experiments", "runs", "points", "kept")} == {"experiments": 1, "runs": 2, "points": 0, "kept": 0}
    for words in (["export", f"r{first}", "-", "--format", "csv"], ["report", str(number), "--format", "csv", "--out", "-"]):
        assert cli.main([*words, "--json", "--store", store.url]) == 2
        assert "name a file" in capsys.readouterr().err
