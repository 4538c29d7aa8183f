"""A package from outside is installed as a person would install it, and its technique is used like a built-in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.third_party.installing import install

pytestmark = pytest.mark.slow

EXPERIMENT = """
[experiment]
name = "Do signs learn?"
task = "language_model"
corpus = { id = "corpora/python_stdlib", max_vocabulary = 1000, fraction = 0.05 }
budget = { steps = 60 }
device = "cpu"
threads = 1

[model]
embedding = { id = "embeddings/lookup", width = 16 }
layers = [{ mixer = "recurrent/lstm" }]
head = "softmax/full"

[training]
batch = 4
sequence = 16
techniques = [{ id = "optimization/sgd", lr = 0.001 }]

[measure]
held_out_tokens = 500
rounds = 3
seconds = 0.1

[[variant]]
name = "plain"

[[variant]]
name = "signed"
techniques = ["descent/sign_gradient"]
"""
ID = "descent/sign_gradient"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that sees the installed package."""
    return {**os.environ, "PYTHONPATH": install(tmp_path_factory.mktemp("site"))}


def run(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_in_the_catalogue(installed: dict[str, str]) -> None:
    entry = json.loads(run(f"import json; from engines import catalogue; print(json.dumps(catalogue.entry({ID!r})))", installed))
    assert (entry["error"], entry["kind"], entry["title"], entry["hooks"]) == ("", "technique", "Sign of the gradient", ["step"])
    assert entry["distribution"] == "signed-steps"
    assert entry["parameters"]["properties"]["scaled"]["default"] is False


def test_it_is_not_there_before_it_is_installed() -> None:
    from engines import catalogue

    assert ID not in catalogue.sources()


def test_its_certificate_holds(installed: dict[str, str]) -> None:
    code = (
        "from engines.api import Trial\nfrom signed_steps.descent import sign_gradient\n"
        "statement, tolerance = sign_gradient.keeps_its_size.certificate\n"
        "print(sign_gradient.keeps_its_size(Trial()) <= tolerance)"
    )
    assert run(code, installed).strip() == "True"


def test_each_weight_moves_by_the_learning_rate(installed: dict[str, str]) -> None:
    code = (
        "import torch\nfrom engines.api import Trial\nfrom engines.toolbox.specimen import Surroundings, backward_of, batches, specimen\n"
        "from signed_steps.descent.sign_gradient import SignGradient\n"
        "module = specimen(Trial()); before = [p.detach().clone() for p in module.parameters()]\n"
        "optimizer = torch.optim.SGD(module.parameters(), lr=0.125)\n"
        "backward_of(module)(batches(Trial(), 1)[0], None)\n"
        "SignGradient().step(optimizer.step, Surroundings(module, optimizer))()\n"
        "moved = torch.cat([(p - b).detach().abs().flatten() for p, b in zip(module.parameters(), before)])\n"
        "print(sorted({round(float(m), 9) for m in moved}))"
    )
    assert json.loads(run(code, installed)) in ([0.125], [0.0, 0.125])


def test_an_experiment_uses_it(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "signs.toml").write_text(EXPERIMENT, encoding="utf-8")
    command = [sys.executable, "-m", "workbench", "run", str(tmp_path / "signs.toml"), "--json", str(tmp_path / "out.json"), "--quiet"]
    command += ["--store", f"sqlite:///{tmp_path / 'store.sqlite'}"]
    done = subprocess.run(command, capture_output=True, text=True, env=installed, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["variants"]
    assert found["plain"]["results"]["quality/test_perplexity"]["value"] != found["signed"]["results"]["quality/test_perplexity"]["value"]
