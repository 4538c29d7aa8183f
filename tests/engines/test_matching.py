"""`workbench matches`: what each technique of a file finds, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines import cli

FILE = """
[experiment]
name = "What is found?"
task = "language_model"
corpus = { id = "corpora/python_stdlib", max_vocabulary = 500 }
budget = { tokens = 1000 }
device = "cpu"

[model]
factory = "tests.plugins.models.nets:Gated"

[training]
techniques = ["optimization/adam"]

[[variant]]
name = "plain"

[[variant]]
name = "cut"
techniques = [{ id = "pruning/magnitude", exclude = [] }, { id = "quantization/dynamic_int8", include = ["*.gru"] }]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "found.toml"
    path.write_text(FILE)
    return str(path)


@pytest.mark.slow
def test_names_numbers_and_what_is_left(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["matches", file]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    size = 2 * 3 * 24 * 24 + 500 * 24
    assert lines == [
        "plain: no technique that goes by types and patterns", "cut", f"pruning/magnitude finds 3, {size:,} numbers in all",
        "body.gru.weight_ih_l0", "body.gru.weight_hh_l0", "body.scores.weight",
        "body.scores.weight is also body.table.weight, which loses the same weights.",
        "quantization/dynamic_int8 finds nothing: it would leave the model as it is",
    ]  # fmt: skip
    assert cli.main(["matches", file, "--json", "--variant", "cut", "--set", "model.arguments={width=8}"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["weights"] for each in found["cut"]] == [2 * 3 * 8 * 8 + 500 * 8, 0]
    assert cli.main(["matches", file, "--variant", "cat"]) == 2
    assert 'No variant is called "cat"; did you mean "cut"?' in capsys.readouterr().err
