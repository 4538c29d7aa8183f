"""Studies from the request to the row in the store: real processes, small sizes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines import catalogue as catalogues
from engines import cli, probes, studying
from engines.console.studying import sentence, text
from engines.store import commands, queries
from engines.store.database import Store
from engines.timinglock import machine_to_ourselves
from tests.engines.processes import until

TINY = ["--set", "largest=32", "--set", "seconds=0.05", "--set", "threads=[1]", "--set", 'dtypes=["float32"]']
ENDLESS = {"largest": 64, "seconds": 600.0, "threads": [1], "dtypes": ["float32"]}


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is timed elsewhere on this machine is waited for."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


# --- Requests -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["studies/matmull"], 'names no study of the catalogue; did you mean "studies/matmul"'),
        (["softmax/full"], '"softmax/full" is a block, not a study'),
        (["studies/matmul", "--set", "largst=5"], 'largst = 5: is no parameter of studies/matmul; did you mean "largest"?'),
        (["studies/matmul", "--set", "seconds=0", "--set", "step=-1"], "seconds = 0: must be greater than 0\nstep = -1: must be at least 0"),
        (["studies/matmul", "--set", "largest"], "is not of the form key=value"),
        (["7"], "There is no study 7"),
        (["--set", "largest=5"], "name one"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(words: list[str], said: str, store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(store_url).close()
    assert cli.main(["study", *words, "--store", store_url]) == 2
    assert said in capsys.readouterr().err
    with Store.open(store_url) as store:
        assert queries.studies(store) == []


@pytest.mark.slow
def test_a_rule_across_fields_is_refused_by_the_process_and_stores_nothing(store: Store) -> None:
    with pytest.raises(studying.StudyRefused, match="largest = 8 lies below smallest = 16"):
        studying.measure(store, "studies/matmul", {"largest": 8}, hear=lambda line: None)
    assert queries.studies(store) == []


def test_a_plugin_that_cannot_run_here_is_refused() -> None:
    entry = {"kind": "study", "error": "", "available": {"ok": False, "reason": "It needs a moon."}}
    with pytest.raises(studying.StudyRefused, match=r"cannot run here: It needs a moon\."):
        studying.check({"plugins": {"studies/tides": entry}}, "studies/tides", {})


# --- From beginning to end --------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_is_measured_stored_and_printed(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result.json"
    assert cli.main(["study", "studies/matmul", *TINY, "--store", store.url, "--json", str(out)]) == 0
    said = capsys.readouterr()
    (row,) = queries.studies(store)
    row = queries.study(store, row.id)
    assert (row.status, row.reason, row.study) == ("done", "", "studies/matmul")
    assert row.parameters["largest"] == 32
    assert row.parameters["step"] == 0, "defaults are written down"
    found = json.loads(out.read_text())
    assert found["curves"] == row.result["curves"]
    assert [point["x"] for point in found["curves"][0]["points"]] == [16, 32]
    assert row.machine_id is not None
    assert found["machine"]["fingerprint"] == queries.machine(store, row.machine_id).fingerprint
    assert len(found["machine"]["loads"]) == 2
    assert found["settings"]["parameters"] == row.parameters
    assert "cpu float32, 1 thread" in said.out
    assert "Expectation: " in said.out
    assert "Study 1: Matrix product over sizes" in said.err
    assert cli.main(["study", "1", "--store", store.url]) == 0
    assert capsys.readouterr().out == said.out
    assert cli.main(["study", "--store", store.url]) == 0
    listed = capsys.readouterr().out
    assert "studies/repeated_operations" in listed
    assert "done" in listed


@pytest.mark.slow
def test_a_notebook_gets_the_result(store: Store) -> None:
    from engines import notebook

    found = notebook.study("studies/threads", store=store.url, quiet=True, sizes=[4], threads=[1], operations=["tanh"], seconds=0.02)
    assert [curve["name"] for curve in found["curves"]] == ["tanh, 1 thread"]
    assert found == queries.study(store, 1).result
    with pytest.raises(studying.StudyRefused, match='"sizes"'):
        notebook.study("studies/threads", store=store.url, size=[4])


@pytest.mark.slow
def test_ctrl_c_stops_it_with_130_and_keeps_nothing_half(store: Store) -> None:
    words = [word for key, value in ENDLESS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    asked = subprocess.Popen(
        [sys.executable, "-m", "workbench", "study", "studies/matmul", *words, "--store", store.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env=dict(os.environ),
    )  # fmt: skip
    row = until(lambda: next(iter(queries.studies(store)), None), "the row of the study", 60)
    assert row.status == "running"
    assert row.pid != asked.pid
    asked.send_signal(signal.SIGINT)
    _, told = asked.communicate(timeout=30)
    assert asked.returncode == 130, told
    row = queries.study(store, row.id)
    assert (row.status, row.reason, row.result) == ("cancelled", "Interrupted.", {})
    assert row.pid is not None
    assert row.pid_started is not None
    assert not probes.is_alive(row.pid, row.pid_started)


@pytest.mark.slow
def test_it_waits_for_another_timing_and_can_be_called_off_there(store: Store) -> None:
    heard: list[dict[str, Any]] = []
    with machine_to_ourselves(0.1, lambda path: None, "a test"):
        last = studying.measure(store, "studies/matmul", ENDLESS, hear=heard.append, wanted=lambda: not heard)
    assert [line["event"] for line in heard] == ["waiting", "ended"]
    assert (last["id"], last["status"], last["reason"]) == (None, "cancelled", "Interrupted.")
    assert queries.studies(store) == []


@pytest.mark.slow
def test_a_killed_process_is_a_failure_with_its_signal(store: Store) -> None:
    def hear(line: dict[str, Any]) -> None:
        if line["event"] == "begun":
            pid = queries.study(store, line["id"]).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

    last = studying.measure(store, "studies/matmul", ENDLESS, hear=hear)
    assert last["status"] == "failed"
    row = queries.study(store, last["id"])
    assert (row.status, row.result) == ("failed", {})
    assert row.reason.startswith("Its process died (signal 9).")


def test_a_row_that_a_dead_process_left_is_settled(store: Store) -> None:
    import platform

    gone = commands.begin_study(store, "studies/matmul", {}, None, platform.node(), 2**22 + 5, 1.0)
    alive = commands.begin_study(store, "studies/matmul", {}, None, platform.node(), os.getpid(), probes.started(os.getpid()))
    elsewhere = commands.begin_study(store, "studies/matmul", {}, None, "another machine", 2**22 + 5, 1.0)
    studying.settle(store)
    assert [queries.study(store, number).status for number in (gone, alive, elsewhere)] == ["lost", "running", "running"]


# --- Words ------------------------------------------------------------------------------------------------------------------------------------


def test_a_study_without_a_result_is_one_line(store: Store) -> None:
    number = commands.begin_study(store, "studies/matmul", {}, None, "here", 1, 1.0)
    commands.finish_study(store, number, "failed", reason="The disk is made of cheese.")
    assert text(queries.study(store, number)) == "1 studies/matmul: failed. The disk is made of cheese."


def test_many_curves_are_rows_and_memory_is_a_table_of_its_own(store: Store) -> None:
    def curve(name: str) -> dict[str, Any]:
        points = [{"x": x, "value": x, "low": None, "high": None, "n": 3, "memory_bytes": x * 2**20} for x in (10.0, 20.0)]
        grows = {"value": 1.0, "low": 0.9, "high": 1.1, "first": 10.0, "last": 20.0}
        return {"name": name, "points": points, "exponent": None, "memory_exponent": grows, "note": ""}

    axis = {"name": "vocabulary", "unit": "tokens", "log": True, "better": "lower"}
    for count, first in ((2, "vocabulary  a"), (7, "vocabulary  10")):
        result = {
            "title": "Heads", "x": axis, "y": axis, "curves": [curve(name) for name in "abcdefg"[:count]], "lines": [], "steps": [],
            "findings": ["One."], "expectation": {"sentence": "It holds.", "outcome": "met", "reason": "So."}, "not_shown": [],
        }  # fmt: skip
        number = commands.begin_study(store, "studies/head_vocabulary", {}, None, "here", 1, 1.0)
        commands.finish_study(store, number, "done", result=result)
        told = text(queries.study(store, number))
        assert told.count(f"\n{first}") == 2
        assert "peak memory of a call in MiB" in told
        assert "1.00 [0.90, 1.10]" in told


def test_lines_of_the_process_as_sentences() -> None:
    assert sentence({"event": "left", "curve": "cpu", "x": 8192.0, "why": "it is too large"}) == "Left out: cpu at 8192: it is too large."
    assert sentence({"event": "progress", "done": 2, "total": 8, "x": 16.0, "curves": []}) == "2 of 8 cells, now at 16"
    assert sentence({"event": "point"}) == ""


def test_the_catalogue_has_what_a_form_needs() -> None:
    entry = catalogues.read()["plugins"]["studies/matmul"]
    assert entry["kind"] == "study"
    assert entry["expects"].endswith(".")
    assert entry["parameters"]["properties"]["seconds"]["unit"] == "s"
