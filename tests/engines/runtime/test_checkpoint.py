"""Nested states survive the disk exactly; broken folders are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.runtime import checkpoint

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(max_size=8))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(tree=TREES)
def test_a_tree_comes_back_as_it_was(tree: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("checkpoint") / "c"
    checkpoint.save({"tree": tree, "weights": torch.arange(3.0)}, folder)
    loaded = checkpoint.load(folder)
    assert loaded["tree"] == tree
    assert torch.equal(loaded["weights"], torch.arange(3.0))


def test_an_optimiser_state_comes_back(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(3)).sum().backward()
    optimizer.step()
    checkpoint.save(optimizer.state_dict(), tmp_path / "c")
    fresh = torch.optim.Adam(layer.parameters())
    fresh.load_state_dict(checkpoint.load(tmp_path / "c"))
    for mine, theirs in zip(fresh.state.values(), optimizer.state.values(), strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_a_crash_between_the_two_renames_leaves_the_older_one(tmp_path: Path) -> None:
    checkpoint.save({"step": 1}, tmp_path / "c")
    (tmp_path / "c").rename(tmp_path / "c.old")
    found = checkpoint.find(tmp_path / "c")
    assert found is not None
    assert checkpoint.load(found) == {"step": 1}
    checkpoint.save({"step": 2}, tmp_path / "c")
    assert checkpoint.load(tmp_path / "c") == {"step": 2}


def test_what_cannot_be_kept_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(checkpoint.CheckpointError, match=r"cannot hold a function \(at state\.techniques\.hook\)"):
        checkpoint.save({"techniques": {"hook": lambda: None}}, tmp_path / "c")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint.save({"weights": torch.ones(2)}, tmp_path / "c")
    (tmp_path / "c" / "tensors.safetensors").write_bytes(b"nothing")
    with pytest.raises(checkpoint.CheckpointError, match="cannot be read"):
        checkpoint.load(tmp_path / "c")
