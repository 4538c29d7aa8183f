"""Whoever receives a report can run its experiment again: the file is taken out of it and run."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import zipfile

import pytest
from pypdf import PdfReader

from engines import catalogue
from engines.experiment import parse
from engines.report import design, writing
from engines.report.design import Design
from engines.store.database import Store
from engines.submitting import submit

FILE = """# Größe counts
[experiment]
name = "哪种 <script>"
task = "language_model"
corpus = { id = "corpora/python_stdlib", level = "word", max_vocabulary = 500, fraction = 0.02 }
budget = { tokens = 2_000 }
seeds = [0]
device = "cpu"
threads = 1
baseline = "full"

[model]
embedding = { id = "embeddings/lookup", width = 8 }
layers = [{ mixer = { id = "recurrent/lstm", width = 8 } }]
head = { id = "softmax/full" }

[training]
batch = 4
sequence = 8
techniques = [{ id = "optimization/adam", lr = 4e-3 }]

[[variant]]
name = "full"
"""


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'sender.sqlite'}") as opened:
        yield opened


@pytest.fixture
def submitted(store, tmp_path):
    experiment = parse(FILE, tmp_path)
    return submit(store, experiment, experiment.plans(), catalogue.read())


def within(data: bytes, form: str) -> str:
    """The experiment file that a report of a format holds."""
    if form == "html":
        text = data.decode()
        (link,) = set(re.findall(r'download="experiment.toml" href="data:application/toml;base64,([^"]+)"', text))
        return base64.b64decode(link).decode()
    if form == "pdf":
        return PdfReader(io.BytesIO(data)).attachments["experiment.toml"][0].decode()
    if form == "zip":
        return zipfile.ZipFile(io.BytesIO(data)).read("experiment.toml").decode()
    return re.search(r"^```toml\n(.*?)^```$", data.decode(), flags=re.MULTILINE | re.DOTALL)[1]


@pytest.mark.parametrize("form", ["html", "pdf", "zip", "markdown"])
@pytest.mark.parametrize("wanted", [Design(), Design(section=())], ids=["all", "none"])
def test_the_experiment_is_in_every_report(store, submitted, tmp_path, form, wanted):
    written = writing.write(store, [submitted], form, tmp_path / "out" / f"report.{form}", wanted)
    assert within(written.read_bytes(), form) == FILE


def test_a_report_is_written_as_remembered(store, submitted, tmp_path):
    design.remember(store, [submitted], Design(title="Mine", section=()))
    text = writing.text(store, [submitted], "markdown")
    assert text.startswith("# Mine\n")
    assert design.parse(writing.text(store, [submitted], "design")).title == "Mine"


@pytest.mark.slow
def test_the_experiment_of_a_page_runs(store, submitted, tmp_path):
    page = writing.write(store, [submitted], "html", tmp_path / "report.html").read_bytes()
    receiver = tmp_path / "receiver"
    receiver.mkdir()
    (receiver / "experiment.toml").write_text(within(page, "html"), encoding="utf-8")
    command = [sys.executable, "-m", "workbench", "run", "experiment.toml", "--smoke", "--quiet", "--json", "-", "--store", "own.sqlite"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ["." , os.getcwd(), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(command, cwd=receiver, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["variants"]["full"]["status"] == {"done": 1}
