"""The exact scan and what is measured against it, beside faiss' own exhaustive indexes: the same rows, scores, distances and bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.toolbox.search.index import ExactScan, missing_length, query_for_rows, rows_with_bias
from engines.toolbox.search.libraries import FaissIndex
from engines.toolbox.search.signs import ones_in, packed
from engines.toolbox.search.technique import recalls

faiss = pytest.importorskip("faiss")


def matrix(rows: int = 700, width: int = 33) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, width) * torch.rand(rows, 1).add(0.3), torch.randn(rows), torch.randn(40, width)


@pytest.mark.parametrize("biased", [True, False])
def test_the_scan_finds_what_a_flat_index_of_inner_products_finds(biased: bool) -> None:
    W_VE, b_V, h_NE = matrix()
    b = b_V if biased else None
    rows = rows_with_bias(W_VE, b).numpy()
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    scores, ids = flat.search(query_for_rows(h_NE, b).numpy(), 10)
    found = ExactScan().search(h_NE, 10, W_VE, b)
    assert np.array_equal(found.ids_NK.numpy(), ids)
    np.testing.assert_allclose(found.scores_NK.numpy(), scores, rtol=1e-4, atol=1e-4)


def test_the_nearest_of_rows_made_equally_long_is_the_best_row() -> None:
    W_VE, b_V, h_NE = matrix()
    rows = rows_with_bias(W_VE, b_V)
    longer = torch.cat((rows, missing_length(rows)), dim=1)
    torch.testing.assert_close(longer.norm(dim=1), rows.norm(dim=1).max().expand(len(rows)), rtol=1e-5, atol=0)
    flat = faiss.IndexFlatL2(longer.shape[1])
    flat.add(longer.numpy())
    queries = torch.nn.functional.pad(query_for_rows(h_NE, b_V), (0, 1))
    _, ids = flat.search(queries.numpy(), 5)
    assert np.array_equal(ExactScan().search(h_NE, 5, W_VE, b_V).ids_NK.numpy(), ids)


def test_codes_differ_in_the_bits_that_a_flat_index_of_codes_counts() -> None:
    torch.manual_seed(1)
    rows, queries = packed(torch.randn(300, 192)), packed(torch.randn(7, 192))
    flat = faiss.IndexBinaryFlat(192)
    flat.add(rows.numpy().view(np.uint8))
    distances, ids = flat.search(queries.numpy().view(np.uint8), 300)
    ours = ones_in(queries.unsqueeze(1) ^ rows).sum(dim=2)
    assert np.array_equal(np.take_along_axis(ours.numpy(), ids, axis=1), distances)


def test_recall_against_the_scan_is_the_overlap_of_ids() -> None:
    W_VE, b_V, h_NE = matrix(rows=3000)
    index = FaissIndex("lists", size=40, probed=3)
    index.refresh(W_VE, b_V)
    found, exact = index.search(h_NE, 10, W_VE, b_V), ExactScan().search(h_NE, 10, W_VE, b_V)
    overlap = [len(set(mine.tolist()) & set(theirs.tolist())) / 10 for mine, theirs in zip(found.ids_NK, exact.ids_NK, strict=True)]
    assert recalls(found.scores_NK, exact.scores_NK).tolist() == pytest.approx(overlap)
    assert 0.05 < float(np.mean(overlap)) < 0.99
    wider = FaissIndex("lists", size=40, probed=20)
    wider.refresh(W_VE, b_V)
    better = wider.search(h_NE, 10, W_VE, b_V)
    assert recalls(better.scores_NK, exact.scores_NK).mean() > np.mean(overlap)
