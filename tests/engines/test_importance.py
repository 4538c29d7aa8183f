"""Importance of fields: held against SciPy, and against comparisons whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engines.importance import FEWEST, fields, importance, missing, ranks

KEY = "quality/test_perplexity"


def comparison(rows: list[tuple[list[dict[str, Any]], float]]) -> dict[str, Any]:
    variants = {
        f"v{place}": {"differences": changes, "results": {KEY: {"value": value, "better": "lower"}}} for place, (changes, value) in enumerate(rows)
    }
    return {"baseline": "v0", "variants": variants}


def change(key: str, old: Any, new: Any) -> list[dict[str, Any]]:
    return [] if old == new else [{"key": key, "old": old, "new": new}]


def test_as_scipy_says() -> None:
    stats = pytest.importorskip("scipy.stats")
    order = np.random.default_rng(3)
    batch, width, kinds = order.integers(1, 6, 30), order.integers(1, 30, 30), order.integers(0, 3, 30)
    figures = np.round(batch + order.normal(0, 2, 30), 1) + 4.0 * (kinds == 2)
    found = comparison(
        [
            (change("batch", int(batch[0]), int(b)) + change("width", int(width[0]), int(w)) + change("head", f"k{kinds[0]}", f"k{k}"), float(y))
            for b, w, k, y in zip(batch, width, kinds, figures, strict=True)
        ]
    )
    said = {each.key: each for each in importance(found, KEY)}
    for key, values in (("batch", batch), ("width", width)):
        peer = stats.spearmanr(values, figures)
        assert said[key].rho == pytest.approx(peer.statistic)
        assert said[key].share == pytest.approx(peer.statistic**2)
        assert said[key].p == pytest.approx(peer.pvalue, abs=0.02)
        assert peer.statistic - 0.6 < said[key].low < peer.statistic < said[key].high < peer.statistic + 0.6  # type: ignore[operator]
    groups = [figures[kinds == kind] for kind in range(3)]
    h = stats.kruskal(*groups)
    assert said["head"].share == pytest.approx(h.statistic / 29)
    assert said["head"].p == pytest.approx(h.pvalue, abs=0.02)
    assert said["head"].rho is None
    np.testing.assert_allclose(ranks(figures), stats.rankdata(figures))


def test_what_goes_with_it_comes_first_and_chance_is_told() -> None:
    order = np.random.default_rng(1)
    rows = [
        (change("lr", 1, lr) + change("seed", 0, noise), float(lr)) for lr, noise in zip(range(1, 13), order.permutation(12).tolist(), strict=True)
    ]
    first, second = importance(comparison(rows), KEY)
    assert (first.key, first.share, first.rho) == ("lr", pytest.approx(1.0), pytest.approx(1.0))
    assert first.told
    assert not second.told
    assert second.p > 0.05


def test_a_field_of_its_own_value_everywhere_says_nothing() -> None:
    rows = [(change("note", "a0", f"a{place}"), float(place)) for place in range(10)]
    (only,) = importance(comparison(rows), KEY)
    assert only.share == pytest.approx(1.0)
    assert not only.told


def test_too_few_variants_say_how_many_are_missing() -> None:
    rows = [(change("lr", 1, place + 1), float(place)) for place in range(FEWEST - 3)]
    assert importance(comparison(rows), KEY) == []
    assert missing(comparison(rows), KEY) == 3
    assert missing(comparison(rows), "speed/nothing") == FEWEST


def test_parts_that_come_and_go_bring_their_fields() -> None:
    part = lambda sparsity: {"id": "pruning/magnitude", "sparsity": sparsity, "when": "after"}  # noqa: E731 - one word, used twice
    rows = [([], 1.0)] + [(change("techniques.pruning/magnitude", None, part(each / 10)), 1.0 + each) for each in range(1, 10)]
    found = {field.key: field for field in fields(comparison(rows))}
    assert found["techniques.pruning/magnitude"].values["v0"] is None
    assert found["techniques.pruning/magnitude.sparsity"].numeric
    said = {each.key: each for each in importance(comparison(rows), KEY)}
    assert said["techniques.pruning/magnitude.sparsity"].n == 9
    assert said["techniques.pruning/magnitude.sparsity"].rho == pytest.approx(1.0)


def test_fields_that_change_together_say_so() -> None:
    rows = [(change("batch", 1, each) + change("lr", 0.1, each / 10), float(each)) for each in range(1, 11)]
    assert [each.together for each in importance(comparison(rows), KEY)] == [("lr",), ("batch",)]
