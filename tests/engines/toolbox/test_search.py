"""Indexes over an output matrix: what is lost, what is kept, and what the task says of them."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from engines.api import Trial
from engines.toolbox import trials
from engines.toolbox.heads import LinearSoftmax
from engines.toolbox.search import technique
from engines.toolbox.search.index import ExactScan, Index, best_of, why_not
from engines.toolbox.search.libraries import FAISS, SCANN, FaissIndex, ScannIndex, unavailable
from engines.toolbox.search.preview import Preview, second_moment
from engines.toolbox.search.signs import FEW, SignHashing, ones_in, signs
from engines.toolbox.search.technique import AgainstExactScan

V, E = 400, 24


def kinds() -> list[object]:
    faiss, scann = unavailable(FAISS), unavailable(SCANN)
    return [
        pytest.param(ExactScan, id="exact"),
        pytest.param(lambda: SignHashing(128, 40), id="lsh"),
        pytest.param(lambda: Preview(8, 40), id="preview"),
        pytest.param(lambda: FaissIndex("lists", size=20, probed=4), id="ivf", marks=pytest.mark.skipif(bool(faiss), reason=faiss or "here")),
        pytest.param(lambda: FaissIndex("graph", size=8, probed=16), id="hnsw", marks=pytest.mark.skipif(bool(faiss), reason=faiss or "here")),
        pytest.param(lambda: ScannIndex(20, 4, 40), id="scann", marks=pytest.mark.skipif(bool(scann), reason=scann or "here")),
    ]


def head() -> LinearSoftmax:
    torch.manual_seed(3)
    made = LinearSoftmax(trials.site(Trial(width=E, vocabulary=V)), tied=False, bias=True)
    nn.init.normal_(made.output.weight)
    return made.eval().requires_grad_(False)


def hidden(rows: int = 60) -> torch.Tensor:
    return torch.randn(rows, E, generator=torch.Generator().manual_seed(4)) * torch.linspace(0.1, 2, E)


@pytest.mark.parametrize("make", kinds())
def test_every_score_is_exact_and_ids_are_distinct_and_best_first(make) -> None:
    made, h_NE = head(), hidden()
    index: Index = make()
    index.refresh(made.output.weight, made.output.bias, second_moment(h_NE))
    found = index.search(h_NE, 7, made.output.weight, made.output.bias)
    torch.testing.assert_close(found.scores_NK, made.scores(h_NE).gather(1, found.ids_NK), rtol=1e-4, atol=1e-4)
    assert bool((found.scores_NK.diff(dim=1) <= 0).all())
    assert all(len(set(row)) == 7 for row in found.ids_NK.tolist())


@pytest.mark.parametrize("make", kinds())
def test_copies_and_a_state_dict_carry_the_index(make) -> None:
    made, h_NE = head(), hidden()
    made.index = make()
    made.index.refresh(made.output.weight, made.output.bias)
    fresh = head()
    fresh.index = make()
    fresh.index.allocate(fresh.output.weight)
    state = made.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    fresh.load_state_dict(state)
    expected = made.topk(h_NE, 5)
    for other in (fresh, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert all(torch.equal(*pair) for pair in zip(other.topk(h_NE, 5), expected, strict=True))
    if type(made.index) is not ExactScan:
        assert made.index.own_bytes() > 0


def test_a_stale_index_gives_the_scores_of_the_rows_as_they_are_now() -> None:
    made, h_NE = head(), hidden()
    index = Preview(8, 30)
    index.refresh(made.output.weight, made.output.bias)
    made.output.weight.add_(0.3 * torch.randn(V, E, generator=torch.Generator().manual_seed(5)))
    found = index.search(h_NE, 3, made.output.weight, made.output.bias)
    torch.testing.assert_close(found.scores_NK, made.scores(h_NE).gather(1, found.ids_NK))
    before = technique.recalls(found.scores_NK[:, :1], made.scores(h_NE).topk(1).values).mean()
    index.refresh(made.output.weight, made.output.bias)
    found = index.search(h_NE, 3, made.output.weight, made.output.bias)
    assert technique.recalls(found.scores_NK[:, :1], made.scores(h_NE).topk(1).values).mean() > before


def test_values_of_topk_are_log_p_where_log_z_is_told() -> None:
    made, h_NE = head(), hidden()
    exact = made.topk(h_NE, 4)
    made.index = Preview(E, 5)
    made.index.refresh(made.output.weight, made.output.bias)
    for mine, theirs in zip(made.topk(h_NE, 4), exact, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    made.index = ExactScan()
    values, ids = made.topk(h_NE, 4)
    assert torch.equal(ids, exact[1])
    torch.testing.assert_close(values - values[:, :1], exact[0] - exact[0][:, :1], rtol=1e-4, atol=1e-4)


def test_weighing_by_activations_finds_more_where_hidden_states_are_uneven() -> None:
    made, seen, h_NE = head(), hidden(400), hidden()
    found = {}
    for name, moment in (("plain", None), ("aware", second_moment(seen))):
        index = Preview(6, 20)
        index.refresh(made.output.weight, made.output.bias, moment)
        scores = index.search(h_NE, 1, made.output.weight, made.output.bias).scores_NK
        found[name] = float(technique.recalls(scores, made.scores(h_NE).topk(1).values).mean())
    assert found["aware"] > found["plain"]


def test_the_task_is_told_recall_and_the_error_of_log_z() -> None:
    made, h_NE = head(), hidden()
    made.index = Preview(6, 20)
    made.index.refresh(made.output.weight, made.output.bias)
    judged = AgainstExactScan(made)
    judged.add(h_NE[:25])
    judged.add(h_NE[25:])
    recall, deep, log_z = judged.figures("test")
    scores = made.scores(h_NE)
    found = made.index.search(h_NE, 10, made.output.weight, made.output.bias)
    assert (recall.key, recall.better) == ("quality/test_recall_at_1", "higher")
    assert recall.value == pytest.approx(float((found.ids_NK[:, 0] == scores.argmax(dim=1)).float().mean()))
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(found.ids_NK.tolist(), scores.topk(10).indices.tolist(), strict=True)]
    assert deep.value == pytest.approx(sum(shared) / 60)
    assert (log_z.key, log_z.unit) == ("quality/test_log_z_error", "nats")
    assert log_z.value == pytest.approx(float((found.log_z_N - scores.logsumexp(dim=1)).abs().mean()), rel=1e-4)
    made.index = ExactScan()
    judged = AgainstExactScan(made)
    judged.add(h_NE)
    found = {figure.key: figure.value for figure in judged.figures("valid")}
    assert found == {"quality/valid_recall_at_1": 1.0, "quality/valid_recall_at_10": 1.0}


def test_missing_candidates_are_told_by_their_score() -> None:
    made, h_NE = head(), hidden(2)
    ids = torch.tensor([[5, -1, -1], [7, 2, 9]])
    found = best_of(h_NE, ids, 2, made.output.weight, made.output.bias)
    assert found.scores_NK[0, 1] == -math.inf
    assert found.ids_NK[0].tolist() == [5, 0]
    assert set(found.ids_NK[1].tolist()) < {7, 2, 9}


def test_set_bits_are_counted_sign_included() -> None:
    words = torch.tensor([0, 1, -1, -(2**63), 2**63 - 1, 0x5555555555555555])
    assert ones_in(words).tolist() == [0, 1, 64, 1, 63, 32]


def test_many_queries_find_what_few_find() -> None:
    torch.manual_seed(0)
    rows_VE, bias_V, queries_NE = torch.randn(300, 16), torch.randn(300), torch.randn(FEW + 1, 16)
    index = SignHashing(128, 300)  # With every row a candidate ties between codes change nothing ...
    index.refresh(rows_VE, bias_V)
    many = index.search(queries_NE, 5, rows_VE, bias_V)
    one_by_one = [index.search(query, 5, rows_VE, bias_V) for query in queries_NE.split(1)]
    assert torch.equal(many.ids_NK, torch.cat([found.ids_NK for found in one_by_one]))
    codes_VW = index.codes_VW  # ... so the distances are compared too.
    assert torch.equal((128 - signs(codes_VW) @ signs(codes_VW).T) / 2, ones_in(codes_VW[:, None] ^ codes_VW).sum(2).float())


def test_heads_without_rows_are_told_apart() -> None:
    made = head()
    assert why_not(made) == ""
    made.output = nn.Sequential(made.output)  # type: ignore[assignment]
    assert "is in a Sequential now" in why_not(made)
    assert "no output matrix" in why_not(nn.Linear(3, 4))
    assert "no output matrix" in why_not(None)


def test_a_missing_package_is_told_with_its_own_name(monkeypatch) -> None:
    monkeypatch.setattr("engines.extras.missing", lambda packages: list(packages))
    assert unavailable(FAISS) == "It needs the package faiss, not installed here: pip install faiss-cpu."
    assert "Linux alone" in unavailable(SCANN, " (it is made for Linux alone)")


@pytest.mark.gpu
@pytest.mark.parametrize("make", kinds())
def test_on_a_gpu_it_finds_the_same(make) -> None:
    made, h_NE = head(), hidden()
    index = make()
    index.refresh(made.output.weight, made.output.bias)
    here = index.search(h_NE, 3, made.output.weight, made.output.bias)
    index.to("cuda")
    there = index.search(h_NE.cuda(), 3, made.output.weight.cuda(), made.output.bias.cuda())
    assert there.ids_NK.device.type == "cuda"
    # A projection next to zero may have the other sign there, and its row another code.
    assert float((there.ids_NK.cpu() == here.ids_NK).float().mean()) > 0.95
