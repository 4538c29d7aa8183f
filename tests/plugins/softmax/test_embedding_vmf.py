"""Embedding prediction: the stated losses, words without a vector, files of vectors, nearest neighbours, learning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from engines.api import Trial, Vocabulary
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED
from engines.toolbox.von_mises_fisher import log_normaliser
from engines.toolbox.word_vectors import VectorsError, read_vectors
from plugins.softmax import embedding_vmf
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets

WORDS = trials.zipf_vocabulary(EXACT.vocabulary)


def build(trial: Trial = EXACT, **parameters: object) -> embedding_vmf.VmfHead:
    with trials.seeded(trial):
        return embedding_vmf.EmbeddingVmf(**{"width": 6, **parameters}).build(trials.site(trial))


def text_file(folder: Path, lines: list[str]) -> Path:
    (folder / "vectors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "vectors.txt"


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(embedding_vmf))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


@pytest.mark.parametrize("regulariser", ["none", "norm", "dot", "cosine"])
def test_loss_is_the_stated_one_and_padding_costs_nothing(regulariser: str) -> None:
    head = build(regulariser=regulariser, norm_weight=0.3, dot_weight=0.2)
    h_ND, y_N = rows_and_targets(EXACT, ignored=5)
    expected = torch.zeros(())
    for h_D, y in zip(h_ND[5:], y_N[5:].tolist(), strict=True):
        x_M, e_M = head.output(h_D), head.table_VM[y]
        kappa = x_M.norm()
        log_c = log_normaliser(kappa.unsqueeze(0), 6)[0]
        dot = x_M @ e_M
        added = {
            "none": -dot,
            "norm": -dot + 0.3 * kappa,
            "dot": -0.2 * dot,
            "cosine": torch.log(1 + kappa) * (0.2 - dot / kappa),
        }[regulariser]
        expected = expected - log_c + added
    loss = head.loss(h_ND, y_N)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, h_ND)
    assert (gradient[:5] == 0).all()
    assert head.loss(h_ND, torch.full_like(y_N, IGNORED)) == 0


def test_the_best_direction_of_the_plain_loss_is_the_targets() -> None:
    """Over all x of one length the loss is least in the direction of e, and over all lengths there it falls without end."""
    head = build(regulariser="none")
    e_1M = head.table_VM[:1]
    others = F.normalize(torch.randn(200, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1)
    assert (head.each(3 * others, e_1M.expand_as(others)) > head.each(3 * e_1M, e_1M)).all()
    along = head.each(torch.tensor([[1.0], [10.0], [100.0]], dtype=torch.float64) * e_1M, e_1M.expand(3, -1))
    assert (along.diff() < 0).all()


def test_at_no_length_at_all_the_gradient_is_finite() -> None:
    for regulariser in ("none", "norm", "dot", "cosine"):
        head = build(regulariser=regulariser)
        x_NM = torch.zeros(2, 6, dtype=torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(head.each(x_NM, head.table_VM[:2]).sum(), x_NM)
        assert torch.isfinite(gradient).all()


def test_words_without_a_vector_are_not_trained_on_come_last_and_are_counted(tmp_path: Path) -> None:
    known = [f"w{i}" for i in range(EXACT.vocabulary) if i % 3]
    path = text_file(tmp_path, [f"{word} {i} 1 {-i}" for i, word in enumerate(known)])
    head = build(vectors=str(path))
    assert head.output.out_features == 3
    missing = [i for i in range(EXACT.vocabulary) if i % 3 == 0]
    assert head.missing == len(missing)
    assert head.missing_share == pytest.approx(WORDS.counts[missing].sum() / WORDS.counts.sum())
    assert f"{len(missing)} of 40 tokens without a vector" in repr(head)
    h_ND, y_N = rows_and_targets(EXACT)
    y_N[:] = 1
    y_N[:4] = 3
    (gradient,) = torch.autograd.grad(head.loss(h_ND, y_N), h_ND)
    assert (gradient[:4] == 0).all()
    assert (gradient[4:] != 0).any(dim=1).all()
    values_NV, ids_NV = head.topk(h_ND, EXACT.vocabulary)
    assert set(ids_NV[0, len(known) :].tolist()) == set(missing)
    assert values_NV[:, len(known) :].isneginf().all()
    assert (head.rank(h_ND, torch.full_like(y_N, 3)) > len(known)).all()


def test_text_with_and_without_a_first_line_of_counts(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("the", "new york", "a", "b"), WORDS.counts[:4])
    lines = ["the 1 2.5", "new york -1 0", "the 9 9", "other 3 3", "b 0 0"]
    for first in ([], ["5 2"]):
        table_VM, known_V = read_vectors(text_file(tmp_path, first + lines), vocabulary)
        assert table_VM.tolist() == [[1, 2.5], [-1, 0], [0, 0], [0, 0]]
        assert known_V.tolist() == [True, True, False, False]


def test_safetensors_by_words_and_by_order(tmp_path: Path) -> None:
    rows = torch.arange(1.0, 13.0).reshape(4, 3)
    vocabulary = Vocabulary(("a", "b", "c", "d"), WORDS.counts[:4])
    save_file({"vectors": rows}, tmp_path / "order.safetensors")
    save_file({"vectors": rows, "other": torch.zeros(2)}, tmp_path / "words.safetensors", metadata={"words": json.dumps(["d", "x", "b", "d"])})
    by_order, by_words = (read_vectors(tmp_path / f"{name}.safetensors", vocabulary) for name in ("order", "words"))
    assert torch.equal(by_order[0], rows)
    assert by_order[1].all()
    assert by_words[1].tolist() == [False, True, False, True]
    assert torch.equal(by_words[0], torch.stack([torch.zeros(3), rows[2], torch.zeros(3), rows[0]]))


def test_the_folder_of_a_finished_model_gives_its_embedding(tmp_path: Path) -> None:
    rows = torch.randn(EXACT.vocabulary, 5, generator=torch.Generator().manual_seed(0))
    save_file({"embedding.weight": rows, "head.output.weight": rows[:, :2].contiguous()}, tmp_path / "weights.safetensors")
    head = build(vectors=str(tmp_path))
    torch.testing.assert_close(head.table_VM.float(), F.normalize(rows, dim=1))
    assert head.missing == 0


def test_bad_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        build(vectors=str(tmp_path / "none.txt"))
    for lines, sentence in (
        (["w1 1 2", "w2 1"], "Line 2 of .* has 2 parts, not a word and 2 numbers"),
        (["w1 1 x"], "Line 1 of .* something that is no number"),
        (["w1 1 nan"], "not finite"),
        (["w1 1"], "Vectors of one number"),
    ):
        with pytest.raises(ValueError, match=sentence):
            build(vectors=str(text_file(tmp_path, lines)))
    save_file({"a": torch.zeros(3, 2)}, tmp_path / "three.safetensors")
    with pytest.raises(VectorsError, match="3 vectors without words, and the vocabulary has 40 tokens"):
        read_vectors(tmp_path / "three.safetensors", WORDS)
    save_file({"a": torch.zeros(3, 2), "b": torch.zeros(3, 2)}, tmp_path / "two.safetensors")
    with pytest.raises(VectorsError, match="must hold one matrix, but it holds a, b"):
        read_vectors(tmp_path / "two.safetensors", WORDS)


def test_a_file_about_other_words_is_refused_when_training_begins(tmp_path: Path) -> None:
    head = build(vectors=str(text_file(tmp_path, ["q 1 2"])))
    with pytest.raises(ValueError, match="has a vector for none of the vocabulary's 40 tokens"):
        head.loss(*rows_and_targets(EXACT))


def test_it_is_built_without_values_too(tmp_path: Path) -> None:
    """As the editor does for large models; the stand-in vocabulary there has other words than the file."""
    for vectors in ("", str(text_file(tmp_path, ["w1 1 2", "q 1 2"]))):
        with torch.device("meta"):
            head = embedding_vmf.EmbeddingVmf(vectors=vectors).build(trials.site(EXACT))
        assert head.table_VM.is_meta
        assert head.missing == (39 if vectors else 0)


def test_half_precision_and_the_saved_table() -> None:
    trial = Trial(dtype="float32", vocabulary=200, seed=2)
    head = build(trial)
    h_ND, y_N = rows_and_targets(trial)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, (values_NK, _) = head.loss(h_ND, y_N), head.topk(h_ND, 3)
    loss.backward()
    assert loss.dtype == values_NK.dtype == torch.float32
    assert loss.item() == pytest.approx(head.loss(h_ND, y_N).item(), rel=0.01)
    assert torch.isfinite(head.output.weight.grad).all()
    other = build(Trial(dtype="float32", vocabulary=200, seed=9))
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.topk(h_ND, 3)[1], head.topk(h_ND, 3)[1])
