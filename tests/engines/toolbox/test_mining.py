"""Mining by an index over rows that move: built every T calls, stale in between, and going on where training stopped."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engines.api import Trial
from engines.runtime.flops import count
from engines.toolbox import trials
from engines.toolbox.search.libraries import FAISS, unavailable
from engines.toolbox.search.mining import miner
from plugins.softmax.hard_negatives import HardNegatives, MarginHead

V, E = 900, 16
MISSING = unavailable(FAISS)
WITH_FAISS = pytest.mark.skipif(bool(MISSING), reason=MISSING or "here")
WAYS = ["lsh", "svd_preview", *(pytest.param(search, marks=WITH_FAISS) for search in ("faiss_ivf", "faiss_hnsw"))]


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return torch.randn(V, E, generator=drawn), torch.randn(12, E, generator=drawn)


@pytest.mark.parametrize("search", WAYS)
def test_it_is_built_every_so_many_calls(search: Any) -> None:
    made = miner(search, negatives=3, refresh=3)
    assert made is not None
    W_VE, h_NE = rows()
    built: list[torch.Tensor] = []
    refresh = made.index.refresh
    made.index.refresh = lambda W, *rest: (built.append(W), refresh(W, *rest))[1]  # type: ignore[method-assign]
    moved = [W_VE + step for step in range(7)]
    for each in moved:
        made.search(h_NE, 3, each)
    assert [id(W) for W in built] == [id(moved[step]) for step in (0, 3, 6)]
    assert miner("exact", negatives=3, refresh=3) is None


def head(search: Any = "svd_preview") -> MarginHead:
    with trials.seeded(Trial(width=E, vocabulary=V, dtype="float32")):
        return HardNegatives(negatives=4, search=search, refresh=2).build(trials.site(Trial(width=E, vocabulary=V)))


@pytest.mark.parametrize("search", WAYS)
def test_training_goes_on_with_the_same_negatives(search: Any) -> None:
    first, second = head(search), head(search)
    _, h_NE = rows()
    y_N = torch.arange(12)
    for _ in range(3):
        first.loss(h_NE, y_N)
        with torch.no_grad():
            first.output.weight.mul_(1.1).add_(0.01)
    second.load_state_dict(first.state_dict())
    for _ in range(4):
        mine, theirs = first.hardest(h_NE, y_N), second.hardest(h_NE, y_N)
        assert torch.equal(mine, theirs)
        with torch.no_grad():
            for each in (first, second):
                each.output.weight.neg_()


@pytest.mark.parametrize("search", WAYS)
def test_the_target_is_never_mined_and_most_of_the_hardest_are(search: Any) -> None:
    made = head(search)
    _, h_NE = rows()
    best_N4 = made.scores(h_NE).topk(4, dim=1).indices
    for y_N in (best_N4[:, 0], best_N4[:, 2], torch.full((12,), 700)):
        mined_Nn = made.hardest(h_NE, y_N)
        assert not bool((mined_Nn == y_N.unsqueeze(1)).any())
        assert bool(((mined_Nn >= 0).sum(dim=1) == 4).all())
        exact_Nn = head("exact").hardest(h_NE, y_N)
        shared = [len(set(a) & set(b)) / 4 for a, b in zip(mined_Nn.tolist(), exact_Nn.tolist(), strict=True)]
        assert sum(shared) / 12 > 0.5


@WITH_FAISS
def test_what_an_index_does_not_find_is_no_negative() -> None:
    """Of 300 lists one is looked at: rows beyond it are absent, and not the first token again and again."""
    made = head("faiss_ivf")
    assert made.miner is not None
    index: Any = made.miner.index
    index.size, index.probed = 300, 1
    _, h_NE = rows()
    y_N = torch.full((12,), 700)
    mined_Nn = made.hardest(h_NE, y_N)
    assert (mined_Nn < 0).sum() > 12
    for found in mined_Nn:
        there = found[found >= 0]
        assert len(there.unique()) == len(there)
    assert made.loss_on(h_NE, y_N, mined_Nn).isfinite()


@WITH_FAISS
def test_operations_of_a_package_are_told_as_not_counted() -> None:
    made, (_, h_NE) = head("faiss_ivf"), rows()
    work, _ = count(lambda: made.loss(h_NE, torch.arange(12)))
    assert work.uncounted == {"workbench.searched_by_package": 1}


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.extras.missing", lambda packages: list(packages))
    for search, package in (("faiss_hnsw", "faiss"), ("scann", "scann")):
        with pytest.raises(ValueError, match=f'search = "{search}": it needs the package {package}.*not installed here: pip install'):
            head(search)
    assert head("lsh").miner is not None


@pytest.mark.parametrize("search", WAYS)
@pytest.mark.parametrize("count", [12, 90])
def test_under_autocast_it_mines_what_it_mines_without(search: Any, count: int) -> None:
    """Codes are compared by sums up to their 512 bits, which half precision rounds."""
    h_NE = torch.randn(count, E, generator=torch.Generator().manual_seed(1))
    mined = []
    for mixed in (False, True):
        made = head(search)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            mined.append(made.hardest(h_NE, torch.full((count,), 700)))
    assert torch.equal(*mined)


def test_a_pool_and_an_index_are_two_ways() -> None:
    with pytest.raises(ValueError, match="leave one out"):
        HardNegatives(pool=10, search="lsh")
